//! The life of a request: from asking to its end, in exactly these steps.
//!
//! ```text
//!             +-> denied
//! submitted --+-> approved (policy allows) -----------------------+
//!             +-> measuring --> pending --+-> approved (quorum) ---+--> dispatched --> running --+--> succeeded
//!                                         +-> rejected             |        |                    +--> failed
//!                                         +-> expired              +<-------+ token lapsed       +--> cancelled
//!                                         +-> cancelled            +-> expired, cancelled        +--> unknown --> settled
//! ```
//!
//! A transition takes the request and the time and gives a [`Change`]: the next request and the
//! audit entries that belong to the step. A store takes nothing but changes, so nothing moves
//! unaudited. Expiry needs no timer: [`Request::as_of`] says what time alone has made of a request,
//! and every transition starts from there.
//!
//! A request that breaks the glass has the same life, and is pending for as long as the person in front of it
//! takes to sign. Once the agent begins it, a review is open, which somebody else closes
//! ([`Review`]).

mod life;
mod review;
mod run;
mod state;
mod time;
mod vote;
mod words;

pub use crate::core::signer::Decision;
pub use review::{RecordedReview, Review};
pub use state::{Approval, ApprovedBy, Ended, Order, State, Status};
pub use vote::RecordedVote;
pub use words::{Ending, InvalidTransition, Settlement, Standing};

use std::fmt;

use serde_json::Value;

use crate::core::approval::Purpose;
use crate::core::audit::Draft;
use crate::core::engine::Engine;
use crate::core::ids::{AgentId, RequestId};
use crate::core::principal::Principal;
use crate::core::statement::Effect;
use crate::core::time::Timestamp;
use crate::core::work::{Digest, Salt};

/// How long a request waits for people, in milliseconds: 24 hours.
pub const PENDING_MS: i64 = 24 * 60 * 60 * 1_000;
/// How long an approved request waits to be collected, in milliseconds: one hour.
pub const APPROVED_MS: i64 = 60 * 60 * 1_000;
/// How long whoever breaks the glass has to sign and run, in milliseconds: 15 minutes.
pub const BREAK_GLASS_MS: i64 = 15 * 60 * 1_000;
/// How long after a run's time limit its report may still come, in milliseconds. Whoever is silent
/// for longer is taken to be gone.
pub const REPORT_MS: i64 = 60_000;

/// What was asked. None of it changes during the request's life.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    /// Whether it waits for people or goes ahead of its review.
    pub purpose: Purpose,
    /// The request.
    pub id: RequestId,
    /// The workspace it belongs to.
    pub workspace: String,
    /// Who asks.
    pub requester: Principal,
    /// Where it is to run.
    pub target: String,
    /// The target's environment, such as `production`.
    pub environment: String,
    /// The target's engine.
    pub engine: Engine,
    /// The executor that is to run it.
    pub agent: AgentId,
    /// The worst that it can do.
    pub effect: Effect,
    /// The statement's verb, lower case.
    pub kind: String,
    /// The statement without its literals and comments, for lists.
    pub statement: String,
    /// Why, in the requester's own words.
    pub reason: Option<String>,
    /// The work digest.
    pub work: Digest,
    /// What people sign.
    pub document: Document,
    /// What the policy wants before this runs, as JSON text of the policy's own.
    pub requirements: String,
    /// The policy of the workspace that applied.
    pub workspace_policy: Digest,
    /// The policy of the agent that applied.
    pub agent_policy: Digest,
}

/// The approval document as far as a request's life is concerned: a text with a digest and an end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Document {
    text: String,
    digest: Digest,
    expires: Timestamp,
}

impl Document {
    /// A document by its canonical text. The digest is made here, so that it is never another's.
    pub fn new(text: String, expires: Timestamp) -> Self {
        Self {
            digest: Digest::of(&[text.as_bytes()]),
            text,
            expires,
        }
    }

    /// The canonical text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// From when on no signature over it counts.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// The values of a request's parameters and what hides them behind their commitment. They travel
/// beside the document, to the approver and the executor only, and are kept sealed.
#[derive(Clone, PartialEq)]
pub struct Values {
    /// The values, in the order of the placeholders.
    pub params: Vec<Value>,
    /// The salt of the commitment and of the work digest.
    pub salt: Salt,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values({} of them)", self.params.len())
    }
}

/// One wish to run work.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    asked: Asked,
    created: Timestamp,
    updated: Timestamp,
    version: u64,
    state: State,
    /// Whether somebody has to look at what was run ahead of its review.
    review: Option<Review>,
    /// What time alone has done and no store has taken yet. The next change carries it.
    unrecorded: Vec<Draft>,
}

impl Request {
    /// A request as a store has kept it.
    pub(crate) fn restored(
        asked: Asked,
        (created, updated): (Timestamp, Timestamp),
        version: u64,
        (state, review): (State, Option<Review>),
    ) -> Self {
        Self {
            asked,
            created,
            updated,
            version,
            state,
            review,
            unrecorded: Vec::new(),
        }
    }

    /// Its id.
    pub fn id(&self) -> &RequestId {
        &self.asked.id
    }

    /// What was asked.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// When it was asked.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// When its last change was.
    pub fn updated(&self) -> Timestamp {
        self.updated
    }

    /// How many steps of its life the store has taken.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Where it stands. Ask [`Request::as_of`] first whether time has moved it on.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The review of what was run ahead of it; nothing where nothing was.
    pub fn review(&self) -> Option<&Review> {
        self.review.as_ref()
    }

    /// The name of where it stands.
    pub fn status(&self) -> Status {
        self.state.status()
    }
}

/// The next state of a request and the audit entries that belong to the step. Only transitions make
/// one.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a change does nothing until the store has taken it"]
pub struct Change {
    /// The version that the store must hold for this to apply; 0 if the request is new.
    before: u64,
    request: Request,
    events: Vec<Draft>,
}

impl Change {
    /// The version that the store must hold for this to apply; 0 if the request is new.
    pub fn before(&self) -> u64 {
        self.before
    }

    /// The request after the change.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The audit entries of the change, in order. There is at least one.
    pub fn events(&self) -> &[Draft] {
        &self.events
    }

    /// The request after the change, once a store has taken it.
    pub fn into_request(self) -> Request {
        self.request
    }

    /// A further step within the same change.
    pub fn then<E>(self, step: impl FnOnce(Request) -> Result<Self, E>) -> Result<Self, E> {
        let next = step(self.request)?;
        let mut events = self.events;
        events.extend(next.events);
        Ok(Self {
            before: self.before,
            request: next.request,
            events,
        })
    }
}

#[cfg(test)]
mod tests;
