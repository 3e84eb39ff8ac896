//! FACE: the relay that everybody reaches: clients with API keys at `/mcp`, agents that dial in at `/agent`.
//!
//! It holds no database credential and opens no connection to a target. What it decides is decided
//! again by the agent, which believes it nothing but its signature.

mod agents;
mod certificates;
mod clients;
mod limits;
mod listen;
mod metrics;

pub use certificates::{Certificates, Tls};
pub use listen::serve;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::broker::fleet::Fleet;
use crate::core::refusal::Refusal;
use crate::mcp::Server;
use crate::store::{Members, State as Folder};
use clients::Clients;

/// How soon a key or an agent that was ended is let go.
const LOOK: Duration = Duration::from_millis(300);
/// Connections that have not proven yet which agent they are.
const STRANGERS: usize = 16;
/// The largest body of a request that is not MCP's.
const BODY: usize = 64 * 1024;

/// A relay, as its faces know it.
#[derive(Debug)]
pub struct Relay {
    state: Folder,
    members: Members,
    fleet: Arc<Fleet>,
    clients: Clients,
    strangers: Arc<Semaphore>,
    certificates: Option<Arc<Certificates>>,
    closing: CancellationToken,
}

impl Relay {
    /// Puts the faces before what decides. `hosts` are the names that clients may ask for. Without
    /// `certificates` there is no TLS.
    pub fn new(
        (state, members): (Folder, Members),
        fleet: Arc<Fleet>,
        (server, hosts): (Server, Vec<String>),
        certificates: Option<Certificates>,
        closing: CancellationToken,
    ) -> Self {
        Self {
            state,
            members,
            fleet,
            clients: Clients::new(server, hosts),
            strangers: Arc::new(Semaphore::new(STRANGERS)),
            certificates: certificates.map(Arc::new),
            closing,
        }
    }

    /// Lets go of keys and agents that were ended beside this process, until it ends itself.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = self.closing.cancelled() => return,
            }
            if let Err(refusal) = self.look().await {
                // Who cannot be checked is not served.
                tracing::error!(%refusal, "the members cannot be read; every session is ended");
                self.clients.end_all();
            }
        }
    }

    async fn look(&self) -> Result<(), Refusal> {
        let now = self.state.now().unix_ms();
        let keys = self.members.api_keys().await?;
        self.clients.keep(|id| {
            let key = keys.iter().find(|key| key.id == id);
            key.is_some_and(|key| key.counts(now))
        });
        let out = self.members.members().await?;
        for member in out.iter().filter(|member| member.revoked_ms.is_some()) {
            self.fleet.forget(&member.id);
        }
        Ok(())
    }
}

/// Everything there is to be reached.
fn router(relay: Arc<Relay>) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/agent", any(agents::dialed))
        .layer(DefaultBodyLimit::max(BODY))
        .route("/mcp", any(clients::answer))
        .route("/mcp/", any(clients::answer))
        .fallback(nothing_here)
        .with_state(relay)
}

async fn alive() -> &'static str {
    "ok\n"
}

/// Whether calls can be served: the keys are there, the members can be read, and an agent is connected.
async fn ready(State(relay): State<Arc<Relay>>) -> Response {
    let keys = relay.state.token_keys().is_ok();
    let members = relay.members.members().await.is_ok();
    let agent = !relay.fleet.here().is_empty();
    if keys && members && agent && !relay.closing.is_cancelled() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn nothing_here() -> StatusCode {
    StatusCode::NOT_FOUND
}
