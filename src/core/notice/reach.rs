//! Where a message may be sent: to global unicast addresses, and to those that the configuration
//! allows by name. Everything else is a way into the machine or the network that this program runs in.
//!
//! Sources: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates).

// The address types alone, which the language's own core library has: nothing here opens a socket.
use ::core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

use crate::core::checks::Checks;

/// Why an address is refused.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Forbidden {
    /// 192.0.2.0/24 and others; benchmarks too.
    #[error("an address for documentation or benchmarks")]
    Documentation,
    /// An IPv6 address that stands for an IPv4 address: mapped, 6to4, NAT64, Teredo.
    #[error("an IPv6 form of an IPv4 address")]
    Embedded,
    /// Link-local, and with it most clouds' metadata services.
    #[error("a link-local address")]
    LinkLocal,
    /// This machine.
    #[error("a loopback address")]
    Loopback,
    /// Many receivers at once.
    #[error("a multicast address")]
    Multicast,
    /// An address that a cloud's own services answer at.
    #[error("an address of the platform")]
    Platform,
    /// A private network: RFC 1918, RFC 4193.
    #[error("a private address")]
    Private,
    /// Not assigned to be anybody's.
    #[error("a reserved address")]
    Reserved,
    /// A carrier's own network: RFC 6598.
    #[error("an address of a carrier's network")]
    Shared,
    /// Nobody's, which many systems take for themselves.
    #[error("an unspecified address")]
    Unspecified,
    /// Without TLS, where only addresses that are allowed by name may be reached so.
    #[error("an address that `allow_private` does not name, without TLS")]
    WithoutTls,
}

/// A block of addresses, such as `10.1.2.0/24`, or one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    first: IpAddr,
    prefix: u32,
}

/// Text that is not a block of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an address, nor a block of addresses such as `10.1.2.0/24`")]
pub struct NotANetwork;

impl Network {
    /// Whether an address is in it. The two families are never mixed.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, width) = bits(self.first);
        let (other, other_width) = bits(address);
        width == other_width && shifted(first ^ other, width - self.prefix) == 0
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let (all, width) = bits(first);
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| NotANetwork)?
            }
            Some(_) => return Err(NotANetwork),
        };
        // Bits behind the prefix would be a block that somebody did not mean.
        let rest = width.checked_sub(prefix).ok_or(NotANetwork)?;
        if rest > 0 && all.trailing_zeros() < rest {
            return Err(NotANetwork);
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// An address as a number, and how many bits that has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(four) => (u128::from(u32::from(four)), 32),
        IpAddr::V6(six) => (u128::from(six), 128),
    }
}

fn shifted(number: u128, by: u32) -> u128 {
    number.checked_shr(by).unwrap_or(0)
}

/// Which addresses may be connected to.
#[derive(Clone, Debug)]
pub struct Reach {
    allowed: Vec<Network>,
    checks: Checks<Forbidden>,
}

impl Reach {
    /// Global unicast addresses, and these.
    pub fn new(allowed: Vec<Network>) -> Self {
        Self::with(allowed, Checks::all())
    }

    /// With these checks. Only a test has others than all.
    pub fn with(allowed: Vec<Network>, checks: Checks<Forbidden>) -> Self {
        Self { allowed, checks }
    }

    /// Whether this address may be connected to, with TLS or without.
    pub fn check(&self, address: IpAddr, tls: bool) -> Result<(), Forbidden> {
        if self.allowed.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        if let Some(forbidden) = forbidden(address) {
            self.checks.demand(false, forbidden)?;
        }
        self.checks.demand(tls, Forbidden::WithoutTls)
    }
}

/// Why an address is not global unicast, if it is not.
pub fn forbidden(address: IpAddr) -> Option<Forbidden> {
    match address {
        IpAddr::V4(four) => forbidden_v4(four),
        IpAddr::V6(six) => forbidden_v6(six),
    }
}

