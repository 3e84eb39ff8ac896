//! Policy: who may do what, where. A decision is a value; only an allowing one turns into a grant.

use crate::core::ids::{AgentId, RequestId};
use crate::core::limits::Limits;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::{Effect, Statement};
use crate::core::target::Target;
use crate::core::work::{Digest, Work};

/// Everything a decision is made from.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The request this is about.
    pub request: &'a RequestId,
    /// Who asks.
    pub principal: &'a Principal,
    /// Where it would run.
    pub target: &'a Target,
    /// Which executor would run it.
    pub agent: &'a AgentId,
    /// What would run.
    pub work: &'a Work,
    /// What the statement can do.
    pub statement: &'a Statement,
    /// The executor's own judgement, where it has looked already and found worse.
    pub found: Option<&'a Statement>,
    /// The limits that the caller asked for.
    pub limits: Limits,
}

/// The outcome of a policy.
#[derive(Debug)]
#[must_use = "a decision that nobody reads protects nothing"]
pub enum Decision {
    /// It may run.
    Allow(Grant),
    /// It may run once humans have agreed.
    Ask(Refusal),
    /// It may not run.
    Deny(Refusal),
}

/// Permission to run one work once, on one target, by one agent. Only [`decide`] makes one.
#[derive(Debug)]
pub struct Grant {
    pub(in crate::core) request: RequestId,
    pub(in crate::core) principal: Principal,
    pub(in crate::core) target: String,
    pub(in crate::core) agent: AgentId,
    pub(in crate::core) work: Digest,
    pub(in crate::core) effect: Effect,
    pub(in crate::core) reads: Vec<String>,
    pub(in crate::core) writes: Vec<String>,
    pub(in crate::core) limits: Limits,
}

/// Decides by the target's own configuration: what it allows runs, `admin` is refused, and the
/// rest needs a human.
pub fn decide(ask: &Ask<'_>) -> Decision {
    let judged = ask.found.unwrap_or(ask.statement);
    let effect = judged.effect.max(ask.statement.effect);
    if ask.target.allow.contains(&effect) {
        return Decision::Allow(grant(ask, effect));
    }
    let what = match judged.because() {
        because if because.is_empty() => format!("its effect is `{effect}`"),
        because => format!("it {because} (effect `{effect}`)"),
    };
    if effect == Effect::Admin {
        return Decision::Deny(
            Refusal::new(
                Code::Forbidden,
                format!("this statement is refused on `{}`: {what}", ask.target.name),
            )
            .hint("work of this kind is for the people who run the database; ask them"),
        );
    }
    Decision::Ask(
        Refusal::new(
            Code::ApprovalRequired,
            format!(
                "this statement needs a human's approval on `{}`: {what}",
                ask.target.name
            ),
        )
        .hint(format!(
            "{} without approval; a person can allow `{effect}` in the target's configuration",
            what_runs(ask.target)
        )),
    )
}

/// Such as "only `read` runs here".
fn what_runs(target: &Target) -> String {
    let allowed: Vec<String> = target
        .allow
        .iter()
        .map(|effect| format!("`{effect}`"))
        .collect();
    match allowed.as_slice() {
        [] => "nothing runs here".to_owned(),
        [one] => format!("only {one} runs here"),
        several => format!("only {} run here", several.join(" and ")),
    }
}

fn grant(ask: &Ask<'_>, effect: Effect) -> Grant {
    let names = |set: &std::collections::BTreeSet<_>| {
        set.iter()
            .map(|n: &crate::core::statement::Name| n.to_string())
            .collect()
    };
    Grant {
        request: ask.request.clone(),
        principal: ask.principal.clone(),
        target: ask.target.name.as_str().to_owned(),
        agent: ask.agent.clone(),
        work: ask.work.digest(),
        effect,
        reads: names(&ask.statement.reads),
        writes: names(&ask.statement.writes),
        limits: ask.limits.intersect(ask.target.limits),
    }
}
