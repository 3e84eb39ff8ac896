//! Ends of approved work that the relay has not put on record yet. They are in the journal, and said again
//! after each reconnect until it has.

use crate::core::audit::{Draft, EventKind};
use crate::core::ids::RequestId;
use crate::core::refusal::Refusal;
use crate::core::request::Ending;
use crate::store::State;
use crate::wire::fleet::{Ended, FromAgent};

/// What a process before this one has begun, and was ended before it had recorded the end: nobody knows
/// whether it stands. This goes on record here too.
pub(super) async fn own_up(state: &State) -> Result<(), Refusal> {
    for lost in state.reports().all().await? {
        if lost.ending.is_some() {
            continue;
        }
        let draft = Draft::new(state.now(), EventKind::ExecutionUnknown)
            .request(&lost.request)
            .agent(state.agent())
            .token(&lost.token);
        state
            .log()
            .end(&lost.request, Ending::Unknown, draft)
            .await?;
    }
    Ok(())
}

/// Everything that is still to be said.
pub(super) async fn unsaid(state: &State) -> Result<Vec<FromAgent>, Refusal> {
    let mut ended = Vec::new();
    for run in state.reports().all().await? {
        let Some(ending) = run.ending else {
            continue;
        };
        let (log, id) = (state.clone(), run.request.clone());
        let past = tokio::task::spawn_blocking(move || log.log().past(&id)).await;
        // Without its count an end is still an end.
        let past = past.ok().and_then(Result::ok).flatten();
        ended.push(FromAgent::Ended(Ended {
            request: run.request,
            token: run.token,
            ending,
            rows: past.and_then(|past| past.end?.rows),
        }));
    }
    Ok(ended)
}

/// The relay has put the end of a request on record.
pub(super) async fn said(state: &State, request: &RequestId) {
    if let Err(error) = state.reports().said(request).await {
        // It is said once more after the next reconnect; no harm in that.
        tracing::warn!(%request, %error, "that the relay knows an end could not be kept");
    }
}
