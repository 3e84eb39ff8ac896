//! `sql_execute`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent;
use crate::broker::approvals;
use crate::broker::submit::{Answer, Ask, Submitted, Wanted, submit};
use crate::core::answer::{Column, Row};
use crate::core::refusal::Refusal;
use crate::mcp::tasks::Form;
use crate::mcp::tools::waiting::{Waited, wait};
use crate::mcp::tools::{Context, Reply, executed, to_json};

/// The arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Statement")]
pub struct Args {
    sql: String,
    #[serde(default)]
    #[schemars(with = "Vec<AnyValue>")]
    params: Vec<Value>,
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    /// Why, for the audit log
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

/// The answer.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Result")]
pub struct Output {
    columns: Vec<Column>,
    #[schemars(with = "Vec<Vec<AnyValue>>")]
    rows: Vec<Row>,
    /// Rows changed
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", default)]
    affected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Truncated", default)]
    truncated: Option<Truncated>,
    /// Likely mistakes, with what to write instead
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    warnings: Vec<String>,
    /// It ran before under this key, and its rows are not kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(skip)]
    replayed: bool,
    effect: &'static str,
    elapsed_ms: u64,
    /// The audit log's id of this call
    request: String,
}

impl Output {
    /// The answer as JSON. The rows are moved: they are JSON already, and there may be very many.
    pub(super) fn into_json(mut self) -> Result<Value, Refusal> {
        let rows = std::mem::take(&mut self.rows);
        let mut answer = to_json(&self)?;
        if let Some(place) = answer.get_mut("rows") {
            *place = rows.into_iter().map(Value::Array).collect();
        }
        Ok(answer)
    }
}

/// What an answer leaves out.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Truncated {
    /// The limit: rows, bytes, time or spool; error if it broke
    by: &'static str,
    shown: u64,
    /// The result has at least so many rows
    at_least: u64,
    /// `at_least` is the exact number
    exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", default)]
    handle: Option<String>,
    next: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", default)]
    note: Option<String>,
}

impl From<agent::Truncated> for Truncated {
    fn from(cut: agent::Truncated) -> Self {
        Self {
            by: cut.by.as_str(),
            shown: cut.shown,
            at_least: cut.at_least,
            exact: cut.exact,
            handle: cut.handle.map(String::from),
            next: cut.next,
            note: cut.note,
        }
    }
}

/// Any JSON value, as the empty schema: some clients stumble over the bare `true`.
#[derive(Debug)]
pub struct AnyValue;

impl JsonSchema for AnyValue {
    fn schema_name() -> Cow<'static, str> {
        "AnyValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// Runs one statement, or waits for people who let it run.
pub(super) async fn call(args: Args, context: Context<'_>) -> Result<Reply, Refusal> {
    run(Ask::from(args), context).await
}

/// Runs what is asked for, or waits for people who let it run.
pub(super) async fn run(ask: Ask, context: Context<'_>) -> Result<Reply, Refusal> {
    let Context { broker, caller, .. } = context;
    let request = if let Some(id) = &context.resumed {
        approvals::resumed(broker, caller, id, ask).await?
    } else {
        // Boxed: it holds everything that a statement can need.
        match Box::pin(submit(broker, caller, ask, context.cancel.clone())).await? {
            Submitted::Ran(answer) => return executed(*answer).map(Reply::Done),
            Submitted::Filed(id) => approvals::own(broker, caller, &id).await?,
        }
    };
    match wait(&context, request).await? {
        Waited::Ran(answer) => executed(*answer).map(Reply::Done),
        Waited::Opens(request) => Ok(Reply::Opens(request)),
        Waited::Task(request) => Ok(Reply::Task(request, Form::Statement)),
    }
}

impl From<Args> for Ask {
    fn from(args: Args) -> Self {
        Self {
            what: Wanted::Sql {
                text: args.sql,
                params: args.params,
            },
            target: args.target,
            reason: args.reason,
            max_rows: args.max_rows,
            timeout_ms: args.timeout_ms,
            key: args.idempotency_key,
        }
    }
}

impl From<Answer> for Output {
    fn from(answer: Answer) -> Self {
        let report = answer.report;
        Self {
            columns: report.columns,
            rows: report.rows,
            affected: report.affected,
            truncated: report.truncated.map(Truncated::from),
            warnings: report.findings.iter().map(ToString::to_string).collect(),
            replayed: report.replayed,
            effect: report.effect.as_str(),
            elapsed_ms: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
            request: answer.request.into(),
        }
    }
}
