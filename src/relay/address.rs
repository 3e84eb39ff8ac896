//! Where a client is: the other end of its connection, or, behind a proxy that is trusted by name, what that
//! proxy says (`X-Forwarded-For`). Nobody else's word counts.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::HeaderMap;

use crate::core::notice::Network;

/// The header in which proxies say whom they speak for, the nearest last.
const FORWARDED: &str = "x-forwarded-for";

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Where whoever asks is; nothing where a trusted proxy does not say it in a form that can be read.
pub(super) fn of(request: &Request, proxies: &[Network]) -> Option<IpAddr> {
    let Peer(peer) = request.extensions().get::<Peer>()?;
    found(peer.to_canonical(), request.headers(), proxies)
}

fn found(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> Option<IpAddr> {
    let trusted = |address: IpAddr| is_in(address, proxies);
    if !trusted(peer) {
        return Some(peer);
    }
    let lines = headers.get_all(FORWARDED).iter();
    let lines: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
    let said = lines?.join(",");
    // From the nearest on: the first that is no proxy of ours is as far as anybody's word is good.
    for word in said.rsplit(',') {
        let address = word.trim().parse::<IpAddr>().ok()?.to_canonical();
        if !trusted(address) {
            return Some(address);
        }
    }
    None
}

/// Whether an address is in one of these blocks.
pub(super) fn is_in(address: IpAddr, networks: &[Network]) -> bool {
    networks.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, said: &[&str]) -> Option<String> {
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in said {
            headers.append(FORWARDED, line.parse().unwrap());
        }
        found(peer.parse().unwrap(), &headers, &proxies).map(|address| address.to_string())
    }

    #[test]
    fn only_a_proxy_that_is_trusted_speaks_for_others() {
        let is =
            |found: Option<String>, expected: &str| assert_eq!(found.as_deref(), Some(expected));
        is(asked("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        is(asked("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        // What a client has written itself stands before what the proxy adds.
        is(
            asked("10.0.0.1", &["127.0.0.1, 203.0.113.9"]),
            "203.0.113.9",
        );
        is(
            asked("10.0.0.1", &["127.0.0.1", "203.0.113.9, 10.0.0.2"]),
            "203.0.113.9",
        );
        is(asked("10.0.0.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
        for unclear in [&[][..], &["unknown"], &["203.0.113.9,"], &["10.0.0.3"]] {
            assert_eq!(asked("10.0.0.1", unclear), None, "{unclear:?}");
        }
    }
}