/// Blocks of IPv4 that are not global unicast: the first address, the length of the prefix, and why.
const V4: &[([u8; 4], u32, Forbidden)] = &[
    ([0, 0, 0, 0], 8, Forbidden::Unspecified),
    ([10, 0, 0, 0], 8, Forbidden::Private),
    ([100, 64, 0, 0], 10, Forbidden::Shared),
    ([127, 0, 0, 0], 8, Forbidden::Loopback),
    // The virtual host of Azure's virtual machines.
    ([168, 63, 129, 16], 32, Forbidden::Platform),
    ([169, 254, 0, 0], 16, Forbidden::LinkLocal),
    ([172, 16, 0, 0], 12, Forbidden::Private),
    ([192, 0, 0, 0], 24, Forbidden::Reserved),
    ([192, 0, 2, 0], 24, Forbidden::Documentation),
    ([192, 88, 99, 0], 24, Forbidden::Reserved),
    ([192, 168, 0, 0], 16, Forbidden::Private),
    ([198, 18, 0, 0], 15, Forbidden::Documentation),
    ([198, 51, 100, 0], 24, Forbidden::Documentation),
    ([203, 0, 113, 0], 24, Forbidden::Documentation),
    ([224, 0, 0, 0], 4, Forbidden::Multicast),
    ([240, 0, 0, 0], 4, Forbidden::Reserved),
];

fn forbidden_v4(address: Ipv4Addr) -> Option<Forbidden> {
    let inside = |(first, prefix, _): &&([u8; 4], u32, Forbidden)| {
        let first = IpAddr::V4(Ipv4Addr::from(*first));
        let block = Network {
            first,
            prefix: *prefix,
        };
        block.contains(IpAddr::V4(address))
    };
    V4.iter().find(inside).map(|(_, _, why)| *why)
}

/// Blocks of IPv6, the first that holds an address counts. What is in none of them is global unicast
/// only in `2000::/3`.
const V6: &[([u16; 8], u32, Forbidden)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, Forbidden::Unspecified),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Forbidden::Loopback),
    // Mapped, compatible (RFC 4291) and translated (RFC 2765) addresses.
    ([0, 0, 0, 0, 0, 0, 0, 0], 64, Forbidden::Embedded),
    // NAT64: RFC 6052, and RFC 8215 for local use.
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 32, Forbidden::Embedded),
    // Teredo.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Forbidden::Embedded),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Forbidden::Documentation),
    (
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],
        32,
        Forbidden::Documentation,
    ),
    // The rest of what the IETF keeps for protocols.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Forbidden::Reserved),
    // 6to4.
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Forbidden::Embedded),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Forbidden::Documentation),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Forbidden::Private),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Forbidden::LinkLocal),
    // Site-local, long deprecated.
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Forbidden::Private),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Forbidden::Multicast),
];

