//! `whoami`.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::broker::{health, requests};
use crate::core::mode::Mode;
use crate::core::policy::Standing;
use crate::core::refusal::Refusal;
use crate::core::target::Target;
use crate::mcp::tools::Context;
use crate::mcp::tools::health::is_none;

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Whoami {
    principal: String,
    // What says itself by its name costs a model nothing: it stands in no schema.
    #[schemars(skip)]
    roles: BTreeSet<String>,
    #[schemars(skip)]
    groups: BTreeSet<String>,
    /// Requests of the caller's own that wait for a person.
    #[schemars(skip)]
    waiting: u64,
    workspace: String,
    #[schemars(skip)]
    mode: &'static str,
    /// Of a relay nobody can say it for all agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    level: Option<&'static str>,
    #[serde(skip_serializing_if = "is_none")]
    // Not in the schema, which every model pays for and which allows more fields than it names.
    #[schemars(skip)]
    open_reviews: usize,
    targets: Vec<TargetFacts>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct TargetFacts {
    name: String,
    engine: &'static str,
    environment: String,
    /// Effects that run without approval
    allow: Vec<&'static str>,
}

pub(super) async fn call(context: &Context<'_>) -> Result<Whoami, Refusal> {
    let mode = context.broker.link.mode();
    let principal = &context.caller.principal;
    let Standing { roles, groups } = context.broker.standing(context.caller);
    let waiting = requests::waiting(&context.broker.state, Some(principal)).await?;
    let facts = |target: &Arc<Target>| TargetFacts {
        name: target.name.as_str().to_owned(),
        engine: target.engine.as_str(),
        environment: target.environment.clone(),
        allow: target.allow.iter().map(|effect| effect.as_str()).collect(),
    };
    Ok(Whoami {
        principal: principal.to_string(),
        roles,
        groups,
        waiting,
        workspace: context.broker.state.log().workspace().to_owned(),
        level: (mode == Mode::Local).then(|| context.level.as_str()),
        mode: mode.as_str(),
        open_reviews: health::open_reviews(context.broker).await,
        targets: context.broker.link.targets().iter().map(facts).collect(),
    })
}
