//! The transitions up to approval. Each starts from what time alone has made of the request, takes the request
//! itself, and gives a change that holds its audit entries.

use crate::core::approval::Purpose;
use crate::core::audit::{Draft, EventKind};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::Refusal;
use crate::core::request::{
    APPROVED_MS, Approval, ApprovedBy, Asked, Change, InvalidTransition, PENDING_MS, RecordedVote,
    Request, Standing, State,
};
use crate::core::signer::{Presence, Surface};
use crate::core::time::Timestamp;

impl Request {
    /// A new request.
    pub fn submit(asked: Asked, now: Timestamp) -> Change {
        let event = Draft::new(now, EventKind::RequestSubmitted)
            .by(&asked.requester)
            .request(&asked.id)
            .target(&asked.target)
            .agent(&asked.agent)
            .effect(asked.effect)
            .work(&asked.work)
            .text("document", &asked.document.digest().to_string())
            .text("workspace_policy", &asked.workspace_policy.to_string())
            .text("agent_policy", &asked.agent_policy.to_string());
        let event = event.purpose(asked.purpose);
        let request = Self {
            asked,
            created: now,
            updated: now,
            version: 1,
            state: State::Submitted,
            review: None,
            unrecorded: Vec::new(),
        };
        Change {
            before: 0,
            request,
            events: vec![event],
        }
    }

    /// The policy refuses it.
    pub fn deny(self, refusal: Refusal, now: Timestamp) -> Result<Change, InvalidTransition> {
        let request = self.undecided("denied", now)?;
        let event = request
            .event(EventKind::RequestRefused, now)
            .refusal(&refusal);
        let state = State::Denied { refusal, at: now };
        Ok(request.change(state, now, Some(event)))
    }

    /// The policy allows it without asking anybody.
    pub fn allow(self, now: Timestamp) -> Result<Change, InvalidTransition> {
        let request = self.undecided("allowed", now)?;
        if request.asked.purpose == Purpose::BreakGlass {
            return Err(InvalidTransition::Unsigned);
        }
        let approval = request.approval(ApprovedBy::Policy, Vec::new(), now);
        let event = request
            .event(EventKind::RequestAllowed, now)
            .number("until_ms", ms(approval.until));
        Ok(request.change(State::Approved(approval), now, Some(event)))
    }

    /// Its effect is about to be measured.
    pub fn measure(self, now: Timestamp) -> Result<Change, InvalidTransition> {
        let request = self.as_of(now);
        if request.state != State::Submitted {
            return Err(wrong(&request.state, "submitted", "measured"));
        }
        let event = request.event(EventKind::RequestMeasuring, now);
        Ok(request.change(State::Measuring { since: now }, now, Some(event)))
    }

    /// It waits for people, for [`PENDING_MS`] or to the end of its document. What breaks the glass is a
    /// person's.
    pub fn pend(self, now: Timestamp) -> Result<Change, InvalidTransition> {
        let request = self.undecided("put before people", now)?;
        let glass = request.asked.purpose == Purpose::BreakGlass;
        if glass && request.asked.requester.kind() != PrincipalKind::Human {
            return Err(InvalidTransition::GlassOfAProgram(request.asked.requester));
        }
        let until = now
            .plus_ms(PENDING_MS)
            .min(request.asked.document.expires());
        let event = request
            .event(EventKind::RequestPending, now)
            .number("until_ms", ms(until));
        let state = State::Pending {
            votes: Vec::new(),
            until,
        };
        Ok(request.change(state, now, Some(event)))
    }

