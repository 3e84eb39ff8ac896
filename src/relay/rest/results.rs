//! `/v1/results`: further pages of a result.

use axum::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::broker::collect;
use crate::core::refusal::{Code, Refusal};
use crate::mcp::tools::result_page::Page;
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::NoBody;
use crate::relay::rest::operation::{Call, May, Operation};
use crate::relay::rest::problem::Problem;

/// Which rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// First row wanted: the `next` of the page before.
    #[serde(default)]
    from: u64,
    /// How many rows at most.
    #[serde(default)]
    #[schemars(with = "u32")]
    max_rows: Option<u32>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::new(
        (Method::GET, "/v1/results/{handle}"),
        ("resultPage", "A further page of a result"),
        May::RunSql,
        page,
    )]
}

async fn page(call: Call, wanted: Wanted, _: NoBody) -> Result<Done<Page>, Problem> {
    let (broker, caller) = (call.broker(), &call.caller);
    let Wanted { from, max_rows } = wanted;
    let page = collect::page(broker, caller, call.named("handle"), from, max_rows);
    // The rows may still be on their way; whoever has left does not wait for them.
    tokio::select! {
        page = page => Ok(Done(page?.into())),
        () = call.cancel.cancelled() => {
            Err(Refusal::new(Code::Cancelled, "the call was cancelled").into())
        }
    }
}
