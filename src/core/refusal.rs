//! The answer "no": a stable code, one sentence, and a hint that says what to do instead.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something was refused or failed. The written form (snake case) never changes its meaning.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The agent of another OS user cannot be reached, or does not serve this one.
    AgentUnavailable,
    /// A person has to agree first; the request waits for them.
    ApprovalPending,
    /// An approval or the document it is about is not valid here and now.
    ApprovalRefused,
    /// A person said no.
    ApprovalRejected,
    /// The policy wants a human to agree first.
    ApprovalRequired,
    /// The audit log cannot be written, so nothing runs.
    AuditUnavailable,
    /// The agent had no room for it in time; nothing was run.
    Busy,
    /// The caller went away or asked to stop.
    Cancelled,
    /// The executor found more effect than the token allows.
    ClassificationMismatch,
    /// The database cannot be reached or refused the login.
    DatabaseUnavailable,
    /// The database answered with an error.
    DatabaseError,
    /// The policy or the safety floor forbids this, whoever asks.
    Forbidden,
    /// An idempotency key was used for something else, or is too old.
    IdempotencyConflict,
    /// Something of ours broke; the log on stderr has the details under the id given.
    Internal,
    /// A tool argument is malformed.
    InvalidArgument,
    /// A parameter's value does not fit its type.
    InvalidParameter,
    /// A capability's answer, or the database beneath it, is not what its contract says.
    ContractBroken,
    /// A capability is not offered now; the message says why.
    CapabilityWithdrawn,
    /// The clocks of relay and agent are too far apart for an order to be judged.
    ClockSkew,
    /// Somebody has frozen the agent: nothing new runs.
    Frozen,
    /// The caller's key has as much under way, or waiting, as it may.
    LimitReached,
    /// More than one statement in a call.
    MultipleStatements,
    /// No statement in the text.
    EmptyStatement,
    /// The connection was lost after work began; whether it committed is not known.
    OutcomeUnknown,
    /// The page handle does not exist, has expired or is somebody else's.
    PageGone,
    /// As many values are needed as the statement has placeholders.
    ParameterCount,
    /// The policy cannot be evaluated, so nothing runs.
    PolicyUnavailable,
    /// Whoever asks is suspended.
    PrincipalSuspended,
    /// The login can do more than the target allows.
    PrivilegedLogin,
    /// The request is in a state in which this cannot be done.
    RequestState,
    /// A review rule of the target's environment refuses the statement.
    ReviewBlocked,
    /// The statement is larger than the limit.
    StatementTooLarge,
    /// The statement cannot be understood.
    SyntaxError,
    /// The statement was stopped at its time limit.
    TimeLimit,
    /// The execution token is not valid here and now.
    TokenRefused,
    /// A trust file or a proposal for one is not valid here and now.
    TrustRefused,
    /// No such capability, or not with this meaning.
    UnknownCapability,
    /// No such column.
    UnknownColumn,
    /// No such request.
    UnknownRequest,
    /// No such table or view.
    UnknownTable,
    /// No target of this name, or none named where several exist.
    UnknownTarget,
}

impl Code {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentUnavailable => "agent_unavailable",
            Self::ApprovalPending => "approval_pending",
            Self::ApprovalRejected => "approval_rejected",
            Self::ApprovalRefused => "approval_refused",
            Self::ApprovalRequired => "approval_required",
            Self::AuditUnavailable => "audit_unavailable",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::ClassificationMismatch => "classification_mismatch",
            Self::CapabilityWithdrawn => "capability_withdrawn",
            Self::ContractBroken => "contract_broken",
            Self::ClockSkew => "clock_skew",
            Self::Frozen => "frozen",
            Self::DatabaseError => "database_error",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::EmptyStatement => "empty_statement",
            Self::Forbidden => "forbidden",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::Internal => "internal",
            Self::InvalidArgument => "invalid_argument",
            Self::InvalidParameter => "invalid_parameter",
            Self::LimitReached => "limit_reached",
            Self::MultipleStatements => "multiple_statements",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::PageGone => "page_gone",
            Self::ParameterCount => "parameter_count",
            Self::PolicyUnavailable => "policy_unavailable",
            Self::PrincipalSuspended => "principal_suspended",
            Self::PrivilegedLogin => "privileged_login",
            Self::RequestState => "request_state",
            Self::ReviewBlocked => "review_blocked",
            Self::StatementTooLarge => "statement_too_large",
            Self::SyntaxError => "syntax_error",
            Self::TimeLimit => "time_limit",
            Self::TokenRefused => "token_refused",
            Self::TrustRefused => "trust_refused",
            Self::UnknownCapability => "unknown_capability",
            Self::UnknownColumn => "unknown_column",
            Self::UnknownRequest => "unknown_request",
            Self::UnknownTable => "unknown_table",
            Self::UnknownTarget => "unknown_target",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal or failure as the caller sees it. Holds no secret and no parameter value.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// One sentence that says what happened.
    pub message: String,
    /// What the caller can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub hint: Option<String>,
    /// The database's own five-character error class, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub sqlstate: Option<String>,
}

impl Refusal {
    /// A refusal with a code and a sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            sqlstate: None,
        }
    }

    /// Adds what the caller can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the database's own error class.
    #[must_use]
    pub fn sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        self.sqlstate = Some(sqlstate.into());
        self
    }
}
