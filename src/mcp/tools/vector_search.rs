//! `vector_search`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Number, Value};

use crate::broker::submit::Ask;
use crate::broker::vectors::{Wish, wanted};
use crate::broker::{Broker, Caller};
use crate::core::refusal::Refusal;
use crate::core::vector::search::{Metric, Search};
use crate::mcp::tools::sql_execute::run;
use crate::mcp::tools::{Context, Reply};

/// The arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VectorSearch")]
pub struct Args {
    table: String,
    column: String,
    #[schemars(with = "Vec<f64>")]
    embedding: Vec<Number>,
    k: u32,
    #[serde(default)]
    #[schemars(default)]
    metric: Metric,
    /// Columns with the value they must have, one of several, or null
    #[serde(default, rename = "where")]
    #[schemars(default)]
    conditions: Map<String, Value>,
    /// All but the vectors, unless named
    #[serde(default)]
    #[schemars(default)]
    columns: Vec<String>,
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    #[serde(default)]
    #[schemars(with = "String")]
    reason: Option<String>,
}

impl Args {
    /// What is asked for, once its names are found in the catalogue.
    pub async fn ask(self, broker: &Broker, caller: &Caller) -> Result<Ask, Refusal> {
        let Self {
            table,
            column,
            embedding,
            k,
            metric,
            conditions,
            columns,
            target,
            reason,
        } = self;
        let wish = Wish::Search(Search {
            table,
            column,
            embedding,
            k,
            metric,
            conditions,
            columns,
        });
        Ok(Ask {
            what: wanted(broker, caller, target.as_deref(), wish).await?,
            target,
            reason,
            max_rows: Some(k),
            timeout_ms: None,
            key: None,
        })
    }
}

/// Finds the nearest rows, or waits for people who allow it.
pub(super) async fn call(args: Args, context: Context<'_>) -> Result<Reply, Refusal> {
    let ask = args.ask(context.broker, context.caller).await?;
    run(ask, context).await
}
