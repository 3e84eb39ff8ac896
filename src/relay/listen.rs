//! The listening socket: TLS where there are certificates, a limit on connections, and on how long
//! somebody may take over what they send before it is known who they are.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use crate::relay::certificates::Certificates;
use crate::relay::{Relay, metrics, router};

/// Connections at the same time.
const CONNECTIONS: usize = 4_096;
/// Connections of monitors at the same time.
const MONITORS: usize = 16;
/// How long TLS may take to be agreed on, and a head to come.
const HEAD: Duration = Duration::from_secs(10);
/// The largest head, in bytes.
const HEAD_BYTES: usize = 64 * 1024;
/// How long open connections get to end when the relay does.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait after the system gave no connection.
const BREATH: Duration = Duration::from_millis(100);

/// Where connections come in, and what they meet.
struct Door {
    listener: TcpListener,
    router: Router,
    certificates: Option<Arc<Certificates>>,
    /// How many there may be at the same time.
    most: usize,
    closing: CancellationToken,
}

/// Serves until the relay closes; then open answers get a little time. Numbers are served beside it, where
/// there is a socket for them.
pub async fn serve(relay: Arc<Relay>, listener: TcpListener, numbers: Option<TcpListener>) {
    let closing = relay.closing.clone();
    tokio::spawn(Arc::clone(&relay).watch());
    if let Some(certificates) = &relay.certificates {
        tokio::spawn(Arc::clone(certificates).watch(closing.clone()));
    }
    if let Some(listener) = numbers {
        tokio::spawn(taken(Door {
            listener,
            router: metrics::router(Arc::clone(&relay)),
            certificates: None,
            most: MONITORS,
            closing: closing.clone(),
        }));
    }
    taken(Door {
        listener,
        router: router(Arc::clone(&relay)),
        certificates: relay.certificates.clone(),
        most: CONNECTIONS,
        closing,
    })
    .await;
    relay.clients.end_all();
}

/// Takes what comes.
async fn taken(door: Door) {
    let room = Arc::new(Semaphore::new(door.most));
    loop {
        let accepted = tokio::select! {
            accepted = door.listener.accept() => accepted,
            () = door.closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                    continue;
                };
                let (router, closing) = (door.router.clone(), door.closing.clone());
                let tls = door.certificates.as_ref();
                let tls = tls.map(|certificates| certificates.acceptor());
                tokio::spawn(async move {
                    if let Err(error) = connection((router, closing), (stream, tls), place).await {
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
    drop(door.listener);
    let all = u32::try_from(door.most).unwrap_or(u32::MAX);
    if timeout(GRACE, room.acquire_many(all)).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}

async fn connection(
    (router, closing): (Router, CancellationToken),
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
    let service = TowerToHyperService::new(router);
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
