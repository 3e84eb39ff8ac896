//! The keys of a state folder: one that signs tokens, one that signs heads of the audit log, the
//! secrets behind commitments and sealed values, and the agent's id.
//!
//! `keys/<kind>-<number>.pem` is a private key (PKCS#8); the highest number is the current one. When
//! a key is replaced, its private half is deleted and its public half stays: a token key as
//! `token-<number>.until-<unix ms>.pub` until the last token it can have signed has expired, an audit
//! key as `audit-<number>.pub` for good. `token-<number>.next` is what the token key of that number has signed of
//! the one that followed it.

mod files;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::core::handshake::Hex32;
use crate::core::ids::AgentId;
#[cfg(doc)]
use crate::core::succession::MOST_STEPS;
use crate::core::succession::Succession;
use crate::core::time::{Clock, Timestamp};
use crate::core::token::sign::key_id;
use crate::core::token::{Signer, TOKEN_LIFE_MS, Verifier};
use crate::store::error::StoreError;
use crate::store::folder::Folder;
use files::{KeyFiles, Retired};

pub(super) use files::{agent_id, random};

/// How long a replaced token key is accepted: the life of a token and a minute for its way.
pub(super) const OVERLAP_MS: i64 = TOKEN_LIFE_MS + 60_000;

/// What a key is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyKind {
    /// Signs heads of the audit log.
    Audit,
    /// Signs execution tokens.
    Token,
}

impl KeyKind {
    /// The name in file names and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Token => "token",
        }
    }
}

/// Both sides of the token keys as they are now.
#[derive(Debug)]
pub struct TokenKeys {
    /// The broker's side: signs with the current key.
    pub signer: Signer,
    /// The agent's side: accepts the current key and those whose overlap has not ended.
    pub verifier: Verifier,
}

/// The token keys, read again when the folder changes or an overlap ends.
#[derive(Debug)]
pub(super) struct TokenKeyring {
    folder: Folder,
    agent: AgentId,
    clock: Arc<dyn Clock>,
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug)]
struct Seen {
    changed: SystemTime,
    until: Option<Timestamp>,
    keys: Arc<TokenKeys>,
}

impl TokenKeyring {
    pub(super) fn new(folder: Folder, agent: AgentId, clock: Arc<dyn Clock>) -> Self {
        Self {
            folder,
            agent,
            clock,
            seen: Mutex::new(None),
        }
    }

    /// The keys now. Looks at the folder each time, because another process may have rotated.
    pub(super) fn now(&self) -> Result<Arc<TokenKeys>, StoreError> {
        let path = self.folder.keys();
        let changed = path
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map_err(|error| StoreError::io("look at", &path, &error))?;
        let now = self.clock.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.as_ref()
            && seen.changed == changed
            && seen.until.is_none_or(|until| now < until)
        {
            return Ok(Arc::clone(&seen.keys));
        }
        let files = KeyFiles::read(&self.folder, KeyKind::Token)?;
        let current = files.current()?;
        let accepted = |retired: &&Retired| retired.until.is_none_or(|until| now < until);
        let retired: Vec<&Retired> = files.retired.iter().filter(accepted).collect();
        let public = retired.iter().map(|retired| retired.key);
        let keys = Arc::new(TokenKeys {
            verifier: Verifier::new(self.agent.clone(), public.chain([current.verifying_key()])),
            signer: Signer::new(current),
        });
        *seen = Some(Seen {
            changed,
            until: retired.iter().filter_map(|retired| retired.until).min(),
            keys: Arc::clone(&keys),
        });
        Ok(keys)
    }
}

