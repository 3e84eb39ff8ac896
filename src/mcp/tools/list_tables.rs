//! `list_tables`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::broker::catalogue;
use crate::core::answer::json_bytes;
use crate::core::limits::Limits;
use crate::core::refusal::Refusal;
use crate::core::schema::TableSummary;
use crate::mcp::tools::Context;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    #[serde(default)]
    #[schemars(with = "String")]
    schema: Option<String>,
    #[serde(default)]
    #[schemars(with = "String")]
    search: Option<String>,
}

/// Tables, as many as fit.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Tables {
    tables: Vec<TableSummary>,
    /// Tables left out for their number; narrow with search
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(default)]
    left_out: usize,
}

impl Tables {
    /// As many of the tables as an answer of the default size holds.
    pub fn fitting(mut tables: Vec<TableSummary>) -> Self {
        let all = tables.len();
        tables.truncate(fitting(&tables));
        Self {
            left_out: all - tables.len(),
            tables,
        }
    }
}

pub(super) async fn call(args: Args, context: &Context<'_>) -> Result<Tables, Refusal> {
    let Args {
        target,
        schema,
        search,
    } = args;
    let (schema, search) = (schema.as_deref(), search.as_deref());
    let tables = catalogue::list_tables(
        context.broker,
        context.caller,
        target.as_deref(),
        schema,
        search,
    )
    .await?;
    Ok(Tables::fitting(tables))
}

/// How many of the tables fit into an answer of the default size.
fn fitting(tables: &[TableSummary]) -> usize {
    let mut room = Limits::DEFAULT.bytes as usize;
    tables
        .iter()
        .take_while(|table| {
            let size = serde_json::to_value(table).map_or(0, |value| json_bytes(&[value]));
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        })
        .count()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
