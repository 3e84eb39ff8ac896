//! Whether a change can be rolled back at all: tables of engines without transactions keep what was done
//! to them, and a procedure can commit.

use std::collections::BTreeSet;

use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Statement;
use crate::exec::mysql::errors;
use crate::exec::mysql::session::Session;

/// The tables that the login can see and whose engine has no transactions.
const FIRM: &str = "SELECT t.table_schema, t.table_name, t.engine FROM information_schema.tables t \
     LEFT JOIN information_schema.engines e ON e.engine = t.engine \
     WHERE t.table_type = 'BASE TABLE' AND COALESCE(e.transactions, 'NO') <> 'YES' \
     AND t.table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') \
     ORDER BY t.table_schema, t.table_name";
const HERE: &str = "SELECT DATABASE()";

/// Refuses a change of which something could stay behind. A trigger can change any table of its database,
/// and whether there is one not every login may know: so all tables there have to have transactions.
pub(super) async fn can_be_undone(
    session: &mut Session,
    statement: &Statement,
) -> Result<(), Refusal> {
    if statement.kind == "call" {
        return Err(Refusal::new(
            Code::Forbidden,
            "a procedure can commit by itself, so this cannot be tried out and undone",
        ));
    }
    let failed = |error: sqlx::Error| errors::refusal(&error);
    let here = session.texts(HERE, &[]).await.map_err(failed)?;
    let here = here.into_iter().flatten().flatten().next();
    let schemas: BTreeSet<String> = statement
        .writes
        .iter()
        .filter_map(|name| name.schema.clone().or_else(|| here.clone()))
        .map(|schema| schema.to_ascii_lowercase())
        .collect();
    for row in session.texts(FIRM, &[]).await.map_err(failed)? {
        let [Some(schema), Some(table), engine] = row.as_slice() else {
            continue;
        };
        if schemas.contains(&schema.to_ascii_lowercase()) {
            let engine = engine.as_deref().unwrap_or("another");
            let message = format!(
                "the table `{schema}.{table}` is of the engine {engine}, which cannot roll back, so this cannot be tried out and undone"
            );
            return Err(Refusal::new(Code::Forbidden, message)
                .hint("have the table in InnoDB, or try the capability on a copy"));
        }
    }
    Ok(())
}
