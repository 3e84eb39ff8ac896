//! The review of work that was run ahead of it: open from the moment it is begun until somebody else closes it.

use serde::{Deserialize, Serialize};

use crate::core::approval::review::{Finding, SignedReview, VerifiedReview};
use crate::core::audit::EventKind;
use crate::core::principal::Principal;
use crate::core::request::life::{presence, surface, wrong};
use crate::core::request::{Change, InvalidTransition, Request, State, Status};
use crate::core::signer::{Presence, Surface};
use crate::core::time::Timestamp;
use crate::core::work::Digest;

/// The review of a request that broke the glass.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum Review {
    /// Somebody has to look at it.
    Open {
        /// Since when.
        since: Timestamp,
    },
    /// Somebody has.
    Closed(RecordedReview),
}

/// A signed review, verified by whoever recorded it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedReview {
    /// Since when it was open.
    pub since: Timestamp,
    /// Who reviewed.
    pub reviewer: Principal,
    /// The fingerprint of the key.
    pub key: String,
    /// What they made of it.
    pub finding: Finding,
    /// Why, in their own words.
    pub comment: String,
    /// How the run had ended by then.
    pub outcome: Status,
    /// What showed it to them.
    pub surface: Surface,
    /// What the key proves about presence.
    pub presence: Presence,
    /// When it was recorded.
    pub at: Timestamp,
    /// The digest of the review's text.
    pub digest: Digest,
    /// The review and its signature, as they were sent.
    pub signed: String,
}

impl Review {
    /// Whether somebody still has to look.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// The name of where it stands, which never changes its meaning.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Closed(_) => "closed",
        }
    }

    /// Since when it is or was open.
    pub fn since(&self) -> Timestamp {
        match self {
            Self::Open { since } => *since,
            Self::Closed(recorded) => recorded.since,
        }
    }
}

impl Request {
    /// Whether a review of it is open.
    pub fn has_open_review(&self) -> bool {
        self.review.as_ref().is_some_and(Review::is_open)
    }

    /// Whether it can be reviewed as of now: its review is open and its run is over.
    pub fn check_reviewable(&self) -> Result<(), InvalidTransition> {
        if !self.has_open_review() {
            return Err(InvalidTransition::NoReview);
        }
        if matches!(self.state, State::Running { .. }) {
            return Err(wrong(&self.state, "over", "reviewed"));
        }
        Ok(())
    }

    /// Somebody else has looked at what was run, and closes its review.
    ///
    /// That it is somebody else is what makes a [`VerifiedReview`]. Refused while it still runs, and when no
    /// review is open (any more).
    pub fn close_review(
        self,
        verified: &VerifiedReview,
        signed: &SignedReview,
        now: Timestamp,
    ) -> Result<Change, InvalidTransition> {
        let mut request = self.as_of(now);
        request.check_reviewable()?;
        let Some(Review::Open { since }) = request.review else {
            return Err(InvalidTransition::NoReview);
        };
        let review = verified.review();
        let this = review.request == request.asked.id
            && review.document == *request.asked.document.digest()
            && review.outcome == request.status();
        if !this {
            return Err(InvalidTransition::OtherReview);
        }
        let event = request
            .event(EventKind::ReviewClosed, now)
            .by(&review.signer)
            .text("finding", review.finding.as_str())
            .text("outcome", review.outcome.as_str())
            .text("key", verified.key())
            .text("surface", surface(review.surface))
            .text("presence", presence(verified.presence()))
            .text("review", &verified.digest().to_string())
            .text("document", &review.document.to_string());
        request.review = Some(Review::Closed(RecordedReview {
            since,
            reviewer: review.signer.clone(),
            key: verified.key().to_owned(),
            finding: review.finding,
            comment: review.comment.clone(),
            outcome: review.outcome,
            surface: review.surface,
            presence: verified.presence(),
            at: now,
            digest: verified.digest(),
            // Two strings have no way to fail.
            signed: serde_json::to_string(signed).unwrap_or_default(),
        }));
        let state = request.state.clone();
        Ok(request.change(state, now, Some(event)))
    }
}
