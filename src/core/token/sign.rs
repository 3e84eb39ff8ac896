//! The broker's side of a token: a grant goes in, signed bytes come out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde_json::json;

use crate::core::handshake::{Handshake, Hex32, Side};
use crate::core::ids::TokenId;
use crate::core::policy::Grant;
use crate::core::time::Timestamp;
use crate::core::token::{Claims, TOKEN_LIFE_MS, TOKEN_TYPE};
use crate::core::work::{Digest, canonical_json};

/// Signs tokens with one key.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    key_id: String,
    header: String,
}

/// A signed token, on its way to an agent. Only a [`Signer`] makes one, and only from a grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedToken {
    text: String,
    claims: Claims,
}

impl SignedToken {
    /// The compact serialisation.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl Signer {
    /// Signs with `key`.
    pub fn new(key: SigningKey) -> Self {
        let key_id = key_id(&key.verifying_key());
        let header = protected_header(&key_id);
        Self {
            key,
            key_id,
            header,
        }
    }

    /// The public half of the key.
    pub fn public(&self) -> Hex32 {
        Hex32::of_key(&self.key.verifying_key())
    }

    /// Proves to an agent that dials in who answers.
    pub fn prove(&self, handshake: &Handshake<'_>) -> String {
        handshake.sign(Side::Relay, &self.key)
    }

    /// The id that tokens carry for this key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Turns a grant into a token that is valid from `now` for [`TOKEN_LIFE_MS`].
    pub fn sign(&self, grant: Grant, id: TokenId, now: Timestamp) -> SignedToken {
        let claims = Claims {
            jti: id,
            request: grant.request,
            iss: self.key_id.clone(),
            aud: grant.agent,
            target: grant.target,
            sub: grant.principal,
            purpose: grant.purpose,
            work: grant.work,
            effect: grant.effect,
            reads: grant.reads,
            writes: grant.writes,
            limits: grant.limits,
            not_before_ms: now.unix_ms(),
            expires_ms: now.plus_ms(TOKEN_LIFE_MS).unix_ms(),
            document: grant.document,
            approvals: grant.approvals,
        };
        SignedToken {
            text: self.sign_claims(&claims),
            claims,
        }
    }

    pub(crate) fn sign_claims(&self, claims: &Claims) -> String {
        let input = format!(
            "{}.{}",
            self.header,
            BASE64URL.encode(serde_json::to_vec(claims).unwrap_or_default())
        );
        let signature = BASE64URL.encode(self.key.sign(input.as_bytes()).to_bytes());
        format!("{input}.{signature}")
    }
}

/// The id of a key: the first 16 hex digits of the SHA-256 of its 32 bytes.
pub fn key_id(key: &VerifyingKey) -> String {
    Digest::of(&[key.as_bytes()])
        .to_string()
        .chars()
        .take(16)
        .collect()
}

/// The one header that tokens signed by this key have, base64url.
pub(super) fn protected_header(key_id: &str) -> String {
    BASE64URL.encode(canonical_json(
        &json!({ "alg": "EdDSA", "kid": key_id, "typ": TOKEN_TYPE }),
    ))
}
