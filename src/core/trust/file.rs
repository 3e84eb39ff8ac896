//! The trust file and its parts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::core::approval::TRUST;
use crate::core::approval::sshsig::{PublicKey, SshSig, SshSigError};
use crate::core::exact::{ExactError, read_exact};
use crate::core::principal::Principal;
use crate::core::signer::Presence;
use crate::core::time::Timestamp;
use crate::core::work::{Digest, canonical_json};

/// The longest trust file, signatures included, in bytes.
pub const LONGEST: usize = 1024 * 1024;
/// The only format there is.
pub const FORMAT: u32 = 1;

/// What a signer's signature is good for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Approving and rejecting requests.
    Approve,
    /// Having work run at once, ahead of its review.
    BreakGlass,
    /// Changing the trust file.
    Trust,
}

/// What kind of key it is, which says how it has to be used.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyKind {
    /// A key of SSH: a file, an agent's, or a hardware key.
    Ssh,
    /// A passkey.
    Passkey {
        /// The relying party id; the public key's application.
        rp_id: String,
        /// The origins, exactly, of the pages it may be used on.
        origins: BTreeSet<String>,
        /// The credential's id in base64url, by which a browser finds the key. Proves nothing.
        credential: String,
    },
}

/// One key of a signer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignerKey {
    /// What kind of key it is.
    pub kind: KeyKind,
    /// The key, as OpenSSH writes it.
    pub public: PublicKey,
    /// What its signatures prove about the person. `Hardware` only for keys that sign it.
    pub presence: Presence,
    /// Whether its signatures must say that the key knew who touched it (PIN or body).
    pub user_verification: bool,
    /// What its owner calls it.
    pub label: String,
}

impl SignerKey {
    /// A key as OpenSSH keeps them; its signatures need not say that it knew who touched it.
    pub fn ssh(public: PublicKey, presence: Presence, label: impl Into<String>) -> Self {
        Self {
            kind: KeyKind::Ssh,
            public,
            presence,
            user_verification: false,
            label: label.into(),
        }
    }

    /// Whether a passkey may be used on a page of this origin.
    pub fn allows_origin(&self, origin: &str) -> bool {
        match &self.kind {
            KeyKind::Ssh => false,
            KeyKind::Passkey { origins, .. } => origins.contains(origin),
        }
    }
}

/// One person.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// Who, always a human.
    pub name: Principal,
    /// The groups that quorums name.
    pub groups: BTreeSet<String>,
    /// What their signature is good for.
    pub purposes: BTreeSet<Purpose>,
    /// Counts from then on, unix milliseconds.
    pub valid_from_ms: i64,
    /// Does not count from then on, unix milliseconds.
    pub valid_until_ms: Option<i64>,
    /// Their keys.
    pub keys: Vec<SignerKey>,
}

impl Signer {
    /// Whether their time has come.
    pub fn has_begun(&self, now: Timestamp) -> bool {
        now.unix_ms() >= self.valid_from_ms
    }

    /// Whether their time is over.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.valid_until_ms.is_some_and(|end| now.unix_ms() >= end)
    }

    /// Whether their signature counts now for this.
    pub fn may(&self, purpose: Purpose, now: Timestamp) -> bool {
        self.purposes.contains(&purpose) && self.has_begun(now) && !self.has_ended(now)
    }
}

/// The origins of the pages on which passkeys sign, by whose pages they are.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Origins {
    /// Pages that the approver's own binary serves.
    pub own: BTreeSet<String>,
    /// Pages that a relay serves.
    pub relay: BTreeSet<String>,
}

/// The list of signers that an executor pins. The signed message is its canonical JSON (RFC 8785).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFile {
    /// [`FORMAT`].
    pub format: u32,
    /// Counts up from 1.
    pub version: u64,
    /// The digest of the version before; none for version 1.
    pub previous: Option<Digest>,
    /// When it was made, unix milliseconds.
    pub created_ms: i64,
    /// How many trust admins have to sign the next version.
    pub admin_quorum: u32,
    /// The pages on which passkeys sign.
    pub origins: Origins,
    /// The signers.
    pub signers: Vec<Signer>,
}

impl TrustFile {
    /// Version 1: one trust admin signs the next, and passkeys sign on no page yet.
    pub fn first(created_ms: i64, signers: Vec<Signer>) -> Self {
        Self {
            format: FORMAT,
            version: 1,
            previous: None,
            created_ms,
            admin_quorum: 1,
            origins: Origins::default(),
            signers,
        }
    }

    /// The bytes that trust admins sign.
    pub fn canonical(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// SHA-256 over [`TrustFile::canonical`].
    pub fn digest(&self) -> Digest {
        Digest::of(&[&self.canonical()])
    }

    /// The signer of this name.
    pub fn signer(&self, name: &Principal) -> Option<&Signer> {
        self.signers.iter().find(|signer| signer.name == *name)
    }

    /// Whose key it is.
    pub fn owner_of(&self, public: &PublicKey) -> Option<(&Signer, &SignerKey)> {
        self.signers.iter().find_map(|signer| {
            let key = signer.keys.iter().find(|key| key.public == *public)?;
            Some((signer, key))
        })
    }

    /// All groups that have a member, for checking the quorums of a policy.
    pub fn groups(&self) -> BTreeSet<&str> {
        let groups = self.signers.iter().flat_map(|signer| &signer.groups);
        groups.map(String::as_str).collect()
    }
}

/// A trust file and the signatures on it, as it is kept and carried (`trust.json`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignedTrust {
    /// The trust file.
    pub trust: TrustFile,
    /// Armored SSHSIGs over its canonical JSON.
    pub signatures: Vec<String>,
}

impl SignedTrust {
    /// What nobody has signed yet.
    pub fn unsigned(trust: TrustFile) -> Self {
        Self {
            trust,
            signatures: Vec::new(),
        }
    }

    /// Reads a trust file in any layout, with no field too many or too few. Nothing is verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, ExactError> {
        read_exact(bytes, LONGEST)
    }

    /// Indented JSON, as the file is written.
    pub fn to_text(&self) -> String {
        // Plain structures with string keys have no way to fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Adds a signature of a software key.
    pub fn sign(&mut self, key: &ed25519_dalek::SigningKey) -> Result<(), SshSigError> {
        let sig = SshSig::sign_ed25519(key, TRUST, &self.trust.canonical())?;
        self.signatures.push(sig.armored());
        Ok(())
    }
}

#[cfg(test)]
pub(in crate::core) mod tests;
