//! MCP clients: each API key has a server and sessions of its own, which end with the key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tokio_util::sync::CancellationToken;

use crate::broker::Rights;
use crate::mcp::Server;
use crate::mcp::http::{Keyed, bearer, unauthorized};
use crate::relay::Relay;
use crate::store::members::Holder;

/// The servers of the keys that were used since this process began.
#[derive(Debug)]
pub(super) struct Clients {
    server: Server,
    hosts: Vec<String>,
    open: Mutex<HashMap<String, Arc<Keyed>>>,
}

impl Clients {
    pub(super) fn new(server: Server, hosts: Vec<String>) -> Self {
        Self {
            server,
            hosts,
            open: Mutex::default(),
        }
    }

    /// The server for whoever holds a key.
    fn of(&self, holder: Holder) -> Arc<Keyed> {
        let mut open = self.lock();
        if let Some(found) = open.get(&holder.id) {
            return Arc::clone(found);
        }
        let rights = Rights {
            roles: holder.roles,
        };
        let server = self.server.for_holder(&holder.principal, rights);
        let keyed = Keyed::new(server, &self.hosts, CancellationToken::new());
        let keyed = Arc::new(keyed);
        open.insert(holder.id, Arc::clone(&keyed));
        keyed
    }

    /// Ends the sessions of keys that do not count any more.
    pub(super) fn keep(&self, counts: impl Fn(&str) -> bool) {
        self.lock().retain(|id, keyed| {
            let counts = counts(id);
            if !counts {
                keyed.end();
            }
            counts
        });
    }

    /// Ends all of them.
    pub(super) fn end_all(&self) {
        self.keep(|_| false);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Keyed>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers an MCP request of whoever shows a key that counts now.
pub(super) async fn answer(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    match relay.members.holder(bearer(&request)).await {
        Ok(Some(holder)) => {
            let keyed = relay.clients.of(holder);
            keyed.answer(request).await
        }
        Ok(None) => unauthorized(),
        Err(refusal) => {
            tracing::error!(%refusal, "the members cannot be read");
            let said = "the relay cannot check keys now; try again in a minute\n";
            (StatusCode::SERVICE_UNAVAILABLE, said).into_response()
        }
    }
}
