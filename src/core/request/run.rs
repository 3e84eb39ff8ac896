//! The transitions between approval and the end: dispatch, start, report, look-up.

use crate::core::approval::Purpose;
use crate::core::audit::{Draft, EventKind};
use crate::core::ids::TokenId;
use crate::core::principal::Principal;
use crate::core::refusal::Code;
use crate::core::request::life::wrong;
use crate::core::request::{
    Change, Ended, Ending, InvalidTransition, Order, REPORT_MS, Request, Review, Settlement, State,
};
use crate::core::time::Timestamp;

impl Request {
    /// A token was signed for it, which no agent accepts from `lapses` on.
    pub fn dispatch(
        self,
        token: TokenId,
        lapses: Timestamp,
        now: Timestamp,
    ) -> Result<Change, InvalidTransition> {
        self.order((token, false), lapses, now)
    }

    /// Like [`Request::dispatch`], to an agent that keeps its own journal elsewhere: a token of which nothing
    /// is heard until it lapses leaves an unknown end, because it may have been run.
    pub fn dispatch_away(
        self,
        token: TokenId,
        lapses: Timestamp,
        now: Timestamp,
    ) -> Result<Change, InvalidTransition> {
        self.order((token, true), lapses, now)
    }

    fn order(
        self,
        (token, away): (TokenId, bool),
        lapses: Timestamp,
        now: Timestamp,
    ) -> Result<Change, InvalidTransition> {
        let order = Order {
            token,
            at: now,
            lapses,
            away,
        };
        let request = self.as_of(now);
        let State::Approved(approval) = &request.state else {
            return Err(wrong(&request.state, "approved", "dispatched"));
        };
        let approval = approval.clone();
        let event = request
            .event(EventKind::RequestDispatched, now)
            .agent(&request.asked.agent)
            .token(&order.token);
        let state = State::Dispatched { approval, order };
        Ok(request.change(state, now, Some(event)))
    }

    /// The agent would not begin it on the order of `token`: what was approved stays so, and may be
    /// ordered again.
    pub fn give_back(self, token: &TokenId, now: Timestamp) -> Result<Change, InvalidTransition> {
        let request = self.as_of(now);
        let State::Dispatched { approval, order } = &request.state else {
            return Err(wrong(&request.state, "dispatched", "given back"));
        };
        if order.token != *token {
            return Err(InvalidTransition::OtherToken);
        }
        let state = State::Approved(approval.clone());
        let event = request.event(EventKind::RequestLapsed, now).token(token);
        Ok(request.change(state, now, Some(event)))
    }

    /// The agent begins it on the order of `token`, for at most `time_ms` milliseconds. `intent` is
    /// the entry that records this. Where it breaks the glass, its review is open from here on, however
    /// it ends.
    pub fn start(
        self,
        token: &TokenId,
        time_ms: u32,
        now: Timestamp,
        intent: Draft,
    ) -> Result<Change, InvalidTransition> {
        let mut request = self.as_of(now);
        let State::Dispatched { approval, order } = &request.state else {
            return Err(wrong(&request.state, "dispatched", "run"));
        };
        if order.token != *token {
            return Err(InvalidTransition::OtherToken);
        }
        let state = State::Running {
            approval: approval.clone(),
            token: order.token.clone(),
            since: now,
            until: now.plus_ms(i64::from(time_ms)).plus_ms(REPORT_MS),
        };
        let opened = (request.asked.purpose == Purpose::BreakGlass).then(|| {
            request.review = Some(Review::Open { since: now });
            request.event(EventKind::ReviewOpened, now)
        });
        let mut change = request.change(state, now, Some(intent));
        change.events.extend(opened);
        Ok(change)
    }

    /// The agent reports how the run ended. `outcome` is the entry that records this. A report that
    /// comes after its agent was taken to be gone settles what was unknown.
    pub fn end(
        self,
        ending: Ending,
        now: Timestamp,
        outcome: Draft,
    ) -> Result<Change, InvalidTransition> {
        let request = self.as_of(now);
        let ended = if let State::Running {
            approval,
            token,
            since,
            ..
        } = &request.state
        {
            Ended {
                approval: approval.clone(),
                token: token.clone(),
                since: *since,
                at: now,
            }
        } else if let State::Unknown(ended) = &request.state {
            Ended {
                at: now,
                ..ended.clone()
            }
        } else {
            return Err(wrong(&request.state, "running", "ended"));
        };
        let state = match ending {
            Ending::Succeeded => State::Succeeded(ended),
            Ending::Failed { code, sqlstate } => State::Failed {
                ended,
                code,
                sqlstate,
            },
            Ending::Cancelled => State::Cancelled {
                by: None,
                at: now,
                votes: ended.approval.votes,
            },
            Ending::Unknown => State::Unknown(ended),
        };
        Ok(request.change(state, now, Some(outcome)))
    }

    /// Somebody has looked into the data and found what became of work whose end was not known; `comment` is
    /// how they know, in their own words.
    pub fn settle(
        self,
        (found, comment): (Settlement, &str),
        by: &Principal,
        now: Timestamp,
    ) -> Result<Change, InvalidTransition> {
        let request = self.as_of(now);
        let State::Unknown(ended) = &request.state else {
            return Err(wrong(&request.state, "unknown", "settled"));
        };
        let ended = ended.clone();
        let event = request
            .event(EventKind::RequestSettled, now)
            .by(by)
            .text("found", found.as_str())
            .text("comment", comment);
        let state = match found {
            Settlement::Succeeded => State::Succeeded(ended),
            Settlement::Failed => State::Failed {
                ended,
                code: Code::OutcomeUnknown,
                sqlstate: None,
            },
        };
        Ok(request.change(state, now, Some(event)))
    }
}
