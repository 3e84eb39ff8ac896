//! The pinned trust files: `trust/0001.json`, `trust/0002.json` and so on, each signed by those whom
//! the one before it trusts.
//!
//! The newest counts, and only as long as the whole chain verifies: a file that was changed or taken
//! out leaves nobody trusted. When a version was pinned is not kept; its signers have to have been
//! trust admins when it was made and when it was pinned.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::approval::verify::CLOCK_SKEW_MS;
use crate::core::checks::Checks;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Timestamp;
use crate::core::trust::{SignedTrust, TrustError, TrustFile, first_with, next_with};
use crate::store::error::StoreError;
use crate::store::folder::{Folder, private_folder, read_private};

/// Why the pinned trust file could not be read or replaced.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PinnedError {
    /// A pinned file is not what it was when it was pinned.
    #[error("`{}` does not count, so nobody is trusted: {why}", path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It says that it was made later than now.
    #[error("the trust file is dated in the future")]
    Future,
    /// It says that it was made before the version that it follows.
    #[error("the trust file is dated before the version that it follows")]
    Past,
    /// The trust file does not follow the pinned one.
    #[error(transparent)]
    Refused(#[from] TrustError),
    /// The state folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PinnedError> for Refusal {
    fn from(error: PinnedError) -> Self {
        let message = error.to_string();
        match error {
            PinnedError::Broken { .. } => Self::new(Code::TrustRefused, message).hint(
                "put back the file as it was; if nobody has it, move the folder `trust` away and begin anew with `secondkey trust init`",
            ),
            PinnedError::Future | PinnedError::Past => {
                Self::new(Code::TrustRefused, message).hint("set the clocks right and make it again")
            }
            PinnedError::Refused(error) => error.into(),
            PinnedError::Store(error) => error.into(),
        }
    }
}

/// What tells one state of a file from the next: its number, inode, last change and length.
type Stamp = (u64, u64, i64, i64, u64);

type Pinned = Result<Option<Arc<TrustFile>>, PinnedError>;

/// The chain of a state folder, verified again when one of its files has changed.
#[derive(Debug)]
pub(super) struct TrustChain {
    folder: PathBuf,
    checks: Checks<TrustError>,
    seen: Mutex<Option<(Vec<Stamp>, Pinned)>>,
}

impl TrustChain {
    pub(super) fn new(folder: &Folder, checks: Checks<TrustError>) -> Self {
        Self {
            folder: folder.trust(),
            checks,
            seen: Mutex::new(None),
        }
    }

    /// The newest version; nothing if none was ever pinned. Looks at the files each time, because
    /// another process may have pinned one.
    pub(super) fn now(&self) -> Pinned {
        let stamps = self.stamps()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, pinned)) = seen.as_ref()
            && *known == stamps
        {
            return pinned.clone();
        }
        let numbers = stamps.iter().map(|(number, ..)| *number);
        let pinned = self.verified(numbers);
        if let Err(error) = &pinned {
            tracing::error!(%error, "no approval counts until the trust file is mended");
        }
        *seen = Some((stamps, pinned.clone()));
        pinned
    }

    /// Every pinned version, from the first, as they were signed. Verified like [`TrustChain::now`].
    pub(super) fn all(&self) -> Result<Vec<SignedTrust>, PinnedError> {
        let Some(newest) = self.now()? else {
            return Ok(Vec::new());
        };
        let read = |version| {
            let path = self.path(version);
            let text = read_private(&path)?;
            SignedTrust::parse(text.as_bytes()).map_err(|error| PinnedError::Broken {
                path,
                why: error.to_string(),
            })
        };
        (1..=newest.version).map(read).collect()
    }

    /// Checks that `candidate` may be pinned next.
    pub(super) fn check(&self, candidate: &SignedTrust, now: Timestamp) -> Result<(), PinnedError> {
        let made = Timestamp::from_unix_ms(candidate.trust.created_ms);
        if made > now.plus_ms(CLOCK_SKEW_MS) {
            return Err(PinnedError::Future);
        }
        let Some(current) = self.now()? else {
            first_with(&self.checks, candidate, now)?;
            first_with(&self.checks, candidate, made)?;
            return Ok(());
        };
        if candidate.trust.created_ms < current.created_ms {
            return Err(PinnedError::Past);
        }
        next_with(&self.checks, &current, candidate, now)?;
        next_with(&self.checks, &current, candidate, made)?;
        Ok(())
    }

    /// Writes a version beside its place; [`Staged::place`] puts it there in one step.
    pub(super) fn stage(&self, candidate: &SignedTrust) -> Result<Staged, StoreError> {
        private_folder(&self.folder)?;
        let path = self.path(candidate.trust.version);
        let failed = |error: &std::io::Error| StoreError::io("write", &path, error);
        // `tempfile` makes files for their owner alone.
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&self.folder)
            .map_err(|error| failed(&error))?;
        file.write_all(candidate.to_text().as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| failed(&error))?;
        Ok(Staged { file, path })
    }

    /// The numbers and states of the files, by number.
    fn stamps(&self) -> Result<Vec<Stamp>, StoreError> {
        let failed = |error: &std::io::Error| StoreError::io("look at", &self.folder, error);
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&error)),
        };
        let mut stamps = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(&error))?;
            let Some(number) = entry.file_name().to_str().and_then(number_in) else {
                continue;
            };
            let facts = entry.metadata().map_err(|error| failed(&error))?;
            let changed = (facts.ctime(), facts.ctime_nsec());
            stamps.push((number, facts.ino(), changed.0, changed.1, facts.size()));
        }
        stamps.sort_unstable();
        Ok(stamps)
    }

    fn verified(&self, numbers: impl Iterator<Item = u64>) -> Pinned {
        let mut current: Option<TrustFile> = None;
        for (expected, number) in (1..).zip(numbers) {
            let path = self.path(expected);
            let broken = |why: String| PinnedError::Broken {
                path: path.clone(),
                why,
            };
            if number != expected {
                return Err(broken("the file is gone".to_owned()));
            }
            let text = read_private(&path).map_err(|error| broken(error.to_string()))?;
            let signed = SignedTrust::parse(text.as_bytes());
            let signed = signed.map_err(|error| broken(error.to_string()))?;
            let made = Timestamp::from_unix_ms(signed.trust.created_ms);
            let found = match &current {
                None => first_with(&self.checks, &signed, made),
                Some(current) => next_with(&self.checks, current, &signed, made),
            };
            current = Some(found.map_err(|error| broken(error.to_string()))?);
        }
        Ok(current.map(Arc::new))
    }

    fn path(&self, version: u64) -> PathBuf {
        self.folder.join(format!("{version:04}.json"))
    }
}

/// A version that lies beside its place. Without [`Staged::place`] it goes away again.
#[derive(Debug)]
pub(super) struct Staged {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Staged {
    /// Puts it in its place, in one step and for good.
    pub(super) fn place(self) -> Result<(), StoreError> {
        let failed = |error: &std::io::Error| StoreError::io("write", &self.path, error);
        let placed = self.file.persist_noclobber(&self.path);
        placed.map_err(|error| failed(&error.error))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(&error))
    }
}

/// The number in `0001.json`, written as this program writes it.
fn number_in(name: &str) -> Option<u64> {
    let number: u64 = name.strip_suffix(".json")?.parse().ok()?;
    (format!("{number:04}.json") == name).then_some(number)
}

#[cfg(test)]
mod tests;
