//! The catalogue for readers: tables, columns, keys and names that are near to a wrong one. Fixed
//! statements over `information_schema`, with every name bound.

use std::collections::BTreeMap;

use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{
    ColumnDescription, ForeignKey, IndexDescription, TableDescription, TableSummary,
};
use crate::core::statement::mysql::ColumnKind;
use crate::core::statement::{Name, Statement};
use crate::exec::mysql::errors;
use crate::exec::mysql::session::Session;
use crate::exec::nearest;

type Texts = Vec<Option<String>>;

/// The tables and views that the login can see.
pub(super) async fn list(
    session: &mut Session,
    schema: Option<&str>,
    search: Option<&str>,
) -> Result<Vec<TableSummary>, Refusal> {
    let rows = rows(session, TABLES, &[]).await?;
    let search = search.map(str::to_lowercase).unwrap_or_default();
    let mut found: Vec<TableSummary> = rows
        .into_iter()
        .map(Listed::from)
        .filter(|t| schema.is_none_or(|wanted| t.schema == wanted))
        .map(Listed::summary)
        .filter(|t| {
            let comment = t.comment.as_deref().unwrap_or_default().to_lowercase();
            t.name.to_lowercase().contains(&search) || comment.contains(&search)
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

const TABLES: &str = "SELECT table_schema, table_name, table_type, CAST(table_rows AS CHAR), \
     table_comment, IF(table_schema = DATABASE(), 'here', 'elsewhere') \
     FROM information_schema.tables \
     WHERE table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";

/// Whether there is a column that holds vectors which the login can see, on a server that can measure how far
/// they are from each other: MariaDB. MySQL 9 has the type alone.
const VECTORS: &str = "SELECT IF(version() LIKE '%MariaDB%' AND EXISTS (SELECT 1 FROM information_schema.columns \
     WHERE data_type = 'vector' AND table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')), \
     'yes', 'no')";

/// Whether the login can see any column that holds vectors.
pub(super) async fn have_vectors(session: &mut Session) -> Result<bool, Refusal> {
    let rows = rows(session, VECTORS, &[]).await?;
    let said = rows.first().and_then(|row| row.first()).cloned().flatten();
    Ok(said.as_deref() == Some("yes"))
}

struct Listed {
    schema: String,
    name: String,
    kind: String,
    rows: Option<u64>,
    comment: Option<String>,
    here: bool,
}

impl From<Texts> for Listed {
    fn from(row: Texts) -> Self {
        let [schema, name, kind, rows, comment, place] = columns(row);
        let kind = match kind.as_deref() {
            Some("VIEW" | "SYSTEM VIEW") => "view",
            Some("SEQUENCE") => "sequence",
            _ => "table",
        };
        Self {
            schema: schema.unwrap_or_default(),
            name: name.unwrap_or_default(),
            rows: rows
                .and_then(|n| n.parse().ok())
                .filter(|_| kind == "table"),
            // The server's own word for views without one.
            comment: comment.filter(|c| !c.is_empty() && kind != "view"),
            kind: kind.to_owned(),
            here: place.as_deref() == Some("here"),
        }
    }
}

impl Listed {
    fn written(&self) -> String {
        if self.here {
            self.name.clone()
        } else {
            format!("{}.{}", self.schema, self.name)
        }
    }

    fn summary(self) -> TableSummary {
        TableSummary {
            name: self.written(),
            kind: self.kind,
            rows_estimate: self.rows,
            comment: self.comment,
        }
    }
}

/// Everything about one table or view.
pub(super) async fn table(session: &mut Session, table: &str) -> Result<TableDescription, Refusal> {
    let (schema, name) = split(table);
    let found = rows(session, TABLE, &[&schema, &name]).await?;
    let Some(listed) = found.into_iter().next().map(Listed::from) else {
        let there = tables(session, &schema).await?;
        return Err(Refusal::new(
            Code::UnknownTable,
            format!("there is no table or view `{table}`"),
        )
        .hint(nearest::hint(&name, &there, "tables")));
    };
    let key = [listed.schema.as_str(), listed.name.as_str()];
    let (primary_key, indexes) = indexes(rows(session, INDEXES, &key).await?);
    Ok(TableDescription {
        columns: rows(session, COLUMNS, &key)
            .await?
            .into_iter()
            .map(column)
            .collect(),
        primary_key,
        indexes,
        foreign_keys: foreign_keys(rows(session, FOREIGN_KEYS, &key).await?),
        referenced_by: foreign_keys(rows(session, REFERENCED_BY, &key).await?),
        name: listed.written(),
        kind: listed.kind,
        rows_estimate: listed.rows,
        comment: listed.comment,
    })
}

const TABLE: &str = "SELECT table_schema, table_name, table_type, CAST(table_rows AS CHAR), \
     table_comment, IF(table_schema = DATABASE(), 'here', 'elsewhere') \
     FROM information_schema.tables \
     WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?";
const COLUMNS: &str = "SELECT column_name, column_type, is_nullable, column_default, extra, \
     generation_expression, column_comment FROM information_schema.columns \
     WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position";
const INDEXES: &str = "SELECT index_name, CAST(non_unique AS CHAR), \
     COALESCE(column_name, '(expression)'), CAST(sub_part AS CHAR) \
     FROM information_schema.statistics \
     WHERE table_schema = ? AND table_name = ? ORDER BY index_name, seq_in_index";
const FOREIGN_KEYS: &str = "SELECT k.constraint_name, k.column_name, k.referenced_column_name, \
     IF(k.referenced_table_schema = DATABASE(), k.referenced_table_name, \
        CONCAT(k.referenced_table_schema, '.', k.referenced_table_name)), r.delete_rule \
     FROM information_schema.key_column_usage k \
     JOIN information_schema.referential_constraints r \
       ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name \
      AND r.table_name = k.table_name \
     WHERE k.table_schema = ? AND k.table_name = ? AND k.referenced_table_name IS NOT NULL \
     ORDER BY k.constraint_name, k.ordinal_position";
const REFERENCED_BY: &str = "SELECT CONCAT(k.table_schema, '.', k.table_name, '.', k.constraint_name), \
     k.referenced_column_name, k.column_name, \
     IF(k.table_schema = DATABASE(), k.table_name, CONCAT(k.table_schema, '.', k.table_name)), \
     r.delete_rule \
     FROM information_schema.key_column_usage k \
     JOIN information_schema.referential_constraints r \
       ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name \
      AND r.table_name = k.table_name \
     WHERE k.referenced_table_schema = ? AND k.referenced_table_name = ? \
     ORDER BY 1, k.ordinal_position";

fn column(row: Texts) -> ColumnDescription {
    let [
        name,
        type_name,
        nullable,
        default,
        extra,
        generated,
        comment,
    ] = columns(row);
    let extra = extra.unwrap_or_default().to_lowercase();
    // MariaDB writes the default that a nullable column has anyway.
    let default = default.filter(|d| d != "NULL");
    let default = match generated.filter(|g| !g.is_empty()) {
        Some(expression) => {
            let stored = if extra.contains("stored") {
                "stored"
            } else {
                "virtual"
            };
            Some(format!("generated always as ({expression}) {stored}"))
        }
        None if extra.contains("auto_increment") => Some("auto_increment".into()),
        None => match extra.find("on update") {
            Some(at) => {
                let update = extra.get(at..).unwrap_or_default();
                Some(
                    format!("{} {update}", default.unwrap_or_default())
                        .trim()
                        .to_owned(),
                )
            }
            None => default,
        },
    };
    ColumnDescription {
        name: name.unwrap_or_default(),
        type_name: type_name.unwrap_or_default(),
        nullable: nullable.as_deref() == Some("YES"),
        default,
        comment: comment.filter(|c| !c.is_empty()),
    }
}

fn indexes(rows: Vec<Texts>) -> (Vec<String>, Vec<IndexDescription>) {
    let mut primary = Vec::new();
    let mut found: Vec<IndexDescription> = Vec::new();
    for row in rows {
        let [name, non_unique, column, part] = columns(row);
        let (name, column) = (name.unwrap_or_default(), column.unwrap_or_default());
        let column = match part {
            Some(length) => format!("{column}({length})"),
            None => column,
        };
        if name == "PRIMARY" {
            primary.push(column);
            continue;
        }
        match found.last_mut().filter(|last| last.name == name) {
            Some(last) => last.columns.push(column),
            None => found.push(IndexDescription {
                name,
                columns: vec![column],
                unique: non_unique.as_deref() == Some("0"),
                condition: None,
            }),
        }
    }
    (primary, found)
}

fn foreign_keys(rows: Vec<Texts>) -> Vec<ForeignKey> {
    let mut found: BTreeMap<String, ForeignKey> = BTreeMap::new();
    for row in rows {
        let [constraint, own, other, table, rule] = columns(row);
        let key = found.entry(constraint.unwrap_or_default()).or_default();
        key.columns.extend(own);
        key.other_columns.extend(other);
        key.table = table.unwrap_or_default();
        let rule = rule.map(|r| r.to_lowercase());
        // To these servers RESTRICT is the same as NO ACTION.
        key.on_delete = rule.filter(|r| r != "no action" && r != "restrict");
    }
    found.into_values().collect()
}

/// The columns of a relation, by what sort of value they hold.
pub(super) async fn kinds(
    session: &mut Session,
    relation: &Name,
) -> Result<Vec<(String, ColumnKind)>, Refusal> {
    let schema = relation.schema.as_deref().unwrap_or_default();
    let rows = rows(session, KINDS, &[schema, &relation.name]).await?;
    let kind = |row: Texts| {
        let [name, data_type] = columns(row);
        let kind = ColumnKind::of(&data_type.unwrap_or_default());
        (name.unwrap_or_default().to_ascii_lowercase(), kind)
    };
    Ok(rows.into_iter().map(kind).collect())
}

const KINDS: &str = "SELECT column_name, data_type FROM information_schema.columns \
     WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ?";

/// The hint for a refusal about an unknown name.
pub(super) async fn nearest(
    session: &mut Session,
    statement: &Statement,
    refusal: &Refusal,
) -> Result<String, Refusal> {
    let unknown = refusal.message.split('\'').nth(1).unwrap_or_default();
    if refusal.code == Code::UnknownTable {
        let schema = unknown.split_once('.').map_or("", |(schema, _)| schema);
        let there = tables(session, schema).await?;
        return Ok(nearest::hint(unknown, &there, "tables"));
    }
    let mut there = Vec::new();
    for relation in statement.reads.iter().chain(&statement.writes) {
        let found = kinds(session, relation).await?;
        there.extend(found.into_iter().map(|(name, _)| name));
    }
    there.sort();
    there.dedup();
    Ok(nearest::hint(unknown, &there, "columns"))
}

async fn tables(session: &mut Session, schema: &str) -> Result<Vec<String>, Refusal> {
    let sql = "SELECT table_name FROM information_schema.tables \
               WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) ORDER BY 1";
    let rows = rows(session, sql, &[schema]).await?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

async fn rows(
    session: &mut Session,
    sql: &'static str,
    values: &[&str],
) -> Result<Vec<Texts>, Refusal> {
    let rows = session.texts(sql, values).await;
    rows.map_err(|error| errors::refusal(&error))
}

/// A row as so many columns.
fn columns<const N: usize>(row: Texts) -> [Option<String>; N] {
    let mut row = row.into_iter();
    std::array::from_fn(|_| row.next().flatten())
}

/// `db.t`, `t` and either part in backticks.
fn split(table: &str) -> (String, String) {
    let mut quoted = false;
    let dot = table.char_indices().find(|(_, c)| {
        quoted ^= *c == '`';
        *c == '.' && !quoted
    });
    let plain = |part: &str| {
        let inner = part.strip_prefix('`').and_then(|p| p.strip_suffix('`'));
        inner.map_or_else(|| part.to_owned(), |inner| inner.replace("``", "`"))
    };
    let parts = dot.and_then(|(at, _)| table.split_at_checked(at));
    match parts {
        Some((schema, name)) => (plain(schema), plain(name.strip_prefix('.').unwrap_or(name))),
        None => (String::new(), plain(table)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_the_dot_outside_backticks() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(split("users"), pair("", "users"));
        assert_eq!(split("shop.users"), pair("shop", "users"));
        assert_eq!(split("`a.b`.`c``d`"), pair("a.b", "c`d"));
    }
}
