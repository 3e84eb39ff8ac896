//! Calls that are made again under an idempotency key. What the policy allows at once is told again by the
//! agent, whose journal knows it; what waits for people, or did, is known here by its record.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::submit::{Answer, Prepared};
use crate::broker::{Broker, Caller};
use crate::core::idempotency;
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::report::Report;
use crate::core::request::{Request, Status};
use crate::core::target::Target;
use crate::store::RequestError;

/// How long the end of a run that somebody else collects is waited for, beyond its own limit.
const PATIENCE: Duration = Duration::from_mins(1);

/// The request that a call is: a new one, or that of its key. Beside it whether the key can be one.
pub(super) fn request(
    broker: &Broker,
    caller: &Caller,
    target: Option<&Arc<Target>>,
    key: Option<&str>,
) -> (RequestId, Result<(), Refusal>) {
    let (Some(key), Some(target)) = (key, target) else {
        return (broker.ids.request(), Ok(()));
    };
    let whose = (broker.state.log().workspace(), &caller.principal);
    match idempotency::request(whose, target.name.as_str(), key) {
        Ok(id) => (id, Ok(())),
        Err(refusal) => (broker.ids.request(), Err(refusal)),
    }
}

/// Whether a call was filed before under its key. Refused where that was for other work.
pub(super) async fn filed(
    broker: &Broker,
    (id, prepared): (&RequestId, &Prepared),
) -> Result<bool, Refusal> {
    if !id.is_keyed() {
        return Ok(false);
    }
    let (state, wanted) = (broker.state.clone(), id.clone());
    let known = tokio::task::spawn_blocking(move || state.requests().get(&wanted))
        .await
        .map_err(|_| Refusal::new(Code::Internal, "the request could not be read"))?;
    match known {
        Err(RequestError::NotFound(_)) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(request) if request.asked().work != prepared.fingerprint.digest => {
            Err(idempotency::conflict())
        }
        Ok(_) => Ok(true),
    }
}

/// What is told of a request of a key that somebody has run, or runs. Nothing where it has not been begun.
pub(super) async fn answer(broker: &Broker, id: &RequestId) -> Result<Option<Answer>, Refusal> {
    if !id.is_keyed() {
        return Ok(None);
    }
    let (state, wanted) = (broker.state.clone(), id.clone());
    let request = tokio::task::spawn_blocking(move || state.requests().get(&wanted))
        .await
        .map_err(|_| Refusal::new(Code::Internal, "the request could not be read"))??;
    let begun = [Status::Dispatched, Status::Running, Status::Succeeded];
    if !begun.contains(&request.status()) {
        return Ok(None);
    }
    let id = id.clone();
    let over = |request: &Request| request.status().is_over();
    let request = broker.state.requests().wait(&id, PATIENCE, over).await?;
    if request.status() != Status::Succeeded {
        return Ok(None);
    }
    let (state, wanted) = (broker.state.clone(), id.clone());
    let past = tokio::task::spawn_blocking(move || state.log().past(&wanted))
        .await
        .map_err(|_| Refusal::new(Code::Internal, "the log could not be read"))??;
    let end = past.and_then(|past| past.end);
    let document = super::requests::document(&request);
    let document = document.as_ref().ok();
    let parts = document.map_or(0, |document| document.parts.len() as u64);
    let rows = end.and_then(|end| end.rows);
    let mut report = Report::replayed(request.asked().effect, rows, parts);
    report.capability = document.is_some_and(|document| document.capability.is_some());
    Ok(Some(Answer {
        request: id,
        report,
    }))
}
