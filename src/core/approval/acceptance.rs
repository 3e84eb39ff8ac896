//! Acceptances: what somebody signs about a capability that is no longer what it was.
//!
//! An acceptance names the capability, the target, and the digests of what it was and of what it is, and is signed in
//! a namespace of its own, so that no approval is ever taken for one.

use serde::{Deserialize, Serialize};

use crate::core::approval::CAPABILITY;
use crate::core::approval::signature::SignatureError;
use crate::core::approval::sshsig::{SshSig, SshSigError};
use crate::core::approval::verdict::LONGEST_COMMENT;
use crate::core::approval::verify::{self, CLOCK_SKEW_MS, VerdictError};
use crate::core::checks::Checks;
use crate::core::exact::{ExactError, GREATEST, read_canonical};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::signer::Surface;
use crate::core::time::Timestamp;
use crate::core::trust::{self, TrustFile};
use crate::core::work::{Digest, canonical_json};

/// The longest acceptance, in bytes.
const LONGEST: usize = 16 * 1024;
/// The only version there is.
pub const VERSION: u32 = 1;

/// What an acceptance is for: nothing else is signed in its namespace.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AcceptancePurpose {
    /// To let a capability be called as it is now.
    AcceptCapability,
}

/// What somebody says of a capability. The signed message is exactly its canonical JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// [`VERSION`].
    pub version: u32,
    /// What it is for.
    pub purpose: AcceptancePurpose,
    /// The target that it is for.
    pub target: String,
    /// Its name.
    pub capability: String,
    /// The digest of what it was; none where it is new.
    pub from: Option<Digest>,
    /// The digest of what it is.
    pub to: Digest,
    /// What they have to say about it.
    pub comment: Option<String>,
    /// Who accepts.
    pub signer: Principal,
    /// Where they saw it.
    pub surface: Surface,
    /// When, unix milliseconds by their own clock.
    pub at_ms: i64,
}

/// An acceptance and its signature, as they travel and are kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAcceptance {
    /// The acceptance's canonical JSON.
    pub acceptance: String,
    /// An armored SSHSIG over exactly that text.
    pub signature: String,
}

/// Why a signed acceptance does not count. Each names the check that failed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum AcceptanceError {
    /// The text is not this JSON.
    #[error("the acceptance is malformed: {0}")]
    Exact(#[from] ExactError),
    /// It was signed for what the capability was or will be at another time.
    #[error("the acceptance is for another change than the one that waits")]
    Change,
    /// It is of another version, or its time or comment make no sense.
    #[error("the acceptance makes no sense here")]
    Form,
    /// Whatever is wrong with a verdict can be wrong with it.
    #[error("the acceptance does not count: {0}")]
    Verdict(VerdictError),
}

impl From<VerdictError> for AcceptanceError {
    fn from(error: VerdictError) -> Self {
        Self::Verdict(error)
    }
}

impl From<SignatureError> for AcceptanceError {
    fn from(error: SignatureError) -> Self {
        Self::Verdict(error.into())
    }
}

impl From<SshSigError> for AcceptanceError {
    fn from(error: SshSigError) -> Self {
        Self::Verdict(error.into())
    }
}

impl From<AcceptanceError> for Refusal {
    fn from(error: AcceptanceError) -> Self {
        let hint = match &error {
            AcceptanceError::Verdict(error) => error.hint(),
            AcceptanceError::Change | AcceptanceError::Exact(_) | AcceptanceError::Form => {
                "look at what has changed again, and sign what is shown now"
            }
        };
        Self::new(Code::ApprovalRefused, error.to_string()).hint(hint)
    }
}

impl Acceptance {
    /// The text that is signed.
    pub fn to_text(&self) -> String {
        // JSON is UTF-8.
        String::from_utf8(canonical_json(self)).unwrap_or_default()
    }

    /// Reads one from exactly its canonical text.
    pub fn parse(text: &str) -> Result<Self, AcceptanceError> {
        let read: Self = read_canonical(text.as_bytes(), LONGEST)?;
        let words = read.comment.as_deref().map_or(0, |it| it.chars().count());
        let makes_sense = read.version == VERSION
            && (0..=GREATEST).contains(&read.at_ms)
            && words <= LONGEST_COMMENT;
        makes_sense.then_some(read).ok_or(AcceptanceError::Form)
    }
}

/// A change of a capability that waits to be accepted.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The target.
    pub target: &'a str,
    /// The capability's name.
    pub capability: &'a str,
    /// The digest of what it was.
    pub from: Option<Digest>,
    /// The digest of what it is.
    pub to: Digest,
    /// When it was first seen to be that.
    pub since: Timestamp,
}

/// Checks a signed acceptance of a change by the trust file and the time now: by a person who may approve. Outside
/// of tests there are no other `checks` than all of them.
pub fn verify_acceptance(
    checks: &Checks<AcceptanceError>,
    signed: &SignedAcceptance,
    change: &Change<'_>,
    (trust, now): (&TrustFile, Timestamp),
) -> Result<Acceptance, AcceptanceError> {
    let acceptance = Acceptance::parse(&signed.acceptance)?;
    let sig = SshSig::parse(&signed.signature)?;
    let said = (&acceptance.signer, trust::Purpose::Approve);
    let message = (CAPABILITY, signed.acceptance.as_bytes());
    verify::who_signed(checks, &sig, said, message, (trust, now))?;
    let this = acceptance.target == change.target
        && acceptance.capability == change.capability
        && acceptance.from == change.from
        && acceptance.to == change.to;
    checks.demand(this, AcceptanceError::Change)?;
    // By the same clock, because it is signed on the agent's machine: one that was signed for the same change before
    // counts no more once there was another in between.
    let seen = acceptance.at_ms >= change.since.unix_ms();
    checks.demand(seen, VerdictError::BeforeDocument)?;
    let latest = now.unix_ms().saturating_add(CLOCK_SKEW_MS);
    checks.demand(acceptance.at_ms <= latest, VerdictError::Future)?;
    let place = verify::is_given_at(acceptance.surface, &sig, trust);
    checks.demand(place, VerdictError::Surface)?;
    Ok(acceptance)
}
