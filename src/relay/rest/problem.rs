//! Why a request over HTTP came to nothing, as RFC 9457 writes it: `application/problem+json`.
//!
//! This is the one place that knows which status a refusal has. A problem's `code` is the refusal's own, or
//! one of the few that only HTTP knows; neither ever changes its meaning.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::core::refusal::{Code, Refusal};

/// What a problem's type begins with. It names the problem, and is no address.
const TYPE: &str = "urn:secondkey:problem:";
/// The media type (RFC 9457, section 6.1).
pub(in crate::relay) const MEDIA: &str = "application/problem+json";

/// What is said of a request that came to nothing.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[schemars(rename = "Problem")]
pub(in crate::relay) struct Said {
    /// Names the problem: `urn:secondkey:problem:` and the code.
    r#type: String,
    /// The same for every problem of this type.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// One sentence that says what happened.
    detail: String,
    /// The stable code.
    code: &'static str,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    hint: Option<String>,
    /// The database's own five-character error class, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    sqlstate: Option<String>,
}

/// A problem, and the headers that go with it.
#[derive(Debug)]
pub(in crate::relay) struct Problem {
    said: Box<Said>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What only HTTP knows to go wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::relay) enum Fault {
    /// The body is longer than any may be.
    BodyTooLarge,
    /// The body took too long to come.
    BodyTimeout,
    /// A token was shown, and the identity provider's keys are not to be had.
    IdentityUnavailable,
    /// The body is no JSON.
    MalformedJson,
    /// There is something here, but not for this method.
    MethodNotAllowed,
    /// There is nothing here.
    NotFound,
    /// No key, or none that counts.
    Unauthenticated,
    /// The body is of another type.
    UnsupportedMediaType,
}

impl Fault {
    fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::BodyTooLarge => (
                "body_too_large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too large",
            ),
            Self::BodyTimeout => (
                "body_timeout",
                StatusCode::REQUEST_TIMEOUT,
                "The body did not come in time",
            ),
            Self::IdentityUnavailable => (
                "identity_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The identity provider cannot be asked",
            ),
            Self::MalformedJson => (
                "malformed_json",
                StatusCode::BAD_REQUEST,
                "The body is not JSON",
            ),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The method is not there for this resource",
            ),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "There is nothing here"),
            Self::Unauthenticated => (
                "unauthenticated",
                StatusCode::UNAUTHORIZED,
                "The request shows nothing that counts",
            ),
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body has to be JSON",
            ),
        }
    }
}

impl Problem {
    /// Of HTTP's own.
    pub(in crate::relay) fn of(fault: Fault, detail: impl Into<String>) -> Self {
        let (code, status, title) = fault.facts();
        Self::new((code, status, title), detail.into())
    }

    fn new(
        (code, status, title): (&'static str, StatusCode, &'static str),
        detail: String,
    ) -> Self {
        Self {
            said: Box::new(Said {
                r#type: format!("{TYPE}{code}"),
                title,
                status: status.as_u16(),
                detail,
                code,
                hint: None,
                sqlstate: None,
            }),
            headers: Vec::new(),
        }
    }

    /// What can be done about it.
    pub(in crate::relay) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.said.hint = Some(hint.into());
        self
    }

    /// The same as 404, for what the path names.
    pub(in crate::relay) fn missing(mut self) -> Self {
        self.said.status = StatusCode::NOT_FOUND.as_u16();
        self
    }

    /// A header to go with it.
    pub(in crate::relay) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The stable code.
    pub(in crate::relay) fn code(&self) -> &'static str {
        self.said.code
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, title) = facts(refusal.code);
        let mut problem = Self::new((refusal.code.as_str(), status, title), refusal.message);
        problem.said.hint = refusal.hint;
        problem.said.sqlstate = refusal.sqlstate;
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.said.status);
        let body = serde_json::to_string(&self.said).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, MEDIA)];
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, kind, body + "\n").into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

/// The status and the title of a refusal.
///
/// What may have run is 500 and not 502 or 504: a client must not send it again by itself.
fn facts(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::AgentUnavailable => (down(), "The database's agent cannot be reached"),
        Code::ApprovalPending => (StatusCode::CONFLICT, "The request waits for people"),
        Code::ApprovalRefused => (StatusCode::FORBIDDEN, "The signature does not count"),
        Code::ApprovalRejected => (StatusCode::CONFLICT, "People have said no"),
        Code::ApprovalRequired => (StatusCode::FORBIDDEN, "A person has to agree first"),
        Code::AuditUnavailable => (down(), "The audit log cannot be written"),
        Code::CapabilityWithdrawn => (down(), "The operation is withdrawn for now"),
        Code::ContractBroken => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The answer does not hold what was declared",
        ),
        Code::UnknownCapability => (StatusCode::NOT_FOUND, "There is no such operation"),
        Code::Busy => (down(), "The agent has no room for it now"),
        Code::Cancelled => (StatusCode::CONFLICT, "The work was cancelled"),
        Code::ClassificationMismatch => (StatusCode::FORBIDDEN, "The work does more than it may"),
        Code::ClockSkew => (down(), "The clocks of relay and agent are too far apart"),
        Code::DatabaseError => (unfit(), "The database has refused the statement"),
        Code::DatabaseUnavailable => (down(), "The database cannot be reached"),
        Code::EmptyStatement => (unfit(), "There is no statement"),
        Code::Forbidden => (StatusCode::FORBIDDEN, "This is not allowed"),
        Code::Frozen => (down(), "The agent is frozen"),
        Code::IdempotencyConflict => (
            StatusCode::CONFLICT,
            "The idempotency key was used for something else",
        ),
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Something broke"),
        Code::InvalidArgument => (unfit(), "An argument does not fit"),
        Code::InvalidParameter => (unfit(), "A parameter's value does not fit"),
        Code::LimitReached => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too much is under way or waits",
        ),
        Code::MultipleStatements => (unfit(), "There is more than one statement"),
        Code::OutcomeUnknown => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "What became of the work is not known",
        ),
        Code::PageGone => (StatusCode::NOT_FOUND, "There are no rows behind the handle"),
        Code::ParameterCount => (unfit(), "The number of values does not fit"),
        Code::PolicyUnavailable => (down(), "The policy cannot be evaluated"),
        Code::PrincipalSuspended => (StatusCode::FORBIDDEN, "Whoever this is may not act now"),
        Code::PrivilegedLogin => (StatusCode::FORBIDDEN, "The login can do more than it may"),
        Code::RequestState => (StatusCode::CONFLICT, "The request is not in such a state"),
        Code::ReviewBlocked => (StatusCode::FORBIDDEN, "A review rule forbids this"),
        Code::StatementTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The statement is too large"),
        Code::SyntaxError => (unfit(), "The statement cannot be understood"),
        Code::TimeLimit => (unfit(), "The statement was stopped at its time limit"),
        Code::TokenRefused => (StatusCode::FORBIDDEN, "The execution token does not count"),
        Code::TrustRefused => (StatusCode::FORBIDDEN, "The trust file does not count"),
        Code::UnknownColumn => (unfit(), "There is no such column"),
        Code::UnknownRequest => (StatusCode::NOT_FOUND, "There is no such request"),
        Code::UnknownTable => (unfit(), "There is no such table"),
        Code::UnknownTarget => (unfit(), "There is no such target"),
    }
}

fn down() -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

fn unfit() -> StatusCode {
    StatusCode::UNPROCESSABLE_ENTITY
}
