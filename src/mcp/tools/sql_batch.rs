//! `sql_batch`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::broker::submit::{Answer, Ask, Wanted};
use crate::core::answer::{Column, Row};
use crate::core::refusal::Refusal;
use crate::core::report::PartReport;
use crate::mcp::tools::sql_execute::{AnyValue, Truncated, run};
use crate::mcp::tools::{Context, Reply};

/// The arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Batch")]
pub struct Args {
    statements: Vec<One>,
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    #[serde(default)]
    #[schemars(with = "String")]
    reason: Option<String>,
    #[serde(default)]
    #[schemars(with = "u32")]
    max_rows: Option<u32>,
    #[serde(default)]
    #[schemars(with = "u32")]
    timeout_ms: Option<u32>,
    #[serde(default)]
    #[schemars(with = "String")]
    idempotency_key: Option<String>,
}

/// One statement of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct One {
    sql: String,
    #[serde(default)]
    #[schemars(with = "Vec<AnyValue>")]
    params: Vec<Value>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Output {
    /// One for each statement.
    results: Vec<Part>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// Rows changed by all of it, where it is told once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    affected: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    effect: &'static str,
    elapsed_ms: u64,
    request: String,
}

/// Any object: what is in it is known from `sql_execute`, and each byte of a listing is paid for by every model.
impl JsonSchema for Output {
    fn schema_name() -> Cow<'static, str> {
        "BatchResult".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

#[derive(Debug, Serialize)]
struct Part {
    columns: Vec<Column>,
    rows: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<Truncated>,
}

/// Runs several statements at once, or waits for people who let them run.
pub(super) async fn call(args: Args, context: Context<'_>) -> Result<Reply, Refusal> {
    run(args.into(), context).await
}

impl From<Args> for Ask {
    fn from(args: Args) -> Self {
        let statements = args.statements.into_iter();
        Self {
            what: Wanted::Batch(statements.map(|one| (one.sql, one.params)).collect()),
            target: args.target,
            reason: args.reason,
            max_rows: args.max_rows,
            timeout_ms: args.timeout_ms,
            key: args.idempotency_key,
        }
    }
}

impl From<PartReport> for Part {
    fn from(part: PartReport) -> Self {
        Self {
            columns: part.columns,
            rows: part.rows,
            affected: part.affected,
            truncated: part.truncated.map(Truncated::from),
        }
    }
}

impl From<Answer> for Output {
    fn from(answer: Answer) -> Self {
        let report = answer.report;
        Self {
            results: report.parts.into_iter().map(Part::from).collect(),
            warnings: report.findings.iter().map(ToString::to_string).collect(),
            affected: report.affected.filter(|_| report.replayed),
            replayed: report.replayed,
            effect: report.effect.as_str(),
            elapsed_ms: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
            request: answer.request.into(),
        }
    }
}
