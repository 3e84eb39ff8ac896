//! Makes a sample database file from a script, and looks at such files from outside.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::core::refusal::{Code, Refusal};

/// How long another connection's lock is waited for.
const LOCK: Duration = Duration::from_secs(5);

/// Runs `script` on a new database and puts it at `path`, in place of whatever was there. A script
/// that fails leaves the old file alone.
pub fn create(path: &Path, script: &str) -> Result<(), Refusal> {
    let failed = |error: &dyn std::error::Error| failed("was not made", error);
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    let database = Connection::open(file.path()).map_err(|error| failed(&error))?;
    database
        .execute_batch(script)
        .map_err(|error| failed(&error))?;
    database.close().map_err(|(_, error)| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
}

/// Reads one whole number on a connection of its own, past everything that guards the file.
pub fn number(path: &Path, sql: &str, values: &[&str]) -> Result<i64, Refusal> {
    let failed = |error: rusqlite::Error| failed("was not read", &error);
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let database = database.map_err(failed)?;
    database.busy_timeout(LOCK).map_err(failed)?;
    database
        .query_row(sql, params_from_iter(values), |row| row.get(0))
        .map_err(failed)
}

/// Changes an existing file on a connection of its own, past everything that guards it. Gives how
/// many rows were changed.
pub fn change(path: &Path, sql: &str, values: &[&str]) -> Result<usize, Refusal> {
    let failed = |error: rusqlite::Error| failed("was not changed", &error);
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let database = database.map_err(failed)?;
    database.busy_timeout(LOCK).map_err(failed)?;
    database
        .execute(sql, params_from_iter(values))
        .map_err(failed)
}

fn failed(what: &str, error: &dyn std::error::Error) -> Refusal {
    Refusal::new(
        Code::DatabaseError,
        format!("the sample database {what}: {error}"),
    )
}
