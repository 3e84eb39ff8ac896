//! The guard before every page: the right host (DNS rebinding), the right origin, a session, and for
//! whatever changes something the session's token. No handler can forget any of it.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};

use crate::core::refusal::{Code, Refusal};
use crate::web::answer::{locked, plain, refused};
use crate::web::session::{Session, same};
use crate::web::site::{Site, cookies};

/// The longest body, in bytes.
const LONGEST_BODY: usize = 64 * 1024;
/// The header that carries the session's token where the script speaks.
const TOKEN: &str = "x-secondkey-token";
/// What may be had without a session: how to get one, and how it looks.
const OPEN: &[&str] = &["/enter", "/style.css", "/script.js", "/icon.svg"];

/// What somebody sees whose signature does not count yet: how to get there.
const FOR_ANYBODY: &[&str] = &[
    "/trust",
    "/enrol/begin",
    "/enrol/registered",
    "/enrol/prove",
];

/// No remote asset, no inline script, no frame, no form to elsewhere.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", CSP),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
    (
        "permissions-policy",
        "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), geolocation=()",
    ),
];

/// Lets a request through to its page, or says why not.
pub(super) async fn guard(State(site): State<Site>, request: Request, next: Next) -> Response {
    let mut response = admit(&site, request, next).await;
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(*name, value);
    }
    response
}

async fn admit(site: &Site, request: Request, next: Next) -> Response {
    let (origin, host) = (site.address().origin(), site.address().host());
    let asked = text(request.headers(), header::HOST.as_str());
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    if asked != Some(host) || request.uri().authority().is_some_and(|a| a != host) {
        let path = request.uri().path();
        let ours = site.address().local_port().is_some_and(|port| {
            let numeric = ["127.0.0.1", "[::1]"].map(|name| format!("{name}:{port}"));
            asked.is_some_and(|asked| numeric.iter().any(|name| name == asked))
        });
        if ours && reading && request.uri().authority().is_none() && path.starts_with('/') {
            return Redirect::permanent(&format!("{origin}{path}")).into_response();
        }
        return plain(
            StatusCode::MISDIRECTED_REQUEST,
            "this is not the page of that host",
        );
    }
    let from = text(request.headers(), header::ORIGIN.as_str());
    if from.map_or(!reading, |from| from != origin) {
        return plain(StatusCode::FORBIDDEN, "that came from another page");
    }
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let found = session(site, request.headers()).filter(|session| site.takes(session));
    let Some(session) = found else {
        return locked(site, request.uri().path());
    };
    if let Err(refusal) = may_see(site, &session, request.uri().path()).await {
        return refused(&session, &refusal);
    }
    let request = if reading {
        request
    } else {
        match with_token(request, &session).await {
            Ok(request) => request,
            Err(refused) => return refused,
        }
    };
    let mut request = request;
    request.extensions_mut().insert(session);
    next.run(request).await
}

/// Everybody's requests are for those whose signature counts.
async fn may_see(site: &Site, session: &Session, path: &str) -> Result<(), Refusal> {
    if FOR_ANYBODY.contains(&path) {
        return Ok(());
    }
    let asked = session.clone();
    if site.blocking(move |site| site.shows_all(&asked)).await? {
        return Ok(());
    }
    let sentence = "this page shows everybody's requests, and is for those whose signature counts";
    Err(Refusal::new(Code::Forbidden, sentence)
        .hint("make a passkey on the page Trust, and have a trust admin add it"))
}

/// The session, unless a page of another origin has sent the browser here: a cookie that such a page
/// makes it send says nothing about what the person wants.
fn session(site: &Site, headers: &HeaderMap) -> Option<Session> {
    let sent_by = text(headers, "sec-fetch-site");
    if !matches!(sent_by, None | Some("same-origin" | "none")) {
        return None;
    }
    cookies(headers).find_map(|cookies| site.sessions().find(cookies, site.now()))
}

/// Demands the session's token, in the header or in the form.
async fn with_token(request: Request, session: &Session) -> Result<Request, Response> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return Err(plain(StatusCode::PAYLOAD_TOO_LARGE, "that is too long"));
    };
    let given = match text(&parts.headers, TOKEN) {
        Some(token) => Some(token.to_owned()),
        None => field(&body, "token"),
    };
    if given.is_none_or(|given| !same(&given, &session.token)) {
        return Err(plain(
            StatusCode::FORBIDDEN,
            "the page was open for too long; load it again",
        ));
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// A field of a form.
pub(super) fn field(body: &Bytes, name: &str) -> Option<String> {
    let mut fields = url::form_urlencoded::parse(body);
    fields
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
