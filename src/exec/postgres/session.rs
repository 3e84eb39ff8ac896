//! One connection: opened, set up, looked at, and the statements prepared on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Client, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::errors;
use super::guard::{Guard, GuardedTls, Tripped};
use super::prepared::Prepared;
use crate::core::refusal::{Code, Refusal};
use crate::pg::{Address, CONNECT_TIMEOUT, Place, Socket};

/// How long the facts about a login are believed.
pub(super) const BELIEVED: Duration = Duration::from_mins(1);
/// How long a connection that is given up may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a cancelled statement has to end before it is cancelled once more.
const CANCEL_AGAIN: Duration = Duration::from_millis(250);
/// Statements kept prepared on one connection.
const PREPARED: usize = 100;

/// Settings on which the text of values and the safety of a session stand.
const SET_UP: &str = "set client_encoding = 'UTF8'; \
    set standard_conforming_strings = on; \
    set datestyle = 'ISO, YMD'; \
    set intervalstyle = 'iso_8601'; \
    set extra_float_digits = 1; \
    set bytea_output = 'hex'; \
    set xmloption = 'content'; \
    set row_security = on; \
    set lock_timeout = '10s'; \
    set idle_in_transaction_session_timeout = '120s'; \
    select set_config(name, '1000', false) from pg_catalog.pg_settings \
     where name = 'client_connection_check_interval'";

/// What the login may do, and what it logged in to.
const FACTS: &str = "select bool_or(r.rolsuper), \
    bool_or(pg_catalog.pg_has_role(r.oid, 'pg_read_server_files', 'member')), \
    bool_or(pg_catalog.pg_has_role(r.oid, 'pg_write_server_files', 'member')), \
    bool_or(pg_catalog.pg_has_role(r.oid, 'pg_execute_server_program', 'member')), \
    bool_or(r.rolbypassrls), bool_or(r.rolcreaterole), bool_or(r.rolreplication), \
    (select bool_or(s.setting ~* 'password') from pg_catalog.pg_settings s where s.name = 'primary_conninfo'), \
    pg_catalog.current_setting('server_version') \
    from pg_catalog.pg_roles r where r.rolname in (current_user, session_user)";

/// What a login may do beyond its tables.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Facts {
    /// Words for what makes it too powerful for a target that only reads.
    pub(super) powers: Vec<&'static str>,
    /// Words for other things that somebody should know.
    pub(super) notes: Vec<&'static str>,
    /// The server's version.
    pub(super) version: String,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    connection: Option<JoinHandle<()>>,
    facts: (Instant, Facts),
    prepared: HashMap<String, (u64, Arc<Prepared>)>,
    uses: u64,
    /// Whether the wire guard ended the connection.
    pub(super) tripped: Tripped,
}

impl Session {
    /// Connects to the first place that answers, and sets the session up.
    pub(super) async fn open(address: &Address) -> Result<Self, Refusal> {
        let tripped = Tripped::default();
        let (client, connection) = timeout(CONNECT_TIMEOUT, connect(address, &tripped))
            .await
            .map_err(|_| unreachable("the database did not answer within 10 s"))??;
        let mut session = Self {
            client,
            connection: Some(connection),
            facts: (Instant::now(), Facts::default()),
            prepared: HashMap::new(),
            uses: 0,
            tripped,
        };
        let set_up = async {
            let (set, facts) =
                futures::join!(session.client.batch_execute(SET_UP), ask(&session.client));
            set.map_err(|error| errors::refusal(&error))?;
            facts
        };
        let facts = timeout(CONNECT_TIMEOUT, set_up)
            .await
            .map_err(|_| unreachable("the database did not answer within 10 s"))??;
        session.facts = (Instant::now(), facts);
        Ok(session)
    }

    /// What the login may do, read again when that is a minute ago.
    pub(super) async fn facts(&mut self) -> Result<&Facts, Refusal> {
        if self.facts.0.elapsed() >= BELIEVED {
            self.facts = (Instant::now(), ask(&self.client).await?);
        }
        Ok(&self.facts.1)
    }

    /// Whether the server keeps bodies of SQL functions as statements (from version 14 on).
    pub(super) fn has_sql_bodies(&self) -> bool {
        let major = self.facts.1.version.split(['.', ' ']).next();
        major
            .and_then(|m| m.parse::<u32>().ok())
            .is_none_or(|m| m >= 14)
    }

    /// Whether the connection can still be used.
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// A statement that was prepared on this connection less than a minute ago.
    pub(super) fn prepared(&mut self, sql: &str) -> Option<Arc<Prepared>> {
        self.uses += 1;
        let now = self.uses;
        let (last_use, prepared) = self.prepared.get_mut(sql)?;
        *last_use = now;
        if prepared.since.elapsed() < BELIEVED {
            return Some(Arc::clone(prepared));
        }
        self.prepared.remove(sql);
        None
    }

    /// Keeps a prepared statement, in the place of the one unused for longest when there are many.
    pub(super) fn keep(&mut self, sql: &str, prepared: Arc<Prepared>) {
        if self.prepared.len() >= PREPARED {
            let oldest = self.prepared.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(sql, _)| sql.clone()) {
                self.prepared.remove(&oldest);
            }
        }
        self.prepared.insert(sql.to_owned(), (self.uses, prepared));
    }

    /// Forgets a prepared statement that turned out to be out of date.
    pub(super) fn forget(&mut self, sql: &str) {
        self.prepared.remove(sql);
    }

    /// Stops what runs on this connection at the server, and ends the connection. A request to
    /// cancel that arrives between two messages meets nothing, so it is repeated.
    pub(super) async fn give_up(mut self, address: &Address) {
        let token = self.client.cancel_token();
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        // Without its client a connection ends as soon as the server has answered everything.
        drop(self);
        let deadline = Instant::now() + GOODBYE;
        while Instant::now() < deadline {
            cancel(address, token.clone()).await;
            if timeout(CANCEL_AGAIN, &mut connection).await.is_ok() {
                return;
            }
        }
        connection.abort();
    }
}

