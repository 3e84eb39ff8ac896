//! A statement that the server has read and described: its parameters' and columns' types.

use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::Statement;

use super::errors;
use super::session::Session;
use crate::core::answer::Column;
use crate::core::refusal::Refusal;
use crate::core::schema::Described;

/// The cursor of a read. One read runs on a connection at a time.
pub(super) const CURSOR: &str = "secondkey_rows";

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) statement: Statement,
    /// The same statement as a cursor's, for reads.
    pub(super) declare: Option<Statement>,
    pub(super) columns: Vec<Column>,
    pub(super) since: Instant,
}

/// Prepares a statement on a session, or finds it prepared; `as_cursor` for reads.
pub(super) async fn prepare(
    session: &mut Session,
    sql: &str,
    as_cursor: bool,
) -> Result<Arc<Prepared>, Refusal> {
    if let Some(prepared) = session.prepared(sql) {
        return Ok(prepared);
    }
    let client = &session.client;
    // The line break ends a comment that the text may end in.
    let cursor = format!("declare {CURSOR} no scroll cursor for {sql}\n");
    let declare = async {
        if as_cursor {
            client.prepare(&cursor).await.map(Some)
        } else {
            Ok(None)
        }
    };
    let (statement, declare) = futures::join!(client.prepare(sql), declare);
    let statement = statement.map_err(|error| errors::refusal(&error))?;
    let declare = declare.map_err(|error| errors::refusal(&error))?;
    let columns = columns(session, &statement).await?;
    let prepared = Arc::new(Prepared {
        statement,
        declare,
        columns,
        since: Instant::now(),
    });
    session.keep(sql, Arc::clone(&prepared));
    Ok(prepared)
}

/// What the server says of a statement that is prepared and not kept.
pub(super) async fn describe(session: &Session, sql: &str) -> Result<Described, Refusal> {
    let statement = session.client.prepare(sql).await;
    let statement = statement.map_err(|error| errors::refusal(&error))?;
    let params = statement.params().iter().map(|kind| kind.name().to_owned());
    Ok(Described {
        params: params.collect(),
        columns: columns(session, &statement).await?,
        nullable: nullable(session, &statement, sql).await?,
    })
}

/// Words with which a column that is never null in its table can be null in an answer.
const ADD_NULLS: [&str; 7] = ["left", "right", "full", "outer", "rollup", "cube", "sets"];

/// Of each column whether it can be null: known of those that are a table's own and that nothing in the statement can
/// have added nulls to. A word in a text counts as well: less is known then, and nothing wrong.
async fn nullable(
    session: &Session,
    statement: &Statement,
    sql: &str,
) -> Result<Vec<Option<bool>>, Refusal> {
    let lower = sql.to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '_');
    if words.any(|word| ADD_NULLS.contains(&word)) {
        return Ok(vec![None; statement.columns().len()]);
    }
    let columns = statement.columns().iter();
    let (tables, numbers): (Vec<u32>, Vec<i16>) = columns
        .map(|column| {
            let place = column.table_oid().zip(column.column_id());
            place.unwrap_or((0, 0))
        })
        .unzip();
    let rows = session
        .client
        .query_typed(
            "select not a.attnotnull from unnest($1, $2) with ordinality as c(tab, number, n) \
             left join (pg_catalog.pg_attribute a join pg_catalog.pg_class t \
               on t.oid = a.attrelid and t.relkind in ('r', 'p')) \
             on a.attrelid = c.tab and a.attnum = c.number order by c.n",
            &[
                (&tables, tokio_postgres::types::Type::OID_ARRAY),
                (&numbers, tokio_postgres::types::Type::INT2_ARRAY),
            ],
        )
        .await
        .map_err(|error| errors::refusal(&error))?;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0).ok().flatten())
        .collect())
}

/// The columns with the types as the server writes them, modifiers included.
async fn columns(session: &Session, statement: &Statement) -> Result<Vec<Column>, Refusal> {
    if statement.columns().is_empty() {
        return Ok(Vec::new());
    }
    let oids: Vec<u32> = statement
        .columns()
        .iter()
        .map(|c| c.type_().oid())
        .collect();
    let modifiers: Vec<i32> = statement
        .columns()
        .iter()
        .map(tokio_postgres::Column::type_modifier)
        .collect();
    let rows = session
        .client
        .query_typed(
            "select pg_catalog.format_type(t.type, t.modifier) \
             from unnest($1, $2) with ordinality as t(type, modifier, n) order by t.n",
            &[
                (&oids, tokio_postgres::types::Type::OID_ARRAY),
                (&modifiers, tokio_postgres::types::Type::INT4_ARRAY),
            ],
        )
        .await
        .map_err(|error| errors::refusal(&error))?;
    let named = statement.columns().iter().zip(&rows);
    Ok(named
        .map(|(column, row)| Column {
            name: column.name().to_owned(),
            type_name: row.try_get(0).unwrap_or_else(|_| "unknown".to_owned()),
        })
        .collect())
}
