//! Execution tokens: the broker's signed order for one agent to run one request once.
//!
//! A JWS in compact serialisation (RFC 7515 §3.1) with `alg: EdDSA` (RFC 8037 §3.1) over Ed25519.
//! The protected header is fixed but for the key id, so it is compared, not interpreted: there is
//! no algorithm to choose, no `crit` to overlook and no key to be fetched from anywhere.

pub mod sign;
pub mod verify;

pub use sign::{SignedToken, Signer};
pub use verify::{Keep, Plan, TokenError, VerifiedToken, Verifier};

use serde::{Deserialize, Serialize};

use crate::core::approval::Purpose;
use crate::core::ids::{AgentId, RequestId, TokenId};
use crate::core::limits::Limits;
use crate::core::principal::Principal;
use crate::core::statement::Effect;
use crate::core::work::Digest;

/// The `typ` of an execution token.
pub const TOKEN_TYPE: &str = "secondkey-exec+jwt";
/// How long a token lives, in milliseconds.
pub const TOKEN_LIFE_MS: i64 = 60_000;

/// What a token says. Times are unix milliseconds; the registered names of RFC 7519 §4.1 that
/// hold seconds (`exp`, `nbf`) are not used, so that nobody reads one for the other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The token's own id.
    pub jti: TokenId,
    /// The request it runs; consumed once by the agent.
    pub request: RequestId,
    /// The id of the key that signed it.
    pub iss: String,
    /// The agent it is for.
    pub aud: AgentId,
    /// The target it is for.
    pub target: String,
    /// Who asked.
    pub sub: Principal,
    /// Whether the work waited for its approvals or goes ahead of its review.
    pub purpose: Purpose,
    /// The digest of the work it runs.
    pub work: Digest,
    /// The worst effect it may have.
    pub effect: Effect,
    /// The relations it may read: those the broker saw in the text. Views reach further by design.
    pub reads: Vec<String>,
    /// The relations it may write.
    pub writes: Vec<String>,
    /// The limits on the run.
    pub limits: Limits,
    /// Not valid before this, unix milliseconds.
    pub not_before_ms: i64,
    /// Not valid from this on, unix milliseconds.
    pub expires_ms: i64,
    /// The document that people approved, where they had to. Present even where there is none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub document: Option<Digest>,
    /// The signed verdicts on it that this stands on, one digest each.
    pub approvals: Vec<Digest>,
}
