//! A connection to a relay, an agent's or a client's: looked up once, checked, made to exactly the address
//! that was checked, and encrypted wherever somebody could listen.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use url::{Host, Position, Url};

use crate::core::refusal::{Code, Refusal};

/// How long each step of a connection may take.
const STEP: Duration = Duration::from_secs(10);

/// A connection to a relay, over which nothing was said yet.
pub type Line = Either<TcpStream, TlsStream<TcpStream>>;
/// Whom to believe that they are the relay; nobody is asked where there is no encryption.
pub type Trusted = Option<Arc<ClientConfig>>;

/// How a relay may be reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Whether to speak without TLS to addresses that are neither this machine's nor private.
    pub allow_insecure: bool,
    /// A file with certificates in PEM to trust besides the system's.
    pub authority: Option<PathBuf>,
}

/// Where a relay is.
#[derive(Clone, Debug)]
pub struct Address {
    url: Url,
    reach: Reach,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)
    }
}

impl Address {
    /// Reads `https://relay.example`, `http://`, `wss://` or `ws://`.
    pub fn parse(text: &str, reach: Reach) -> Result<Self, Refusal> {
        let wrong = || {
            Refusal::new(Code::InvalidArgument, "this is not the address of a relay")
                .hint("write it as `https://relay.example.com`")
        };
        let mut url = Url::parse(text).map_err(|_| wrong())?;
        let scheme = match url.scheme() {
            "https" | "wss" => "https",
            "http" | "ws" => "http",
            _ => return Err(wrong()),
        };
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !plain || url.host().is_none() {
            return Err(wrong());
        }
        // From one special scheme to another of the same kind, which the standard allows.
        let port = url.port_or_known_default();
        url.set_scheme(scheme).map_err(|()| wrong())?;
        url.set_port(port).map_err(|()| wrong())?;
        url.set_path("/");
        Ok(Self { url, reach })
    }

    fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The relay's name with its port, where that is not the usual one: what a request says that it is for.
    pub fn host(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// Reads what the system and the file trust. May be used for any number of connections.
    pub async fn trusted(&self) -> Result<Trusted, Refusal> {
        if !self.is_encrypted() {
            return Ok(None);
        }
        step("there are no certificates", self.tls())
            .await
            .map(Some)
    }

    /// Connects.
    pub async fn connect(&self, trusted: &Trusted) -> Result<Line, Refusal> {
        let addresses = step("its name cannot be looked up", self.addresses()).await?;
        if !self.is_encrypted() && !self.reach.allow_insecure {
            let open = addresses.iter().find(|address| !is_near(address.ip()));
            if let Some(open) = open {
                let sentence = format!(
                    "`{}` would be spoken to without encryption, and {} is neither this machine's nor private",
                    self.url,
                    open.ip()
                );
                return Err(Refusal::new(Code::Forbidden, sentence).hint(
                    "use `https://`; on a network that nobody else can listen to, `--allow-insecure`",
                ));
            }
        }
        let stream = step("nobody answers", TcpStream::connect(&addresses[..])).await?;
        drop(stream.set_nodelay(true));
        match trusted {
            None if self.is_encrypted() => Err(unreachable("there are no certificates")),
            None => Ok(Either::Left(stream)),
            Some(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let agreed = connector.connect(self.server_name()?, stream);
                Ok(Either::Right(step("TLS was not agreed on", agreed).await?))
            }
        }
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let port = self.url.port_or_known_default().unwrap_or(443);
        let found: Vec<SocketAddr> = match self.url.host() {
            None => Vec::new(),
            Some(Host::Ipv4(four)) => vec![SocketAddr::new(IpAddr::V4(four), port)],
            Some(Host::Ipv6(six)) => vec![SocketAddr::new(IpAddr::V6(six), port)],
            Some(Host::Domain(name)) => lookup_host((name, port)).await?.collect(),
        };
        if found.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(found)
    }

    fn server_name(&self) -> Result<ServerName<'static>, Refusal> {
        match self.url.host() {
            Some(Host::Ipv4(four)) => Ok(ServerName::from(IpAddr::V4(four))),
            Some(Host::Ipv6(six)) => Ok(ServerName::from(IpAddr::V6(six))),
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
                .map_err(|_| unreachable("its name can be in no certificate")),
            None => Err(unreachable("it has no name")),
        }
    }

    async fn tls(&self) -> io::Result<Arc<ClientConfig>> {
        let authority = self.reach.authority.clone();
        let made = tokio::task::spawn_blocking(move || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if let Some(file) = authority {
                let found = CertificateDer::pem_file_iter(file).map_err(io::Error::other)?;
                for certificate in found {
                    let certificate = certificate.map_err(io::Error::other)?;
                    roots.add(certificate).map_err(io::Error::other)?;
                }
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?;
            Ok(Arc::new(
                builder.with_root_certificates(roots).with_no_client_auth(),
            ))
        });
        made.await.map_err(io::Error::other)?
    }
}

/// One step of reaching a relay, with a time limit of ten seconds; `failed` says what it is when it does not go well.
pub async fn step<T>(
    failed: &str,
    doing: impl Future<Output = io::Result<T>>,
) -> Result<T, Refusal> {
    match timeout(STEP, doing).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(unreachable(&format!("{failed}: {error}"))),
        Err(_) => Err(unreachable(&format!("{failed} within 10 seconds"))),
    }
}

/// A relay that is not there, or is no relay.
pub fn unreachable(why: &str) -> Refusal {
    Refusal::new(
        Code::AgentUnavailable,
        format!("the relay cannot be reached: {why}"),
    )
    .hint("check the address, and that the relay runs")
}

/// An address that a listener on the way would have to be on this machine or in its own network for:
/// loopback, or private (RFC 1918, RFC 4193), or link-local.
pub fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(four) => four.is_loopback() || four.is_private() || four.is_link_local(),
        IpAddr::V6(six) => {
            six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_whatever_its_scheme_is_called() {
        let read = |text| Address::parse(text, Reach::default()).map(|at| at.to_string());
        assert_eq!(
            read("https://relay.example").unwrap(),
            "https://relay.example/"
        );
        assert_eq!(
            read("http://127.0.0.1:7330").unwrap(),
            "http://127.0.0.1:7330/"
        );
        assert_eq!(
            read("wss://relay.example:8443/").unwrap(),
            "https://relay.example:8443/"
        );
        for wrong in [
            "relay.example",
            "ftp://relay",
            "https://ada:pw@relay",
            "https://relay/?a=b",
        ] {
            assert_eq!(
                read(wrong).unwrap_err().code,
                Code::InvalidArgument,
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_is_said_in_the_clear_to_an_address_of_others() {
        let open = Address::parse("http://192.0.2.1:7330", Reach::default()).unwrap();
        assert_eq!(open.connect(&None).await.unwrap_err().code, Code::Forbidden);
        let near = [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.9",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ];
        let far = [
            "192.0.2.1",
            "8.8.8.8",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "100.64.0.1",
        ];
        assert!(near.iter().all(|ip| is_near(ip.parse().unwrap())));
        assert!(!far.iter().any(|ip| is_near(ip.parse().unwrap())));
    }
}
