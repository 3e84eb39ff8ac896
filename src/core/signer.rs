//! Words about signers that policy and approval share.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::core::principal::Principal;

/// What a key proves about somebody being there when it signs. Ordered strongest first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// The key's hardware wants a touch for each signature.
    Hardware,
    /// A passphrase opens the key; that somebody typed it is not proven.
    Passphrase,
    /// The key can sign while nobody is there.
    Unattended,
}

/// What showed the document to the person who signed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// The approver's own binary, on a terminal.
    Terminal,
    /// A page that the approver's own binary serves on localhost.
    OwnPage,
    /// A page that a relay serves.
    RelayPage,
}

/// One verified signature of a person, as far as a quorum is concerned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vote {
    /// Who signed.
    pub signer: Principal,
    /// The fingerprint of the key.
    pub key: String,
    /// The signer's groups, from the trust file.
    pub groups: BTreeSet<String>,
    /// What showed them the document.
    pub surface: Surface,
    /// What the key proves about their being there.
    pub presence: Presence,
}
