//! The agent's side of a token: bytes and work go in, and permission to run comes out or nothing.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::core::checks::Checks;
use crate::core::ids::AgentId;
use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Timestamp;
use crate::core::token::Claims;
use crate::core::token::sign::{key_id, protected_header};
use crate::core::work::Work;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 256 * 1024;

/// Why a token was refused.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum TokenError {
    /// Another agent's token.
    #[error("the token is for another agent")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Signed by a key that this agent does not know.
    #[error("the token is signed by an unknown key")]
    Issuer,
    /// Not a token of ours at all.
    #[error("the token is malformed")]
    Malformed,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// The signature does not match.
    #[error("the token's signature does not match")]
    Signature,
    /// It names other work than the work that came with it.
    #[error("the token was signed for other work")]
    Work,
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::new(Code::TokenRefused, error.to_string())
    }
}

/// Checks tokens for one agent.
#[derive(Debug)]
pub struct Verifier {
    audience: AgentId,
    /// By the protected header that the key's tokens have.
    keys: BTreeMap<String, (String, VerifyingKey)>,
}

/// Permission to run: a token whose signature, audience, time and work were checked. Only
/// [`Verifier::verify`] makes one, and an executor runs nothing without one.
#[derive(Debug)]
pub struct VerifiedToken {
    claims: Claims,
    work: Work,
}

impl VerifiedToken {
    /// What the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The work that it allows.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The same permission with limits that are at most these.
    #[must_use]
    pub fn narrowed(mut self, limits: Limits) -> Self {
        self.claims.limits = self.claims.limits.intersect(limits);
        self
    }
}

impl Verifier {
    /// Accepts tokens for `audience` that one of `keys` signed.
    pub fn new(audience: AgentId, keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let by_header = |key: VerifyingKey| {
            let id = key_id(&key);
            (protected_header(&id), (id, key))
        };
        Self {
            audience,
            keys: keys.into_iter().map(by_header).collect(),
        }
    }

    /// Checks a token against the work it came with and the time now.
    pub fn verify(
        &self,
        token: &[u8],
        work: Work,
        now: Timestamp,
    ) -> Result<VerifiedToken, TokenError> {
        self.verify_with(&Checks::all(), token, work, now)
    }

    /// [`Verifier::verify`] with these checks; outside of tests there is no other value than all of
    /// them. That the token is readable and by whom it is signed can never be left out.
    pub fn verify_with(
        &self,
        checks: &Checks<TokenError>,
        token: &[u8],
        work: Work,
        now: Timestamp,
    ) -> Result<VerifiedToken, TokenError> {
        let claims = self.signed_claims(token)?;
        checks.demand(claims.aud == self.audience, TokenError::Audience)?;
        let begun = now.unix_ms() >= claims.not_before_ms;
        checks.demand(begun, TokenError::NotYet)?;
        checks.demand(now.unix_ms() < claims.expires_ms, TokenError::Expired)?;
        checks.demand(claims.work == work.digest(), TokenError::Work)?;
        Ok(VerifiedToken { claims, work })
    }

    fn signed_claims(&self, token: &[u8]) -> Result<Claims, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let text = std::str::from_utf8(token).map_err(|_| TokenError::Malformed)?;
        let (input, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = input.split_once('.').ok_or(TokenError::Malformed)?;
        let (id, key) = self.keys.get(header).ok_or(TokenError::Issuer)?;
        let signature =
            Signature::from_slice(&decode(signature)?).map_err(|_| TokenError::Malformed)?;
        key.verify_strict(input.as_bytes(), &signature)
            .map_err(|_| TokenError::Signature)?;
        let claims: Claims =
            serde_json::from_slice(&decode(payload)?).map_err(|_| TokenError::Malformed)?;
        if claims.iss == *id {
            Ok(claims)
        } else {
            Err(TokenError::Issuer)
        }
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    BASE64URL.decode(part).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
