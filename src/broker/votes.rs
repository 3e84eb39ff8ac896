//! Votes: a signed verdict comes in, is verified, and counts.
//!
//! Whoever executes believes none of this: the signatures travel along and are verified again there.

use std::sync::Arc;

use crate::broker::requests;
use crate::core::approval::{SignedVerdict, VerifiedVerdict, verify};
use crate::core::audit::{Draft, EventKind};
use crate::core::ids::RequestId;
use crate::core::policy::Requirement;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Change, Decision, RecordedVote, Request, Standing};
use crate::core::signer::Vote;
use crate::core::time::Timestamp;
use crate::core::trust::TrustFile;
use crate::store::State;

/// Verifies a verdict on a request and counts it; gives the request after it. A refusal is in the
/// audit log before it is returned.
pub async fn cast(
    state: &State,
    id: &RequestId,
    signed: SignedVerdict,
) -> Result<Request, Refusal> {
    match count(state, id, signed).await {
        Ok(request) => Ok(request),
        Err(refusal) => {
            let draft = Draft::new(state.now(), EventKind::VoteRefused).request(id);
            state.log().append(draft.refusal(&refusal)).await?;
            Err(refusal)
        }
    }
}

async fn count(state: &State, id: &RequestId, signed: SignedVerdict) -> Result<Request, Refusal> {
    let trust = pinned(state)?;
    let counted = state.requests().transact(id, move |request, now| {
        decide(request, now, &trust, &signed)
    });
    Ok(counted.await?)
}

/// The pinned trust file, without which nobody's signature counts.
pub fn pinned(state: &State) -> Result<Arc<TrustFile>, Refusal> {
    state.trust()?.ok_or_else(|| {
        Refusal::new(
            Code::TrustRefused,
            "there is no trust file yet, so nobody's signature counts",
        )
        .hint("run `secondkey trust init` to make one with a key of your own")
    })
}

/// Inside the transaction: the request as it is now, and the time.
fn decide(
    request: Request,
    now: Timestamp,
    trust: &TrustFile,
    signed: &SignedVerdict,
) -> Result<Change, Refusal> {
    let document = requests::document(&request)?;
    let requirements = requests::requirements(&request)?;
    let verified = verify(signed, &document, trust, now)?;
    check_eligible(&verified, &requirements, &document.requester)?;
    let vote = recorded(&verified, signed, now);
    let change = request.vote(vote, now, |votes| {
        standing(votes, &requirements, &document.requester)
    })?;
    Ok(change)
}

/// Refuses a vote that would change nothing, in words for whoever gave it.
fn check_eligible(
    verified: &VerifiedVerdict,
    requirements: &[Requirement],
    requester: &Principal,
) -> Result<(), Refusal> {
    let vote = verified.vote();
    let objections = requirements
        .iter()
        .map(|requirement| match verified.decision() {
            Decision::Approve => requirement.objection(&vote, requester),
            Decision::Reject => objection_to_reject(requirement, &vote, requester),
        });
    let objections: Vec<Option<String>> = objections.collect();
    if objections.iter().any(Option::is_none) {
        return Ok(());
    }
    let mut words: Vec<String> = objections.into_iter().flatten().collect();
    words.sort();
    words.dedup();
    if words.is_empty() {
        words.push("nobody is asked about this request".to_owned());
    }
    Err(
        Refusal::new(Code::ApprovalRefused, words.join("; and ")).hint(match verified.decision() {
            Decision::Approve => {
                "somebody else has to approve it, or you with another key or in another place"
            }
            Decision::Reject => {
                "whoever filed a request can cancel it; others who may approve it can reject it"
            }
        }),
    )
}

/// Saying no takes the same people, and neither their presence nor their screen matters.
fn objection_to_reject(
    requirement: &Requirement,
    vote: &Vote,
    requester: &Principal,
) -> Option<String> {
    let anyhow = Requirement {
        presence: vote.presence,
        surfaces: crate::core::policy::Surfaces::Any,
        ..requirement.clone()
    };
    anyhow.objection(vote, requester)
}

/// What all votes so far make of the request.
fn standing(
    votes: &[RecordedVote],
    requirements: &[Requirement],
    requester: &Principal,
) -> Standing {
    let of = |decision: Decision| -> Vec<Vote> {
        let cast = votes.iter().filter(|vote| vote.decision == decision);
        cast.map(RecordedVote::vote).collect()
    };
    let (approvals, rejections) = (of(Decision::Approve), of(Decision::Reject));
    if requirements.iter().any(|one| one.rejected_by(&rejections)) {
        return Standing::Refused;
    }
    let met = |one: &Requirement| one.met_by(&approvals, requester).is_met();
    // Where nothing is required nobody was asked, and nothing is met by asking.
    if !requirements.is_empty() && requirements.iter().all(met) {
        Standing::Met
    } else {
        Standing::Open
    }
}

fn recorded(verified: &VerifiedVerdict, signed: &SignedVerdict, now: Timestamp) -> RecordedVote {
    RecordedVote {
        signer: verified.signer().clone(),
        key: verified.key().to_owned(),
        decision: verified.decision(),
        comment: verified.comment().map(str::to_owned),
        surface: verified.surface(),
        presence: verified.presence(),
        groups: verified.groups().clone(),
        at: now,
        verdict: verified.digest(),
        // Two strings have no way to fail.
        signed: serde_json::to_string(signed).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
