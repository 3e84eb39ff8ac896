//! How pages answer: as a page, as JSON to the script, or with a refusal in both forms.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;

use crate::core::level::Level;
use crate::core::refusal::{Code, Refusal};
use crate::web::session::Session;
use crate::web::site::Site;

/// What the frame around every page needs.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Which entry of the menu is the current one.
    pub(super) here: &'static str,
    /// The session's token, for forms and the script.
    pub(super) token: String,
    /// What the set-up holds against, where that can be said here.
    pub(super) level: Option<Level>,
    /// Who it is, and of which workspace, where that is known.
    pub(super) you: Option<(String, String)>,
}

impl Frame {
    pub(super) fn new(here: &'static str, session: &Session) -> Self {
        Self {
            here,
            token: session.token.clone(),
            level: session.level,
            you: session
                .visitor
                .as_ref()
                .map(|one| (one.principal.to_string(), one.workspace.clone())),
        }
    }
}

#[derive(Template)]
#[template(path = "refused.html", config = "src/web/askama.toml")]
struct Refused {
    frame: Frame,
    message: String,
    hint: String,
    code: &'static str,
}

#[derive(Template)]
#[template(path = "locked.html", config = "src/web/askama.toml")]
struct Locked {
    path: String,
    command: String,
}

/// A page.
pub(super) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the page cannot be shown",
            )
        }
    }
}

/// A refusal as a page.
pub(super) fn refused(session: &Session, refusal: &Refusal) -> Response {
    let template = Refused {
        frame: Frame::new("", session),
        message: sentence(&refusal.message),
        hint: sentence(refusal.hint.as_deref().unwrap_or_default()),
        code: refusal.code.as_str(),
    };
    (status(refusal.code), page(&template)).into_response()
}

/// An answer to the script.
pub(super) fn json<T: Serialize>(answer: Result<T, Refusal>) -> Response {
    let (status, text) = match answer {
        // Structures of ours with string keys have no way to fail.
        Ok(answer) => (StatusCode::OK, serde_json::to_string(&answer)),
        Err(refusal) => (status(refusal.code), serde_json::to_string(&refusal)),
    };
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, text.unwrap_or_default()).into_response()
}

/// A sentence alone.
pub(super) fn plain(status: StatusCode, sentence: &str) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, kind, format!("{sentence}\n")).into_response()
}

/// What a browser without a session sees, whatever it asked for.
pub(super) fn locked(site: &Site, path: &str) -> Response {
    let request = path.rsplit('/').next().unwrap_or_default();
    let about = request.parse::<crate::core::ids::RequestId>().ok();
    let about = about.map_or_else(String::new, |id| format!(" --request {id}"));
    let there = match site.address().local_port() {
        Some(_) => String::new(),
        None => format!(" --relay {}", site.address().origin()),
    };
    let template = Locked {
        path: path.to_owned(),
        command: format!("secondkey page --link{there}{about}"),
    };
    (StatusCode::UNAUTHORIZED, page(&template)).into_response()
}

fn status(code: Code) -> StatusCode {
    if code == Code::UnknownRequest {
        StatusCode::NOT_FOUND
    } else if code == Code::InvalidArgument {
        StatusCode::BAD_REQUEST
    } else if code == Code::Forbidden {
        StatusCode::FORBIDDEN
    } else if code == Code::Internal || code == Code::AuditUnavailable {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::CONFLICT
    }
}

/// A refusal's words as a sentence of its own.
fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    match chars.next() {
        None => String::new(),
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
    }
}

/// The refusal of what the script sent.
pub(super) fn malformed(what: &str) -> Refusal {
    Refusal::new(Code::InvalidArgument, format!("{what} cannot be read"))
        .hint("load the page again")
}
