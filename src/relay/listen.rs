//! The listening socket: TLS where there are certificates, a limit on connections, and on how long
//! somebody may take over what they send before it is known who they are.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use crate::relay::address::Peer;
use crate::relay::certificates::Certificates;
use crate::relay::crowd::{Crowd, Guest};
use crate::relay::patient::Patient;
use crate::relay::{Cluster, Relay, agents, metrics, router};

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

/// How many are told at the same time that there is no place, and for how long.
const GOODBYES: usize = 32;
const GOODBYE: Duration = Duration::from_secs(1);
/// What an address that has too many connections is told, where no TLS has to be agreed on first.
const CROWDED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
    Retry-After: 10\r\nConnection: close\r\nContent-Length: 45\r\n\r\n\
    too many connections are open from your side\n";

/// Where connections come in, and what they meet.
struct Door {
    listener: TcpListener,
    router: Router,
    certificates: Option<Arc<Certificates>>,
    /// How many there may be at the same time.
    most: usize,
    /// How many from one address, but for these.
    crowd: Crowd,
    closing: CancellationToken,
}

/// Serves until the relay closes; then open answers get a little time. Numbers are served beside it, where
/// there is a socket for them.
pub async fn serve(
    relay: Arc<Relay>,
    (listener, numbers): (TcpListener, Option<TcpListener>),
    cluster: Option<Cluster>,
) {
    let closing = relay.closing.clone();
    tokio::spawn(Arc::clone(&relay).watch());
    let kept = cluster.map(|cluster| tokio::spawn(cluster.keep(Arc::clone(&relay))));
    let summing_up = tokio::spawn(agents::sum_up(Arc::clone(&relay)));
    if let Some(certificates) = &relay.certificates {
        tokio::spawn(Arc::clone(certificates).watch(closing.clone()));
    }
    if let Some(listener) = numbers {
        tokio::spawn(taken(Door {
            listener,
            router: metrics::router(Arc::clone(&relay)),
            certificates: None,
            most: MONITORS,
            crowd: Crowd::new(MONITORS, Vec::new()),
            closing: closing.clone(),
        }));
    }
    taken(Door {
        listener,
        router: router(Arc::clone(&relay)),
        certificates: relay.certificates.clone(),
        most: CONNECTIONS,
        crowd: Crowd::new(relay.per_address, relay.proxies.clone()),
        closing,
    })
    .await;
    drop(summing_up.await);
    if let Some(kept) = kept {
        drop(kept.await);
    }
    relay.hall.end().await;
}

/// Takes what comes.
async fn taken(door: Door) {
    let room = Arc::new(Semaphore::new(door.most));
    let goodbyes = Arc::new(Semaphore::new(GOODBYES));
    loop {
        let accepted = tokio::select! {
            accepted = door.listener.accept() => accepted,
            () = door.closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                    continue;
                };
                let Some(guest) = door.crowd.enter(peer.ip()) else {
                    if door.certificates.is_none()
                        && let Ok(place) = Arc::clone(&goodbyes).try_acquire_owned()
                    {
                        tokio::spawn(async move {
                            drop(timeout(GOODBYE, turn_away(stream)).await);
                            drop(place);
                        });
                    }
                    continue;
                };
                let router = door.router.clone().layer(Extension(Peer(peer.ip())));
                let closing = door.closing.clone();
                let tls = door.certificates.as_ref();
                let tls = tls.map(|certificates| certificates.acceptor());
                tokio::spawn(async move {
                    if let Err(error) =
                        connection((router, closing), (stream, tls), (place, guest)).await
                    {
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

/// Says that there is no place, and waits until that was taken: closing a connection with unread words on it
/// would throw ours away.
async fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(CROWDED).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn connection(
    (router, closing): (Router, CancellationToken),
    (stream, tls): (TcpStream, Option<TlsAcceptor>),
    _place: (OwnedSemaphorePermit, Guest),
) -> io::Result<()> {
    drop(stream.set_nodelay(true));
    let stream = Patient::new(stream);
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
