//! What goes into a transition and what can be wrong with one.

use serde::{Deserialize, Serialize};

use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Status;

/// Why a transition is not possible.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTransition {
    /// This person has voted before.
    #[error("`{0}` has voted on this request before")]
    AlreadyVoted(Principal),
    /// The glass is broken by people alone.
    #[error("`{0}` is not a person, and only a person can break the glass")]
    GlassOfAProgram(Principal),
    /// This key was used for a vote before.
    #[error("this key was used for a vote on this request before")]
    KeyUsed,
    /// Somebody who is not a person has no vote.
    #[error("`{0}` is not a person, and only people vote")]
    NotAPerson(Principal),
    /// There is nothing to review, or it was reviewed.
    #[error("no review of this request is open")]
    NoReview,
    /// The run was ordered by another token.
    #[error("another token was signed for this request")]
    OtherToken,
    /// The review is about another request.
    #[error("the review is about another request")]
    OtherReview,
    /// The request is in a state that has no such step.
    #[error("the request is {is}, and only one that is {wanted} can be {what}")]
    State {
        /// The state it is in.
        is: Status,
        /// What it would have to be.
        wanted: &'static str,
        /// What was wanted.
        what: &'static str,
    },
    /// What breaks the glass stands on a signature, whatever the policy allows.
    #[error("breaking the glass takes a signature")]
    Unsigned,
}

impl From<InvalidTransition> for Refusal {
    fn from(error: InvalidTransition) -> Self {
        let hint = match &error {
            InvalidTransition::AlreadyVoted(_) | InvalidTransition::KeyUsed => {
                "somebody else has to vote, with a key of their own"
            }
            InvalidTransition::GlassOfAProgram(_) | InvalidTransition::NotAPerson(_) => {
                "ask a person"
            }
            InvalidTransition::NoReview => {
                "`secondkey requests list --reviews` shows the reviews that are open"
            }
            InvalidTransition::Unsigned => "sign it; see `secondkey break-glass`",
            InvalidTransition::State { is, .. } if is.is_over() => {
                "this request is over; make the call again to ask anew"
            }
            InvalidTransition::OtherReview
            | InvalidTransition::OtherToken
            | InvalidTransition::State { .. } => "look at the request again",
        };
        Self::new(Code::RequestState, error.to_string()).hint(hint)
    }
}

/// What a vote makes of its request, by the policy that counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Further votes are needed.
    Open,
    /// All that the policy wanted is there.
    Met,
    /// The request is refused.
    Refused,
}

/// How a run ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Well.
    Succeeded,
    /// In an error; nothing stands.
    Failed {
        /// Why.
        code: Code,
        /// The database's own error class.
        sqlstate: Option<String>,
    },
    /// Stopped; nothing stands.
    Cancelled,
    /// With the connection lost: nobody knows whether it stands.
    Unknown,
}

impl Ending {
    /// The ending that a refusal reports.
    pub fn refused(refusal: &Refusal) -> Self {
        if refusal.code == Code::Cancelled {
            Self::Cancelled
        } else if refusal.code == Code::OutcomeUnknown {
            Self::Unknown
        } else {
            Self::Failed {
                code: refusal.code,
                sqlstate: refusal.sqlstate.clone(),
            }
        }
    }
}

/// What a look-up found about work whose end was not known.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// It stands.
    Succeeded,
    /// It does not stand: it was begun and never committed.
    Failed,
}

impl Settlement {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}
