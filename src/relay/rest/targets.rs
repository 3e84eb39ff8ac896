//! `/v1/targets`: the databases that can be named, and what is in them.

use std::collections::BTreeMap;

use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::broker::catalogue;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::TableDescription;
use crate::core::target::Target;
use crate::mcp::tools::list_tables::Tables;
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::{NoBody, NoQuery};
use crate::relay::rest::operation::{Call, May, Operation};
use crate::relay::rest::problem::Problem;

/// The targets.
#[derive(Debug, JsonSchema, Serialize)]
struct Targets {
    targets: Vec<TargetFacts>,
}

/// One database in one environment.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct TargetFacts {
    name: String,
    engine: &'static str,
    environment: String,
    labels: BTreeMap<String, String>,
    /// Effects that run without approval.
    allow: Vec<&'static str>,
}

pub(super) fn facts(target: &Target) -> TargetFacts {
    TargetFacts {
        name: target.name.as_str().to_owned(),
        engine: target.engine.as_str(),
        environment: target.environment.clone(),
        labels: target.labels.clone(),
        allow: target.allow.iter().map(|effect| effect.as_str()).collect(),
    }
}

/// Which tables.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only those of this schema.
    #[serde(default)]
    #[schemars(with = "String")]
    schema: Option<String>,
    /// Only those whose name or comment holds this.
    #[serde(default)]
    #[schemars(with = "String")]
    search: Option<String>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, "/v1/targets"),
            ("targets", "The databases that can be named"),
            May::Read,
            targets,
        ),
        Operation::new(
            (Method::GET, "/v1/targets/{target}/tables"),
            ("tables", "The tables and views of a target"),
            May::RunSql,
            tables,
        ),
        Operation::new(
            (Method::GET, "/v1/targets/{target}/tables/{table}"),
            ("table", "One table or view of a target"),
            May::RunSql,
            table,
        ),
    ]
}

async fn targets(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Targets>, Problem> {
    let targets = call.broker().link.targets();
    let targets = targets.iter().map(|one| facts(one)).collect();
    Ok(Done(Targets { targets }))
}

async fn tables(call: Call, wanted: Wanted, _: NoBody) -> Result<Done<Tables>, Problem> {
    let (schema, search) = (wanted.schema.as_deref(), wanted.search.as_deref());
    let target = Some(call.named("target"));
    let found = catalogue::list_tables(call.broker(), &call.caller, target, schema, search).await;
    Ok(Done(Tables::fitting(found.map_err(in_path)?)))
}

async fn table(call: Call, _: NoQuery, _: NoBody) -> Result<Done<TableDescription>, Problem> {
    let target = Some(call.named("target"));
    let table = call.named("table");
    let found = catalogue::describe_table(call.broker(), &call.caller, target, table).await;
    Ok(Done(found.map_err(in_path)?))
}

/// What is named in the path and does not exist is not found.
fn in_path(refusal: Refusal) -> Problem {
    let named = matches!(refusal.code, Code::UnknownTarget | Code::UnknownTable);
    let problem = Problem::from(refusal);
    if named { problem.missing() } else { problem }
}
