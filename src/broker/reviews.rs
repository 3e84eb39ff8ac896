//! Reviews of what was run ahead of them: which are open, and closing one with somebody else's signature.

use crate::broker::requests;
use crate::broker::votes::pinned;
use crate::core::approval::review::Reviewing;
use crate::core::approval::{Document, ReviewError, SignedReview, verify_review};
use crate::core::audit::{Draft, EventKind};
use crate::core::checks::Checks;
use crate::core::ids::RequestId;
use crate::core::refusal::Refusal;
use crate::core::request::{Change, Decision, Request};
use crate::core::time::Timestamp;
use crate::core::trust::TrustFile;
use crate::store::State;
use crate::store::requests::{Filter, Page};

/// The requests whose review is open, the newest first, at most `limit`. Blocks.
pub fn open(state: &State, limit: usize) -> Result<Page, Refusal> {
    let filter = Filter {
        open_reviews: true,
        limit,
        ..Filter::default()
    };
    requests::list(state, &filter)
}

/// Verifies a review of what was run, and closes it; gives the request after it. A refusal is in the
/// audit log before it is returned.
pub async fn close(
    state: &State,
    id: &RequestId,
    signed: SignedReview,
) -> Result<Request, Refusal> {
    close_with(Checks::all(), state, id, signed).await
}

pub(super) async fn close_with(
    checks: Checks<ReviewError>,
    state: &State,
    id: &RequestId,
    signed: SignedReview,
) -> Result<Request, Refusal> {
    match closed(checks, state, id, signed).await {
        Ok(request) => Ok(request),
        Err(refusal) => {
            let draft = Draft::new(state.now(), EventKind::ReviewRefused).request(id);
            state.log().append(draft.refusal(&refusal)).await?;
            Err(refusal)
        }
    }
}

async fn closed(
    checks: Checks<ReviewError>,
    state: &State,
    id: &RequestId,
    signed: SignedReview,
) -> Result<Request, Refusal> {
    let trust = pinned(state)?;
    let closed = state.requests().transact(id, move |request, now| {
        decide(&checks, request, now, (&trust, &signed))
    });
    Ok(closed.await?)
}

/// Inside the transaction: the request as it is now, and the time.
fn decide(
    checks: &Checks<ReviewError>,
    request: Request,
    now: Timestamp,
    (trust, signed): (&TrustFile, &SignedReview),
) -> Result<Change, Refusal> {
    request.check_reviewable()?;
    let document: Document = requests::document(&request)?;
    let broken_by = requests::votes(&request, Decision::Approve);
    let reviewing = Reviewing {
        document: &document,
        outcome: request.status(),
        broken_by: &broken_by,
    };
    let verified = verify_review(checks, signed, &reviewing, trust, now)?;
    Ok(request.close_review(&verified, signed, now)?)
}