fn forbidden_v6(address: Ipv6Addr) -> Option<Forbidden> {
    let block = |first: &[u16; 8], prefix: u32| Network {
        first: IpAddr::V6(Ipv6Addr::from(*first)),
        prefix,
    };
    let address = IpAddr::V6(address);
    let mut blocks = V6.iter();
    if let Some((_, _, why)) =
        blocks.find(|(first, prefix, _)| block(first, *prefix).contains(address))
    {
        return Some(*why);
    }
    let global = block(&[0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
    // ISATAP (RFC 5214) holds an IPv4 address in the half that a host gives itself.
    let isatap = matches!(address, IpAddr::V6(six) if matches!(six.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _]));
    match (global.contains(address), isatap) {
        (false, _) => Some(Forbidden::Reserved),
        (true, true) => Some(Forbidden::Embedded),
        (true, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn why(text: &str) -> Option<Forbidden> {
        forbidden(text.parse().unwrap())
    }

    #[test]
    fn only_global_unicast_addresses_are_left() {
        use Forbidden::*;
        let table = [
            ("127.0.0.1", Some(Loopback)),
            ("127.255.255.254", Some(Loopback)),
            ("0.0.0.0", Some(Unspecified)),
            ("0.1.2.3", Some(Unspecified)),
            ("10.0.0.1", Some(Private)),
            ("172.15.255.255", None),
            ("172.16.0.1", Some(Private)),
            ("172.31.255.255", Some(Private)),
            ("172.32.0.0", None),
            ("192.168.1.1", Some(Private)),
            ("169.254.169.254", Some(LinkLocal)),
            ("168.63.129.16", Some(Platform)),
            ("168.63.129.17", None),
            ("100.63.255.255", None),
            ("100.64.0.1", Some(Shared)),
            ("100.100.100.200", Some(Shared)),
            ("100.128.0.0", None),
            ("192.0.0.192", Some(Reserved)),
            ("192.0.2.1", Some(Documentation)),
            ("198.19.255.255", Some(Documentation)),
            ("198.51.100.7", Some(Documentation)),
            ("203.0.113.9", Some(Documentation)),
            ("224.0.0.1", Some(Multicast)),
            ("255.255.255.255", Some(Reserved)),
            ("8.8.8.8", None),
            ("1.1.1.1", None),
            ("::", Some(Unspecified)),
            ("::1", Some(Loopback)),
            ("::127.0.0.1", Some(Embedded)),
            ("::ffff:127.0.0.1", Some(Embedded)),
            ("::ffff:8.8.8.8", Some(Embedded)),
            ("::ffff:0:10.0.0.1", Some(Embedded)),
            ("64:ff9b::169.254.169.254", Some(Embedded)),
            ("64:ff9b:1::10.0.0.1", Some(Embedded)),
            ("2002:7f00:1::", Some(Embedded)),
            ("2001::1", Some(Embedded)),
            ("2001:2::1", Some(Documentation)),
            ("2001:20::1", Some(Reserved)),
            ("2001:db8::1", Some(Documentation)),
            ("3fff::1", Some(Documentation)),
            ("fd00:ec2::254", Some(Private)),
            ("fc00::1", Some(Private)),
            ("fe80::1", Some(LinkLocal)),
            ("fec0::1", Some(Private)),
            ("ff02::1", Some(Multicast)),
            ("100::1", Some(Reserved)),
            ("5f00::1", Some(Reserved)),
            ("2606:4700::1:5efe:7f00:1", None),
            ("2606:4700::5efe:7f00:1", Some(Embedded)),
            ("2606:4700:4700::1111", None),
            ("2a00:1450:4001::1", None),
        ];
        for (address, expected) in table {
            assert_eq!(why(address), expected, "{address}");
        }
    }

    #[test]
    fn what_is_allowed_by_name_is_reached_with_tls_or_without() {
        let reach = Reach::new(vec!["10.1.2.0/24".parse().unwrap()]);
        let check = |text: &str, tls| reach.check(text.parse().unwrap(), tls);
        assert_eq!(check("10.1.2.9", false), Ok(()));
        assert_eq!(check("10.1.3.9", true), Err(Forbidden::Private));
        assert_eq!(check("::ffff:10.1.2.9", true), Err(Forbidden::Embedded));
        assert_eq!(check("8.8.8.8", true), Ok(()));
        assert_eq!(check("8.8.8.8", false), Err(Forbidden::WithoutTls));
    }

    #[test]
    fn blocks_are_read_strictly() {
        for good in [
            "10.1.2.0/24",
            "10.1.2.3",
            "::/0",
            "0.0.0.0/0",
            "fd00::/8",
            "::1/128",
        ] {
            assert!(good.parse::<Network>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "10.1.2.3/24",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.1",
            "a.b",
            "fd00::1/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("1.2.3.4".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
    }

    proptest! {
        /// The same question, asked of the standard library as far as it can answer it.
        #[test]
        fn nothing_is_left_that_the_standard_library_knows_to_be_special(number in any::<u32>()) {
            let four = Ipv4Addr::from(number);
            let special = four.is_private() || four.is_loopback() || four.is_link_local()
                || four.is_broadcast() || four.is_documentation() || four.is_unspecified()
                || four.is_multicast();
            prop_assert!(!special || forbidden(four.into()).is_some(), "{}", four);
        }

        #[test]
        fn no_ipv6_form_of_an_address_is_a_way_around(number in any::<u32>(), high in any::<u16>()) {
            let low = (u16::try_from(number >> 16).unwrap(), u16::try_from(number & 0xffff).unwrap());
            let forms = [
                [0, 0, 0, 0, 0, 0xffff, low.0, low.1],
                [0, 0, 0, 0, 0xffff, 0, low.0, low.1],
                [0x64, 0xff9b, 0, 0, 0, 0, low.0, low.1],
                [0x64, 0xff9b, 1, high, high, high, low.0, low.1],
                [0x2002, low.0, low.1, high, 0, 0, 0, high],
                [0x2001, 0, high, high, high, high, low.0, low.1],
            ];
            for form in forms {
                prop_assert!(forbidden(Ipv6Addr::from(form).into()).is_some(), "{:?}", form);
            }
        }

        #[test]
        fn a_global_address_lies_in_2000_3(number in any::<u128>()) {
            let six = Ipv6Addr::from(number);
            if forbidden(six.into()).is_none() {
                prop_assert_eq!(number >> 125, 1);
                prop_assert!(!six.is_multicast() && !six.is_unique_local());
            }
        }
    }
}