/// Makes what is missing and finishes what was interrupted. The caller holds the folder's lock.
/// Gives the keys that were made now, with their ids.
pub(super) fn prepare(
    folder: &Folder,
    now: Timestamp,
) -> Result<Vec<(KeyKind, String)>, StoreError> {
    let mut made = Vec::new();
    for kind in [KeyKind::Token, KeyKind::Audit] {
        let files = KeyFiles::read(folder, kind)?;
        if files.private.is_empty() {
            let number = files.next_number();
            made.push((kind, key_id(&files::create(folder, kind, number)?)));
        } else {
            retire_all_but_current(folder, &files, now)?;
        }
    }
    Ok(made)
}

/// Makes a new key the current one. The caller holds the folder's lock. Gives the new key's id.
pub(super) fn rotate(folder: &Folder, kind: KeyKind, now: Timestamp) -> Result<String, StoreError> {
    let number = KeyFiles::read(folder, kind)?.next_number();
    let public = files::create(folder, kind, number)?;
    retire_all_but_current(folder, &KeyFiles::read(folder, kind)?, now)?;
    Ok(key_id(&public))
}

fn retire_all_but_current(
    folder: &Folder,
    files: &KeyFiles,
    now: Timestamp,
) -> Result<(), StoreError> {
    let current = files.private.last_key_value().map(|(number, _)| *number);
    for (number, path) in &files.private {
        if Some(*number) != current {
            let until = match files.kind {
                KeyKind::Audit => None,
                KeyKind::Token => {
                    files::succeed(folder, (*number, path), &files.current()?.verifying_key())?;
                    Some(now.plus_ms(OVERLAP_MS))
                }
            };
            files::retire(folder, files.kind, (*number, path), until)?;
        }
    }
    Ok(())
}

/// What each token key has signed of the one after it, the newest [`MOST_STEPS`] of them.
pub(super) fn successions(folder: &Folder) -> Result<Vec<Succession>, StoreError> {
    files::successions(folder)
}

/// The secret that the salts of commitments come from.
pub(super) fn commitment_secret(folder: &Folder) -> Result<[u8; 32], StoreError> {
    files::secret(folder, "commitment.key")
}

/// The secret that the values of waiting requests are sealed with.
pub(super) fn values_secret(folder: &Folder) -> Result<[u8; 32], StoreError> {
    files::secret(folder, "values.key")
}

/// The secret that the web page signs sessions with.
pub(super) fn page_secret(folder: &Folder) -> Result<[u8; 32], StoreError> {
    files::secret(folder, "page.key")
}

/// The secret under which a relay keeps other secrets.
pub(super) fn pepper(folder: &Folder) -> Result<[u8; 32], StoreError> {
    files::secret(folder, "pepper.key")
}

/// The secret that the replicas of one relay know each other by.
pub(super) fn cluster_secret(folder: &Folder) -> Result<[u8; 32], StoreError> {
    files::secret(folder, "cluster.key")
}

/// Whether there is a key that signs tokens.
pub(super) fn are_in(folder: &Folder) -> Result<bool, StoreError> {
    Ok(!KeyFiles::read(folder, KeyKind::Token)?.private.is_empty())
}

/// The public half of the key that signs tokens now.
pub(super) fn token_public(folder: &Folder) -> Result<Hex32, StoreError> {
    let current = KeyFiles::read(folder, KeyKind::Token)?.current()?;
    Ok(Hex32::of_key(&current.verifying_key()))
}

/// The secret half of the key that an executor proves itself with.
pub(super) fn dial_secret(folder: &Folder) -> Result<[u8; 32], StoreError> {
    files::secret(folder, "dial.key")
}

/// The key that signs heads now.
pub(super) fn audit_key(folder: &Folder) -> Result<SigningKey, StoreError> {
    KeyFiles::read(folder, KeyKind::Audit)?.current()
}

/// Every key that signs heads or ever did.
pub(super) fn audit_public_keys(folder: &Folder) -> Result<Vec<VerifyingKey>, StoreError> {
    let files = KeyFiles::read(folder, KeyKind::Audit)?;
    let mut keys = vec![files.current()?.verifying_key()];
    keys.extend(files.retired.iter().map(|retired| retired.key));
    Ok(keys)
}
