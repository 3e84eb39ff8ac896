//! Work that people have to agree to: filed with everything they need to see, waited for, and run
//! once they have signed.

mod dispatch;
mod filing;
mod owned;
mod words;

use tokio_util::sync::CancellationToken;

use crate::broker::submit::{Answer, Prepared, Submitted};
use crate::broker::{Broker, Caller, repeat, requests};
use crate::core::approval::PolicyDigests;
use crate::core::audit::Draft;
use crate::core::ids::RequestId;
use crate::core::policy::decide::{denied, describe};
use crate::core::policy::{Judgement, Outcome, strictest};
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Status;
use filing::Filing;

pub use owned::{own, resumed, to_decide};
pub use words::{Page, needs, standing, unknown};

/// Requests of one requester that may wait at the same time, where no key says so.
const MOST_WAITING: u64 = 50;

/// Files work that needs people.
///
/// Where nobody is trusted to approve anything yet there is nothing to wait for, and nothing is
/// filed: the refusal says what to run first.
pub(super) async fn ask_people(
    broker: &Broker,
    caller: &Caller,
    (request, prepared): (&RequestId, &Prepared),
    ((workspace, needs), refused): ((Judgement, Refusal), Draft),
) -> Result<Submitted, Refusal> {
    let filed = ask(broker, caller, (request, prepared), (workspace, needs)).await;
    if let Err(refusal) = filed {
        broker.record_refusal(refused, &refusal).await?;
        return Err(refusal);
    }
    Ok(Submitted::Filed(request.clone()))
}

/// Files the request, or says why it cannot be.
async fn ask(
    broker: &Broker,
    caller: &Caller,
    (request, prepared): (&RequestId, &Prepared),
    (workspace, needs): (Judgement, Refusal),
) -> Result<(), Refusal> {
    if broker.state.trust()?.is_none() {
        return Err(words::nobody_yet(needs));
    }
    not_too_many(broker, caller).await?;
    file_judged(broker, caller, (request, prepared), workspace).await
}

/// Files a request with what both policies say of it. From here on it waits for people.
pub(super) async fn file_judged(
    broker: &Broker,
    caller: &Caller,
    (request, prepared): (&RequestId, &Prepared),
    workspace: Judgement,
) -> Result<(), Refusal> {
    let target = &prepared.target;
    let asks = (&caller.principal, prepared.purpose);
    let assessed = prepared.lane.assess(target, &prepared.work, asks).await?;
    let policies = PolicyDigests {
        workspace: workspace.digest,
        agent: assessed.judgement.digest,
    };
    let judgement = strictest(workspace, assessed.judgement);
    if let Outcome::Deny(denial) = judgement.outcome {
        let found = &assessed.statement;
        let what = describe(found, found.effect);
        return Err(denied(&judgement, denial, target, &what));
    }
    let filing = Filing {
        request,
        prepared,
        found: &assessed.statement,
        judgement: &judgement,
        policies,
    };
    filing::file(broker, caller, &filing).await
}

/// Whoever has many requests waiting files no more: people would drown, and so would the store.
async fn not_too_many(broker: &Broker, caller: &Caller) -> Result<(), Refusal> {
    // A key's client names itself, and is counted under every name.
    let (waiting, most) = match &caller.rights {
        Some(rights) => (
            requests::waiting_of_all(&broker.state, &caller.principal).await?,
            u64::from(rights.allowance.waiting),
        ),
        None => (
            requests::waiting(&broker.state, Some(&caller.principal)).await?,
            MOST_WAITING,
        ),
    };
    if waiting < most {
        return Ok(());
    }
    Err(Refusal::new(
        Code::LimitReached,
        format!("{waiting} requests of yours wait for people already, and no more than {most} may"),
    )
    .hint("`request` with action `cancel` takes back those that are no longer wanted"))
}

/// Waits for the people's decision on a request of this caller's, and runs it once it is approved.
pub async fn settle(
    broker: &Broker,
    caller: &Caller,
    id: &RequestId,
    cancel: CancellationToken,
) -> Result<Answer, Refusal> {
    let requests = broker.state.requests();
    let decided = requests.wait(id, broker.approval_wait, |request| {
        request.status() != Status::Pending
    });
    let request = tokio::select! {
        request = decided => request?,
        () = cancel.cancelled() => {
            let message = format!("the call was cancelled; request {id} waits on");
            return Err(Refusal::new(Code::Cancelled, message));
        }
    };
    if request.asked().requester != caller.principal {
        return Err(unknown(id));
    }
    let refusal = if request.status() == Status::Approved {
        match dispatch::run(broker, caller, request, cancel).await {
            Err(refusal) if refusal.code == Code::RequestState => refusal,
            done => return done,
        }
    } else {
        standing(&request, &broker.page)
    };
    // Somebody else may have collected it under the same idempotency key.
    repeat::answer(broker, id).await?.ok_or(refusal)
}

#[cfg(test)]
mod tests;
