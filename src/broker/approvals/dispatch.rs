//! Dispatch: an approved request becomes a token, and the agent runs it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::broker::approvals::standing;
use crate::broker::submit::Answer;
use crate::broker::{Broker, Caller, Lane, requests};
use crate::core::approval::{Backing, Document, SignedVerdict};
use crate::core::audit::EventKind;
use crate::core::capability::masked;
use crate::core::ids::{RequestId, TokenId};
use crate::core::policy::{Approved, Decision, Grant, Question, decide};
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{self, Request, Values};
use crate::core::review::Finding;
use crate::core::token::TOKEN_LIFE_MS;
use crate::core::work::Work;
use crate::store::RequestError;

/// Dispatches an approved request and runs it.
pub(super) async fn run(
    broker: &Broker,
    caller: &Caller,
    request: Request,
    cancel: CancellationToken,
) -> Result<Answer, Refusal> {
    let _turn = broker.turns.take(caller, &cancel).await?;
    let id = request.id().clone();
    let ((lane, grant, findings), work, backing) = match ready(broker, caller, &request).await {
        Ok(ready) => ready,
        Err(refusal) => {
            refused(broker, caller, &request, &refusal).await?;
            return Err(refusal);
        }
    };
    let target = broker.target(Some(&request.asked().target))?;
    let whose = (&caller.principal, &target.name);
    let slot = lane.slot(whose, &cancel).await;
    // Their key may have been ended while they waited for room.
    let _slot = match slot.and_then(|slot| caller.still_counts().map(|()| slot)) {
        Ok(slot) => slot,
        Err(refusal) => {
            refused(broker, caller, &request, &refusal).await?;
            return Err(refusal);
        }
    };
    let keys = broker.state.token_keys()?;
    let token = broker.ids.token();
    let now = broker.clock.now();
    let order = keys.signer.sign(grant, token.clone(), now);
    let lapses = now.plus_ms(TOKEN_LIFE_MS);
    let dispatched = token.clone();
    let away = lane.is_away();
    let dispatched = broker.state.requests().transact(&id, move |request, now| {
        Ok(if away {
            request.dispatch_away(dispatched, lapses, now)
        } else {
            request.dispatch(dispatched, lapses, now)
        }?)
    });
    dispatched.await?;
    let run = lane.execute(&order, work, Some(&backing), cancel);
    match run.await {
        Ok(mut report) => {
            report.also_found(&findings);
            Ok(Answer {
                request: id,
                report,
            })
        }
        Err(not_run) => {
            give_back(broker, &id, token).await?;
            Err(not_run.refusal)
        }
    }
}

/// Records why an approved request is not run now. It stays approved.
async fn refused(
    broker: &Broker,
    caller: &Caller,
    request: &Request,
    refusal: &Refusal,
) -> Result<(), Refusal> {
    let draft = broker.draft(EventKind::RequestRefused, caller);
    let draft = draft.request(request.id()).target(&request.asked().target);
    broker.record_refusal(draft, refusal).await
}

/// An order that the agent would not begin leaves the request approved, to be collected once what
/// was in the way is gone. One that it had begun is where the agent has put it.
async fn give_back(broker: &Broker, id: &RequestId, token: TokenId) -> Result<(), Refusal> {
    let given_back = broker
        .state
        .requests()
        .transact(id, move |request, now| Ok(request.give_back(&token, now)?));
    match given_back.await {
        Err(RequestError::Refused(_)) => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// Everything that an order is made of, or why there can be none.
async fn ready(
    broker: &Broker,
    caller: &Caller,
    request: &Request,
) -> Result<((Lane, Grant, Vec<Finding>), Work, Backing), Refusal> {
    let (state, wanted) = (broker.state.clone(), request.id().clone());
    let shown = tokio::task::spawn_blocking(move || requests::show(&state, &wanted))
        .await
        .map_err(|_| Refusal::new(Code::Internal, "the request could not be read"))??;
    let document = shown.document;
    caller.may(document.effect)?;
    let backing = backing(request)?;
    let Values { params, salt } = shown
        .values
        .ok_or_else(|| standing(request, &broker.page))?;
    let work = document.work_with(params, salt);
    let grant = grant(broker, caller, (&document, &work), (request, &backing)).await?;
    Ok((grant, work, backing))
}

/// Judges the work once more, by the policy as it is now and with what people have signed. Gives what
/// the review found beside the grant, and the executor that the document names.
async fn grant(
    broker: &Broker,
    caller: &Caller,
    (document, work): (&Document, &Work),
    (request, backing): (&Request, &Backing),
) -> Result<(Lane, Grant, Vec<Finding>), Refusal> {
    let target = broker.target(Some(&document.target))?;
    let lane = broker.link.lane(&target, Some(&document.executor)).await?;
    let target = lane.target(&target);
    let statement = match &document.capability {
        None => broker.parser.parse_work(target.engine, work).await?,
        Some(_) => Arc::new(masked(target.engine, work.text(), document.effect)),
    };
    let judged = document.as_found(&statement);
    let approved = Approved {
        document: backing.document_digest(),
        verdicts: backing.verdict_digests(),
        votes: requests::votes(request, request::Decision::Approve),
    };
    let (judgement, decision) = decide(&Question {
        request: request.id(),
        principal: &caller.principal,
        standing: &broker.standing(caller),
        target: &target,
        agent: lane.id(),
        work: work.digest(),
        capability: document
            .capability
            .as_ref()
            .map(|called| (called.name.as_str(), called.bundle)),
        statement: &judged,
        found: None,
        limits: document.limits,
        policy: &broker.policies.current(),
        review: &broker.review,
        approved: Some(&approved),
        purpose: document.purpose,
        at: broker.clock.now(),
    });
    match decision {
        Decision::Allow(grant) => Ok((lane, grant, judgement.findings)),
        Decision::NeedsApproval(needed) => Err(needed.refusal),
        Decision::Deny(refusal) => Err(refusal),
    }
}

/// What stands behind a request: its document and the verdicts on it that approve.
fn backing(request: &Request) -> Result<Backing, Refusal> {
    let signed = |vote: &request::RecordedVote| {
        serde_json::from_str::<SignedVerdict>(&vote.signed).map_err(|_| {
            Refusal::new(
                Code::ApprovalRefused,
                "a recorded approval cannot be read; the state file was changed by hand",
            )
        })
    };
    let votes = request.state().votes().iter();
    let approving = votes.filter(|vote| vote.decision == request::Decision::Approve);
    Ok(Backing {
        document: request.asked().document.text().to_owned(),
        verdicts: approving.map(signed).collect::<Result<_, _>>()?,
    })
}
