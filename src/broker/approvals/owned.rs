//! Whose a request is, and what may be done with it from the side of the protocol.

use crate::broker::requests::{is_of, signs};
use crate::broker::submit::{Ask, Wanted, several, sql};
use crate::broker::{Broker, Caller, capability};
use crate::core::audit::EventKind;
use crate::core::ids::RequestId;
use crate::core::principal::PrincipalKind;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Request;

use super::unknown;

/// A request of this caller's, as it is now; of anybody else's there is none.
pub async fn own(broker: &Broker, caller: &Caller, id: &RequestId) -> Result<Request, Refusal> {
    let request = read(broker, id).await?;
    if request.asked().requester == caller.principal {
        Ok(request)
    } else {
        Err(unknown(id))
    }
}

/// The request that a call is made again for, if it is this caller's and the call asks for the same
/// work. What a client hands back is a claim like any other.
pub async fn resumed(
    broker: &Broker,
    caller: &Caller,
    id: &RequestId,
    ask: Ask,
) -> Result<Request, Refusal> {
    let request = own(broker, caller, id).await?;
    let target = broker.target(ask.target.as_deref())?;
    let salt = broker.state.salt(id);
    let work = match ask.what {
        Wanted::Sql { text, params } => sql(text, params, salt)?,
        Wanted::Batch(statements) => several(statements, salt)?,
        Wanted::Capability { name, params } => {
            let lane = broker
                .link
                .lane(&target, Some(&request.asked().agent))
                .await?;
            let offer = lane.offer(&target, &name)?;
            capability::call(&offer, target.engine, params, salt)?.0
        }
    };
    let asked = request.asked();
    let same = target.name.as_str() == asked.target && work.digest() == asked.work;
    if same {
        Ok(request)
    } else {
        let message = format!("this is not the statement that request {id} was filed for");
        Err(Refusal::new(Code::InvalidArgument, message)
            .hint("make the call again exactly as it was, or anew without `requestState`"))
    }
}

/// A request that this caller may be shown the page of, to decide there. For people only: anybody
/// else is refused, and the refusal recorded.
pub async fn to_decide(
    broker: &Broker,
    caller: &Caller,
    id: &RequestId,
) -> Result<Request, Refusal> {
    match caller.principal.kind() {
        PrincipalKind::Human => decidable(broker, caller, id).await,
        PrincipalKind::Ai | PrincipalKind::Service => {
            let refusal = Refusal::new(Code::Forbidden, "only a person decides on a request")
                .hint("tell the person which request waits; you can wait for it with `request`");
            let draft = broker.draft(EventKind::VoteRefused, caller).request(id);
            broker.record_refusal(draft, &refusal).await?;
            Err(refusal)
        }
    }
}

/// A request that a person may see. In local mode there is one person; at a relay there are many, and each sees
/// their own, unless they are a signer.
async fn decidable(broker: &Broker, caller: &Caller, id: &RequestId) -> Result<Request, Refusal> {
    let request = read(broker, id).await?;
    if caller.rights.is_none() || is_of(&request.asked().requester, caller.principal.name()) {
        return Ok(request);
    }
    let (state, person) = (broker.state.clone(), caller.principal.clone());
    let signs = tokio::task::spawn_blocking(move || signs(&state, &person)).await;
    if signs.map_err(|_| unreadable())?? {
        Ok(request)
    } else {
        Err(unknown(id))
    }
}

async fn read(broker: &Broker, id: &RequestId) -> Result<Request, Refusal> {
    let (requests, wanted) = (broker.state.requests().clone(), id.clone());
    let request = tokio::task::spawn_blocking(move || requests.get(&wanted)).await;
    Ok(request.map_err(|_| unreadable())??)
}

fn unreadable() -> Refusal {
    Refusal::new(Code::Internal, "the request could not be read")
}
