//! `/v1/vectors`: search by nearness and rows with vectors, on the same way as over MCP.

use axum::http::Method;

use crate::mcp::tools::{sql_execute, vector_search, vector_upsert};
use crate::relay::rest::body::{Json, NoQuery};
use crate::relay::rest::executed::{Executed, executed};
use crate::relay::rest::operation::{Call, May, Operation};
use crate::relay::rest::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::POST, "/v1/vectors/search"),
            (
                "vectorSearch",
                "Find the rows with the nearest vectors, or have people asked",
            ),
            May::SearchVectors,
            search,
        ),
        Operation::new(
            (Method::POST, "/v1/vectors/upsert"),
            (
                "vectorUpsert",
                "Put in rows with vectors or change them, or have people asked",
            ),
            May::PutVectors,
            upsert,
        )
        .keyed(),
    ]
}

async fn search(
    call: Call,
    _: NoQuery,
    Json(args): Json<vector_search::Args>,
) -> Result<Executed<sql_execute::Output>, Problem> {
    let ask = args.ask(call.broker(), &call.caller).await?;
    executed(&call, ask, sql_execute::Output::from).await
}

async fn upsert(
    call: Call,
    _: NoQuery,
    Json(args): Json<vector_upsert::Args>,
) -> Result<Executed<sql_execute::Output>, Problem> {
    let ask = args.ask(call.broker(), &call.caller).await?;
    executed(&call, ask, sql_execute::Output::from).await
}
