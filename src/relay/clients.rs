//! MCP clients: each API key has a server and sessions of its own, which end with the key.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::Rights;
use crate::mcp::http::{Keyed, bearer, unauthorized};
use crate::mcp::{MESSAGE_BYTES, Server, Tally};
use crate::relay::Relay;
use crate::relay::limits::Meter;
use crate::store::members::Holder;

/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(20);

/// The servers of the keys that were used since this process began.
#[derive(Debug)]
pub(super) struct Clients {
    server: Server,
    hosts: Vec<String>,
    open: Mutex<HashMap<String, Client>>,
    turned_away: Tally,
}

/// What serves the holder of one key, and what they have used.
#[derive(Clone, Debug)]
struct Client {
    keyed: Arc<Keyed>,
    meter: Arc<Meter>,
}

impl Clients {
    pub(super) fn new(server: Server, hosts: Vec<String>) -> Self {
        Self {
            server,
            hosts,
            open: Mutex::default(),
            turned_away: Tally::default(),
        }
    }

    /// What came of the calls of all of them.
    pub(super) fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.server.tally().all()
    }

    /// The requests that were over a limit of their key, by the limit.
    pub(super) fn turned_away(&self) -> &Tally {
        &self.turned_away
    }

    /// How many sessions are open.
    pub(super) async fn sessions(&self) -> usize {
        let all: Vec<_> = self.lock().values().cloned().collect();
        let mut open = 0;
        for client in all {
            open += client.keyed.sessions().await;
        }
        open
    }

    /// The server for whoever holds a key.
    fn of(&self, holder: Holder) -> Client {
        let mut open = self.lock();
        if let Some(found) = open.get(&holder.id) {
            return found.clone();
        }
        let rights = Rights::new(holder.roles, holder.allowance);
        let server = self.server.for_holder(&holder.principal, rights);
        let keyed = Keyed::new(server, &self.hosts, CancellationToken::new());
        let client = Client {
            keyed: Arc::new(keyed),
            meter: Arc::new(Meter::new(holder.allowance)),
        };
        open.insert(holder.id, client.clone());
        client
    }

    /// Ends the sessions of keys that do not count any more.
    pub(super) fn keep(&self, counts: impl Fn(&str) -> bool) {
        self.lock().retain(|id, client| {
            let counts = counts(id);
            if !counts {
                client.keyed.end();
            }
            counts
        });
    }

    /// Ends all of them.
    pub(super) fn end_all(&self) {
        self.keep(|_| false);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers an MCP request of whoever shows a key that counts now.
pub(super) async fn answer(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    match relay.members.holder(bearer(&request)).await {
        Ok(Some(holder)) => {
            let client = relay.clients.of(holder);
            match client.meter.admit() {
                Ok(()) => {
                    let response = match whole(request).await {
                        Ok(request) => client.keyed.answer(request).await,
                        Err(refused) => refused,
                    };
                    client.meter.counted(response)
                }
                Err((limit, refused)) => {
                    relay.clients.turned_away.count(limit);
                    *refused
                }
            }
        }
        Ok(None) => unauthorized(),
        Err(refusal) => {
            tracing::error!(%refusal, "the members cannot be read");
            let said = "the relay cannot check keys now; try again in a minute\n";
            (StatusCode::SERVICE_UNAVAILABLE, said).into_response()
        }
    }
}

/// The request once all of its body is here, or the answer to one that takes too long or is too long.
async fn whole(request: Request) -> Result<Request, Response> {
    let (head, body) = request.into_parts();
    match timeout(BODY, to_bytes(body, MESSAGE_BYTES)).await {
        Ok(Ok(body)) => Ok(Request::from_parts(head, Body::from(body))),
        Ok(Err(_)) => {
            let why = format!("the message is longer than {MESSAGE_BYTES} bytes, or broke off\n");
            Err((StatusCode::PAYLOAD_TOO_LARGE, why).into_response())
        }
        Err(_) => {
            let why = format!(
                "the message did not come within {} seconds\n",
                BODY.as_secs()
            );
            Err((StatusCode::REQUEST_TIMEOUT, why).into_response())
        }
    }
}
