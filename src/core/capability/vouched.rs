//! What an agent says of a capability in public, under its own signature, so that whoever passes it on cannot
//! put other words beside the name.
//!
//! Signed with Ed25519 (RFC 8032) is the text itself, behind words that nothing else which an agent signs begins
//! with: a handshake's begin otherwise, and so does the input of a token.

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use crate::core::capability::contract::Contract;
use crate::core::handshake::Hex32;
use crate::core::ids::AgentId;
use crate::core::work::Digest;

/// What signed text begins with.
const WORDS: &str = "secondkey capability contract 1\n";

/// An agent's public words about a capability, as they travel and are kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Vouched {
    /// JSON of [`Said`].
    pub text: String,
    /// The agent's public key.
    pub key: Hex32,
    /// Over the text, in hex.
    pub signature: String,
}

/// What is signed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Who says it.
    pub agent: AgentId,
    /// The target that it is about.
    pub target: String,
    /// The digest of the bundle that the capability is part of.
    pub bundle: Digest,
    /// The version that the bundle's owner gave it.
    pub version: String,
    /// What everybody may know of the capability.
    pub contract: Contract,
}

/// Why an agent's words are not taken.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum NotVouched {
    /// Another text, or another key.
    #[error("the agent's signature over the capability's contract does not count")]
    Signature,
    /// The text is not this JSON.
    #[error("the capability's contract is malformed")]
    Text,
}

impl Said {
    /// The same under the agent's signature.
    pub fn vouch(&self, key: &SigningKey) -> Vouched {
        // Writing plain data has no way to fail.
        let text = serde_json::to_string(self).unwrap_or_default();
        let signature = key.sign(format!("{WORDS}{text}").as_bytes());
        Vouched {
            text,
            key: Hex32::of_key(&key.verifying_key()),
            signature: hex::encode(signature.to_bytes()),
        }
    }
}

impl Vouched {
    /// What was signed, if the signature is that of the key beside it. Whose key it is, is for the reader to know.
    pub fn said(&self) -> Result<Said, NotVouched> {
        if !self.is_signed() {
            return Err(NotVouched::Signature);
        }
        serde_json::from_str(&self.text).map_err(|_| NotVouched::Text)
    }

    fn is_signed(&self) -> bool {
        let mut bytes = [0; 64];
        let Some(key) = self.key.key() else {
            return false;
        };
        hex::decode_to_slice(&self.signature, &mut bytes).is_ok()
            && key
                .verify_strict(
                    format!("{WORDS}{}", self.text).as_bytes(),
                    &Signature::from_bytes(&bytes),
                )
                .is_ok()
    }
}

/// An agent that speaks for the capabilities of one target.
#[derive(Debug)]
pub struct Voucher {
    /// The agent.
    pub agent: AgentId,
    /// The target.
    pub target: String,
    /// The agent's key.
    pub key: SigningKey,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn vouched() -> Vouched {
        let said: Value = json!({
            "agent": AgentId::new(1, [1; 10]), "target": "shop", "bundle": Digest::of(&[b"file"]), "version": "1",
            "contract": {
                "name": "find", "description": "Finds", "effect": "read", "params": [], "columns": null,
                "counts": false, "approval": false, "visible": true, "reviewed": null, "digest": Digest::of(&[b"it"]),
                "hints": {"read_only": null, "destructive": null, "idempotent": null, "open_world": null},
            },
        });
        let said: Said = serde_json::from_value(said).unwrap();
        said.vouch(&SigningKey::from_bytes(&[1; 32]))
    }

    #[test]
    fn nothing_of_what_an_agent_signed_can_be_changed() {
        let good = vouched();
        assert_eq!(good.said().unwrap().contract.name.as_str(), "find");
        let other = Hex32::of_key(&SigningKey::from_bytes(&[2; 32]).verifying_key());
        let changed = [
            Vouched {
                text: good.text.replace("Finds", "Found"),
                ..good.clone()
            },
            Vouched {
                text: format!("{} ", good.text),
                ..good.clone()
            },
            Vouched {
                key: other,
                ..good.clone()
            },
            Vouched {
                signature: good.signature.replace('a', "b").replace('0', "1"),
                ..good.clone()
            },
            Vouched {
                signature: String::new(),
                ..good.clone()
            },
        ];
        for changed in changed {
            assert_eq!(changed.said(), Err(NotVouched::Signature), "{changed:?}");
        }
        let key = SigningKey::from_bytes(&[1; 32]);
        let signature = key.sign(format!("{WORDS}{{}}").as_bytes());
        let empty = Vouched {
            text: "{}".to_owned(),
            signature: hex::encode(signature.to_bytes()),
            ..good
        };
        assert_eq!(empty.said(), Err(NotVouched::Text));
    }
}
