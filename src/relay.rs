//! FACE: the relay that everybody reaches: clients with API keys at `/mcp` and below `/v1`, agents that dial in
//! at `/agent`.
//!
//! It holds no database credential and opens no connection to a target. What it decides is decided
//! again by the agent, which believes it nothing but its signature.

mod address;
mod agents;
mod certificates;
mod clients;
mod crowd;
mod discovery;
mod hall;
mod issuer;
mod known;
mod limits;
mod listen;
mod metrics;
mod page;
mod patient;
mod peers;
mod people;
mod polls;
mod rest;
mod socket;
mod strangers;
mod workspace;

pub use certificates::{Certificates, Tls};
pub use hall::{Hall, Open};
pub use issuer::Issuer;
pub use listen::serve;
pub use peers::Cluster;
pub use workspace::Workspace;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::core::notice::Network;

use crowd::Crowd;
use polls::Polls;
use strangers::Strangers;

/// How soon a key, an agent or a workspace that was ended is let go.
const LOOK: Duration = Duration::from_millis(300);
/// The largest body of a request that is not MCP's.
const BODY: usize = 64 * 1024;

/// A relay, as its faces know it.
#[derive(Debug)]
pub struct Relay {
    hall: Hall,
    strangers: Arc<Strangers>,
    polls: Polls,
    certificates: Option<Arc<Certificates>>,
    /// Whose word on where a client is counts.
    proxies: Vec<Network>,
    /// Connections from one address at the same time.
    per_address: usize,
    closing: CancellationToken,
}

impl Relay {
    /// Serves these workspaces. Without `certificates` there is no TLS.
    /// `proxies` are believed about where a client is; from any other address there are at most `per_address`
    /// connections.
    pub fn new(
        hall: Hall,
        certificates: Option<Certificates>,
        (proxies, per_address): (Vec<Network>, usize),
        closing: CancellationToken,
    ) -> Self {
        Self {
            hall,
            strangers: Strangers::new(),
            polls: Polls::new(Crowd::new(per_address, proxies.clone())),
            certificates: certificates.map(Arc::new),
            proxies,
            per_address,
            closing,
        }
    }

    /// Lets go of what was ended beside this process, until it ends itself.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = self.closing.cancelled() => return,
            }
            self.hall.follow().await;
            for workspace in self.hall.all() {
                if let Err(refusal) = workspace.look().await {
                    // Who cannot be checked is not served.
                    tracing::error!(%refusal, "the members cannot be read; every session is ended");
                    workspace.clients.end_all();
                }
            }
        }
    }
}

/// Everything there is to be reached.
fn router(relay: Arc<Relay>) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/agent", any(agents::dialed))
        .merge(polls::router())
        .layer(DefaultBodyLimit::max(BODY))
        .route("/mcp", any(clients::answer))
        .route("/mcp/", any(clients::answer))
        .route("/people", post(people::answer))
        .merge(rest::router())
        .merge(discovery::router())
        .fallback(page::answer)
        .with_state(relay)
}

async fn alive() -> &'static str {
    "ok\n"
}

/// Whether calls can be served: every workspace is open, its keys are there and its members can be read, and
/// some agent is connected.
async fn ready(State(relay): State<Arc<Relay>>) -> Response {
    let mut sound = relay.hall.is_whole();
    let mut agent = false;
    for workspace in relay.hall.all() {
        sound &= workspace.is_sound().await;
        agent |= !workspace.fleet.here().is_empty();
    }
    if sound && agent && !relay.closing.is_cancelled() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn nothing_here() -> StatusCode {
    StatusCode::NOT_FOUND
}
