//! `/v1/me`: who the caller is, and what is there for them.

use std::collections::BTreeSet;

use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::broker::requests;
use crate::core::policy::Standing;
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::{NoBody, NoQuery};
use crate::relay::rest::operation::{Call, May, Operation};
use crate::relay::rest::problem::Problem;
use crate::relay::rest::targets::{TargetFacts, facts};

/// Who the caller is.
#[derive(Debug, JsonSchema, Serialize)]
struct Me {
    /// Who acts by this key.
    principal: String,
    roles: BTreeSet<String>,
    groups: BTreeSet<String>,
    workspace: String,
    /// Requests of the caller's own that wait for a person.
    waiting: u64,
    /// The targets that can be named, for whoever may reach a database.
    targets: Vec<TargetFacts>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::new(
        (Method::GET, "/v1/me"),
        ("me", "Who the caller is, and what is there for them"),
        May::Come,
        me,
    )]
}

async fn me(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Me>, Problem> {
    let broker = call.broker();
    let principal = &call.caller.principal;
    let Standing { roles, groups } = broker.standing(&call.caller);
    let targets = if May::Read.allows(&call.caller) {
        broker.link.targets().iter().map(|one| facts(one)).collect()
    } else {
        Vec::new()
    };
    Ok(Done(Me {
        principal: principal.to_string(),
        roles,
        groups,
        workspace: broker.state.log().workspace().to_owned(),
        waiting: requests::waiting(&broker.state, Some(principal)).await?,
        targets,
    }))
}
