//! Where a store's tables are, how they are opened, migrated, and shared between processes.

mod migrations;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::OpenFlags;

use crate::store::error::StoreError;
use crate::store::sql::{Connection, Error, Kind, Result, Server};

pub(super) use migrations::{MEMBERS, STATE, birth, migrate};

/// How long anybody waits for other processes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Where tables are.
#[derive(Clone, Debug)]
pub(super) enum Database {
    /// In a file of SQLite's.
    File(PathBuf),
    /// At a server.
    Server(Arc<Server>),
}

impl Database {
    /// A connection.
    pub(super) fn connect(&self) -> std::result::Result<Connection, StoreError> {
        match self {
            Self::File(path) => connect(path),
            Self::Server(server) => patiently(|| server.connect())
                .map_err(|error| StoreError::sql("reach the store", &error)),
        }
    }

    /// A connection for reading.
    pub(super) fn connect_to_read(&self) -> std::result::Result<Connection, StoreError> {
        match self {
            Self::File(path) => connect_to_read(path),
            Self::Server(_) => self.connect(),
        }
    }

    /// What to call it in an error.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Server(server) => PathBuf::from(server.schema()),
        }
    }

    /// The file, where it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }
}

/// Opens the database. Every connection is made here, so that all of them wait in the same way.
pub(super) fn connect(path: &Path) -> std::result::Result<Connection, StoreError> {
    let failed = |error: &Error| StoreError::sql("open the state database", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_handler(Some(wait_for_others))?;
        connection.execute_batch(
            "pragma synchronous = normal;
             pragma fullfsync = on;
             pragma checkpoint_fullfsync = on;
             pragma trusted_schema = off;
             pragma secure_delete = on;
             pragma journal_size_limit = 16777216;
             pragma wal_autocheckpoint = 8000;",
        )?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Connection::of_file(connection))
    };
    patiently(open).map_err(|error| failed(&error))
}

/// How long a connection waits for other processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    /// Less than a millisecond: for somebody who has other things to do meanwhile.
    Brief,
    /// [`PATIENCE`].
    Long,
}

/// Has a connection wait so long from now on.
pub(super) fn be_patient(connection: &Connection, patience: Patience) -> Result<()> {
    let Some(connection) = connection.file() else {
        // A server has its own limits.
        return Ok(());
    };
    Ok(connection.busy_handler(Some(match patience {
        Patience::Brief => wait_briefly_for_others,
        Patience::Long => wait_for_others,
    }))?)
}

/// Opens the database for reading.
pub(super) fn connect_to_read(path: &Path) -> std::result::Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection
        .execute_batch("pragma query_only = on")
        .map_err(|error| StoreError::sql("open the state database", &error))?;
    Ok(connection)
}

/// Tries until it works, fails for a reason of its own, or others were in the way for too long.
/// SQLite does not call the busy handler in every case in which it says that it is busy. A server that was lost may be
/// back in a moment, or its successor.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let result = attempt();
        let pause = match result.as_ref().map_err(Error::kind) {
            Err(Kind::Busy) => Duration::from_millis(2),
            Err(Kind::Away) => Duration::from_millis(100),
            Ok(_) | Err(Kind::Full | Kind::NoRow | Kind::Other | Kind::ReadOnly) => return result,
        };
        if Instant::now() >= deadline {
            return result;
        }
        std::thread::sleep(pause);
    }
}

/// Waits between two looks at a lock: briefly at first, because transactions here take
/// microseconds, and for [`PATIENCE`] in all.
fn wait_for_others(attempt: i32) -> bool {
    let pause = match attempt {
        0..20 => Duration::from_micros(50),
        20..200 => Duration::from_micros(500),
        _ => Duration::from_millis(5),
    };
    std::thread::sleep(pause);
    attempt < 2_000
}

/// A few tries of [`wait_for_others`].
fn wait_briefly_for_others(attempt: i32) -> bool {
    wait_for_others(attempt) && attempt < 5
}
