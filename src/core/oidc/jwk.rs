//! The issuer's public keys (RFC 7517, RFC 8037), each for one algorithm.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

/// The most keys that are kept of one issuer.
const MOST: usize = 64;

/// The algorithms that there are here. None of them takes a secret that both sides know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, of 2048 bits and more.
    Rs256,
}

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "EdDSA" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

/// One public key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    algorithm: Algorithm,
    /// What it is made of: a point, or modulus and exponent.
    parts: [Vec<u8>; 2],
}

impl Key {
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let [first, second] = &self.parts;
        let verified = match self.algorithm {
            Algorithm::EdDsa => UnparsedPublicKey::new(&ED25519, first).verify(message, signature),
            Algorithm::Es256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, first).verify(message, signature)
            }
            Algorithm::Rs256 => RsaPublicKeyComponents {
                n: first,
                e: second,
            }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
        };
        verified.is_ok()
    }
}

/// The keys of an issuer, by their names.
#[derive(Clone, Debug, Default)]
pub struct KeySet(BTreeMap<String, Key>);

/// A key as it is written. Private parts have no business here and are not read.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Deserialize)]
struct WrittenSet {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. Keys of other kinds, for other uses or without a name are left out, as RFC 7517, section 5,
    /// asks; nothing where it is no set.
    pub fn read(text: &[u8]) -> Option<Self> {
        let written: WrittenSet = serde_json::from_slice(text).ok()?;
        let keys = written.keys.into_iter().take(MOST);
        let keys = keys.filter_map(|key| read(serde_json::from_value(key).ok()?));
        Some(Self(keys.collect()))
    }

    /// The key of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Key> {
        self.0.get(name)
    }

    /// Whether there is a key of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn read(written: Written) -> Option<(String, Key)> {
    if written.usage.is_some_and(|usage| usage != "sig") {
        return None;
    }
    let bytes = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?).ok();
    let (algorithm, parts) = match (written.kty.as_str(), written.crv.as_deref()) {
        ("RSA", None) => (Algorithm::Rs256, [bytes(written.n)?, bytes(written.e)?]),
        ("EC", Some("P-256")) => {
            // Uncompressed (SEC 1, section 2.3.3).
            let point = [vec![4], bytes(written.x)?, bytes(written.y)?].concat();
            (Algorithm::Es256, [point, Vec::new()])
        }
        ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, [bytes(written.x)?, Vec::new()]),
        _ => return None,
    };
    let other = |name: &str| Algorithm::named(name) != Some(algorithm);
    if written.alg.as_deref().is_some_and(other) {
        return None;
    }
    Some((written.kid?, Key { algorithm, parts }))
}
