//! `vector_upsert`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::broker::submit::Ask;
use crate::broker::vectors::{Wish, wanted};
use crate::broker::{Broker, Caller};
use crate::core::refusal::Refusal;
use crate::core::vector::upsert::Upsert;
use crate::mcp::tools::sql_execute::run;
use crate::mcp::tools::{Context, Reply};

/// The arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VectorUpsert")]
pub struct Args {
    table: String,
    /// Values by column, vectors as arrays
    rows: Vec<Map<String, Value>>,
    #[serde(default)]
    #[schemars(default)]
    on: Vec<String>,
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    #[serde(default)]
    #[schemars(with = "String")]
    reason: Option<String>,
    #[serde(default)]
    #[schemars(with = "String")]
    idempotency_key: Option<String>,
}

impl Args {
    /// What is asked for, once its names are found in the catalogue.
    pub async fn ask(self, broker: &Broker, caller: &Caller) -> Result<Ask, Refusal> {
        let Self {
            table,
            rows,
            on,
            target,
            reason,
            idempotency_key,
        } = self;
        let wish = Wish::Upsert(Upsert { table, rows, on });
        Ok(Ask {
            what: wanted(broker, caller, target.as_deref(), wish).await?,
            target,
            reason,
            max_rows: None,
            timeout_ms: None,
            key: idempotency_key,
        })
    }
}

/// Puts rows in or changes them, or waits for people who allow it.
pub(super) async fn call(args: Args, context: Context<'_>) -> Result<Reply, Refusal> {
    let ask = args.ask(context.broker, context.caller).await?;
    run(ask, context).await
}
