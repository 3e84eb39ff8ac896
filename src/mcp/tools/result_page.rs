//! `result_page`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agent::pages::PageOfRows;
use crate::broker::collect;
use crate::core::answer::{Column, Row};
use crate::core::refusal::{Code, Refusal};
use crate::mcp::tools::Context;
use crate::mcp::tools::sql_execute::Truncated;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    handle: String,
    /// First row wanted: the `next` of the page before
    from: u64,
    #[serde(default)]
    #[schemars(with = "u32")]
    max_rows: Option<u32>,
}

/// A further page of a result.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Page {
    columns: Vec<Column>,
    #[schemars(with = "Vec<Vec<super::sql_execute::AnyValue>>")]
    rows: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Truncated", default)]
    truncated: Option<Truncated>,
}

pub(super) async fn call(args: Args, context: &Context<'_>) -> Result<Page, Refusal> {
    let Args {
        handle,
        from,
        max_rows,
    } = args;
    let page = collect::page(context.broker, context.caller, &handle, from, max_rows);
    // The rows may still be on their way; whoever has left does not wait for them.
    let page = tokio::select! {
        page = page => page?,
        () = context.cancel.cancelled() => {
            return Err(Refusal::new(Code::Cancelled, "the call was cancelled"));
        }
    };
    Ok(page.into())
}

impl From<PageOfRows> for Page {
    fn from(page: PageOfRows) -> Self {
        Self {
            columns: page.columns,
            rows: page.rows,
            truncated: page.truncated.map(Truncated::from),
        }
    }
}
