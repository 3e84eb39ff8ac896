//! The pinned trust files: `trust/0001.json`, `trust/0002.json` and so on, each signed by those whom
//! the one before it trusts.
//!
//! The newest counts, and only as long as the whole chain verifies: a file that was changed or taken
//! out leaves nobody trusted. When a version was pinned is not kept; its signers have to have been
//! trust admins when it was made and when it was pinned.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::approval::verify::CLOCK_SKEW_MS;
use crate::core::checks::Checks;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Timestamp;
use crate::core::trust::{SignedTrust, TrustError, TrustFile, first_with, next_with};
use crate::store::error::StoreError;
use crate::store::shelf::{Shelf, Staged, Stamp};

/// Where they are on the shelf.
const FOLDER: &str = "trust";

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

/// A version and what tells one state of it from the next.
type Version = (u64, Stamp);

type Pinned = Result<Option<Arc<TrustFile>>, PinnedError>;

/// The chain of a state folder, verified again when one of its files has changed.
#[derive(Debug)]
pub(super) struct TrustChain {
    shelf: Shelf,
    checks: Checks<TrustError>,
    seen: Mutex<Option<(Vec<Version>, Pinned)>>,
}

impl TrustChain {
    pub(super) fn new(shelf: Shelf, checks: Checks<TrustError>) -> Self {
        Self {
            shelf,
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
        let numbers = stamps.iter().map(|(number, _)| *number);
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
            let broken = |why: String| PinnedError::Broken {
                path: self.shelf.path(&name(version)),
                why,
            };
            let text = self.shelf.read(&name(version))?;
            let text = text.ok_or_else(|| broken("the file is gone".to_owned()))?;
            SignedTrust::parse(text.as_bytes()).map_err(|error| broken(error.to_string()))
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
        let name = name(candidate.trust.version);
        self.shelf.stage(&name, &candidate.to_text())
    }

    /// The numbers and states of the files, by number.
    fn stamps(&self) -> Result<Vec<Version>, StoreError> {
        let files = self.shelf.list(FOLDER)?.into_iter();
        let mut stamps: Vec<Version> = files
            .filter_map(|(name, stamp)| Some((number_in(&name)?, stamp)))
            .collect();
        stamps.sort_unstable();
        Ok(stamps)
    }

    fn verified(&self, numbers: impl Iterator<Item = u64>) -> Pinned {
        let mut current: Option<TrustFile> = None;
        for (expected, number) in (1..).zip(numbers) {
            let broken = |why: String| PinnedError::Broken {
                path: self.shelf.path(&name(expected)),
                why,
            };
            if number != expected {
                return Err(broken("the file is gone".to_owned()));
            }
            let text = self.shelf.read(&name(expected));
            let text = text.map_err(|error| broken(error.to_string()))?;
            let text = text.ok_or_else(|| broken("the file is gone".to_owned()))?;
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
}

/// The name of a version on the shelf.
fn name(version: u64) -> String {
    format!("{FOLDER}/{version:04}.json")
}

/// The number in `0001.json`, written as this program writes it.
fn number_in(name: &str) -> Option<u64> {
    let number: u64 = name.strip_suffix(".json")?.parse().ok()?;
    (format!("{number:04}.json") == name).then_some(number)
}

#[cfg(test)]
mod tests;
