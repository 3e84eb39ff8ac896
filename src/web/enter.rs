//! The door: a one-time code opens a session.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::core::ids::RequestId;
use crate::ids::random;
use crate::web::answer::{locked, page, plain};
use crate::web::session::{SESSION_MS, Visitor};
use crate::web::site::Site;

#[derive(Template)]
#[template(path = "enter.html", config = "src/web/askama.toml")]
struct Entered {
    to: String,
}

/// `GET /enter?code=...[&request=...]`
pub(super) async fn enter(State(site): State<Site>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let field = |name: &str| {
        let mut fields = url::form_urlencoded::parse(query.as_bytes());
        let found = fields.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    let code = field("code").unwrap_or_default();
    let request = field("request").and_then(|id| id.parse::<RequestId>().ok());
    let to = request.map_or_else(|| "/".to_owned(), |id| format!("/requests/{id}"));
    let redeemed = site.blocking(move |site| Ok(site.state().redeem_page_code(&code)?));
    let visitor = match redeemed.await {
        Ok(Some(whom)) => Visitor::read(&whom),
        Ok(None) => return locked(&site, &to),
        Err(refusal) => {
            tracing::warn!(%refusal, "a code cannot be redeemed");
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "the code cannot be read");
        }
    };
    let Ok(nonce) = random() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "no randomness");
    };
    let sessions = site.sessions();
    let cookie = format!(
        "{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{}",
        sessions.cookie(),
        sessions.open(site.now(), nonce, visitor.as_ref()),
        SESSION_MS / 1_000,
        if site.address().is_secure() {
            "; Secure"
        } else {
            ""
        }
    );
    // A page of ours and not a redirect: what follows it is then a visit from this site, for which
    // the browser sends a strict cookie.
    ([(header::SET_COOKIE, cookie)], page(&Entered { to })).into_response()
}
