//! `/v1/agents`: those that have joined.

use std::collections::BTreeSet;

use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::core::ids::AgentId;
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::{NoBody, NoQuery};
use crate::relay::rest::operation::{Call, May, Operation};
use crate::relay::rest::problem::Problem;

/// The agents.
#[derive(Debug, JsonSchema, Serialize)]
struct Agents {
    agents: Vec<Agent>,
}

/// One agent.
#[derive(Debug, JsonSchema, Serialize)]
struct Agent {
    id: String,
    /// Whether it is here and takes work.
    connected: bool,
    /// How far its clock is before the relay's, in milliseconds, if it was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    clock_offset_ms: Option<i64>,
    /// The names of targets that it may serve.
    may_serve: Vec<String>,
    /// When it joined, unix milliseconds.
    joined_ms: i64,
    /// When it was last connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    seen_ms: Option<i64>,
    /// When it was put out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    revoked_ms: Option<i64>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::new(
        (Method::GET, "/v1/agents"),
        ("agents", "Every agent that ever joined"),
        May::Administer,
        agents,
    )]
}

async fn agents(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Agents>, Problem> {
    let members = call.workspace.members.members().await?;
    let here: BTreeSet<AgentId> = call.workspace.fleet.here().into_iter().collect();
    let vitals = call.workspace.fleet.vitals();
    let agents = members.into_iter().map(|member| {
        let vitals = vitals.iter().find(|vitals| vitals.agent == member.id);
        Agent {
            connected: here.contains(&member.id),
            clock_offset_ms: vitals.and_then(|vitals| vitals.clock_offset_ms),
            id: member.id.into(),
            may_serve: member.may_serve.into_iter().map(String::from).collect(),
            joined_ms: member.joined_ms,
            seen_ms: member.seen_ms,
            revoked_ms: member.revoked_ms,
        }
    });
    Ok(Done(Agents {
        agents: agents.collect(),
    }))
}
