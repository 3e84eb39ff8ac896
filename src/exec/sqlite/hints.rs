//! Hints: the names that are there, when a statement uses one that is not.

use rusqlite::Connection;

use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Statement;

/// Names listed at most.
const LISTED: usize = 12;

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

/// The hint for a name that is not among those there are.
pub(super) fn hint(unknown: &str, there: &[String], what: &str) -> String {
    let bare = unknown
        .rsplit('.')
        .next()
        .unwrap_or(unknown)
        .to_ascii_lowercase();
    let mut near: Vec<(usize, &String)> = there
        .iter()
        .map(|name| (distance(&bare, &name.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= 1 + bare.chars().count() / 3)
        .collect();
    near.sort();
    let list = |names: Vec<&str>| names.join(", ");
    if near.is_empty() {
        if there.is_empty() {
            return format!("no {what} could be found; list_tables shows what is there");
        }
        let first = there.iter().take(LISTED).map(String::as_str).collect();
        let more = if there.len() > LISTED { ", ..." } else { "" };
        return format!("the {what} there are: {}{more}", list(first));
    }
    format!(
        "did you mean {}?",
        list(near.iter().take(3).map(|(_, name)| name.as_str()).collect())
    )
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

/// How many letters have to be changed, added or left out to get from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut previous: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut current = vec![i + 1];
        for (pair, b) in previous.windows(2).zip(&to) {
            let [diagonal, above] = pair else { continue };
            let left = current.last().copied().unwrap_or_default();
            let changed = diagonal + usize::from(a != *b);
            current.push(changed.min(above + 1).min(left + 1));
        }
        previous = current;
    }
    previous.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        assert_eq!(distance("kitten", "sitting"), 3);
        let there = ["orders", "users", "user_roles"].map(String::from);
        assert_eq!(hint("main.user", &there, "tables"), "did you mean users?");
        assert_eq!(
            hint("zzz", &there, "tables"),
            "the tables there are: orders, users, user_roles"
        );
    }
}
