//! Words about signers that policy and approval share.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::core::principal::Principal;

/// What a key proves about somebody being there when it signed, the strongest first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Hardware that signs only when somebody touches it, and says so in the signature.
    Hardware,
    /// A key sealed by a passphrase, asked for each time. Not proven by the signature.
    Passphrase,
    /// A key that can sign while nobody is there.
    Unattended,
}

/// What showed the document to whoever signed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// The approver's own binary, in a terminal.
    Terminal,
    /// A page that the approver's own binary served.
    OwnPage,
    /// A page that the relay served.
    RelayPage,
}

/// One verified vote, with all that a policy counts by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vote {
    /// Who signed.
    pub signer: Principal,
    /// The fingerprint of the key.
    pub key: String,
    /// The groups the signer is in.
    pub groups: BTreeSet<String>,
    /// What showed the document.
    pub surface: Surface,
    /// What the key proves about presence.
    pub presence: Presence,
}