impl Drop for Session {
    /// The driver says goodbye once the server has answered everything; if it does not, the
    /// connection is cut.
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            connection.abort();
            return;
        };
        runtime.spawn(async move {
            if timeout(GOODBYE, &mut connection).await.is_err() {
                connection.abort();
            }
        });
    }
}

/// Asks the server to stop what runs under `token`.
async fn cancel(address: &Address, token: CancelToken) {
    let cancelling = async {
        for place in &address.places {
            let Ok((stream, host)) = reach(address, place, &Tripped::default()).await else {
                continue;
            };
            let sent = match tls_for(address, &host, &Tripped::default()) {
                Ok(Some(tls)) => token.cancel_query_raw(stream, tls).await,
                Ok(None) => token.cancel_query_raw(stream, NoTls).await,
                Err(_) => continue,
            };
            if sent.is_ok() {
                return;
            }
        }
    };
    if timeout(GOODBYE, cancelling).await.is_err() {
        tracing::warn!("a cancel request could not be sent to the database");
    }
}

type Stream = Guard<Socket>;
type Tls = GuardedTls<<MakeRustlsConnect as MakeTlsConnect<Stream>>::TlsConnect>;

async fn connect(
    address: &Address,
    tripped: &Tripped,
) -> Result<(Client, JoinHandle<()>), Refusal> {
    let mut last = unreachable("the database URL names no host");
    for place in &address.places {
        match connect_to(address, place, tripped).await {
            Ok(connected) => return Ok(connected),
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}

async fn connect_to(
    address: &Address,
    place: &Place,
    tripped: &Tripped,
) -> Result<(Client, JoinHandle<()>), Refusal> {
    let (stream, host) = reach(address, place, tripped).await.map_err(|error| {
        unreachable(&format!("no database answers at {place}: {}", error.kind()))
    })?;
    let config = &address.config;
    let failed = |error: tokio_postgres::Error| errors::refusal(&error);
    if let Some(tls) = tls_for(address, &host, tripped)? {
        let (client, line) = config.connect_raw(stream, tls).await.map_err(failed)?;
        return Ok((client, drive(line)));
    }
    let mut config = config.clone();
    config.ssl_mode(SslMode::Disable);
    let (client, line) = config.connect_raw(stream, NoTls).await.map_err(failed)?;
    Ok((client, drive(line)))
}

/// Runs a connection until it ends. What ended it is told by the statements on it.
fn drive<S, T>(line: tokio_postgres::Connection<S, T>) -> JoinHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if line.await.is_err() {
            tracing::debug!("a database connection ended");
        }
    })
}

/// Opens the stream; the host is empty for a socket, where TLS has no use.
async fn reach(
    address: &Address,
    place: &Place,
    tripped: &Tripped,
) -> std::io::Result<(Stream, String)> {
    let stream = Socket::open(place).await?;
    let host = match place {
        Place::Tcp(host, _) => host.clone(),
        Place::Socket(_) => String::new(),
    };
    let guarded = if address.tls.is_some() && !host.is_empty() {
        Guard::before_tls(stream, tripped.clone())
    } else {
        Guard::messages(stream, tripped.clone())
    };
    Ok((guarded, host))
}

/// TLS for a host, where the URL wants it. What cannot be had is an error, never a plain line.
fn tls_for(address: &Address, host: &str, tripped: &Tripped) -> Result<Option<Tls>, Refusal> {
    let Some(config) = address.tls.as_ref().filter(|_| !host.is_empty()) else {
        return Ok(None);
    };
    let mut make = MakeRustlsConnect::new(config.as_ref().clone());
    let tls = MakeTlsConnect::<Stream>::make_tls_connect(&mut make, host)
        .map_err(|_| unreachable("the host of the database URL is no name that TLS can use"))?;
    Ok(Some(GuardedTls(tls, tripped.clone())))
}

async fn ask(client: &Client) -> Result<Facts, Refusal> {
    let answer = client
        .simple_query(FACTS)
        .await
        .map_err(|error| errors::refusal(&error))?;
    let row = answer.iter().find_map(|message| {
        if let SimpleQueryMessage::Row(row) = message {
            Some(row)
        } else {
            None
        }
    });
    let row = row.ok_or_else(|| {
        Refusal::new(
            Code::DatabaseUnavailable,
            "the database does not know its own login",
        )
    })?;
    let is = |at: usize| row.try_get(at).ok().flatten() == Some("t");
    let words = |list: &[(usize, &'static str)]| {
        list.iter()
            .filter(|(at, _)| is(*at))
            .map(|(_, word)| *word)
            .collect()
    };
    Ok(Facts {
        powers: words(&[
            (0, "is a superuser"),
            (1, "can read files on the server"),
            (2, "can write files on the server"),
            (3, "can run programs on the server"),
            // `primary_conninfo` is a standby's; only logins that see all settings see it.
            (7, "can read a password in the server's settings"),
        ]),
        notes: words(&[
            (4, "ignores row security"),
            (5, "can create roles"),
            (6, "can replicate the whole database"),
        ]),
        version: row.try_get(8).ok().flatten().unwrap_or_default().to_owned(),
    })
}

fn unreachable(what: &str) -> Refusal {
    Refusal::new(Code::DatabaseUnavailable, what).hint(
        "the database may be down or starting; try again in a moment, or run `secondkey doctor`",
    )
}
