//! Enrolment: somebody proposes a key of theirs, proves to hold it, and a trust admin compares a short
//! code by another channel before adding it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::core::approval::ENROL;
use crate::core::approval::signature::{SignatureError, check_signature};
use crate::core::approval::sshsig::{SshSig, SshSigError};
use crate::core::checks::Checks;
use crate::core::exact::{ExactError, read_canonical};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::trust::SignerKey;
use crate::core::trust::fault::is_person;
use crate::core::work::{Digest, canonical_json};

/// The longest proposal, in bytes.
pub const LONGEST: usize = 16 * 1024;
/// The only version there is.
pub const VERSION: u32 = 1;
/// How often the short code is hashed: makes each guess at a second key of one code dearer by 2^16.
const STRETCH: u32 = 1 << 16;

/// A key that somebody wants in the trust file. The signed message is its canonical JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// [`VERSION`].
    pub version: u32,
    /// Whose key it is said to be.
    pub name: Principal,
    /// The key, and what its owner says about it. What it counts for is the admins' to decide.
    pub key: SignerKey,
    /// 32 hex digits that nobody could guess.
    pub nonce: String,
    /// When, unix milliseconds.
    pub created_ms: i64,
}

/// A proposal and the proof that its key is held, as they are handed over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignedProposal {
    /// The proposal's canonical JSON.
    pub proposal: String,
    /// An armored SSHSIG over exactly that text, by the proposed key.
    pub proof: String,
}

/// Why a proposal was refused.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum ProposalError {
    /// The text is not this JSON.
    #[error("the proposal is malformed: {0}")]
    Exact(#[from] ExactError),
    /// Signed by another key than the proposed one.
    #[error("the proposal is not signed by the key it proposes")]
    Key,
    /// Not a name that a signer can have.
    #[error("a signer is `human:` and 1 to 128 of a-z A-Z 0-9 . _ @ + -")]
    Name,
    /// The nonce is not 32 hex digits.
    #[error("the proposal's nonce is not 32 hex digits")]
    Nonce,
    /// The proof does not count.
    #[error("the proof that somebody holds the key does not count: {0}")]
    Signature(#[from] SignatureError),
    /// The proof is not a signature.
    #[error("the proof that somebody holds the key cannot be read: {0}")]
    Unreadable(#[from] SshSigError),
    /// A version that is not known here.
    #[error("the proposal is of another version")]
    Version,
}

impl From<ProposalError> for Refusal {
    fn from(error: ProposalError) -> Self {
        Self::new(Code::TrustRefused, error.to_string()).hint("enrol the key again")
    }
}

impl Proposal {
    /// The bytes that are signed.
    pub fn canonical(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// The bytes that are signed, as text.
    pub fn to_text(&self) -> String {
        // JSON is UTF-8.
        String::from_utf8(self.canonical()).unwrap_or_default()
    }

    /// Four groups of four digits that both sides can read to each other. They cover name and key
    /// and all else that was signed, and come from a slow hash, so that no other proposal with the
    /// same digits can be found in reasonable time.
    pub fn short_code(&self) -> String {
        let mut hash = *Digest::of(&[b"secondkey enrolment\n", &self.canonical()]).as_bytes();
        for _ in 0..STRETCH {
            hash = Sha256::digest(hash).into();
        }
        // 10^16 leaves no bias that could be felt in 128 bits.
        let number = hash
            .iter()
            .take(16)
            .fold(0, |sum, byte| (sum << 8) | u128::from(*byte));
        let groups = [1_000_000_000_000, 100_000_000, 10_000, 1];
        let group = |unit: u128| format!("{:04}", number / unit % 10_000);
        groups.map(group).join("-")
    }
}

impl SignedProposal {
    /// Checks that somebody holds the proposed key and meant this proposal. Whether the key is in the
    /// right name is for people to find out.
    pub fn verify(&self) -> Result<Proposal, ProposalError> {
        let proposal: Proposal = read_canonical(self.proposal.as_bytes(), LONGEST)?;
        if proposal.version != VERSION {
            return Err(ProposalError::Version);
        }
        if !is_person(&proposal.name) {
            return Err(ProposalError::Name);
        }
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if proposal.nonce.len() != 32 || !proposal.nonce.bytes().all(hex) {
            return Err(ProposalError::Nonce);
        }
        let sig = SshSig::parse(&self.proof)?;
        if *sig.key() != proposal.key.public {
            return Err(ProposalError::Key);
        }
        let all = Checks::<ProposalError>::all();
        check_signature(&all, &sig, &proposal.key, ENROL, self.proposal.as_bytes())?;
        Ok(proposal)
    }
}

#[cfg(test)]
mod tests;
