//! `describe_table`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::broker::catalogue;
use crate::core::refusal::Refusal;
use crate::core::schema::TableDescription;
use crate::mcp::tools::Context;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// Name, or schema.name
    table: String,
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
}

pub(super) async fn call(args: Args, context: &Context<'_>) -> Result<TableDescription, Refusal> {
    let target = args.target.as_deref();
    catalogue::describe_table(context.broker, context.caller, target, &args.table).await
}
