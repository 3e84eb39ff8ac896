//! Where a page is: the one origin to which its passkeys are bound, and by which browsers are told apart from
//! programs that only look like them.

use url::{Host, Url};

use crate::core::refusal::{Code, Refusal};

/// The origin of a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    origin: String,
    /// Its name, and its port where that is not the usual one, as a browser sends it.
    host: String,
    /// The relying party of passkeys that are made there (W3C Web Authentication, section 5.1.2).
    name: String,
    /// The port, of a page of this machine alone.
    local: Option<u16>,
}

impl Address {
    /// On this machine alone.
    pub fn local(port: u16) -> Self {
        let name = "localhost".to_owned();
        // A browser leaves out the usual port.
        let host = if port == 80 {
            name.clone()
        } else {
            format!("{name}:{port}")
        };
        Self {
            origin: format!("http://{host}"),
            host,
            name,
            local: Some(port),
        }
    }

    /// Where others come to. Browsers make passkeys for names and not for numbers, and only under TLS; for `localhost`
    /// they do without.
    pub fn public(text: &str) -> Result<Self, Refusal> {
        let url = Url::parse(text).map_err(|_| unfit("it is no URL"))?;
        let name = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => {
                return Err(unfit("passkeys are made for names, and this has none"));
            }
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && name == "localhost") {
            return Err(unfit("passkeys are made under `https` alone"));
        }
        let origin = url.origin().ascii_serialization();
        if text.trim_end_matches('/') != origin {
            return Err(unfit("it has more than a scheme, a name and a port"));
        }
        let host = url
            .port()
            .map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
        Ok(Self {
            origin,
            host,
            name,
            local: None,
        })
    }

    /// As browsers say it (RFC 6454): `https://relay.example.com`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What follows the scheme.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The relying party of its passkeys.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The port, where it is on this machine alone.
    pub(super) fn local_port(&self) -> Option<u16> {
        self.local
    }

    pub(super) fn is_secure(&self) -> bool {
        self.origin.starts_with("https:")
    }

    /// The name of its cookie. One of a secure page can be set by no other name's page (RFC 6265bis, section
    /// 4.1.3.2); elsewhere it has the port in it, so that two pages on one machine do not overwrite each other's.
    pub(super) fn cookie(&self) -> String {
        if self.is_secure() {
            return "__Host-secondkey".to_owned();
        }
        let port = self.host.rsplit_once(':').map_or("80", |(_, port)| port);
        format!("secondkey_{port}")
    }
}

fn unfit(why: &str) -> Refusal {
    Refusal::new(
        Code::InvalidArgument,
        format!("no page can be served there: {why}"),
    )
    .hint("name the origin that browsers see, such as `https://relay.example.com`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_served_where_browsers_make_passkeys() {
        for (text, cookie) in [
            ("https://relay.example.com", "__Host-secondkey"),
            ("https://relay.example.com:7330/", "__Host-secondkey"),
            ("http://localhost:7330", "secondkey_7330"),
        ] {
            let address = Address::public(text).unwrap();
            assert_eq!(address.origin(), text.trim_end_matches('/'));
            assert_eq!(address.cookie(), cookie);
        }
        for text in [
            "http://relay.example.com",
            "https://10.0.0.1",
            "https://[::1]:7330",
            "https://relay.example.com/page",
            "https://ada@relay.example.com",
            "https://relay.example.com?x",
            "relay.example.com",
            "https://RELAY.example.com",
        ] {
            assert!(Address::public(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_of_this_machine_has_its_port_in_its_name() {
        assert_eq!(Address::local(7321).origin(), "http://localhost:7321");
        assert_eq!(Address::local(80).origin(), "http://localhost");
        assert_eq!(Address::local(80).cookie(), "secondkey_80");
    }
}
