//! Serving MCP over streamable HTTP on this machine, behind a bearer token.
//!
//! Host and Origin are checked (a page in a browser must not reach a local server), and a session
//! belongs to whoever opened it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::mcp::{MESSAGE_BYTES, Server};

/// How often a silent stream is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A listening socket, and how it is guarded.
#[derive(Debug)]
pub struct Door {
    /// Where it listens.
    pub listener: TcpListener,
    /// What a caller has to show.
    pub token: SecretString,
    /// Fires when it is time to close.
    pub closing: CancellationToken,
}

impl Door {
    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Opens a socket on a loopback address; anything else is refused.
pub async fn open(
    address: SocketAddr,
    token: SecretString,
    closing: CancellationToken,
) -> std::io::Result<Door> {
    if !address.ip().is_loopback() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "this door is for this machine only; use a loopback address such as 127.0.0.1",
        ));
    }
    Ok(Door {
        listener: TcpListener::bind(address).await?,
        token,
        closing,
    })
}

/// Serves MCP at `/mcp` until the door closes.
pub async fn serve(server: Server, door: Door) -> std::io::Result<()> {
    let Door {
        listener,
        token,
        closing,
    } = door;
    let port = listener.local_addr()?.port();
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(["127.0.0.1", "localhost", "[::1]", "::1"])
        .with_allowed_origins([
            format!("http://127.0.0.1:{port}"),
            format!("http://localhost:{port}"),
            format!("http://[::1]:{port}"),
        ])
        .enforce_origin_validation()
        .with_sse_keep_alive(Some(KEEP_ALIVE))
        .with_max_request_body_bytes(MESSAGE_BYTES)
        .with_cancellation_token(closing.clone());
    let sessions = Arc::new(LocalSessionManager::default());
    let mcp = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
    let app = Router::new()
        .nest_service("/mcp", mcp)
        .layer(from_fn_with_state(Arc::new(token), authenticate));
    axum::serve(listener, app)
        .with_graceful_shutdown(closing.cancelled_owned())
        .await
}

async fn authenticate(
    State(token): State<Arc<SecretString>>,
    request: Request,
    next: Next,
) -> Response {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map_or("", |(_, token)| token);
    if !shown.is_empty() && bool::from(shown.as_bytes().ct_eq(token.expose_secret().as_bytes())) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"secondkey\"")];
    (
        StatusCode::UNAUTHORIZED,
        challenge,
        "this server wants its bearer token\n",
    )
        .into_response()
}
