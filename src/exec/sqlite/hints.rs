//! Hints: the names that are there, when a statement uses one that is not.

use rusqlite::Connection;

use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Statement;

pub(super) use crate::exec::nearest::hint;

/// Adds the nearest names to a refusal about an unknown one.
pub(super) fn add(connection: &Connection, statement: &Statement, refusal: Refusal) -> Refusal {
    let unknown = refusal
        .message
        .rsplit(": ")
        .next()
        .unwrap_or_default()
        .to_owned();
    if refusal.code == Code::UnknownTable {
        let tables = tables(connection).unwrap_or_default();
        return refusal.hint(hint(&unknown, &tables, "tables"));
    }
    if refusal.code != Code::UnknownColumn {
        return refusal;
    }
    let mut columns = Vec::new();
    for table in statement.reads.iter().chain(&statement.writes) {
        columns.extend(columns_of(connection, &table.name).unwrap_or_default());
    }
    columns.sort();
    columns.dedup();
    refusal.hint(hint(&unknown, &columns, "columns"))
}

/// The tables and views of the database, those of SQLite left out.
pub(super) fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    names(
        connection,
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        &[],
    )
}

fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    names(
        connection,
        "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1",
        &[&table],
    )
}

fn names(
    connection: &Connection,
    sql: &str,
    params: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| row.get(0))?;
    rows.collect()
}