    /// Counts one vote; `standing` says what all of them, this one last, make of the request.
    ///
    /// Refused when the request does not wait for people (any more), and when this person or this
    /// key has voted before.
    pub fn vote(
        self,
        vote: RecordedVote,
        now: Timestamp,
        standing: impl FnOnce(&[RecordedVote]) -> Standing,
    ) -> Result<Change, InvalidTransition> {
        let request = self.as_of(now);
        let State::Pending { votes, until } = &request.state else {
            return Err(wrong(&request.state, "pending", "voted on"));
        };
        if vote.signer.kind() != PrincipalKind::Human {
            return Err(InvalidTransition::NotAPerson(vote.signer));
        }
        if votes.iter().any(|cast| cast.signer == vote.signer) {
            return Err(InvalidTransition::AlreadyVoted(vote.signer));
        }
        if votes.iter().any(|cast| cast.key == vote.key) {
            return Err(InvalidTransition::KeyUsed);
        }
        let until = *until;
        let cast = request.cast(&vote, now);
        let mut votes = votes.clone();
        votes.push(vote);
        let (state, decided) = match standing(&votes) {
            Standing::Open => (State::Pending { votes, until }, None),
            Standing::Met => {
                let approval = request.approval(request.approved_by(), votes, now);
                let event = request
                    .event(EventKind::RequestApproved, now)
                    .number("votes", approval.votes.len() as u64)
                    .number("until_ms", ms(approval.until));
                (State::Approved(approval), Some(event))
            }
            Standing::Refused => {
                let event = request
                    .event(EventKind::RequestRejected, now)
                    .number("votes", votes.len() as u64);
                (State::Rejected { votes, at: now }, Some(event))
            }
        };
        let mut change = request.change(state, now, Some(cast));
        change.events.extend(decided);
        Ok(change)
    }

    /// Somebody stops it before an agent was told to run it.
    pub fn cancel(self, by: &Principal, now: Timestamp) -> Result<Change, InvalidTransition> {
        let request = self.as_of(now);
        let early = matches!(
            request.state,
            State::Submitted | State::Measuring { .. } | State::Pending { .. } | State::Approved(_)
        );
        if !early {
            return Err(wrong(&request.state, "not yet with an agent", "cancelled"));
        }
        let votes = request.state.votes().to_vec();
        let event = request
            .event(EventKind::RequestCancelled, now)
            .by(by)
            .text("was", request.status().as_str());
        let by = Some(by.clone());
        let state = State::Cancelled { by, at: now, votes };
        Ok(request.change(state, now, Some(event)))
    }

    fn undecided(self, what: &'static str, now: Timestamp) -> Result<Self, InvalidTransition> {
        let request = self.as_of(now);
        if matches!(request.state, State::Submitted | State::Measuring { .. }) {
            Ok(request)
        } else {
            Err(wrong(&request.state, "submitted or measuring", what))
        }
    }

    pub(super) fn change(self, state: State, now: Timestamp, event: Option<Draft>) -> Change {
        let before = self.version;
        let mut events = self.unrecorded;
        events.extend(event);
        let request = Self {
            updated: now,
            version: before.saturating_add(1),
            state,
            unrecorded: Vec::new(),
            ..self
        };
        Change {
            before,
            request,
            events,
        }
    }

    fn approval(&self, by: ApprovedBy, votes: Vec<RecordedVote>, now: Timestamp) -> Approval {
        Approval {
            by,
            votes,
            at: now,
            until: now.plus_ms(APPROVED_MS).min(self.asked.document.expires()),
        }
    }

    /// Who allows it once the votes are there.
    fn approved_by(&self) -> ApprovedBy {
        match self.asked.purpose {
            Purpose::Run => ApprovedBy::Quorum,
            Purpose::BreakGlass => ApprovedBy::BreakGlass,
        }
    }

    /// The beginning of every entry about this request.
    pub(super) fn event(&self, kind: EventKind, now: Timestamp) -> Draft {
        Draft::new(now, kind)
            .by(&self.asked.requester)
            .request(&self.asked.id)
            .target(&self.asked.target)
            .purpose(self.asked.purpose)
    }

    fn cast(&self, vote: &RecordedVote, now: Timestamp) -> Draft {
        self.event(EventKind::VoteCast, now)
            .by(&vote.signer)
            .text("decision", vote.decision.as_str())
            .text("key", &vote.key)
            .text("surface", surface(vote.surface))
            .text("presence", presence(vote.presence))
            .text("verdict", &vote.verdict.to_string())
            .text("document", &self.asked.document.digest().to_string())
    }
}

pub(super) fn wrong(state: &State, wanted: &'static str, what: &'static str) -> InvalidTransition {
    InvalidTransition::State {
        is: state.status(),
        wanted,
        what,
    }
}

/// A time as an entry holds it.
pub(super) fn ms(time: Timestamp) -> u64 {
    u64::try_from(time.unix_ms()).unwrap_or(0)
}

pub(super) fn surface(surface: Surface) -> &'static str {
    match surface {
        Surface::Terminal => "terminal",
        Surface::OwnPage => "own_page",
        Surface::RelayPage => "relay_page",
    }
}

pub(super) fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Hardware => "hardware",
        Presence::Passphrase => "passphrase",
        Presence::Unattended => "unattended",
    }
}
