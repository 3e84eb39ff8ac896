//! From one version of the trust file to the next.

use std::collections::BTreeSet;

use crate::core::approval::TRUST;
use crate::core::approval::signature::{SignatureError, check_signature};
use crate::core::approval::sshsig::{SshSig, SshSigError};
use crate::core::checks::Checks;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Timestamp;
use crate::core::trust::{Fault, Purpose, SignedTrust, Signer, SignerKey, TrustFile};

/// The most signatures that are looked at.
const MOST_SIGNATURES: usize = 100;

/// Why a trust file was refused. Each names the check that failed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum TrustError {
    /// The file is wrong in itself.
    #[error("the trust file is wrong: {}", list(.0))]
    Faults(Vec<Fault>),
    /// Not the first of its line.
    #[error("the first trust file is version 1")]
    NotFirst,
    /// It follows another version than the one that is pinned.
    #[error("the trust file follows another version than the one that is pinned here")]
    Previous,
    /// Not enough admins signed it.
    #[error("the trust file needs the signatures of {wanted} trust admins; it has {there}")]
    Quorum {
        /// How many the version before asks for.
        wanted: u32,
        /// How many count.
        there: u32,
    },
    /// A signature on it does not count.
    #[error("a signature on the trust file does not count: {0}")]
    Signature(#[from] SignatureError),
    /// The key of a signature is no trust admin's.
    #[error("a signature on the trust file is not by a trust admin of the version before")]
    Stranger,
    /// More signatures than anybody needs.
    #[error("the trust file has more than {MOST_SIGNATURES} signatures")]
    TooMany,
    /// A signature on it is none.
    #[error("a signature on the trust file cannot be read: {0}")]
    Unreadable(#[from] SshSigError),
    /// Not the version after the one that is pinned.
    #[error("the trust file is version {0}, which is not the one after the pinned")]
    Version(u64),
}

impl From<TrustError> for Refusal {
    fn from(error: TrustError) -> Self {
        Self::new(Code::TrustRefused, error.to_string()).hint(
            "have the trust admins of the pinned version sign the next one; see `secondkey trust`",
        )
    }
}

fn list(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

/// Accepts version 1: sound, and signed by its own admins, so that each of them proves to hold a key.
pub fn first(candidate: &SignedTrust, now: Timestamp) -> Result<TrustFile, TrustError> {
    first_with(&Checks::all(), candidate, now)
}

/// [`first`] with these checks; outside of tests there is no other value than all of them.
pub fn first_with(
    checks: &Checks<TrustError>,
    candidate: &SignedTrust,
    now: Timestamp,
) -> Result<TrustFile, TrustError> {
    let trust = &candidate.trust;
    if trust.version != 1 {
        return Err(TrustError::NotFirst);
    }
    check_faults(trust)?;
    check_signatures(checks, trust, candidate, now)?;
    Ok(trust.clone())
}

/// Accepts the version after `current`: sound, and signed by as many distinct trust admins of
/// `current` as it asks for.
pub fn next(
    current: &TrustFile,
    candidate: &SignedTrust,
    now: Timestamp,
) -> Result<TrustFile, TrustError> {
    next_with(&Checks::all(), current, candidate, now)
}

/// [`next`] with these checks; outside of tests there is no other value than all of them.
pub fn next_with(
    checks: &Checks<TrustError>,
    current: &TrustFile,
    candidate: &SignedTrust,
    now: Timestamp,
) -> Result<TrustFile, TrustError> {
    let trust = &candidate.trust;
    let follows = current.version.checked_add(1) == Some(trust.version);
    checks.demand(follows, TrustError::Version(trust.version))?;
    let previous = trust.previous == Some(current.digest());
    checks.demand(previous, TrustError::Previous)?;
    check_faults(trust)?;
    check_signatures(checks, current, candidate, now)?;
    Ok(trust.clone())
}

fn check_faults(trust: &TrustFile) -> Result<(), TrustError> {
    let faults = trust.faults();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(TrustError::Faults(faults))
    }
}

/// Counts the distinct admins of `by` who signed; every signature has to count.
fn check_signatures(
    checks: &Checks<TrustError>,
    by: &TrustFile,
    candidate: &SignedTrust,
    now: Timestamp,
) -> Result<(), TrustError> {
    if candidate.signatures.len() > MOST_SIGNATURES {
        return Err(TrustError::TooMany);
    }
    let message = candidate.trust.canonical();
    let mut admins = BTreeSet::new();
    for armored in &candidate.signatures {
        let sig = SshSig::parse(armored)?;
        let (signer, key) = admin_of(checks, by, (&candidate.trust, &sig))?;
        let admin = signer.may(Purpose::Trust, now);
        checks.demand(admin, TrustError::Stranger)?;
        check_signature(checks, &sig, key, TRUST, &message)?;
        admins.insert(&signer.name);
    }
    let there = u32::try_from(admins.len()).unwrap_or(u32::MAX);
    let wanted = by.admin_quorum;
    let enough = there >= wanted && there > 0;
    checks.demand(enough, TrustError::Quorum { wanted, there })
}

/// Whose key it is. Without this check, those count too whom only the candidate itself holds.
fn admin_of<'t>(
    checks: &Checks<TrustError>,
    by: &'t TrustFile,
    (candidate, sig): (&'t TrustFile, &SshSig),
) -> Result<(&'t Signer, &'t SignerKey), TrustError> {
    if let Some(found) = by.owner_of(sig.key()) {
        return Ok(found);
    }
    checks.demand(false, TrustError::Stranger)?;
    candidate.owner_of(sig.key()).ok_or(TrustError::Stranger)
}

#[cfg(test)]
mod tests;
