//! What can be wrong with a trust file in itself. All faults are found at once.

use std::collections::BTreeSet;

use crate::core::approval::webauthn::{is_origin, is_within};
use crate::core::exact::GREATEST;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::signer::Presence;
use crate::core::time::Timestamp;
use crate::core::trust::file::FORMAT;
use crate::core::trust::{KeyKind, Purpose, Signer, SignerKey, TrustFile};

/// The longest name of a signer, group or key, in bytes.
const LONGEST_NAME: usize = 128;
/// The longest credential id in base64url: 1023 bytes.
const LONGEST_CREDENTIAL: usize = 1364;

/// One thing that is wrong with a trust file.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Fault {
    /// Nobody could make the next version.
    #[error("`admin_quorum` is {wanted}, but {there} signers are trust admins")]
    Admins {
        /// What the file asks for.
        wanted: u32,
        /// How many it has.
        there: usize,
    },
    /// A format that is not known here.
    #[error("`format` {0} is not known here; this program knows {FORMAT}")]
    Format(u32),
    /// A group that no quorum could name.
    #[error("`{0}`: a group is 1 to 128 of a-z A-Z 0-9 _ -")]
    Group(String),
    /// A presence that the key cannot prove, or a demand that it cannot meet.
    #[error("{0}: only a key that signs its being touched can be marked so")]
    Presence(String),
    /// The key does not fit what it is said to be.
    #[error("{0}: the key is not of the kind that the file says")]
    Kind(String),
    /// A label that breaks lines or lists.
    #[error("{0}: a label is at most 128 bytes without control characters")]
    Label(String),
    /// A name that could be taken for another, or not a person's.
    #[error("`{0}`: a signer is `human:` and 1 to 128 of a-z A-Z 0-9 . _ @ + -")]
    Name(String),
    /// A signer without keys.
    #[error("`{0}` has no keys")]
    NoKeys(String),
    /// An origin that is not one, or that the file does not say whose it is.
    #[error("`{0}` is not an origin that can be used here")]
    Origin(String),
    /// Version 1 has no version before it; every other has one.
    #[error("version {0}: `previous` is there for every version but the first")]
    Previous(u64),
    /// Two signers of one name, upper and lower case apart.
    #[error("`{0}` is there twice")]
    SameName(String),
    /// One key in two places.
    #[error("the key {0} is there twice")]
    SameKey(String),
    /// Times outside all time, or an end before the beginning.
    #[error("{0}: its times make no sense")]
    Times(String),
}

impl TrustFile {
    /// All that is wrong with the file in itself; who signed it is [`super::chain`]'s to check.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = self.head_faults();
        let (mut names, mut points) = (BTreeSet::new(), BTreeSet::new());
        for signer in &self.signers {
            if !names.insert(signer.name.to_string().to_ascii_lowercase()) {
                faults.push(Fault::SameName(signer.name.to_string()));
            }
            signer_faults(signer, &mut faults);
            for key in &signer.keys {
                // The same point under two applications would let one person count twice.
                if !points.insert(key.public.point()) {
                    faults.push(Fault::SameKey(key.public.fingerprint()));
                }
                self.key_faults(signer, key, &mut faults);
            }
        }
        faults
    }

    fn head_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.format != FORMAT {
            faults.push(Fault::Format(self.format));
        }
        let first = self.version == 1;
        let countable = i64::try_from(self.version).is_ok_and(|v| (1..=GREATEST).contains(&v));
        if !countable || first == self.previous.is_some() {
            faults.push(Fault::Previous(self.version));
        }
        if !(0..=GREATEST).contains(&self.created_ms) {
            faults.push(Fault::Times("the file".to_owned()));
        }
        let made = Timestamp::from_unix_ms(self.created_ms);
        let admin =
            |signer: &&Signer| signer.purposes.contains(&Purpose::Trust) && !signer.has_ended(made);
        let there = self.signers.iter().filter(admin).count();
        let enough = usize::try_from(self.admin_quorum).is_ok_and(|wanted| there >= wanted);
        if self.admin_quorum == 0 || !enough {
            let wanted = self.admin_quorum;
            faults.push(Fault::Admins { wanted, there });
        }
        let both = self.origins.own.intersection(&self.origins.relay);
        let all = self.origins.own.iter().chain(&self.origins.relay);
        let bad = all.filter(|origin| !is_origin(origin)).chain(both);
        faults.extend(bad.cloned().map(Fault::Origin));
        faults
    }

    fn key_faults(&self, signer: &Signer, key: &SignerKey, faults: &mut Vec<Fault>) {
        let whose = || format!("`{}`, key `{}`", signer.name, key.label);
        let signs_presence = key.public.algorithm().signs_presence();
        let claims = key.presence == Presence::Hardware || key.user_verification;
        if claims && !signs_presence {
            faults.push(Fault::Presence(whose()));
        }
        if key.label.len() > LONGEST_NAME || key.label.chars().any(char::is_control) {
            faults.push(Fault::Label(format!("`{}`", signer.name)));
        }
        let application = key.public.application();
        match &key.kind {
            KeyKind::Ssh => {
                if application.is_some_and(|name| !name.starts_with("ssh:")) {
                    faults.push(Fault::Kind(whose()));
                }
            }
            KeyKind::Passkey {
                rp_id,
                origins,
                credential,
            } => {
                let p256 = key.public.point().len() == 65;
                let named = application == Some(rp_id) && !rp_id.starts_with("ssh:");
                if !(p256 && named && is_credential(credential)) {
                    faults.push(Fault::Kind(whose()));
                }
                let listed = |origin: &String| {
                    self.origins.own.contains(origin) || self.origins.relay.contains(origin)
                };
                let bad = |origin: &&String| !listed(origin) || !is_within(origin, rp_id);
                faults.extend(origins.iter().filter(bad).cloned().map(Fault::Origin));
                if origins.is_empty() {
                    faults.push(Fault::Origin(String::new()));
                }
            }
        }
    }
}

fn signer_faults(signer: &Signer, faults: &mut Vec<Fault>) {
    if !is_person(&signer.name) {
        faults.push(Fault::Name(signer.name.to_string()));
    }
    if signer.keys.is_empty() {
        faults.push(Fault::NoKeys(signer.name.to_string()));
    }
    let bad = signer.groups.iter().filter(|group| !is_group(group));
    faults.extend(bad.cloned().map(Fault::Group));
    let until = signer.valid_until_ms.unwrap_or(GREATEST);
    let valid = signer.valid_from_ms..until;
    if signer.valid_from_ms < 0 || until > GREATEST || valid.is_empty() {
        faults.push(Fault::Times(format!("`{}`", signer.name)));
    }
}

/// Whether a principal can be a signer: a human whose name looks like no other's, and fits into a
/// line of OpenSSH's `allowed_signers` as it is.
pub fn is_person(name: &Principal) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._@+-".contains(&b);
    let text = name.name();
    let fits = !text.is_empty() && text.len() <= LONGEST_NAME;
    name.kind() == PrincipalKind::Human && fits && text.bytes().all(good)
}

fn is_group(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(good)
}

fn is_credential(id: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    !id.is_empty() && id.len() <= LONGEST_CREDENTIAL && id.bytes().all(good)
}
