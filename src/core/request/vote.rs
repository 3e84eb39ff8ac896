//! Votes: what a person signed about a request, as it is recorded.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::core::principal::Principal;
use crate::core::signer::{Decision, Presence, Surface, Vote};
use crate::core::time::Timestamp;
use crate::core::work::Digest;

/// One signed vote, verified by whoever recorded it, with the facts about the signer at that time.
/// Nobody who executes believes it: the signature travels along and is verified again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedVote {
    /// Who signed.
    pub signer: Principal,
    /// The fingerprint of the key.
    pub key: String,
    /// Yes or no.
    pub decision: Decision,
    /// What the signer had to say.
    pub comment: Option<String>,
    /// What showed the document.
    pub surface: Surface,
    /// What the key proves about presence.
    pub presence: Presence,
    /// The groups the signer was in.
    pub groups: BTreeSet<String>,
    /// When it was recorded.
    pub at: Timestamp,
    /// The digest of the verdict's text.
    pub verdict: Digest,
    /// The verdict and its signature, as they were sent.
    pub signed: String,
}

impl RecordedVote {
    /// What a policy counts.
    pub fn vote(&self) -> Vote {
        Vote {
            signer: self.signer.clone(),
            key: self.key.clone(),
            groups: self.groups.clone(),
            surface: self.surface,
            presence: self.presence,
        }
    }
}
