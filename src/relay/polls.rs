//! Long polling, for agents on networks that cut every WebSocket: the bytes of the same connection, carried by plain
//! requests. `POST /agent/poll` opens one, and its answer is the path of it. A POST there carries what the agent sends;
//! a GET there waits for what the relay sends. What the bytes mean is none of this module's business: they go through
//! the same door as those of an agent that dials in by itself, with the same limits on who has proven nothing yet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{
    AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::sync::Mutex as Turn;
use tokio::time::{Instant, sleep, timeout};

use crate::ids::random;
use crate::relay::address::Peer;
use crate::relay::crowd::{Crowd, Guest};
use crate::relay::{Relay, agents};
use crate::wire::polls::{IDLE, MOST_BYTES, WAIT};

/// Connections at the same time.
const MOST: usize = 2_048;
/// How much is set aside for each direction of one, in bytes.
const BUFFER: usize = 16 * 1024;
/// How long bytes may wait to be taken, and a head may take.
const STALL: Duration = Duration::from_secs(30);
/// How often those are looked for that nobody polls any more.
const LOOK: Duration = Duration::from_secs(5);

/// The connections that are carried this way.
#[derive(Clone, Debug)]
pub(super) struct Polls {
    open: Arc<Mutex<HashMap<String, Arc<Carried>>>>,
    crowd: Crowd,
}

/// One of them.
#[derive(Debug)]
struct Carried {
    out: Turn<ReadHalf<DuplexStream>>,
    into: Turn<WriteHalf<DuplexStream>>,
    seen: Mutex<Instant>,
    #[expect(dead_code, reason = "held for its drop")]
    guest: Guest,
}

impl Carried {
    fn seen(&self) -> MutexGuard<'_, Instant> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Polls {
    pub(super) fn new(crowd: Crowd) -> Self {
        Self {
            open: Arc::default(),
            crowd,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Carried>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection by its name, which whoever opened it alone knows. It lives as long as it is asked for.
    fn find(&self, name: &str) -> Option<Arc<Carried>> {
        let found = self.lock().get(name).cloned()?;
        *found.seen() = Instant::now();
        Some(found)
    }

    /// Opens one for an address, if there is a place; gives its name and the other end.
    fn begin(&self, peer: IpAddr) -> Option<(String, DuplexStream)> {
        let guest = self.crowd.enter(peer)?;
        let name = hex::encode(random::<32>().ok()?);
        let (near, far) = duplex(BUFFER);
        let (out, into) = split(near);
        let carried = Carried {
            out: Turn::new(out),
            into: Turn::new(into),
            seen: Mutex::new(Instant::now()),
            guest,
        };
        let mut open = self.lock();
        if open.len() >= MOST {
            return None;
        }
        open.insert(name.clone(), Arc::new(carried));
        Some((name, far))
    }

    /// Ends one once nobody has asked for it for a while.
    async fn watch(self, name: String) {
        loop {
            sleep(LOOK).await;
            let mut open = self.lock();
            match open.get(&name) {
                Some(one) if one.seen().elapsed() < IDLE => {}
                Some(_) | None => {
                    open.remove(&name);
                    return;
                }
            }
        }
    }

    fn end(&self, name: &str) {
        self.lock().remove(name);
    }
}

/// Where they are opened and asked for.
pub(super) fn router() -> Router<Arc<Relay>> {
    Router::new()
        .route("/agent/poll", post(open))
        .route("/agent/poll/{name}", get(take).post(bring).delete(close))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
}

async fn open(State(relay): State<Arc<Relay>>, Extension(Peer(peer)): Extension<Peer>) -> Response {
    let Some((name, far)) = relay.polls.begin(peer) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    tokio::spawn(relay.polls.clone().watch(name.clone()));
    let door = Router::new()
        .route("/agent", any(agents::dialed))
        .with_state(Arc::clone(&relay))
        .layer(Extension(Peer(peer)));
    let (polls, ended) = (relay.polls.clone(), name.clone());
    tokio::spawn(async move {
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(STALL)
            .serve_connection(TokioIo::new(far), TowerToHyperService::new(door))
            .with_upgrades();
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection that was carried by polls ended");
            polls.end(&ended);
        }
    });
    let path = format!("/agent/poll/{name}");
    (StatusCode::CREATED, [(header::LOCATION, path)]).into_response()
}

/// What the relay has to send, as soon as there is something.
async fn take(State(relay): State<Arc<Relay>>, Path(name): Path<String>) -> Response {
    let Some(carried) = relay.polls.find(&name) else {
        return StatusCode::GONE.into_response();
    };
    let Ok(mut out) = carried.out.try_lock() else {
        return StatusCode::CONFLICT.into_response();
    };
    let mut bytes = vec![0; BUFFER];
    let read = tokio::select! {
        read = timeout(WAIT, out.read(&mut bytes)) => read,
        () = relay.closing.cancelled() => Ok(Ok(0)),
    };
    match read {
        Err(_) => StatusCode::NO_CONTENT.into_response(),
        Ok(Ok(length @ 1..)) => {
            bytes.truncate(length);
            ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
        }
        Ok(Ok(0) | Err(_)) => {
            relay.polls.end(&name);
            StatusCode::GONE.into_response()
        }
    }
}

/// What an agent sends.
async fn bring(
    State(relay): State<Arc<Relay>>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> StatusCode {
    let Some(carried) = relay.polls.find(&name) else {
        return StatusCode::GONE;
    };
    let Ok(mut into) = carried.into.try_lock() else {
        return StatusCode::CONFLICT;
    };
    if let Ok(Ok(())) = timeout(STALL, into.write_all(&bytes)).await {
        *carried.seen() = Instant::now();
        StatusCode::NO_CONTENT
    } else {
        relay.polls.end(&name);
        StatusCode::GONE
    }
}

async fn close(State(relay): State<Arc<Relay>>, Path(name): Path<String>) -> StatusCode {
    relay.polls.end(&name);
    StatusCode::NO_CONTENT
}
