//! Where the log's files lie. An open file that was removed can still be written to, and what is
//! written is lost, so before each commit it is looked whether they are still in their place.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::store::error::StoreError;
use crate::store::folder::Folder;

/// The files in use.
#[derive(Debug)]
pub(in crate::store) struct Place {
    database: PathBuf,
    is: Identity,
    wal: PathBuf,
    /// Known after the first commit; the file stays until the last process has closed it.
    wal_is: Option<Identity>,
}

/// A file's device and number.
type Identity = (u64, u64);

impl Place {
    /// The files of a folder whose database was just opened.
    pub(in crate::store) fn new(folder: &Folder) -> Result<Self, StoreError> {
        let database = folder.database();
        Ok(Self {
            is: identity(&database).ok_or_else(|| gone(&database))?,
            database,
            wal: folder.wal(),
            wal_is: None,
        })
    }

    /// The database.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// Notes which write-ahead log is in use.
    pub(super) fn remember_wal(&mut self) {
        if self.wal_is.is_none() {
            self.wal_is = identity(&self.wal);
        }
    }

    /// Fails if a file is not where it was.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if identity(&self.database) != Some(self.is) {
            return Err(gone(&self.database));
        }
        if self.wal_is.is_some() && identity(&self.wal) != self.wal_is {
            return Err(gone(&self.wal));
        }
        Ok(())
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

fn gone(path: &Path) -> StoreError {
    StoreError::Gone {
        path: path.to_owned(),
    }
}
