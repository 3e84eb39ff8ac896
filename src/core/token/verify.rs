//! The agent's side of a token: bytes and work go in, and permission to run comes out or nothing.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::core::checks::Checks;
use crate::core::ids::AgentId;
use crate::core::ledger::Note;
use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;
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
/// [`Verifier::verify`] makes one that lets anything stay, and an executor runs nothing without one.
#[derive(Debug)]
pub struct VerifiedToken {
    claims: Claims,
    work: Work,
    plan: Option<Plan>,
    note: Option<Note>,
}

/// What a capability is run as: the agent's own statement and values, and what has to hold before a change
/// is kept.
#[derive(Debug)]
pub struct Plan {
    /// The statement and its values.
    pub work: Work,
    /// What has to hold.
    pub keep: Keep,
}

/// What has to hold before a change is kept.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keep {
    /// No more rows are changed than these.
    pub most_affected: Option<u64>,
    /// The answer has these columns.
    pub columns: Vec<String>,
    /// What is noted of the change, in its own transaction.
    pub note: Option<Note>,
    /// Nothing is kept in any case: whoever runs it rolls back where it would commit.
    pub nothing: bool,
}

impl Keep {
    /// Refuses what must not be kept. Whoever asks rolls back then.
    pub fn check<'c>(
        &self,
        affected: Option<u64>,
        columns: impl IntoIterator<Item = &'c str>,
    ) -> Result<(), Refusal> {
        if let (Some(most), Some(changed)) = (self.most_affected, affected)
            && changed > most
        {
            let message = format!("this would change {changed} rows and no more than {most} may");
            return Err(Refusal::new(Code::LimitReached, message)
                .hint("nothing was changed; narrow the call down"));
        }
        let there: Vec<&str> = columns.into_iter().collect();
        match self
            .columns
            .iter()
            .find(|name| !there.contains(&name.as_str()))
        {
            None => Ok(()),
            Some(name) => Err(Refusal::new(
                Code::ContractBroken,
                format!("the answer has no column `{name}`, so nothing was changed"),
            )),
        }
    }
}

impl VerifiedToken {
    /// Permission to try a change of a capability out and to keep nothing of it. No one has to have ordered
    /// that. It does nothing that cannot be rolled back: at most rows change.
    pub fn rehearsal(mut claims: Claims, work: Work, mut plan: Plan) -> Self {
        claims.effect = claims.effect.min(Effect::Write);
        plan.keep.nothing = true;
        Self {
            claims,
            work,
            plan: Some(plan),
            note: None,
        }
    }

    /// What the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The work that it allows.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// What is sent to the database: the work itself, or what the agent has planned for a capability.
    pub fn run(&self) -> &Work {
        self.plan.as_ref().map_or(&self.work, |plan| &plan.work)
    }

    /// What has to hold before a change is kept.
    pub fn keep(&self) -> Keep {
        let keep = self.plan.as_ref().map(|plan| plan.keep.clone());
        Keep {
            note: self.note.clone(),
            ..keep.unwrap_or_default()
        }
    }

    /// The same permission for a change that is noted.
    #[must_use]
    pub fn noted(mut self, note: Option<Note>) -> Self {
        self.note = note;
        self
    }

    /// The same permission, with what the agent runs a capability as. Other work is its own plan and stays so.
    #[must_use]
    pub fn planned(mut self, plan: Option<Plan>) -> Self {
        if matches!(self.work, Work::Capability { .. }) && !self.keep().nothing {
            self.plan = plan;
        }
        self
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
        Ok(VerifiedToken {
            claims,
            work,
            plan: None,
            note: None,
        })
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
