//! The listening socket: TLS where there are certificates, a limit on connections, and on how long
//! somebody may take over what they send before it is known who they are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use crate::relay::{Relay, router};

/// Connections at the same time.
const CONNECTIONS: usize = 4_096;
/// How long TLS may take to be agreed on, and a head to come.
const HEAD: Duration = Duration::from_secs(10);
/// The largest head, in bytes.
const HEAD_BYTES: usize = 64 * 1024;
/// How long open connections get to end when the relay does.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait after the system gave no connection.
const BREATH: Duration = Duration::from_millis(100);

/// Where a certificate and its key are, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, with those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Tls {
    /// Reads both files.
    pub fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let wrong = |path: &Path, error: &dyn std::fmt::Display| {
            io::Error::other(format!("`{}` cannot be used: {error}", path.display()))
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&self.certificate)
            .map_err(|error| wrong(&self.certificate, &error))?
            .collect();
        let chain = chain.map_err(|error| wrong(&self.certificate, &error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| wrong(&self.key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&self.key, &error))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Serves until the relay closes; then open answers get a little time.
pub async fn serve(relay: Arc<Relay>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let closing = relay.closing.clone();
    tokio::spawn(Arc::clone(&relay).watch());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                    continue;
                };
                let (relay, tls) = (Arc::clone(&relay), tls.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection(relay, (stream, tls), place).await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    if timeout(GRACE, room.acquire_many(all)).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
    relay.clients.end_all();
}

async fn connection(
    relay: Arc<Relay>,
    (stream, tls): (TcpStream, Option<TlsAcceptor>),
    _place: OwnedSemaphorePermit,
) -> io::Result<()> {
    drop(stream.set_nodelay(true));
    let stream = match tls {
        None => Either::Left(stream),
        Some(tls) => {
            let agreed = timeout(HEAD, tls.accept(stream)).await;
            Either::Right(agreed.map_err(|_| io::ErrorKind::TimedOut)??)
        }
    };
    let closing = relay.closing.clone();
    let service = TowerToHyperService::new(router(relay));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    ended.map_err(io::Error::other)
}
