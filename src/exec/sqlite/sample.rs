//! Makes a sample database file from a script.

use std::path::Path;

use rusqlite::Connection;

use crate::core::refusal::{Code, Refusal};

/// Runs `script` on a new database and puts it at `path`, in place of whatever was there. A script
/// that fails leaves the old file alone.
pub fn create(path: &Path, script: &str) -> Result<(), Refusal> {
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

fn failed(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(
        Code::DatabaseError,
        format!("the sample database was not made: {error}"),
    )
}
