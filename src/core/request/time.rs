//! What time alone makes of a request. There is no timer: whoever looks, looks through this.

use crate::core::audit::EventKind;
use crate::core::request::life::ms;
use crate::core::request::{Change, Ended, Request, State, Status};
use crate::core::time::Timestamp;

impl Request {
    /// What time alone has made of the request: a token that nobody used lapses, what nobody
    /// decided or collected expires, and an agent that never reported has left an unknown end.
    ///
    /// The version stays that of the store. The next change carries the audit entries of this.
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        // A lapsed token leaves an approval, whose time can be over as well.
        while let Some(due) = self.state.due().filter(|due| now >= *due) {
            let kind;
            (self.state, kind) = moved_on(self.state, due);
            let event = self.event(kind, now).number("due_ms", ms(due));
            self.unrecorded.push(event);
        }
        self
    }

    /// What [`Request::as_of`] has done, as a change; the request itself if that was
    /// nothing.
    pub fn catch_up(self, now: Timestamp) -> Result<Change, Box<Self>> {
        let request = self.as_of(now);
        if request.unrecorded.is_empty() {
            Err(Box::new(request))
        } else {
            let state = request.state.clone();
            Ok(request.change(state, now, None))
        }
    }
}

impl State {
    /// What time alone has made of the state: see [`Request::as_of`].
    #[must_use]
    pub fn as_of(mut self, now: Timestamp) -> Self {
        while let Some(due) = self.due().filter(|due| now >= *due) {
            (self, _) = moved_on(self, due);
        }
        self
    }
}

/// The state after `state`'s time has run out at `due`, and what that is called.
fn moved_on(state: State, due: Timestamp) -> (State, EventKind) {
    let expired = |was, votes| State::Expired {
        was,
        at: due,
        votes,
    };
    match state {
        State::Pending { votes, .. } => {
            (expired(Status::Pending, votes), EventKind::RequestExpired)
        }
        State::Approved(approval) => (
            expired(Status::Approved, approval.votes),
            EventKind::RequestExpired,
        ),
        State::Dispatched { approval, order } if order.away => {
            let ended = Ended {
                approval,
                token: order.token,
                since: order.at,
                at: due,
            };
            (State::Unknown(ended), EventKind::ExecutionUnknown)
        }
        State::Dispatched { approval, .. } => (State::Approved(approval), EventKind::RequestLapsed),
        State::Running {
            approval,
            token,
            since,
            ..
        } => {
            let ended = Ended {
                approval,
                token,
                since,
                at: due,
            };
            (State::Unknown(ended), EventKind::ExecutionUnknown)
        }
        // These have no due time, so that nobody comes here with them.
        over @ (State::Submitted
        | State::Denied { .. }
        | State::Measuring { .. }
        | State::Succeeded(_)
        | State::Failed { .. }
        | State::Cancelled { .. }
        | State::Rejected { .. }
        | State::Expired { .. }
        | State::Unknown(_)) => (over, EventKind::RequestExpired),
    }
}
