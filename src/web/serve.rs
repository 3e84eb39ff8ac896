//! Who serves the page: whichever process of the state folder holds its lock, at `localhost` alone.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::store::page::PageLock;
use crate::web::router::router;
use crate::web::site::Site;

/// How often a process that does not serve the page looks whether it could.
const LOOK: Duration = Duration::from_secs(3);
/// How long open connections get to finish.
const GRACE: Duration = Duration::from_millis(500);

/// Serves the page whenever no other process does, until `closing` fires. Nothing that goes wrong here
/// disturbs what else the process does: it is logged, and tried again.
pub async fn keep_serving(site: Site, closing: CancellationToken) {
    let mut told = false;
    while !closing.is_cancelled() {
        if let Err(error) = take_turn(&site, &closing, || ()).await {
            if told {
                tracing::debug!(%error, "the page is not served");
            } else {
                tracing::info!(%error, "the page is not served by this process; it tries again");
            }
            told = true;
        }
        pause(&closing).await;
    }
}

/// Serves the page until `closing` fires, and fails where the port is taken by something else. While
/// another process of this state folder serves it, stands by; `on_serving` is called at each turn.
pub async fn serve_alone(
    site: Site,
    closing: CancellationToken,
    mut on_serving: impl FnMut(),
) -> io::Result<()> {
    while !closing.is_cancelled() {
        take_turn(&site, &closing, &mut on_serving).await?;
        pause(&closing).await;
    }
    Ok(())
}

async fn pause(closing: &CancellationToken) {
    tokio::select! {
        () = closing.cancelled() => {}
        () = tokio::time::sleep(LOOK) => {}
    }
}

/// Serves if no other process does; comes back at once if one does.
async fn take_turn(
    site: &Site,
    closing: &CancellationToken,
    on_serving: impl FnOnce(),
) -> io::Result<()> {
    let Some(mut lock) = site.state().lock_page().map_err(io::Error::other)? else {
        return Ok(());
    };
    let Some(port) = site.address().local_port() else {
        let sentence = "this page is not for this machine alone";
        return Err(io::Error::new(io::ErrorKind::Unsupported, sentence));
    };
    let listeners = bind(port).await?;
    lock.announce(&site.origin())?;
    on_serving();
    serve(site, listeners, closing, lock).await
}

/// Both of the addresses that `localhost` means. A machine without one of them does with the other, but
/// one that somebody else has is not shared: half of the browser's visits would be theirs.
async fn bind(port: u16) -> io::Result<Vec<TcpListener>> {
    let four = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
    let six = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await;
    let mut listeners = Vec::new();
    let mut missing = None;
    for bound in [four, six] {
        match bound {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => missing = Some(error),
        }
    }
    match missing {
        Some(error) if listeners.is_empty() => Err(error),
        Some(_) | None => Ok(listeners),
    }
}

async fn serve(
    site: &Site,
    listeners: Vec<TcpListener>,
    closing: &CancellationToken,
    lock: PageLock,
) -> io::Result<()> {
    let stop = closing.child_token();
    let running = listeners.into_iter().map(|listener| {
        let app = router(site.clone());
        let stop = stop.clone();
        async move {
            let prompt = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            let ended = axum::serve(prompt, app)
                .with_graceful_shutdown(stop.clone().cancelled_owned())
                .await;
            // One door does not stay open without the other.
            stop.cancel();
            ended
        }
    });
    let all = futures::future::try_join_all(running);
    let ended = tokio::select! {
        ended = all => ended.map(drop),
        // A browser that keeps a connection open does not keep the process.
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    };
    drop(lock);
    ended
}
