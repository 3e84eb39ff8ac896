//! `/v1/policy`: the workspace's policy as it is in force, and what it says of a request.

use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::broker::{explain, requests};
use crate::core::policy::Outcome;
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::{NoBody, NoQuery};
use crate::relay::rest::operation::{Call, May, Operation, blocking};
use crate::relay::rest::problem::Problem;
use crate::relay::rest::requests::visible;

/// The policy in force.
#[derive(Debug, JsonSchema, Serialize)]
struct Policy {
    /// Its text, in Cedar.
    text: String,
    /// SHA-256 of the text.
    digest: String,
    /// Whether it ships with the program.
    built_in: bool,
    /// Whether its file is broken now, so that an older state of it is in force.
    stale: bool,
}

/// What the workspace's policy says of a request now. The agent judges by a policy of its own, too.
#[derive(Debug, JsonSchema, Serialize)]
struct Explained {
    /// `allow`, `ask` or `deny`.
    outcome: &'static str,
    /// Why not; whose signatures it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    wants: Vec<String>,
    /// The rules that decided, by name.
    rules: Vec<String>,
    /// What they say to the caller.
    reasons: Vec<String>,
    /// Rules that allow it too and change nothing, because others ask.
    overshadowed: Vec<String>,
    /// The policy's digest.
    digest: String,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, "/v1/policy"),
            ("policy", "The workspace's policy as it is in force"),
            May::Administer,
            policy,
        ),
        Operation::new(
            (Method::GET, "/v1/requests/{id}/explanation"),
            (
                "requestExplanation",
                "What the workspace's policy says of a request now",
            ),
            May::Come,
            explained,
        ),
    ]
}

async fn policy(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Policy>, Problem> {
    let policies = &call.broker().policies;
    let current = policies.current();
    Ok(Done(Policy {
        text: current.text().to_owned(),
        digest: current.digest().to_string(),
        built_in: policies.file().is_none(),
        stale: policies.problem().is_some(),
    }))
}

async fn explained(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Explained>, Problem> {
    let request = visible(&call, &call.request()?).await?;
    let state = call.broker().state.clone();
    let id = request.id().clone();
    let shown = blocking(move || requests::show(&state, &id)).await?;
    let said = explain::workspace(call.broker(), &shown).await?.explanation;
    let (outcome, wants) = match &said.judgement.outcome {
        Outcome::Allow => ("allow", Vec::new()),
        Outcome::Ask(requirements) => {
            let wants = requirements.iter().map(ToString::to_string);
            ("ask", wants.collect())
        }
        Outcome::Deny(denial) => ("deny", vec![denial.as_str().to_owned()]),
    };
    Ok(Done(Explained {
        outcome,
        wants,
        rules: said.judgement.rules,
        reasons: said.judgement.reasons,
        overshadowed: said.overshadowed,
        digest: said.judgement.digest.to_string(),
    }))
}
