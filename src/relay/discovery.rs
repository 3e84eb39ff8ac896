//! How a client without a key, or without a token, learns what to show: the documents and challenges of the MCP
//! authorization specification (RFC 9728, RFC 6750), and an answer to whoever tries to register itself.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde_json::{Value, json};
use url::{Position, Url};

use crate::core::oidc::Settings;
use crate::mcp::http::CHALLENGE;
use crate::relay::rest::problem::{Fault, Problem};
use crate::relay::rest::wrong_method;
use crate::relay::{Relay, Workspace};

/// Where RFC 9728 has a resource described, before the path of the resource.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

pub(super) fn router() -> Router<Arc<Relay>> {
    Router::new()
        .route(WELL_KNOWN, any(resource))
        .route("/.well-known/oauth-protected-resource/mcp", any(resource))
        .route("/register", any(register))
}

/// The description of this resource. Where API keys alone count there is none: it would have to name an
/// authorization server.
async fn resource(State(relay): State<Arc<Relay>>, method: Method, headers: HeaderMap) -> Response {
    if method != Method::GET {
        return wrong_method(["GET"].into_iter()).into_response();
    }
    let workspace = described(&relay, host_of(&headers));
    match workspace.as_ref().and_then(|one| one.issuer.as_ref()) {
        Some(issuer) => {
            let Settings {
                resource, issuer, ..
            } = issuer.settings();
            said(
                StatusCode::OK,
                &json!({
                    "resource": resource,
                    "authorization_servers": [issuer],
                    "bearer_methods_supported": ["header"],
                    "resource_name": "SecondKey",
                }),
            )
        }
        None => Problem::of(Fault::NotFound, "this relay takes API keys, and no tokens")
            .hint("a person gives out keys with `secondkey relay keys create`")
            .into_response(),
    }
}

/// Nobody registers here. What it says is what the user of a client is shown that has tried (RFC 7591, section
/// 3.2.2).
async fn register(State(relay): State<Arc<Relay>>, method: Method, headers: HeaderMap) -> Response {
    if method != Method::POST {
        return wrong_method(["POST"].into_iter()).into_response();
    }
    let workspace = described(&relay, host_of(&headers));
    let description = match workspace.as_ref().and_then(|one| one.issuer.as_ref()) {
        Some(issuer) => format!(
            "Clients are not registered here. Register one at {} and give its id to your client, \
             or use an API key: a person makes one with `secondkey relay keys create`; send it as \
             `Authorization: Bearer KEY`.",
            issuer.settings().issuer
        ),
        None => "This relay takes API keys. A person makes one with `secondkey relay keys create`; \
                 send it as `Authorization: Bearer KEY`. `secondkey setup claude-code --relay URL` or \
                 `secondkey setup cursor --relay URL` writes that into your client's configuration."
            .to_owned(),
    };
    said(
        StatusCode::BAD_REQUEST,
        &json!({"error": "invalid_client_metadata", "error_description": description}),
    )
}

fn said(status: StatusCode, what: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, format!("{what}\n")).into_response()
}

/// What is asked of whoever shows nothing that counts (RFC 6750, section 3; RFC 9728, section 5.1).
pub(super) fn challenge(relay: &Relay, host: &str, shown: bool) -> String {
    let workspace = described(relay, host);
    let Some(issuer) = workspace.as_ref().and_then(|one| one.issuer.as_ref()) else {
        return CHALLENGE.to_owned();
    };
    let error = if shown {
        ", error=\"invalid_token\""
    } else {
        ""
    };
    match described_at(&issuer.settings().resource) {
        Some(at) => format!("{CHALLENGE}{error}, resource_metadata=\"{at}\""),
        None => format!("{CHALLENGE}{error}"),
    }
}

/// The name under which somebody asks.
pub(super) fn host_of(headers: &HeaderMap) -> &str {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    host.unwrap_or_default()
}

/// The workspace whose provider is named to whoever asks under this name: the one whose resource has it, else the
/// first, where it has a provider.
pub(super) fn described(relay: &Relay, host: &str) -> Option<Arc<Workspace>> {
    let is_named = |workspace: &Arc<Workspace>| {
        let issuer = workspace.issuer.as_ref();
        let resource = issuer.and_then(|issuer| Url::parse(&issuer.settings().resource).ok());
        resource
            .is_some_and(|resource| resource[Position::BeforeHost..Position::AfterPort] == *host)
    };
    let named = relay.hall.all().into_iter().find(is_named);
    let first = || Some(Arc::clone(relay.hall.first())).filter(|first| first.issuer.is_some());
    named.or_else(first)
}

/// Where a resource is described: before its path (RFC 9728, section 3.1).
fn described_at(resource: &str) -> Option<String> {
    let resource = Url::parse(resource).ok()?;
    let origin = &resource[..Position::BeforePath];
    let path = resource.path().trim_end_matches('/');
    Some(format!("{origin}{WELL_KNOWN}{path}"))
}
