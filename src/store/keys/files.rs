//! Key files: their names, how they are made, read and retired.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
};
use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::core::ids::AgentId;
use crate::core::succession::{MOST_STEPS, Succession};
use crate::core::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::folder::{Folder, create_private, read_private};
use crate::store::keys::KeyKind;

/// The files of one kind of key.
#[derive(Debug)]
pub(super) struct KeyFiles {
    /// Which kind.
    pub(super) kind: KeyKind,
    /// Private keys by number; the last is the current one.
    pub(super) private: BTreeMap<u32, PathBuf>,
    /// Replaced keys.
    pub(super) retired: Vec<Retired>,
}

/// The public half of a key that was replaced.
#[derive(Debug)]
pub(super) struct Retired {
    /// Its number.
    pub(super) number: u32,
    /// The key.
    pub(super) key: VerifyingKey,
    /// Until when it is accepted; always, if nothing is said.
    pub(super) until: Option<Timestamp>,
}

impl KeyFiles {
    /// Looks which files there are, and reads the retired ones.
    pub(super) fn read(folder: &Folder, kind: KeyKind) -> Result<Self, StoreError> {
        let path = folder.keys();
        let failed = |error: &std::io::Error| StoreError::io("list", &path, error);
        let mut files = Self {
            kind,
            private: BTreeMap::new(),
            retired: Vec::new(),
        };
        for entry in std::fs::read_dir(&path).map_err(|error| failed(&error))? {
            let path = entry.map_err(|error| failed(&error))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            match name.and_then(|name| parse_name(kind, name)) {
                Some(Name::Private(number)) => drop(files.private.insert(number, path)),
                Some(Name::Public(number, until)) => files.retired.push(Retired {
                    number,
                    key: read_public(&path)?,
                    until,
                }),
                None => {}
            }
        }
        Ok(files)
    }

    /// The current private key.
    pub(super) fn current(&self) -> Result<SigningKey, StoreError> {
        match self.private.last_key_value() {
            Some((_, path)) => read_private_key(path),
            None => Err(StoreError::Io {
                doing: format!("find the {} key", self.kind.as_str()),
                why: "the file is gone".to_owned(),
            }),
        }
    }

    /// The number of the next key; numbers are not used again.
    pub(super) fn next_number(&self) -> u32 {
        let private = self.private.keys().copied();
        let used = private.chain(self.retired.iter().map(|retired| retired.number));
        used.max().unwrap_or(0).saturating_add(1)
    }
}

enum Name {
    Private(u32),
    Public(u32, Option<Timestamp>),
}

fn parse_name(kind: KeyKind, name: &str) -> Option<Name> {
    let rest = name.strip_prefix(kind.as_str())?.strip_prefix('-')?;
    if let Some(number) = rest.strip_suffix(".pem") {
        return Some(Name::Private(number.parse().ok()?));
    }
    let rest = rest.strip_suffix(".pub")?;
    match rest.split_once(".until-") {
        Some((number, until)) => {
            let until = Timestamp::from_unix_ms(until.parse().ok()?);
            Some(Name::Public(number.parse().ok()?, Some(until)))
        }
        None => Some(Name::Public(rest.parse().ok()?, None)),
    }
}

/// Makes a new key. If somebody else was faster, theirs is taken.
pub(super) fn create(
    folder: &Folder,
    kind: KeyKind,
    number: u32,
) -> Result<VerifyingKey, StoreError> {
    let path = folder
        .keys()
        .join(format!("{}-{number:04}.pem", kind.as_str()));
    let key = SigningKey::from_bytes(&random()?);
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| StoreError::Io {
            doing: "encode a key".to_owned(),
            why: error.to_string(),
        })?;
    create_private(&path, pem.as_bytes())?;
    Ok(read_private_key(&path)?.verifying_key())
}

