//! Where a request stands: one enum whose variants hold exactly what is true there.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::ids::TokenId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::vote::RecordedVote;
use crate::core::time::Timestamp;

/// Where a request stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    /// It was asked, and nothing was decided yet.
    Submitted,
    /// The policy refused it.
    Denied {
        /// Why.
        refusal: Refusal,
        /// When.
        at: Timestamp,
    },
    /// Its effect is being measured.
    Measuring {
        /// Since when.
        since: Timestamp,
    },
    /// It waits for people.
    Pending {
        /// Who has voted so far.
        votes: Vec<RecordedVote>,
        /// From when on it waits no longer.
        until: Timestamp,
    },
    /// It may run as soon as the requester collects it.
    Approved(Approval),
    /// A token was signed for it.
    Dispatched {
        /// What it stands on.
        approval: Approval,
        /// The token.
        order: Order,
    },
    /// The agent has begun.
    Running {
        /// What it stands on.
        approval: Approval,
        /// The token that began it.
        token: TokenId,
        /// When the agent began.
        since: Timestamp,
        /// From when on a silent agent is taken to be gone.
        until: Timestamp,
    },
    /// It has run, and stands.
    Succeeded(Ended),
    /// It ended in an error, and nothing of it stands.
    Failed {
        /// The run.
        ended: Ended,
        /// Why; never the sentence, which can quote rows.
        code: Code,
        /// The database's own error class.
        sqlstate: Option<String>,
    },
    /// It was stopped, and nothing of it stands.
    Cancelled {
        /// By whom; nobody is named where the engine reported it.
        by: Option<Principal>,
        /// When.
        at: Timestamp,
        /// Who had voted.
        votes: Vec<RecordedVote>,
    },
    /// People said no.
    Rejected {
        /// Who voted.
        votes: Vec<RecordedVote>,
        /// When.
        at: Timestamp,
    },
    /// Its time ran out before it was run.
    Expired {
        /// What it was until then: pending or approved.
        was: Status,
        /// When its time ran out.
        at: Timestamp,
        /// Who had voted.
        votes: Vec<RecordedVote>,
    },
    /// It was begun, and whether it was committed is not known. It is looked up, never run again.
    Unknown(Ended),
}

/// What a request that may run stands on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Approval {
    /// Who allowed it.
    pub by: ApprovedBy,
    /// The votes; none if the policy allowed it alone.
    pub votes: Vec<RecordedVote>,
    /// When it was allowed.
    pub at: Timestamp,
    /// From when on it can be collected no longer.
    pub until: Timestamp,
}

/// Who allowed a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovedBy {
    /// The policy, without asking anybody.
    Policy,
    /// As many people as the policy wanted.
    Quorum,
    /// One person who may, ahead of its review.
    BreakGlass,
}

/// A token that is on its way.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Order {
    /// The token.
    pub token: TokenId,
    /// When it was signed.
    pub at: Timestamp,
    /// From when on no agent accepts it.
    pub lapses: Timestamp,
    /// Whether it left this state folder, for an agent with a journal of its own: that nothing was heard of
    /// it then does not mean that it did not run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
}

/// A run that is over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ended {
    /// What it stood on.
    pub approval: Approval,
    /// The token that began it.
    pub token: TokenId,
    /// When the agent began.
    pub since: Timestamp,
    /// When it ended, as far as is known.
    pub at: Timestamp,
}

impl State {
    /// The name of the state.
    pub fn status(&self) -> Status {
        match self {
            Self::Submitted => Status::Submitted,
            Self::Denied { .. } => Status::Denied,
            Self::Measuring { .. } => Status::Measuring,
            Self::Pending { .. } => Status::Pending,
            Self::Approved(_) => Status::Approved,
            Self::Dispatched { .. } => Status::Dispatched,
            Self::Running { .. } => Status::Running,
            Self::Succeeded(_) => Status::Succeeded,
            Self::Failed { .. } => Status::Failed,
            Self::Cancelled { .. } => Status::Cancelled,
            Self::Rejected { .. } => Status::Rejected,
            Self::Expired { .. } => Status::Expired,
            Self::Unknown(_) => Status::Unknown,
        }
    }

    /// When time alone moves the request on, if it does.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Pending { until, .. } | Self::Running { until, .. } => Some(*until),
            Self::Approved(approval) => Some(approval.until),
            Self::Dispatched { order, .. } => Some(order.lapses),
            Self::Submitted
            | Self::Denied { .. }
            | Self::Measuring { .. }
            | Self::Succeeded(_)
            | Self::Failed { .. }
            | Self::Cancelled { .. }
            | Self::Rejected { .. }
            | Self::Expired { .. }
            | Self::Unknown(_) => None,
        }
    }

    /// The votes that were cast.
    pub fn votes(&self) -> &[RecordedVote] {
        match self {
            Self::Submitted | Self::Denied { .. } | Self::Measuring { .. } => &[],
            Self::Pending { votes, .. }
            | Self::Cancelled { votes, .. }
            | Self::Rejected { votes, .. }
            | Self::Expired { votes, .. } => votes,
            Self::Approved(approval)
            | Self::Dispatched { approval, .. }
            | Self::Running { approval, .. }
            | Self::Succeeded(Ended { approval, .. })
            | Self::Failed {
                ended: Ended { approval, .. },
                ..
            }
            | Self::Unknown(Ended { approval, .. }) => &approval.votes,
        }
    }
}

/// Declares [`Status`] with the written form of each.
macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The name of a state. The written form never changes its meaning.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Status {
            $($(#[$doc])* $name,)*
        }

        impl Status {
            /// Every status, in the order of a life.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The written form.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        impl std::str::FromStr for Status {
            type Err = UnknownStatus;

            fn from_str(text: &str) -> Result<Self, UnknownStatus> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(UnknownStatus),
                }
            }
        }
    };
}

/// Text that names no status.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the state of a request")]
pub struct UnknownStatus;

statuses! {
    /// Asked, and nothing decided yet.
    Submitted = "submitted",
    /// Refused by the policy.
    Denied = "denied",
    /// Being measured.
    Measuring = "measuring",
    /// Waiting for people.
    Pending = "pending",
    /// Waiting to be collected.
    Approved = "approved",
    /// On its way to the agent.
    Dispatched = "dispatched",
    /// Begun by the agent.
    Running = "running",
    /// Ended well.
    Succeeded = "succeeded",
    /// Ended in an error.
    Failed = "failed",
    /// Stopped.
    Cancelled = "cancelled",
    /// Refused by people.
    Rejected = "rejected",
    /// Out of time.
    Expired = "expired",
    /// Begun, with an end that nobody knows.
    Unknown = "unknown",
}

impl Status {
    /// Whether nothing happens to the request any more. An unknown end is none: it is looked up.
    pub fn is_over(self) -> bool {
        match self {
            Self::Denied
            | Self::Succeeded
            | Self::Failed
            | Self::Cancelled
            | Self::Rejected
            | Self::Expired => true,
            Self::Submitted
            | Self::Measuring
            | Self::Pending
            | Self::Approved
            | Self::Dispatched
            | Self::Running
            | Self::Unknown => false,
        }
    }

    /// Whether somebody may still need the values of the parameters. An agent that has begun has
    /// them; whose end is unknown never runs again.
    pub fn needs_values(self) -> bool {
        !self.is_over() && self != Self::Unknown
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
