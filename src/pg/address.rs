//! Where a target is and how to get there: its URL, taken apart.

use std::sync::Arc;

use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use url::form_urlencoded;

use super::tls::{self, Verify};
use crate::core::refusal::{Code, Refusal};

/// One way to reach the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A host name or address, and a port.
    Tcp(String, u16),
    /// The path of a socket.
    Socket(std::path::PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Where the server is, who logs in, and how the line is protected. Its Debug form shows neither.
pub struct Address {
    /// Who logs in, and to what.
    pub config: Config,
    /// Where the server may be, in the order in which to try.
    pub places: Vec<Place>,
    /// How the line is protected; nothing where it is not, or is a socket file.
    pub tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// Takes a URL apart. The refusal never repeats it.
    pub fn parse(url: &SecretString) -> Result<Self, Refusal> {
        // libpq takes `postgres://user@/database?host=/folder`, which is no URL by the standard.
        let text = url.expose_secret();
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut root) = ("prefer".to_owned(), None);
        let mut kept = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "sslmode" => mode = value.into_owned(),
                "sslrootcert" => root = Some(value.into_owned()),
                _ => {
                    kept.append_pair(&name, &value);
                }
            }
        }
        // `+` means a blank to the one that wrote it and a plus to the one that reads it.
        let text = format!("{base}?{}", kept.finish().replace('+', "%20"));
        let mut config: Config = text.parse().map_err(|_| malformed())?;
        let (ssl, verify) = tls_mode(&mode, root.is_some())?;
        config
            .ssl_mode(ssl)
            .application_name("secondkey")
            .connect_timeout(super::CONNECT_TIMEOUT);
        let places = places(&config);
        if places.is_empty() {
            return Err(malformed());
        }
        let tls = match verify {
            None => None,
            Some(verify) => Some(Arc::new(tls::config(verify, root.as_deref())?)),
        };
        Ok(Self {
            config,
            places,
            tls,
        })
    }
}

fn places(config: &Config) -> Vec<Place> {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let place = |(at, host): (usize, &Host)| match host {
        Host::Tcp(name) => Place::Tcp(name.clone(), port(at)),
        Host::Unix(folder) => Place::Socket(folder.join(format!(".s.PGSQL.{}", port(at)))),
    };
    config.get_hosts().iter().enumerate().map(place).collect()
}

/// libpq's meaning of `sslmode`: a root certificate makes `require` verify the chain.
fn tls_mode(mode: &str, has_root: bool) -> Result<(SslMode, Option<Verify>), Refusal> {
    Ok(match (mode, has_root) {
        ("disable", _) => (SslMode::Disable, None),
        ("allow" | "prefer", _) => (SslMode::Prefer, Some(Verify::Nothing)),
        ("require", false) => (SslMode::Require, Some(Verify::Nothing)),
        ("require", true) | ("verify-ca", _) => (SslMode::Require, Some(Verify::Chain)),
        ("verify-full", _) => (SslMode::Require, Some(Verify::ChainAndName)),
        _ => {
            return Err(Refusal::new(
                Code::InvalidArgument,
                "the database URL has an unknown `sslmode`",
            )
            .hint("use disable, prefer, require, verify-ca or verify-full"));
        }
    })
}

fn malformed() -> Refusal {
    Refusal::new(
        Code::InvalidArgument,
        "the database URL cannot be understood",
    )
    .hint("write postgres://user@host:5432/database, or postgres:///database?host=/run/postgresql")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address, Refusal> {
        Address::parse(&SecretString::from(url))
    }

    #[test]
    fn urls_name_hosts_sockets_and_tls() {
        let tcp = address("postgres://u:p@db.example:5433/shop?sslmode=disable").unwrap();
        assert_eq!(tcp.places, [Place::Tcp("db.example".into(), 5433)]);
        assert!(tcp.tls.is_none());
        let socket = address("postgresql://u@/shop?host=/run/pg&port=5999").unwrap();
        assert_eq!(
            socket.places,
            [Place::Socket("/run/pg/.s.PGSQL.5999".into())]
        );
        let full = address("postgres://u@h/d?sslmode=require").unwrap();
        assert!(full.tls.is_some() && full.config.get_ssl_mode() == SslMode::Require);
    }

    #[test]
    fn a_refused_url_and_the_debug_form_show_no_password() {
        for url in [
            "postgres://u:hunter2@h/d?sslmode=never",
            "hunter2",
            "postgres://u:hunter2@h/d?hunter2=1",
        ] {
            let refusal = address(url).unwrap_err();
            assert!(!format!("{refusal:?}").contains("hunter2"));
        }
        let address = address("postgres://u:hunter2@h/d").unwrap();
        assert!(!format!("{address:?}").contains("hunter2"));
    }
}
