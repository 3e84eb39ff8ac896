//! Serving MCP over streamable HTTP on this machine, behind a bearer token: one for clients that
//! speak for a model, and another for clients in a person's own hands, where there are any.
//!
//! Host and Origin are checked (a page in a browser must not reach a local server). A session belongs
//! to the token that it was opened with: the other finds none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::serve::ListenerExt as _;
use futures::StreamExt as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::mcp::kept::Kept;
use crate::mcp::{MESSAGE_BYTES, Server, experimental};

/// How often a silent stream is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A listening socket, and how it is guarded.
#[derive(Debug)]
pub struct Door {
    /// Where it listens.
    pub listener: TcpListener,
    /// What a caller has to show.
    pub tokens: Tokens,
    /// Fires when it is time to close.
    pub closing: CancellationToken,
}

/// What callers have to show. No two are the same.
#[derive(Debug)]
pub struct Tokens {
    /// A client that speaks for a model.
    pub client: SecretString,
    /// A client that the user of this machine drives in person.
    pub person: Option<SecretString>,
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
    tokens: Tokens,
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
        tokens,
        closing,
    })
}

/// Serves MCP at `/mcp` until the door closes.
pub async fn serve(server: Server, door: Door) -> std::io::Result<()> {
    let Door {
        listener,
        tokens,
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
    let client = service(server.clone(), config.clone());
    let person = tokens
        .person
        .is_some()
        .then(|| service(server.for_the_person(), config));
    let services = Arc::new(Services {
        tokens,
        client,
        person,
    });
    let app = Router::new()
        .route("/mcp", any(answer))
        .route("/mcp/", any(answer))
        .fallback(nothing_here)
        .with_state(services);
    // An answer is several small writes: each would else wait 40 ms for the acknowledgement of the last.
    let prompt = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(prompt, app)
        .with_graceful_shutdown(closing.cancelled_owned())
        .await
}

type Service = StreamableHttpService<Server, LocalSessionManager>;

/// A service with sessions of its own.
fn service(server: Server, config: StreamableHttpServerConfig) -> Service {
    service_with(server, config, Arc::default())
}

fn service_with(
    server: Server,
    config: StreamableHttpServerConfig,
    sessions: Arc<LocalSessionManager>,
) -> Service {
    StreamableHttpService::new(move || Ok(server.clone()), sessions, config)
}

/// Serving MCP to the holder of one API key, until the key is ended.
pub struct Keyed {
    service: Service,
    sessions: Arc<LocalSessionManager>,
    ended: CancellationToken,
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

impl Keyed {
    /// With sessions of its own, which are known to every process of the store by this name of the key. `hosts` are the names under which it may be asked for, with or without a
    /// port.
    pub fn new(server: Server, holder: &str, hosts: &[String], ended: CancellationToken) -> Self {
        // One without its port would stand for every port.
        let origins = hosts.iter().flat_map(|host| {
            let with_port = |port| {
                let bare = host.trim_end_matches(|c: char| c.is_ascii_digit());
                if bare.ends_with(':') && bare.len() < host.len() {
                    host.clone()
                } else {
                    format!("{host}:{port}")
                }
            };
            [
                format!("https://{}", with_port(443)),
                format!("http://{}", with_port(80)),
            ]
        });
        let mut config = StreamableHttpServerConfig::default()
            .with_allowed_hosts(hosts.to_vec())
            .with_allowed_origins(origins.collect::<Vec<_>>())
            .enforce_origin_validation()
            .with_sse_keep_alive(Some(KEEP_ALIVE))
            .with_max_request_body_bytes(MESSAGE_BYTES)
            .with_cancellation_token(ended.clone());
        let broker = Arc::clone(&server.broker);
        let kept = Kept::of(holder, move || broker.sessions());
        config.session_store = Some(Arc::new(kept));
        let sessions = Arc::<LocalSessionManager>::default();
        Self {
            service: service_with(server, config, Arc::clone(&sessions)),
            sessions,
            ended,
        }
    }

    /// How many sessions are open.
    pub async fn sessions(&self) -> usize {
        self.sessions.sessions.read().await.len()
    }

    /// Answers a request. What is still being answered when the key is ended is cut off.
    pub async fn answer(&self, request: Request) -> Response {
        let response = tokio::select! {
            response = handled(&self.service, request) => response,
            () = self.ended.cancelled() => return unauthorized(),
        };
        let ended = self.ended.clone().cancelled_owned();
        response.map(|body| Body::from_stream(body.into_data_stream().take_until(ended)))
    }

    /// Waits until the key is ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends every session and every answer.
    pub fn end(&self) {
        self.ended.cancel();
    }
}

/// Who is behind a token is served by whom.
struct Services {
    tokens: Tokens,
    client: Service,
    person: Option<Service>,
}

impl Services {
    /// The one for whoever shows this token.
    fn of(&self, shown: &str) -> Option<&Service> {
        let is = |token: &SecretString| {
            !shown.is_empty()
                && bool::from(shown.as_bytes().ct_eq(token.expose_secret().as_bytes()))
        };
        if is(&self.tokens.client) {
            return Some(&self.client);
        }
        let person = self.tokens.person.as_ref().is_some_and(is);
        self.person.as_ref().filter(|_| person)
    }
}

async fn answer(State(services): State<Arc<Services>>, request: Request) -> Response {
    match services.of(bearer(request.headers())) {
        Some(service) => handled(service, request).await,
        None => unauthorized(),
    }
}

/// Has a request answered, after the words for older tasks were set aside.
async fn handled(service: &Service, request: Request) -> Response {
    if request.method() != Method::POST {
        return service.handle(request).await.into_response();
    }
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MESSAGE_BYTES).await else {
        let why = format!("the message is longer than {MESSAGE_BYTES} bytes, or broke off\n");
        return (StatusCode::PAYLOAD_TOO_LARGE, why).into_response();
    };
    let Ok(message) = serde_json::from_slice(&body) else {
        // The library says what is wrong with it.
        let request = Request::from_parts(head, Body::from(body));
        return service.handle(request).await.into_response();
    };
    let greets = experimental::greets(&message);
    let body = match experimental::set_aside(message, &body) {
        (message, true) => serde_json::to_vec(&message).map_or(body, Bytes::from),
        (_, false) => body,
    };
    let request = Request::from_parts(head, Body::from(body));
    let response = service.handle(request).await;
    if greets {
        greeted(response.into_response()).await
    } else {
        response.into_response()
    }
}

/// The answer to a greeting, with what it says of older tasks. It is one message and ends.
async fn greeted(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MESSAGE_BYTES).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    head.headers.remove(header::CONTENT_LENGTH);
    let amended = std::str::from_utf8(&body).map(experimental::declared_in_events);
    let body = amended.map_or_else(|_| Body::from(body.clone()), Body::from);
    Response::from_parts(head, body)
}

async fn nothing_here(State(services): State<Arc<Services>>, request: Request) -> Response {
    match services.of(bearer(request.headers())) {
        Some(_) => StatusCode::NOT_FOUND.into_response(),
        None => unauthorized(),
    }
}

/// The bearer token of a request; empty where there is none.
pub fn bearer(headers: &HeaderMap) -> &str {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map_or("", |(_, token)| token)
}

/// What is asked of whoever shows no token that counts (RFC 6750, section 3).
pub const CHALLENGE: &str = "Bearer realm=\"secondkey\"";

/// The answer to whoever shows no token that counts.
pub fn unauthorized() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, CHALLENGE)];
    (
        StatusCode::UNAUTHORIZED,
        challenge,
        "this server wants its bearer token\n",
    )
        .into_response()
}
