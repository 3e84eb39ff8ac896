//! Access tokens of an identity provider: signed by a key of its own, for this relay, now.
//!
//! JWS compact (RFC 7515) with three algorithms (RFC 7518 RS256 and ES256, RFC 8037 EdDSA), claims of RFC 7519 and RFC
//! 9068. What a header asks for is not done: no key is fetched from where it says, and what it calls critical is
//! not understood here.

mod jwk;
mod strict;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::core::principal::{Principal, PrincipalKind};
use crate::core::time::Timestamp;
pub use jwk::{Algorithm, KeySet};
use strict::Fields;

/// The longest token, in bytes.
pub const LONGEST: usize = 16 * 1024;
/// How far in the future a token may begin, in seconds: the clocks of two machines.
const LEEWAY: f64 = 30.0;

/// Whose tokens count, and what their claims mean.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// `iss`, exactly.
    pub issuer: String,
    /// What `aud` has to name.
    pub audience: String,
    /// The relay's address for MCP, as clients write it.
    pub resource: String,
    /// The claim that names who acts.
    pub name_claim: String,
    /// The claim that says whether that is a `human`, a `service` or an `ai`. Where it is not set or not there it
    /// is an `ai`.
    pub kind_claim: Option<String>,
    /// The claim whose values give roles.
    pub roles_claim: String,
    /// The role of each value. Other values give none.
    pub roles: BTreeMap<String, String>,
}

/// Whoever a token speaks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bearer {
    /// Who acts.
    pub principal: Principal,
    /// Their roles.
    pub roles: BTreeSet<String>,
    /// From when on it counts no more.
    pub expires: Timestamp,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Rejected {
    /// It is no token.
    #[error("it is no token of three parts")]
    Malformed,
    /// An algorithm that is not one of the three, or not the key's.
    #[error("it is signed by another algorithm than its key's")]
    Algorithm,
    /// It is of another kind.
    #[error("it is another kind of token")]
    Kind,
    /// It says that it is not to be believed by whoever does not understand something.
    #[error("its header calls something critical that is not known here")]
    Critical,
    /// No key of this name.
    #[error("its key is not one of the issuer's")]
    UnknownKey,
    /// The signature is not over these bytes by this key.
    #[error("its signature does not match")]
    Signature,
    /// Somebody else's.
    #[error("it is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("it is for somebody else")]
    Audience,
    /// Too late.
    #[error("it has expired")]
    Expired,
    /// Too early.
    #[error("it does not count yet")]
    Early,
    /// It names nobody.
    #[error("its claims name nobody that can act here")]
    Nobody,
}

/// The head of a token, of which nothing is proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// The key that it says it is signed by.
    pub key: String,
    algorithm: Algorithm,
}

impl Head {
    /// Reads it, or says why it can be the head of nothing.
    pub fn read(token: &str) -> Result<Self, Rejected> {
        let [head, _, _] = parts(token)?;
        let head = fields(head)?;
        if head.get("crit").is_some() {
            return Err(Rejected::Critical);
        }
        let text = |name| head.get(name).and_then(Value::as_str);
        let kind = text("typ").map(str::to_ascii_lowercase);
        let kinds = [
            None,
            Some("jwt"),
            Some("at+jwt"),
            Some("application/at+jwt"),
        ];
        if !kinds.contains(&kind.as_deref()) || (head.get("typ").is_some() && kind.is_none()) {
            return Err(Rejected::Kind);
        }
        Ok(Self {
            algorithm: text("alg")
                .and_then(Algorithm::named)
                .ok_or(Rejected::Algorithm)?,
            key: text("kid").ok_or(Rejected::UnknownKey)?.to_owned(),
        })
    }
}

/// Who a token speaks for, if it counts now.
pub fn verify(
    token: &str,
    keys: &KeySet,
    settings: &Settings,
    now: Timestamp,
) -> Result<Bearer, Rejected> {
    let head = Head::read(token)?;
    let [_, claims, signature] = parts(token)?;
    let signed = token.len() - signature.len() - 1;
    let signed = token.get(..signed).ok_or(Rejected::Malformed)?;
    let key = keys.get(&head.key).ok_or(Rejected::UnknownKey)?;
    if key.algorithm() != head.algorithm {
        return Err(Rejected::Algorithm);
    }
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature);
    let signature = signature.map_err(|_| Rejected::Malformed)?;
    if !key.has_signed(signed.as_bytes(), &signature) {
        return Err(Rejected::Signature);
    }
    // Nothing of the claims is read before somebody is known to have said them.
    claimed(&fields(claims)?, settings, now)
}

