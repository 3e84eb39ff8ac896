//! SQLite's catalogue: fixed statements over its pragmas, with every name bound.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{
    ColumnDescription, ForeignKey, IndexDescription, TableDescription, TableSummary,
};
use crate::exec::sqlite::{ddl, errors, hints};

/// The tables and views whose name contains `search` (lower case).
pub(super) fn list(
    connection: &Connection,
    search: Option<&str>,
) -> Result<Vec<TableSummary>, Refusal> {
    let sql = "SELECT name, type FROM pragma_table_list WHERE schema = 'main' \
               AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let all: Vec<(String, String)> =
        rows(connection, sql, &[], |row| Ok((row.get(0)?, row.get(1)?))).map_err(refusal)?;
    let wanted = |name: &str| search.is_none_or(|part| name.to_lowercase().contains(part));
    Ok(all
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, kind)| TableSummary {
            rows_estimate: rows_estimate(connection, &name),
            kind: shown_kind(&kind),
            comment: None,
            name,
        })
        .collect())
}

/// Everything about one table or view.
pub(super) fn describe(connection: &Connection, table: &str) -> Result<TableDescription, Refusal> {
    let bare = unqualified(table);
    let found: Option<(String, String)> = connection
        .query_row(
            "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND lower(name) = lower(?1)",
            [&bare],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(refusal)?;
    let Some((name, kind)) = found else {
        let tables = hints::tables(connection).unwrap_or_default();
        return Err(Refusal::new(
            Code::UnknownTable,
            format!("there is no table or view `{table}`"),
        )
        .hint(hints::hint(&bare, &tables, "tables")));
    };
    about(connection, &name, &kind).map_err(refusal)
}

/// `main.users` and `"users"` are `users`.
fn unqualified(table: &str) -> String {
    let bare = match table.split_once('.') {
        Some((schema, rest)) if schema.eq_ignore_ascii_case("main") => rest,
        _ => table,
    };
    let quotes: &[char] = &['"', '`', '[', ']'];
    bare.trim_matches(quotes).to_owned()
}

fn about(connection: &Connection, name: &str, kind: &str) -> rusqlite::Result<TableDescription> {
    let sql: Option<String> = connection
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE name = ?1 AND type IN ('table', 'view')",
            [name],
            |row| row.get(0),
        )
        .optional()?
        .flatten();
    let described = columns(connection, name, sql.as_deref().unwrap_or_default())?;
    let mut key: Vec<(i64, String)> = described
        .iter()
        .filter(|c| c.key > 0)
        .map(|c| (c.key, c.column.name.clone()))
        .collect();
    key.sort();
    Ok(TableDescription {
        name: name.to_owned(),
        kind: shown_kind(kind),
        rows_estimate: rows_estimate(connection, name),
        comment: None,
        columns: described.into_iter().map(|c| c.column).collect(),
        primary_key: key.into_iter().map(|(_, name)| name).collect(),
        indexes: indexes(connection, name)?,
        foreign_keys: foreign_keys(connection, name)?,
        referenced_by: referenced_by(connection, name)?,
    })
}

struct Described {
    column: ColumnDescription,
    /// Its place in the primary key, from 1.
    key: i64,
}

fn columns(connection: &Connection, table: &str, sql: &str) -> rusqlite::Result<Vec<Described>> {
    let describe = |row: &Row<'_>| {
        let hidden: i64 = row.get("hidden")?;
        let name: String = row.get("name")?;
        let default: Option<String> = row.get("dflt_value")?;
        let generated = if hidden > 1 {
            ddl::generated(sql, &name)
        } else {
            None
        };
        let stored = if hidden == 3 { "stored" } else { "virtual" };
        Ok(Described {
            key: row.get("pk")?,
            column: ColumnDescription {
                type_name: row.get("type")?,
                nullable: !row.get::<_, bool>("notnull")?,
                default: generated
                    .map(|e| format!("generated always as ({e}) {stored}"))
                    .or(default),
                comment: None,
                name,
            },
        })
    };
    // Hidden columns of virtual tables (1) cannot be selected by `*` and only confuse.
    let query = "SELECT * FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
    let mut found = rows(connection, query, &[&table], describe)?;
    let single = found.iter().filter(|c| c.key > 0).count() == 1;
    for described in &mut found {
        // Such a column is the row's own number, which is never NULL.
        let is_rowid = single
            && described.key > 0
            && described.column.type_name.eq_ignore_ascii_case("INTEGER");
        described.column.nullable &= !is_rowid;
    }
    Ok(found)
}

fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<IndexDescription>> {
    let query = "SELECT l.name, l.\"unique\", s.sql FROM pragma_index_list(?1) l \
                 LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name \
                 WHERE l.origin <> 'pk' ORDER BY l.name";
    let all: Vec<(String, bool, Option<String>)> = rows(connection, query, &[&table], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let mut found = Vec::new();
    for (name, unique, sql) in all {
        let (written, condition) = sql.as_deref().map(ddl::index).unwrap_or_default();
        let columns: Vec<Option<String>> = rows(
            connection,
            "SELECT name FROM pragma_index_info(?1) ORDER BY seqno",
            &[&name],
            |row| row.get(0),
        )?;
        // A key without a column's name is an expression, which stands in the definition alone.
        let key = |(i, column): (usize, Option<String>)| {
            column
                .or_else(|| written.get(i).cloned())
                .unwrap_or_default()
        };
        found.push(IndexDescription {
            columns: columns.into_iter().enumerate().map(key).collect(),
            condition,
            unique,
            name,
        });
    }
    Ok(found)
}

const KEYS_OF: &str = "SELECT ?1, id, \"table\", \"from\", \"to\", on_delete \
                       FROM pragma_foreign_key_list(?1) ORDER BY id, seq";
const KEYS_TO: &str = "SELECT m.name, f.id, f.\"table\", f.\"from\", f.\"to\", f.on_delete \
                       FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f \
                       WHERE m.type = 'table' AND lower(f.\"table\") = lower(?1) \
                       ORDER BY m.name, f.id, f.seq";

fn foreign_keys(connection: &Connection, table: &str) -> rusqlite::Result<Vec<ForeignKey>> {
    let keys = keys(connection, KEYS_OF, table)?;
    Ok(keys.into_iter().map(|key| key.seen_from_child).collect())
}

fn referenced_by(connection: &Connection, table: &str) -> rusqlite::Result<Vec<ForeignKey>> {
    let turned = |key: Key| ForeignKey {
        columns: key.seen_from_child.other_columns,
        table: key.child,
        other_columns: key.seen_from_child.columns,
        on_delete: key.seen_from_child.on_delete,
    };
    let keys = keys(connection, KEYS_TO, table)?;
    Ok(keys.into_iter().map(turned).collect())
}

struct Key {
    child: String,
    id: i64,
    seen_from_child: ForeignKey,
}

/// The rows of a foreign key list, one for each column, put together to keys.
fn keys(connection: &Connection, query: &str, table: &str) -> rusqlite::Result<Vec<Key>> {
    let mut found: Vec<Key> = Vec::new();
    let columns = rows(connection, query, &[&table], |row| {
        let on_delete: String = row.get(5)?;
        let on_delete = Some(on_delete.to_lowercase()).filter(|action| action != "no action");
        let key = Key {
            child: row.get(0)?,
            id: row.get(1)?,
            seen_from_child: ForeignKey {
                table: row.get(2)?,
                on_delete,
                ..ForeignKey::default()
            },
        };
        Ok((
            key,
            row.get::<_, String>(3)?,
            row.get::<_, Option<String>>(4)?,
        ))
    })?;
    for (key, from, to) in columns {
        if !found
            .last()
            .is_some_and(|last| last.id == key.id && last.child == key.child)
        {
            found.push(key);
        }
        if let Some(last) = found.last_mut() {
            last.seen_from_child.columns.push(from);
            last.seen_from_child.other_columns.extend(to);
        }
    }
    for key in &mut found {
        let key = &mut key.seen_from_child;
        // Without columns a key refers to the other table's primary key.
        if key.other_columns.is_empty() {
            key.other_columns = primary_key(connection, &key.table)?;
        }
    }
    Ok(found)
}

fn primary_key(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let query = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
    rows(connection, query, &[&table], |row| row.get(0))
}

/// What ANALYZE found, where somebody ran it. The first number of each statistic is the rows that
/// it covers, which are fewer than all for a partial index.
fn rows_estimate(connection: &Connection, table: &str) -> Option<u64> {
    let query = "SELECT max(CAST(stat AS INTEGER)) FROM sqlite_stat1 WHERE tbl = ?1";
    let rows = |row: &Row<'_>| row.get::<_, Option<i64>>(0);
    let rows = connection.query_row(query, [table], rows).ok()??;
    u64::try_from(rows).ok()
}

fn shown_kind(kind: &str) -> String {
    match kind {
        "virtual" => "virtual table".to_owned(),
        other => other.to_owned(),
    }
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    params: &[&dyn rusqlite::ToSql],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection
        .prepare_cached(sql)?
        .query_map(params, read)?
        .collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn refusal(error: rusqlite::Error) -> Refusal {
    errors::refusal(&error)
}
