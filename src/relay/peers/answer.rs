//! What other relays ask of this one about the agents that have dialed in to it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures::stream;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::broker::fleet::Room;
use crate::core::ids::AgentId;
use crate::core::refusal::{Code, Refusal};
use crate::relay::peers::line::{Asked, PING, RoomWanted, WINDOW};
use crate::relay::peers::tls::Identity;
use crate::relay::peers::{Left, roster};
use crate::relay::{Relay, Workspace};
use crate::wire::fleet::LONGEST_OF_RELAY;

/// How long TLS may take to be agreed on.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long to wait after the system gave no connection.
const BREATH: Duration = Duration::from_millis(100);
/// How much one other relay may ask at the same time.
const STREAMS: u32 = 16_384;

/// This relay as the others meet it.
struct Meeting {
    relay: Arc<Relay>,
    /// What is under way for others, by the names that they gave it.
    asked: Mutex<HashMap<String, CancellationToken>>,
}

/// Serves those who come with the same identity, until the relay closes.
pub(super) async fn serve(relay: Arc<Relay>, (listener, identity): (TcpListener, Identity)) {
    let closing = relay.closing.clone();
    let meeting = Arc::new(Meeting {
        relay,
        asked: Mutex::default(),
    });
    let router = Router::new()
        .route("/roster/{workspace}", get(tell))
        .route("/room/{workspace}/{agent}", post(room))
        .route("/ask/{workspace}/{agent}", post(ask))
        .route("/cancel/{id}", post(cancel))
        .layer(DefaultBodyLimit::max(LONGEST_OF_RELAY))
        .with_state(meeting);
    let acceptor = TlsAcceptor::from(identity.server);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, acceptor) = (router.clone(), acceptor.clone());
                let closing = closing.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(stream, acceptor, router) => {}
                        // Open answers get the time that clients get.
                        () = async { closing.cancelled().await; sleep(HANDSHAKE).await } => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a relay's connection could not be taken");
                sleep(BREATH).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    drop(stream.set_nodelay(true));
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return tracing::warn!(%error, "somebody who is no relay of this store was turned away");
        }
        Err(_) => return,
    };
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW.saturating_mul(8))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::debug!(%error, "another relay's connection ended");
    }
}

impl Meeting {
    fn workspace(&self, name: &str) -> Option<Arc<Workspace>> {
        let mut all = self.relay.hall.all().into_iter();
        all.find(|workspace| workspace.state.log().workspace() == name)
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn tell(State(meeting): State<Arc<Meeting>>, Path(name): Path<String>) -> Response {
    match meeting.workspace(&name) {
        Some(workspace) => roster::body(Arc::clone(&workspace.fleet)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Room at an agent: the answer is open for as long as it is held.
async fn room(
    State(meeting): State<Arc<Meeting>>,
    Path((name, agent)): Path<(String, AgentId)>,
    body: Bytes,
) -> Response {
    let Ok(wanted) = serde_json::from_slice::<RoomWanted>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(workspace) = meeting.workspace(&name) else {
        return refused(&no_workspace());
    };
    let agent = match workspace.fleet.own_agent(&agent) {
        Ok(agent) => agent,
        Err(refusal) => return refused(&refusal),
    };
    let whose = (&wanted.principal, &wanted.target);
    match agent.slot(whose, &CancellationToken::new()).await {
        Ok(room) => Body::from_stream(stream::once(held(room))).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

/// Never comes to an end by itself: whoever holds the room lets go of the answer.
async fn held(_room: Room) -> Result<Bytes, Infallible> {
    std::future::pending().await
}

async fn ask(
    State(meeting): State<Arc<Meeting>>,
    Path((name, agent)): Path<(String, AgentId)>,
    body: Bytes,
) -> Response {
    let Ok(asked) = serde_json::from_slice::<Asked>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(workspace) = meeting.workspace(&name) else {
        return refused(&no_workspace());
    };
    let cancel = CancellationToken::new();
    meeting.asked().insert(asked.id.clone(), cancel.clone());
    // Dropped with this answer: then nobody waits, and a read ends.
    let _left = Left(cancel.clone());
    let this = Arc::clone(&meeting);
    // A task of its own: what runs is put on record whatever becomes of whoever asked.
    let task = tokio::spawn(async move {
        let asks = (asked.question, asked.run);
        let answer = workspace.fleet.ask_for_peer(&agent, asks, cancel).await;
        this.asked().remove(&asked.id);
        answer
    });
    match task.await {
        Ok(Some(answer)) => match serde_json::to_vec(&answer) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        Ok(None) | Err(_) => StatusCode::GONE.into_response(),
    }
}

async fn cancel(State(meeting): State<Arc<Meeting>>, Path(id): Path<String>) -> StatusCode {
    if let Some(cancel) = meeting.asked().get(&id) {
        cancel.cancel();
    }
    StatusCode::NO_CONTENT
}

fn no_workspace() -> Refusal {
    Refusal::new(
        Code::AgentUnavailable,
        "the workspace is not open at that relay",
    )
    .hint("make the call again")
}

fn refused(refusal: &Refusal) -> Response {
    let body = serde_json::to_vec(refusal).unwrap_or_default();
    (StatusCode::CONFLICT, body).into_response()
}
