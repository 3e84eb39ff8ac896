//! `whoami`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::core::target::Target;
use crate::mcp::tools::Context;

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Whoami {
    principal: String,
    workspace: String,
    level: &'static str,
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

pub(super) fn call(context: &Context<'_>) -> Whoami {
    let facts = |target: &Target| TargetFacts {
        name: target.name.as_str().to_owned(),
        engine: target.engine.as_str(),
        environment: target.environment.clone(),
        allow: target.allow.iter().map(|effect| effect.as_str()).collect(),
    };
    Whoami {
        principal: context.caller.principal.to_string(),
        workspace: context.broker.state.log().workspace().to_owned(),
        level: context.level.as_str(),
        targets: context.broker.targets.iter().map(facts).collect(),
    }
}
