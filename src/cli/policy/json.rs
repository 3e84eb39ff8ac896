//! Policies for programs: one object on one line. The word `about` says which fields it has.

use serde_json::{Value, json};

use crate::broker::requests::Shown;
use crate::cli::policy::cases::title;
use crate::cli::policy::source::{Named, Trust};
use crate::core::limits::Limits;
use crate::core::policy::cases::Case;
use crate::core::policy::set::Explanation;
use crate::core::policy::{Facts, Judgement, OutOfReach, Outcome, Problems};
use crate::core::request::RecordedVote;
use crate::core::review::Finding;
use crate::core::time::Timestamp;

/// Which trust file groups are checked against; `problem` says why it cannot be known.
pub(super) fn trust(trust: &Trust) -> String {
    let problem = match trust {
        Trust::Unknown(why) => Some(why),
        Trust::Pinned(_) | Trust::None => None,
    };
    let version = trust.file().map(|trust| trust.version);
    json!({"about": "trust", "version": version, "problem": problem}).to_string()
}

/// A policy without a mistake.
pub(super) fn good(one: &Named) -> String {
    json!({
        "about": "policy",
        "policy": one.shown,
        "rules": one.policy.len(),
        "digest": one.policy.digest(),
    })
    .to_string()
}

/// Each mistake.
pub(super) fn problems(bad: &[Problems]) -> impl Iterator<Item = String> {
    bad.iter().flat_map(|problems| {
        problems.list.iter().map(|one| {
            json!({
                "about": "problem",
                "policy": problems.file,
                "line": one.line,
                "column": one.column,
                "message": one.message,
                "hint": one.hint,
            })
            .to_string()
        })
    })
}

/// A quorum that can never be met.
pub(super) fn out_of_reach(one: &Named, short: &OutOfReach) -> String {
    json!({
        "about": "out_of_reach",
        "policy": one.shown,
        "requirement": short.requirement,
        "step": short.short.step,
        "people": short.short.by,
        "message": short.to_string(),
    })
    .to_string()
}

/// Plain permits that do nothing in a case.
pub(super) fn overshadowed(one: &Named, case: &Case, answer: &Explanation) -> String {
    json!({
        "about": "overshadowed",
        "policy": one.shown,
        "case": title(case),
        "permits": answer.overshadowed,
        "by": answer.judgement.rules,
    })
    .to_string()
}

/// A case and what came of it; `objection` is null when that is as expected.
pub(super) fn case(
    one: &Named,
    case: &Case,
    answer: &Explanation,
    objection: Option<&str>,
) -> String {
    with(
        said(&answer.judgement),
        json!({
            "about": "case",
            "policy": one.shown,
            "case": title(case),
            "sql": case.sql,
            "expect": case.expect,
            "objection": objection,
        }),
    )
}

/// How the cases went.
pub(super) fn summary(cases: usize, wrong: usize) -> String {
    json!({"about": "summary", "cases": cases, "wrong": wrong}).to_string()
}

/// What is asked, by whom, where.
pub(super) fn question(facts: &Facts<'_>) -> String {
    json!({
        "about": "question",
        "requester": facts.principal,
        "roles": facts.standing.roles,
        "groups": facts.standing.groups,
        "target": facts.target.name.as_str(),
        "environment": facts.target.environment,
        "engine": facts.target.engine,
        "effect": facts.effect.max(facts.statement.effect),
        "kind": facts.statement.kind,
        "because": facts.statement.because(),
    })
    .to_string()
}

/// What one policy says.
pub(super) fn judgement(by: &str, policy: &str, answer: &Explanation) -> String {
    with(
        said(&answer.judgement),
        json!({
            "about": "judgement",
            "by": by,
            "policy": policy,
            "overshadowed": answer.overshadowed,
        }),
    )
}

/// What both say together.
pub(super) fn together(judgement: Judgement) -> String {
    let answer = Explanation {
        judgement,
        overshadowed: Vec::new(),
    };
    self::judgement("together", "", &answer)
}

/// That what the policies say of a request cannot be told.
pub(super) fn unknown(why: &str) -> String {
    json!({"about": "unknown", "message": why}).to_string()
}

/// A request: what was asked of whom, and who has signed.
pub(super) fn request(shown: &Shown) -> String {
    let asked = shown.request.asked();
    let asks = shown.requirements.iter().zip(shown.progress());
    let asks: Vec<Value> = asks
        .map(|(requirement, progress)| {
            json!({
                "requirement": requirement,
                "met": progress.is_met(),
                "steps": progress.steps,
            })
        })
        .collect();
    let votes = shown.request.state().votes().iter();
    let votes: Vec<Value> = votes.map(vote).collect();
    json!({
        "about": "request",
        "request": shown.request.id(),
        "state": shown.request.status(),
        "requester": shown.document.requester,
        "target": shown.document.target,
        "environment": shown.document.environment,
        "engine": shown.document.engine,
        "effect": shown.document.effect,
        "kind": shown.document.kind,
        "because": shown.document.because,
        "workspace_policy": asked.workspace_policy,
        "agent_policy": asked.agent_policy,
        "asks": asks,
        "votes": votes,
        "until_ms": shown.request.state().due().map(Timestamp::unix_ms),
    })
    .to_string()
}

fn vote(vote: &RecordedVote) -> Value {
    json!({
        "signer": vote.signer,
        "key": vote.key,
        "decision": vote.decision,
        "comment": vote.comment,
        "surface": vote.surface,
        "presence": vote.presence,
        "at_ms": vote.at.unix_ms(),
    })
}

/// Both objects as one line.
fn with(mut one: Value, mut other: Value) -> String {
    if let (Some(one), Some(other)) = (one.as_object_mut(), other.as_object_mut()) {
        one.append(other);
    }
    one.to_string()
}

fn said(judgement: &Judgement) -> Value {
    let (outcome, denial, asks): (_, _, &[_]) = match &judgement.outcome {
        Outcome::Allow => ("allow", None, &[]),
        Outcome::Ask(asks) => ("ask", None, asks),
        Outcome::Deny(denial) => ("deny", Some(denial), &[]),
    };
    let Limits {
        rows,
        bytes,
        time_ms,
    } = judgement.limits;
    json!({
        "digest": judgement.digest,
        "outcome": outcome,
        "denial": denial,
        "asks": asks,
        "rules": judgement.rules,
        "reasons": judgement.reasons,
        "limits": {"rows": rows, "bytes": bytes, "time_ms": time_ms},
        "findings": judgement.findings.iter().copied().map(finding).collect::<Vec<_>>(),
    })
}

fn finding(finding: Finding) -> Value {
    json!({
        "rule": finding.rule,
        "level": finding.level,
        "message": finding.to_string(),
    })
}
