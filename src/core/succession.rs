//! How a key follows another: the older one signs the newer, so that whoever pinned the one can go on to the other.
//!
//! What is signed (Ed25519, RFC 8032) begins like neither an execution token nor a handshake does.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::core::handshake::Hex32;

/// What signed text begins with.
const WORDS: &str = "secondkey succession 1";
/// The most steps that are said, or followed, at once; whoever has missed more has to pin the key anew.
pub const MOST_STEPS: usize = 50;

/// One step: a key says which one follows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Succession {
    /// The older key.
    pub from: Hex32,
    /// The newer one.
    pub to: Hex32,
    /// By the older key.
    pub signature: String,
}

impl Succession {
    /// The step from a key, whose private half this is, to another.
    pub fn sign(from: &SigningKey, to: &VerifyingKey) -> Self {
        let (old, to) = (Hex32::of_key(&from.verifying_key()), Hex32::of_key(to));
        let signature = from.sign(words(old, to).as_bytes()).to_bytes();
        Self {
            from: old,
            to,
            signature: hex::encode(signature),
        }
    }

    /// Whether the older key has signed this.
    fn holds(&self) -> bool {
        let mut bytes = [0; 64];
        let Some(key) = self.from.key() else {
            return false;
        };
        let signed = words(self.from, self.to);
        hex::decode_to_slice(&self.signature, &mut bytes).is_ok()
            && key
                .verify_strict(signed.as_bytes(), &Signature::from_bytes(&bytes))
                .is_ok()
    }
}

/// The last key that a chain of steps leads to from `pinned`, each signed by the one before; nothing where no
/// step leads on.
pub fn heir(chain: &[Succession], pinned: Hex32) -> Option<Hex32> {
    let step = |key: Hex32| chain.iter().find(|step| step.from == key && step.holds());
    let mut found = None;
    let mut key = pinned;
    // A circle ends as well.
    for _ in 0..chain.len().min(MOST_STEPS) {
        let Some(next) = step(key) else { break };
        key = next.to;
        found = Some(key);
    }
    found
}

fn words(from: Hex32, to: Hex32) -> String {
    format!("{WORDS} {from} {to}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_leads_only_where_each_key_has_signed_the_next() {
        let keys = [1, 2, 3, 4].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let public = |at: usize| Hex32::of_key(&keys[at].verifying_key());
        let step =
            |from: usize, to: usize| Succession::sign(&keys[from], &keys[to].verifying_key());
        let chain = [step(1, 2), step(0, 1)];
        assert_eq!(heir(&chain, public(0)), Some(public(2)));
        assert_eq!(heir(&chain, public(1)), Some(public(2)));
        assert_eq!(heir(&chain, public(2)), None);
        assert_eq!(heir(&chain, public(3)), None);
        // Signed by a key that is not the one it speaks for, or changed afterwards.
        let forged = Succession {
            from: public(0),
            ..step(3, 3)
        };
        assert_eq!(heir(&[forged], public(0)), None);
        let changed = Succession {
            to: public(3),
            ..step(0, 1)
        };
        assert_eq!(heir(&[changed], public(0)), None);
        let circle = [step(0, 1), step(1, 0)];
        assert!(heir(&circle, public(0)).is_some());
    }
}
