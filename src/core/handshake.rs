//! How a relay and an agent prove to each other who they are, each time they connect.
//!
//! Both sign the same facts with their own Ed25519 keys (RFC 8032): both public keys, the agent's id, and a
//! fresh nonce of each side, behind words that say which side signs. What is signed here begins
//! like no execution token does, so that neither can be passed off as the other.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::core::ids::AgentId;
use crate::core::work::Digest;

/// What signed text begins with. A token's input is base64url, which has no blanks.
const WORDS: &str = "secondkey handshake 1";

/// 32 bytes, written as 64 hex digits: a public key, or a nonce.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex32([u8; 32]);

/// Text that is not 64 hex digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not 64 hex digits")]
pub struct MalformedHex;

impl Hex32 {
    /// These bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of a public key.
    pub fn of_key(key: &VerifyingKey) -> Self {
        Self(key.to_bytes())
    }

    /// The public key that these bytes are, if they are one.
    pub fn key(&self) -> Option<VerifyingKey> {
        VerifyingKey::from_bytes(&self.0).ok()
    }
}

impl TryFrom<String> for Hex32 {
    type Error = MalformedHex;

    fn try_from(text: String) -> Result<Self, MalformedHex> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| MalformedHex)?;
        Ok(Self(bytes))
    }
}

impl From<Hex32> for String {
    fn from(bytes: Hex32) -> Self {
        hex::encode(bytes.0)
    }
}

impl fmt::Display for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex32({self})")
    }
}

/// Which side signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The agent, with its own key.
    Agent,
    /// Somebody who has a join token, with the key that its secret is; see [`join_key`].
    Joiner,
    /// The relay, with the key that it signs tokens with.
    Relay,
}

/// The key that a join token's secret is: the secret never leaves whoever was given it, and the relay keeps
/// the public half alone. Its seed (RFC 8032 §5.1.5) is SHA-256("secondkey join" || secret).
pub fn join_key(secret: &str) -> SigningKey {
    let seed = Digest::of(&[b"secondkey join", secret.as_bytes()]);
    SigningKey::from_bytes(seed.as_bytes())
}

/// What both sides of one connection sign.
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    /// Who dials.
    pub agent: &'a AgentId,
    /// The agent's public key.
    pub agent_key: Hex32,
    /// The relay's public key.
    pub relay_key: Hex32,
    /// Made by the agent for this connection.
    pub agent_nonce: Hex32,
    /// Made by the relay for this connection.
    pub relay_nonce: Hex32,
}

impl Handshake<'_> {
    /// Signs as one of the sides.
    pub fn sign(&self, side: Side, key: &SigningKey) -> String {
        hex::encode(key.sign(self.words(side).as_bytes()).to_bytes())
    }

    /// Whether the agent or the relay has signed this; a joiner is known by [`Handshake::is_signed_by`].
    pub fn is_signed(&self, side: Side, signature: &str) -> bool {
        match side {
            Side::Agent => self.is_signed_by((side, self.agent_key), signature),
            Side::Relay => self.is_signed_by((side, self.relay_key), signature),
            Side::Joiner => false,
        }
    }

    /// Whether a side has signed this with the key that is known to be its own.
    pub fn is_signed_by(&self, (side, key): (Side, Hex32), signature: &str) -> bool {
        let mut bytes = [0; 64];
        let Some(key) = key.key() else { return false };
        hex::decode_to_slice(signature, &mut bytes).is_ok()
            && key
                .verify_strict(self.words(side).as_bytes(), &Signature::from_bytes(&bytes))
                .is_ok()
    }

    fn words(&self, side: Side) -> String {
        let side = match side {
            Side::Agent => "agent",
            Side::Joiner => "joiner",
            Side::Relay => "relay",
        };
        let Self {
            agent,
            agent_key,
            relay_key,
            agent_nonce,
            relay_nonce,
        } = self;
        format!("{WORDS} {side} {agent} {agent_key} {relay_key} {agent_nonce} {relay_nonce}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_one_side_of_one_connection() {
        let agent = AgentId::new(1, [7; 10]);
        let keys = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let this = Handshake {
            agent: &agent,
            agent_key: Hex32::of_key(&keys[0].verifying_key()),
            relay_key: Hex32::of_key(&keys[1].verifying_key()),
            agent_nonce: Hex32::new([3; 32]),
            relay_nonce: Hex32::new([4; 32]),
        };
        let signature = this.sign(Side::Agent, &keys[0]);
        assert!(this.is_signed(Side::Agent, &signature));
        assert!(!this.is_signed(Side::Relay, &signature));
        let by_relay = this.sign(Side::Relay, &keys[1]);
        assert!(this.is_signed(Side::Relay, &by_relay));
        assert!(!this.is_signed(Side::Relay, &by_relay.replace('a', "b").replace('0', "1")));
        let other = AgentId::new(1, [8; 10]);
        let changed = [
            Handshake {
                agent: &other,
                ..this
            },
            Handshake {
                agent_nonce: Hex32::new([5; 32]),
                ..this
            },
            Handshake {
                relay_nonce: Hex32::new([5; 32]),
                ..this
            },
            Handshake {
                relay_key: this.agent_key,
                ..this
            },
        ];
        for changed in changed {
            assert!(!changed.is_signed(Side::Agent, &signature), "{changed:?}");
        }
    }
}
