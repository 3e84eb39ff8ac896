//! `/v1/sql`: one statement or a batch, on the same way as over MCP.

use axum::http::Method;

use crate::mcp::tools::{sql_batch, sql_execute};
use crate::relay::rest::body::{Json, NoQuery};
use crate::relay::rest::executed::{Executed, executed};
use crate::relay::rest::operation::{Call, May, Operation};
use crate::relay::rest::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::POST, "/v1/sql/execute"),
            ("sqlExecute", "Run one statement, or have people asked"),
            May::RunSql,
            execute,
        )
        .keyed(),
        Operation::new(
            (Method::POST, "/v1/sql/batch"),
            (
                "sqlBatch",
                "Run up to 50 statements in one transaction, or have people asked",
            ),
            May::RunSql,
            batch,
        )
        .keyed(),
    ]
}

async fn execute(
    call: Call,
    _: NoQuery,
    Json(args): Json<sql_execute::Args>,
) -> Result<Executed<sql_execute::Output>, Problem> {
    executed(&call, args.into(), sql_execute::Output::from).await
}

async fn batch(
    call: Call,
    _: NoQuery,
    Json(args): Json<sql_batch::Args>,
) -> Result<Executed<sql_batch::Output>, Problem> {
    executed(&call, args.into(), sql_batch::Output::from).await
}
