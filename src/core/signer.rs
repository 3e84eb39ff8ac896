//! Words about signers that policy and approval share.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::core::principal::Principal;

/// What a signature proves about the person: strongest first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// The key itself signed that somebody touched it.
    Hardware,
    /// Somebody typed a passphrase; nothing proves it.
    Passphrase,
    /// The key can sign with nobody there.
    Unattended,
}

/// Where the person saw what they signed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// A terminal of the approver's own binary.
    Terminal,
    /// A page that the approver's own binary served.
    OwnPage,
    /// A page that a relay served: it proves presence, not what was shown.
    RelayPage,
}

/// What somebody signs about a request: yes or no.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Let it run.
    Approve,
    /// Do not.
    Reject,
}

impl Decision {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// One verified approval, as far as counting needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vote {
    /// Who signed.
    pub signer: Principal,
    /// The fingerprint of the key.
    pub key: String,
    /// The groups that the signer is in.
    pub groups: BTreeSet<String>,
    /// Where the signer saw the document.
    pub surface: Surface,
    /// What the key proves about the signer's presence.
    pub presence: Presence,
}
