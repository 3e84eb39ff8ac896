//! Ids: one newtype per kind of thing, each with a prefix that says in a log what it is.

use crate::core::work::Digest;

/// Declares an id: `<prefix>_` and 32 hex digits of a UUID version 7 (RFC 9562 §5.7).
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Makes an id from the time in unix milliseconds and ten random bytes.
            pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
                let id = uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid();
                Self(format!(concat!($prefix, "_{}"), id.simple()))
            }

            /// The id as it is written everywhere.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = MalformedId;

            fn try_from(text: String) -> Result<Self, MalformedId> {
                let rest = text.strip_prefix(concat!($prefix, "_")).unwrap_or_default();
                let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if rest.len() == 32 && rest.bytes().all(hex) {
                    Ok(Self(text))
                } else {
                    Err(MalformedId { expected: concat!($prefix, "_ and 32 hex digits") })
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Text that is not an id of the kind asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an id of this kind; expected {expected}")]
pub struct MalformedId {
    expected: &'static str,
}

id_type!(
    /// One wish to run work, from asking to its end.
    RequestId,
    "req"
);
id_type!(
    /// One execution token.
    TokenId,
    "tok"
);
id_type!(
    /// One executor: the audience of the tokens it accepts.
    AgentId,
    "agt"
);
id_type!(
    /// One page handle: rows that an executor keeps for whoever asked for them.
    HandleId,
    "page"
);

/// Where the version of the UUID stands in a request's id.
const VERSION_AT: usize = "req_".len() + 12;

impl RequestId {
    /// The one id of everything that is asked under one idempotency key, which the digest is of: a UUID
    /// version 8 (RFC 9562 §5.8), so that it is no other request's.
    pub fn keyed(digest: &Digest) -> Self {
        let mut bytes = [0; 16];
        for (byte, of) in bytes.iter_mut().zip(digest.as_bytes()) {
            *byte = *of;
        }
        let id = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        Self(format!("req_{}", id.simple()))
    }

    /// Whether it was made from an idempotency key.
    pub fn is_keyed(&self) -> bool {
        self.0.as_bytes().get(VERSION_AT) == Some(&b'8')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_makes_a_keyed_id() {
        let keyed = |text: &str| RequestId::keyed(&Digest::of(&[text.as_bytes()]));
        assert_eq!(keyed("a"), keyed("a"));
        assert_ne!(keyed("a"), keyed("b"));
        assert!(keyed("a").is_keyed() && keyed("a").as_str().parse::<RequestId>().is_ok());
        assert!(!RequestId::new(1_700_000_000_000, [0x88; 10]).is_keyed());
    }

    #[test]
    fn ids_round_trip_and_refuse_other_kinds() {
        let id = RequestId::new(1_700_000_000_000, [7; 10]);
        assert_eq!(id.as_str().parse::<RequestId>().unwrap(), id);
        assert!(id.as_str().parse::<TokenId>().is_err());
        assert!("req_xyz".parse::<RequestId>().is_err());
    }

    #[test]
    fn later_ids_sort_later() {
        assert!(RequestId::new(1, [9; 10]) < RequestId::new(2, [0; 10]));
    }
}
