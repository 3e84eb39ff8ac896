//! Requests for programs: one object on one line.

use serde_json::{Value, json};

use crate::broker::requests::Shown;
use crate::core::request::{RecordedVote, Request, Review};
use crate::core::time::Timestamp;
use crate::store::requests::Summary;

/// One line of a list.
pub(super) fn summary(summary: &Summary) -> String {
    json!({
        "request": summary.id,
        "state": summary.state.status(),
        "purpose": summary.purpose,
        "review": summary.review.as_ref().map(Review::as_str),
        "requester": summary.requester,
        "target": summary.target,
        "environment": summary.environment,
        "engine": summary.engine,
        "effect": summary.effect,
        "kind": summary.kind,
        "statement": summary.statement,
        "votes": summary.state.votes().len(),
        "created_ms": summary.created.unix_ms(),
        "updated_ms": summary.updated.unix_ms(),
        "until_ms": summary.state.due().map(Timestamp::unix_ms),
    })
    .to_string()
}

/// A request without its values.
pub(super) fn request(request: &Request) -> String {
    facts(request).to_string()
}

/// Everything about a request.
pub(super) fn shown(shown: &Shown) -> String {
    let mut facts = facts(&shown.request);
    if let Some(facts) = facts.as_object_mut() {
        let values = shown.values.as_ref().map(|values| &values.params);
        facts.insert("document".into(), json!(shown.document));
        facts.insert("values".into(), json!(values));
        facts.insert("requirements".into(), json!(shown.requirements));
        facts.insert("progress".into(), json!(shown.progress()));
    }
    facts.to_string()
}

fn facts(request: &Request) -> Value {
    let asked = request.asked();
    let votes: Vec<Value> = request.state().votes().iter().map(vote).collect();
    json!({
        "request": request.id(),
        "state": request.status(),
        "purpose": asked.purpose,
        "review": request.review().map(review),
        "requester": asked.requester,
        "target": asked.target,
        "environment": asked.environment,
        "engine": asked.engine,
        "effect": asked.effect,
        "kind": asked.kind,
        "statement": asked.statement,
        "document_digest": asked.document.digest(),
        "votes": votes,
        "created_ms": request.created().unix_ms(),
        "updated_ms": request.updated().unix_ms(),
        "until_ms": request.state().due().map(Timestamp::unix_ms),
    })
}

fn review(review: &Review) -> Value {
    match review {
        Review::Open { since } => json!({ "is": review.as_str(), "since_ms": since.unix_ms() }),
        Review::Closed(recorded) => json!({
            "is": review.as_str(),
            "since_ms": recorded.since.unix_ms(),
            "reviewer": recorded.reviewer,
            "key": recorded.key,
            "finding": recorded.finding,
            "outcome": recorded.outcome,
            "comment": recorded.comment,
            "surface": recorded.surface,
            "presence": recorded.presence,
            "at_ms": recorded.at.unix_ms(),
        }),
    }
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
