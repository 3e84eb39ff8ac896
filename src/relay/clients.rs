//! What serves those who come over HTTP: each API key has an MCP server and sessions of its own, and what it has
//! used, which end with the key. [`known`](crate::relay::known) says who somebody is.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Caller, Rights};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::mcp::http::Keyed;
use crate::mcp::{Server, Tally};
use crate::relay::Relay;
use crate::relay::known::{Shown, known, suspended};
use crate::relay::limits::{self, Meter};
use crate::relay::rest::body::whole;
use crate::store::members::Holder;

/// What a model's client calls itself that comes without MCP.
const REST: &str = "rest";
/// Sessions that one key may have open at the same time.
const SESSIONS: usize = 64;
/// How often it is recorded that a key is not taken.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// The servers of the keys that were used since this process began.
#[derive(Debug)]
pub(super) struct Clients {
    server: Server,
    hosts: Vec<String>,
    open: Mutex<HashMap<String, Client>>,
    turned_away: Tally,
    /// When it was last recorded that a key was not taken, by its id.
    told: Mutex<HashMap<String, Instant>>,
}

/// What serves the holder of one key, and what they have used.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) keyed: Arc<Keyed>,
    pub(super) meter: Arc<Meter>,
    /// Who acts where they come without MCP.
    pub(super) caller: Caller,
    /// The id of the key, or what stands for that of a token.
    id: String,
    /// Whom the key was made for, or the token.
    holder: Principal,
    /// Until when a token counts that they came with, unix milliseconds; nothing of a key.
    until_ms: Option<Arc<AtomicI64>>,
}

impl Client {
    /// The id of the key by which they came; nothing where it was a token.
    pub(super) fn key(&self) -> Option<&str> {
        self.until_ms.is_none().then_some(self.id.as_str())
    }
}

impl Clients {
    pub(super) fn new(server: Server, hosts: Vec<String>) -> Self {
        Self {
            server,
            hosts,
            open: Mutex::default(),
            turned_away: Tally::default(),
            told: Mutex::default(),
        }
    }

    /// The deciding part.
    pub(super) fn broker(&self) -> &Broker {
        self.server.broker()
    }

    /// What came of the calls of all of them, to be counted.
    pub(super) fn tally(&self) -> &Tally {
        self.server.tally()
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

    /// The server for whoever holds a key, or a token that counts until then.
    pub(super) fn of(&self, holder: Holder, until_ms: Option<i64>) -> Client {
        let mut open = self.lock();
        if let Some(found) = open.get(&holder.id) {
            if let (Some(known), Some(until_ms)) = (&found.until_ms, until_ms) {
                known.fetch_max(until_ms, Ordering::Relaxed);
            }
            return found.clone();
        }
        let rights = Rights::new(holder.roles, holder.allowance);
        let server = self.server.for_holder(&holder.principal, rights.clone());
        let keyed = Keyed::new(server, &holder.id, &self.hosts, CancellationToken::new());
        let client = Client {
            keyed: Arc::new(keyed),
            meter: Arc::new(Meter::new(holder.allowance)),
            caller: Caller {
                principal: acting(&holder.principal),
                rights: Some(rights),
            },
            id: holder.id.clone(),
            holder: holder.principal,
            until_ms: until_ms.map(|until_ms| Arc::new(AtomicI64::new(until_ms))),
        };
        open.insert(holder.id, client.clone());
        client
    }

    /// Ends the sessions of keys and tokens that do not count any more, and of whoever may not act now.
    pub(super) fn keep(&self, now_ms: i64, out: &[Principal], counts: impl Fn(&str) -> bool) {
        self.lock().retain(|id, client| {
            let counts = match &client.until_ms {
                Some(until_ms) => now_ms < until_ms.load(Ordering::Relaxed),
                None => counts(id),
            };
            let is_out = out.contains(&client.holder);
            if counts && !is_out {
                return true;
            }
            if let Some(rights) = &client.caller.rights {
                rights.end(if is_out {
                    suspended(&client.holder)
                } else {
                    ended()
                });
            }
            client.keyed.end();
            false
        });
    }

    /// Ends all of them.
    pub(super) fn end_all(&self) {
        self.keep(i64::MAX, &[], |_| false);
    }

    /// Whether it is to be recorded now that a key is not taken: once a minute.
    pub(super) fn is_news(&self, key: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| at.elapsed() < TOLD_EVERY);
        told.insert(key.to_owned(), Instant::now()).is_none()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who acts by a key without MCP: a model's client has a name there too, which tells it from others.
fn acting(holder: &Principal) -> Principal {
    match holder.kind() {
        PrincipalKind::Ai => Principal::client_of(holder.name(), REST),
        PrincipalKind::Human | PrincipalKind::Service => holder.clone(),
    }
}

/// A key that was ended while it was in use.
fn ended() -> Refusal {
    Refusal::new(Code::Forbidden, "your API key counts no more")
}

/// Answers an MCP request of whoever is known.
pub(super) async fn answer(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    let (workspace, client) = match known(&relay, &Shown::by(&request, &relay)).await {
        Ok(known) => known,
        Err(problem) => return problem.into_response(),
    };
    if let Err((limit, refused)) = client.meter.admit() {
        workspace.clients.turned_away.count(limit);
        return *refused;
    }
    let (head, body) = request.into_parts();
    let response = match whole(body).await {
        Ok(body) if opens_a_session(&body) && client.keyed.sessions().await >= SESSIONS => {
            workspace.clients.turned_away.count("sessions");
            limits::too_many_sessions(SESSIONS)
        }
        Ok(body) => {
            let request = Request::from_parts(head, Body::from(body));
            client.keyed.answer(request).await
        }
        Err(problem) => problem.into_response(),
    };
    client.meter.counted(response)
}

/// What is asked for, whatever else is said.
#[derive(serde::Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
}

fn opens_a_session(body: &[u8]) -> bool {
    let asked: Result<Asked<'_>, _> = serde_json::from_slice(body);
    asked.is_ok_and(|asked| asked.method == "initialize")
}
