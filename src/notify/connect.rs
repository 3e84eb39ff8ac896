//! A connection to the receiver: looked up once, checked, and made to exactly an address that was
//! checked. There is no second look-up that could answer otherwise, no proxy, and no redirect to follow.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use crate::core::notice::{Forbidden, Reach};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoConnection {
    /// The address has no host.
    #[error("the address has no host")]
    NoHost,
    /// The name is nobody's.
    #[error("the name of the host cannot be looked up")]
    Lookup(#[source] io::Error),
    /// It may not be sent to.
    #[error("{0}, which is not sent to")]
    Forbidden(Forbidden),
    /// Nobody answers there.
    #[error("no connection: {}", .0.kind())]
    Connect(#[source] io::Error),
    /// The other side is not who it should be, or does not speak TLS.
    #[error("no TLS: {}", tls_fault(.0))]
    Tls(#[source] io::Error),
}

/// Why there is no TLS, without the names that a certificate may hold.
fn tls_fault(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => "the certificate is not trusted".to_owned(),
        Some(_) | None => error.kind().to_string(),
    }
}

/// Either kind of connection.
#[derive(Debug)]
pub(super) enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The addresses of the receiver that may be sent to: at least one.
pub(super) async fn addresses(url: &Url, reach: &Reach) -> Result<Vec<SocketAddr>, NoConnection> {
    let port = url.port_or_known_default().unwrap_or(443);
    let found: Vec<SocketAddr> = match url.host() {
        None => return Err(NoConnection::NoHost),
        Some(Host::Ipv4(four)) => vec![SocketAddr::new(IpAddr::V4(four), port)],
        Some(Host::Ipv6(six)) => vec![SocketAddr::new(IpAddr::V6(six), port)],
        Some(Host::Domain(name)) => lookup_host((name, port))
            .await
            .map_err(NoConnection::Lookup)?
            .collect(),
    };
    let mut refused = None;
    let mut allowed = Vec::new();
    for address in found {
        match reach.check(address.ip(), url.scheme() == "https") {
            Ok(()) => allowed.push(address),
            Err(forbidden) => refused = refused.or(Some(forbidden)),
        }
    }
    match refused {
        _ if !allowed.is_empty() => Ok(allowed),
        Some(forbidden) => Err(NoConnection::Forbidden(forbidden)),
        None => Err(NoConnection::Lookup(io::ErrorKind::NotFound.into())),
    }
}

/// Connects to the first of these addresses that answers.
pub(super) async fn connect(url: &Url, addresses: &[SocketAddr]) -> Result<Line, NoConnection> {
    let stream = TcpStream::connect(addresses)
        .await
        .map_err(NoConnection::Connect)?;
    if url.scheme() != "https" {
        return Ok(Line::Plain(stream));
    }
    let name = match url.host() {
        None => return Err(NoConnection::NoHost),
        Some(Host::Ipv4(four)) => ServerName::from(IpAddr::V4(four)),
        Some(Host::Ipv6(six)) => ServerName::from(IpAddr::V6(six)),
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
            .map_err(|error| NoConnection::Tls(io::Error::other(error)))?,
    };
    let config = tls().await.map_err(NoConnection::Tls)?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    Ok(Line::Tls(Box::new(connected.map_err(NoConnection::Tls)?)))
}

/// What the system trusts; read once, when it is first needed.
async fn tls() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let made = tokio::task::spawn_blocking(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok::<_, io::Error>(Arc::new(config))
    });
    let made = made.await.map_err(io::Error::other)??;
    Ok(Arc::clone(CONFIG.get_or_init(|| made)))
}
