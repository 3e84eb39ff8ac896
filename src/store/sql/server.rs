//! A PostgreSQL server that holds a store: each workspace has a schema of its own there.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Connection as Driver, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::{Loan, Session, wait};
use super::{Connection, Error, Result};
use crate::core::refusal::Refusal;
use crate::core::workspace::WorkspaceName;
use crate::pg::{Address, CONNECT_TIMEOUT, Place, Socket};

/// Sessions that are kept for the next who needs one.
const IDLE: usize = 8;

/// Where one workspace's tables are.
pub(in crate::store) struct Server {
    address: Arc<Address>,
    schema: String,
    idle: Mutex<Vec<Arc<Session>>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// At this URL; nothing is connected to yet.
    pub(in crate::store) fn at(
        url: &SecretString,
        workspace: &WorkspaceName,
    ) -> std::result::Result<Arc<Self>, Refusal> {
        Ok(Arc::new(Self {
            address: Arc::new(Address::parse(url)?),
            schema: format!("secondkey_{workspace}"),
            idle: Mutex::default(),
        }))
    }

    /// The schema, as SQL names it.
    pub(in crate::store) fn schema(&self) -> String {
        // A workspace's name has no quotes in it, but may have a hyphen.
        format!("\"{}\"", self.schema)
    }

    /// A connection, an idle one if there is one.
    pub(in crate::store) fn connect(self: &Arc<Self>) -> Result<Connection> {
        let session = loop {
            let idle = self.idle().pop();
            match idle {
                Some(session) if session.is_open() => break session,
                Some(_) => {}
                None => break self.session()?,
            }
        };
        Ok(Connection::of_server(Loan::new(Arc::clone(self), session)))
    }

    /// A new session.
    pub(super) fn session(&self) -> Result<Arc<Session>> {
        let (address, set_up) = (Arc::clone(&self.address), self.set_up());
        let client = wait(async move {
            let client = connected(&address, None).await?;
            client.batch_execute(&set_up).await?;
            Ok(client)
        })?;
        Ok(Arc::new(Session::new(client)))
    }

    fn set_up(&self) -> String {
        format!(
            "set search_path = {}; set client_encoding = 'UTF8'; set synchronous_commit = on; \
             set lock_timeout = '5s'; set statement_timeout = '10s'; \
             set idle_in_transaction_session_timeout = '20s'",
            self.schema()
        )
    }

    /// Gives the tables another name, under which nothing looks for them.
    pub(in crate::store) fn put_aside(self: &Arc<Self>, to: &str) -> Result<()> {
        let renamed = format!(
            "alter schema {} rename to \"secondkey_{to}\"",
            self.schema()
        );
        self.connect()?.execute_batch(&renamed)
    }

    /// Keeps a session for the next, if it can be used.
    pub(super) fn take_back(&self, session: Arc<Session>) {
        let mut idle = self.idle();
        if session.is_open() && idle.len() < IDLE {
            idle.push(session);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Session>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of everything that is said with [`Connection::ring`], by whichever process.
    pub(in crate::store) fn listen(&self) -> Result<(Ear, watch::Receiver<()>)> {
        let (sender, receiver) = watch::channel(());
        let (address, set_up) = (Arc::clone(&self.address), self.set_up());
        let listen = format!("{set_up}; listen {}", self.schema());
        let client = wait(async move {
            let client = connected(&address, Some(sender)).await?;
            client.batch_execute(&listen).await?;
            Ok(client)
        })?;
        Ok((Ear(client), receiver))
    }
}

/// Listens until it is dropped.
pub(in crate::store) struct Ear(#[expect(dead_code, reason = "held for its drop")] Client);

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ear")
    }
}

/// Connects to the first place that answers. `news` fires at each notification, and goes with the connection.
async fn connected(address: &Address, news: Option<watch::Sender<()>>) -> Result<Client> {
    let mut last = Error::away("the URL names no host");
    for place in &address.places {
        let connecting = connected_to(address, place, news.clone());
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => last = error,
            Err(_) => last = Error::away(format!("{place} did not answer within 10 s")),
        }
    }
    Err(last)
}

async fn connected_to(
    address: &Address,
    place: &Place,
    news: Option<watch::Sender<()>>,
) -> Result<Client> {
    let stream = Socket::open(place).await;
    let stream = stream.map_err(|error| Error::away(format!("{place}: {}", error.kind())))?;
    if let (Some(tls), Place::Tcp(host, _)) = (&address.tls, place) {
        let mut make = MakeRustlsConnect::new(tls.as_ref().clone());
        let tls = MakeTlsConnect::<Socket>::make_tls_connect(&mut make, host);
        let tls = tls.map_err(|_| Error::away("the host is no name that TLS can use"))?;
        let (client, line) = address.config.connect_raw(stream, tls).await?;
        tokio::spawn(drive(line, news));
        return Ok(client);
    }
    let mut config = address.config.clone();
    config.ssl_mode(SslMode::Disable);
    let (client, line) = config.connect_raw(stream, NoTls).await?;
    tokio::spawn(drive(line, news));
    Ok(client)
}

/// Runs a connection to its end.
async fn drive<S, T>(mut line: Driver<S, T>, news: Option<watch::Sender<()>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|cx| line.poll_message(cx)).await {
        if let (AsyncMessage::Notification(_), Some(news)) = (&message, &news) {
            news.send_replace(());
        }
    }
}
