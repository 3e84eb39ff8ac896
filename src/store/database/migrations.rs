//! The formats of the tables, one after the other, and how a store gets from one to the next. Both engines have the
//! same ones under the same numbers.

use crate::core::time::Timestamp;
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::sql::{Connection, Error, Result};

/// Tables that are brought from format to format together.
#[derive(Debug)]
pub(in crate::store) struct Tables {
    name: &'static str,
    /// Every migration, oldest first, as SQLite and as PostgreSQL understands it; the format is how many of them
    /// were made. A released one is never edited.
    migrations: &'static [[&'static str; 2]],
    /// Said after each with the time; once is enough.
    remember: Option<&'static str>,
}

macro_rules! both {
    ($folder:literal, $($name:literal),+ $(,)?) => {
        &[$([
            include_str!(concat!("../", $folder, "/", $name)),
            include_str!(concat!("../", $folder, "/postgres/", $name)),
        ]),+]
    };
}

/// The log, the journal, and the requests.
pub(in crate::store) const STATE: Tables = Tables {
    name: "state",
    migrations: both!(
        "migrations",
        "0001_audit_and_journal.sql",
        "0002_requests.sql",
        "0003_notices.sql",
        "0004_break_glass.sql",
        "0005_reports.sql",
        "0006_capabilities.sql",
        "0007_audit_columns.sql",
    ),
    remember: Some(
        "insert into meta (name, value) values ('journal_birth', ?1)
         on conflict (name) do nothing",
    ),
};

/// Who may come to a relay.
pub(in crate::store) const MEMBERS: Tables = Tables {
    name: "members",
    migrations: both!("members", "0001.sql", "0002.sql", "0003.sql"),
    remember: None,
};

/// Where a server keeps which formats its tables have.
const FORMATS: &str = "
    create table if not exists formats (tables text primary key, format bigint not null)";

/// Brings tables to the newest format. Whoever calls this for a file holds the folder's lock.
pub(in crate::store) fn migrate(
    database: &Database,
    tables: &Tables,
    now: Timestamp,
) -> std::result::Result<Connection, StoreError> {
    let failed = |error: &Error| StoreError::sql("prepare the store", error);
    let connection = database.connect()?;
    patiently(|| prepare(&connection, database)).map_err(|error| failed(&error))?;
    let known = i64::try_from(tables.migrations.len()).unwrap_or(i64::MAX);
    loop {
        let found = patiently(|| step(&connection, tables, now));
        match found.map_err(|error| failed(&error))? {
            Step::Made => {}
            Step::Found(found) if found > known => return Err(StoreError::Newer { found, known }),
            Step::Found(_) => break,
        }
    }
    if connection.file().is_some() {
        let normal = connection.execute_batch("pragma synchronous = normal");
        normal.map_err(|error| failed(&error))?;
    }
    Ok(connection)
}

fn prepare(connection: &Connection, database: &Database) -> Result<()> {
    match database {
        Database::File(_) => {
            connection.execute_batch("pragma journal_mode = wal; pragma synchronous = full")
        }
        Database::Server(server) => {
            // Two who make the same schema at the same time are in each other's way, and one tries again.
            let schema = server.schema();
            let made = format!("create schema if not exists {schema}; {FORMATS}");
            connection.execute_batch(&made)
        }
    }
}

enum Step {
    /// The next format was made.
    Made,
    /// There was nothing to do: this is the format.
    Found(i64),
}

/// Makes the next format in one transaction, in which nobody else makes one.
fn step(connection: &Connection, tables: &Tables, now: Timestamp) -> Result<Step> {
    let is_file = connection.file().is_some();
    connection.execute_batch(if is_file {
        "begin immediate"
    } else {
        "begin; lock table formats"
    })?;
    let made = next(connection, tables, is_file, now).and_then(|step| {
        connection.execute_batch("commit")?;
        Ok(step)
    });
    if made.is_err() {
        drop(connection.execute_batch("rollback"));
    }
    made
}

fn next(connection: &Connection, tables: &Tables, is_file: bool, now: Timestamp) -> Result<Step> {
    let found: i64 = if is_file {
        connection.query_row("pragma user_version", (), |row| row.get(0))?
    } else {
        let kept = "select coalesce(max(format), 0) from formats where tables = ?1";
        connection.query_row(kept, [tables.name], |row| row.get(0))?
    };
    let next = usize::try_from(found).unwrap_or(0);
    let Some([file, server]) = tables.migrations.get(next) else {
        return Ok(Step::Found(found));
    };
    connection.execute_batch(if is_file { file } else { server })?;
    if let Some(remember) = tables.remember {
        connection.execute(remember, [now.unix_ms().to_string()])?;
    }
    let format = found.saturating_add(1);
    if is_file {
        connection.execute_batch(&format!("pragma user_version = {format}"))?;
    } else {
        connection.execute(
            "insert into formats (tables, format) values (?1, ?2)
             on conflict (tables) do update set format = excluded.format",
            (tables.name, format),
        )?;
    }
    Ok(Step::Made)
}

/// When the journal was made, unix milliseconds.
pub(in crate::store) fn birth(
    connection: &Connection,
    database: &Database,
) -> std::result::Result<Timestamp, StoreError> {
    let text: String = patiently(|| connection.query_row(BIRTH, (), |row| row.get(0)))
        .map_err(|error| StoreError::sql("read the state database", &error))?;
    let ms = text.parse().map_err(|_| StoreError::Damaged {
        path: database.path(),
        what: "the journal's birth is not a time".to_owned(),
    })?;
    Ok(Timestamp::from_unix_ms(ms))
}

const BIRTH: &str = "select value from meta where name = 'journal_birth'";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::work::Digest;

    #[test]
    fn released_migrations_are_never_edited() {
        let of = |tables: Tables| {
            let all = tables.migrations.iter().flatten();
            let sums = all.map(|sql| Digest::of(&[sql.as_bytes()]).to_string());
            sums.collect::<Vec<_>>()
        };
        let all: Vec<String> = [of(STATE), of(MEMBERS)].concat();
        insta::assert_snapshot!(all.join("\n"));
    }
}
