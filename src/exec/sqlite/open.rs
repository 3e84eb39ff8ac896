//! Opening connections. One for reads cannot write by three means of its own: the file is opened
//! read-only, `query_only` is on, and the authorizer knows reads alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use crate::core::limits::PARAMETERS;
use crate::exec::sqlite::gate::{Ceiling, Gate};

/// The largest value or row, in bytes.
pub(super) const VALUE_BYTES: i32 = 64 * 1024 * 1024;
/// How long SQLite itself waits for a lock, before the caller's own limits are looked at again.
pub(super) const BUSY: Duration = Duration::from_millis(50);
/// Statements that stay compiled on a connection.
const COMPILED: usize = 64;

/// A connection and its authorizer.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) gate: Arc<Gate>,
}

/// The means by which a read connection is kept from writing. All of them, outside of tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layers {
    pub(super) authorizer: bool,
    pub(super) read_only: bool,
}

impl Layers {
    pub(super) const ALL: Self = Self {
        authorizer: true,
        read_only: true,
    };
    #[cfg(test)]
    pub(super) const AUTHORIZER_ALONE: Self = Self {
        authorizer: true,
        read_only: false,
    };
    #[cfg(test)]
    pub(super) const READ_ONLY_ALONE: Self = Self {
        authorizer: false,
        read_only: true,
    };
    #[cfg(test)]
    pub(super) const NONE: Self = Self {
        authorizer: false,
        read_only: false,
    };
}

/// Opens a file for reads.
pub(super) fn for_reads(
    path: &Path,
    trusted: &BTreeSet<String>,
    layers: Layers,
) -> rusqlite::Result<Opened> {
    let access = if layers.read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare(&connection)?;
    if layers.read_only {
        connection.pragma_update(None, "query_only", true)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    }
    connection.set_prepared_statement_cache_capacity(COMPILED);
    let gate = Gate::install(&connection, trusted)?;
    if layers.authorizer {
        gate.enforce(Ceiling::READ);
    }
    Ok(Opened { connection, gate })
}

/// Opens a file for one change. `vacuum` leaves room for the database that VACUUM works through.
pub(super) fn for_change(
    path: &Path,
    trusted: &BTreeSet<String>,
    vacuum: bool,
) -> rusqlite::Result<Opened> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, i32::from(vacuum))?;
    let gate = Gate::install(&connection, trusted)?;
    Ok(Opened { connection, gate })
}

/// Has SQLite undo what a writer that died in the middle of its transaction left in the file, as
/// the next connection that may write does anyway. What was committed stays as it is.
pub(super) fn recover(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    connection.query_row("PRAGMA schema_version", [], |_| Ok(()))
}

/// What holds on every connection: nothing in the file is trusted, and sizes are bounded.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false)?;
    let parameters = i32::try_from(PARAMETERS).unwrap_or(i32::MAX);
    let limits = [
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1_000_000),
        (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 5_000),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, parameters),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ];
    for (limit, value) in limits {
        connection.set_limit(limit, value)?;
    }
    connection.pragma_update(None, "cell_size_check", true)
}
