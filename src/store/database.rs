//! The one SQLite file: how it is opened, migrated, and shared between processes.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::core::time::Timestamp;
use crate::store::error::StoreError;

/// How long anybody waits for other processes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Every migration, oldest first; the file's format is how many of them it has seen. A released one
/// is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_audit_and_journal.sql"),
    include_str!("migrations/0002_requests.sql"),
    include_str!("migrations/0003_notices.sql"),
    include_str!("migrations/0004_break_glass.sql"),
    include_str!("migrations/0005_reports.sql"),
    include_str!("migrations/0006_capabilities.sql"),
];

/// Opens the database. Every connection is made here, so that all of them wait in the same way.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let failed = |error: &rusqlite::Error| StoreError::sqlite("open the state database", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
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
        Ok(connection)
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
pub(super) fn be_patient(connection: &Connection, patience: Patience) -> rusqlite::Result<()> {
    connection.busy_handler(Some(match patience {
        Patience::Brief => wait_briefly_for_others,
        Patience::Long => wait_for_others,
    }))
}

/// Opens the database for reading.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(|error| StoreError::sqlite("open the state database", &error))?;
    Ok(connection)
}

/// Brings the file to the newest format. The caller holds the folder's lock.
pub(super) fn migrate(connection: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    let failed = |error: &rusqlite::Error| StoreError::sqlite("prepare the state database", error);
    patiently(|| connection.pragma_update(None, "journal_mode", "wal"))
        .map_err(|error| failed(&error))?;
    let found: i64 =
        patiently(|| connection.pragma_query_value(None, "user_version", |r| r.get(0)))
            .map_err(|error| failed(&error))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    let seen = usize::try_from(found).unwrap_or(0);
    for (version, migration) in (1..).zip(MIGRATIONS).skip(seen) {
        patiently(|| run(connection, version, migration, now)).map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn run(
    connection: &mut Connection,
    version: i64,
    migration: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "full")?;
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(migration)?;
    transaction.execute(REMEMBER_BIRTH, (now.unix_ms().to_string(),))?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()?;
    connection.pragma_update(None, "synchronous", "normal")
}

/// When the journal was made, unix milliseconds.
pub(super) fn birth(connection: &Connection, path: &Path) -> Result<Timestamp, StoreError> {
    let text: String = patiently(|| connection.query_row(BIRTH, (), |row| row.get(0)))
        .map_err(|error| StoreError::sqlite("read the state database", &error))?;
    let ms = text.parse().map_err(|_| StoreError::Damaged {
        path: path.to_owned(),
        what: "the journal's birth is not a time".to_owned(),
    })?;
    Ok(Timestamp::from_unix_ms(ms))
}

const REMEMBER_BIRTH: &str = "
    insert into meta (name, value) values ('journal_birth', ?1)
    on conflict (name) do nothing";
const BIRTH: &str = "select value from meta where name = 'journal_birth'";

/// Tries until it works, fails for a reason of its own, or others were in the way for too long.
/// SQLite does not call the busy handler in every case in which it says that it is busy.
pub(super) fn patiently<T>(
    mut attempt: impl FnMut() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if others_are_in_the_way(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            result => return result,
        }
    }
}

fn others_are_in_the_way(error: &rusqlite::Error) -> bool {
    StoreError::sqlite("", error) == StoreError::Busy
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::work::Digest;

    #[test]
    fn released_migrations_are_never_edited() {
        let sums: Vec<String> = MIGRATIONS
            .iter()
            .map(|sql| Digest::of(&[sql.as_bytes()]).to_string())
            .collect();
        assert_eq!(sums, RELEASED);
    }

    const RELEASED: &[&str] = &[
        "ef4e78eb15eb0bf9d193d94cc42be9cdf98b69e42de3ea8d5baea3ff1838b9e9",
        "d237d7555b771e1712c0e89d572bd213ebecc9e762fda3661486f25a91ba080c",
        "6ced7d367ac590641ce79c5bf55fa38692ed1c1c90caa1b9dd00e21d7da88471",
        "97f4b3e5e9fea05d66c8f86d9757e2cfad63b96e7059bdb272bf8eeb8819c5eb",
        "dd195aff0f7307413a5bb9c7ff25765bc38320159ce607b7b7faf69d92429540",
        "4169c9fe4d6359f1eaaee6bd341fd8b8bc8c54ad4f1072bdc966542f256da3f5",
    ];
}