/// Whether a token says that it is of this issuer and for this audience: which settings to hold it against. Nothing of it
/// is proven.
pub fn is_addressed(token: &str, settings: &Settings) -> bool {
    let claims = parts(token).and_then(|[_, claims, _]| fields(claims));
    claims.is_ok_and(|claims| names(&claims, settings) == [true, true])
}

/// Whether claims name the issuer, and the audience.
fn names(claims: &Fields, settings: &Settings) -> [bool; 2] {
    let issuer = claims.get("iss").and_then(Value::as_str);
    let audience = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(|one| *one == *settings.audience),
        Some(one) => *one == *settings.audience,
        None => false,
    };
    [issuer == Some(&settings.issuer), audience]
}

fn claimed(claims: &Fields, settings: &Settings, now: Timestamp) -> Result<Bearer, Rejected> {
    let [issuer, audience] = names(claims, settings);
    if !issuer {
        return Err(Rejected::Issuer);
    }
    if !audience {
        return Err(Rejected::Audience);
    }
    let expires = claims.get("exp").and_then(Value::as_f64);
    let expires = expires.filter(|seconds| (0.0..1e11).contains(seconds));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be far below 2^53"
    )]
    let expires = expires.map(|seconds| Timestamp::from_unix_ms((seconds * 1_000.0) as i64));
    let expires = expires.filter(|expires| *expires > now);
    let expires = expires.ok_or(Rejected::Expired)?;
    #[expect(clippy::cast_precision_loss, reason = "seconds stay far below 2^52")]
    let seconds = now.unix_seconds() as f64;
    let begins = claims.get("nbf").map(Value::as_f64);
    if begins.is_some_and(|at| at.is_none_or(|at| at > seconds + LEEWAY)) {
        return Err(Rejected::Early);
    }
    Ok(Bearer {
        principal: principal(claims, settings).ok_or(Rejected::Nobody)?,
        roles: roles(claims, settings),
        expires,
    })
}

/// Who acts. A claim of a kind that is not known makes nobody of them, and no claim an `ai`, which may least.
fn principal(claims: &Fields, settings: &Settings) -> Option<Principal> {
    let name = claims.get(&settings.name_claim)?.as_str()?;
    let kind = settings.kind_claim.as_ref();
    let kind = match kind.and_then(|claim| claims.get(claim)) {
        None => PrincipalKind::Ai,
        Some(kind) => match kind.as_str()? {
            "human" => PrincipalKind::Human,
            "service" => PrincipalKind::Service,
            "ai" => PrincipalKind::Ai,
            _ => return None,
        },
    };
    let principal = Principal::new(kind, name);
    // What a name is cut or tidied to may be another's.
    let whole = principal.name() == name && !name.is_empty() && !name.contains('/');
    whole.then_some(principal)
}

fn roles(claims: &Fields, settings: &Settings) -> BTreeSet<String> {
    let values: Vec<&str> = match claims.get(&settings.roles_claim) {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        // A list in one text, as `scope` has it (RFC 8693, section 4.2).
        Some(Value::String(text)) => text.split(' ').collect(),
        _ => Vec::new(),
    };
    let roles = values.iter().filter_map(|value| settings.roles.get(*value));
    roles.cloned().collect()
}

fn parts(token: &str) -> Result<[&str; 3], Rejected> {
    if token.len() > LONGEST {
        return Err(Rejected::Malformed);
    }
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(head), Some(claims), Some(signature), None) => Ok([head, claims, signature]),
        _ => Err(Rejected::Malformed),
    }
}

fn fields(part: &str) -> Result<Fields, Rejected> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(part);
    let text = text.map_err(|_| Rejected::Malformed)?;
    serde_json::from_slice(&text).map_err(|_| Rejected::Malformed)
}
