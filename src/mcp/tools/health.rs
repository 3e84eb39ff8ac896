//! `health`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::broker::health::{self, TargetHealth};
use crate::mcp::tools::Context;

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Health {
    ok: bool,
    version: &'static str,
    /// The audit log can be written
    audit: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", default)]
    policy: Option<String>,
    #[serde(skip_serializing_if = "is_none")]
    // Not in the schema, which every model pays for and which allows more fields than it names.
    #[schemars(skip)]
    open_reviews: usize,
    /// Requests that wait for a person. It says itself, so it stands in no schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    waiting: Option<u64>,
    targets: Vec<Reached>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct Reached {
    name: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", default)]
    problem: Option<String>,
}

pub(super) async fn call(context: &Context<'_>) -> Health {
    let found = health::look(context.broker, context.caller).await;
    let reached = |target: TargetHealth| Reached {
        ok: target.problem.is_none(),
        name: target.name,
        problem: target.problem,
    };
    let broken = found.broken_policies;
    let targets: Vec<Reached> = found.targets.into_iter().map(reached).collect();
    Health {
        ok: found.audit
            && found.waiting.is_some()
            && broken.is_empty()
            && targets.iter().all(|target| target.ok),
        version: env!("CARGO_PKG_VERSION"),
        audit: found.audit,
        policy: (!broken.is_empty()).then(|| {
            let whose = broken.join(" and ");
            format!("the file of the {whose} policy is broken; the last good one is in force")
        }),
        open_reviews: found.open_reviews,
        waiting: found.waiting,
        targets,
    }
}

/// Nothing is said where there is nothing to do.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn is_none(open_reviews: &usize) -> bool {
    *open_reviews == 0
}