/// Keeps the public half of a key and deletes the private one.
pub(super) fn retire(
    folder: &Folder,
    kind: KeyKind,
    (number, path): (u32, &Path),
    until: Option<Timestamp>,
) -> Result<(), StoreError> {
    let key = read_private_key(path)?.verifying_key();
    let until = until.map_or_else(String::new, |until| format!(".until-{}", until.unix_ms()));
    let name = format!("{}-{number:04}{until}.pub", kind.as_str());
    let pem = key
        .to_public_key_pem(LineEnding::LF)
        .map_err(|error| StoreError::Io {
            doing: "encode a key".to_owned(),
            why: error.to_string(),
        })?;
    create_private(&folder.keys().join(name), pem.as_bytes())?;
    std::fs::remove_file(path).map_err(|error| StoreError::io("delete", path, &error))
}

/// Has a token key sign which one follows it, before its private half goes.
pub(super) fn succeed(
    folder: &Folder,
    (number, path): (u32, &Path),
    next: &VerifyingKey,
) -> Result<(), StoreError> {
    let step = Succession::sign(&read_private_key(path)?, next);
    let text = serde_json::to_string(&step).unwrap_or_default();
    let name = folder.keys().join(format!("token-{number:04}.next"));
    create_private(&name, format!("{text}\n").as_bytes()).map(drop)
}

/// What token keys have signed, the newest [`MOST_STEPS`], newest first.
pub(super) fn successions(folder: &Folder) -> Result<Vec<Succession>, StoreError> {
    let path = folder.keys();
    let failed = |error: &std::io::Error| StoreError::io("list", &path, error);
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&path).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix("token-")?.strip_suffix(".next"));
        if let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) {
            found.insert(number, path);
        }
    }
    let newest = found.into_values().rev().take(MOST_STEPS);
    let read = newest.map(|path| {
        serde_json::from_str(&read_private(&path)?).map_err(|_| StoreError::Damaged {
            path,
            what: "it does not hold which key follows".to_owned(),
        })
    });
    read.collect()
}

/// This executor's id, made on first use.
pub(in crate::store) fn agent_id(folder: &Folder, now: Timestamp) -> Result<AgentId, StoreError> {
    let path = folder.keys().join("agent.id");
    let unix_ms = u64::try_from(now.unix_ms()).unwrap_or(0);
    let fresh = AgentId::new(unix_ms, random()?);
    create_private(&path, format!("{fresh}\n").as_bytes())?;
    let text = read_private(&path)?;
    text.trim().parse().map_err(|_| StoreError::Damaged {
        path,
        what: "it does not hold an agent id".to_owned(),
    })
}

/// A secret of 32 bytes in a file of its own, made on first use.
pub(in crate::store) fn secret(folder: &Folder, name: &str) -> Result<[u8; 32], StoreError> {
    let path = folder.keys().join(name);
    create_private(
        &path,
        format!("{}\n", hex::encode(random::<32>()?)).as_bytes(),
    )?;
    let mut secret = [0; 32];
    match hex::decode_to_slice(read_private(&path)?.trim(), &mut secret) {
        Ok(()) => Ok(secret),
        Err(_) => Err(StoreError::Damaged {
            path,
            what: "it does not hold 64 hex digits".to_owned(),
        }),
    }
}

fn read_private_key(path: &Path) -> Result<SigningKey, StoreError> {
    SigningKey::from_pkcs8_pem(&read_private(path)?).map_err(|_| not_a_key(path))
}

fn read_public(path: &Path) -> Result<VerifyingKey, StoreError> {
    VerifyingKey::from_public_key_pem(&read_private(path)?).map_err(|_| not_a_key(path))
}

/// Says what is wrong without quoting the file.
fn not_a_key(path: &Path) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        what: "it does not hold an Ed25519 key in PEM".to_owned(),
    }
}

/// Random bytes of the operating system.
pub(in crate::store) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Io {
        doing: "read random bytes from the system".to_owned(),
        why: error.to_string(),
    })?;
    Ok(bytes)
}
