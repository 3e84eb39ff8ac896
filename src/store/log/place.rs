//! Where the log's files lie. An open file that was removed can still be written to, and what is
//! written is lost, so before each commit it is looked whether they are still in their place.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::store::database::Database;
use crate::store::error::StoreError;
use crate::store::folder::Folder;

/// The files in use.
#[derive(Debug)]
pub(in crate::store) struct Place {
    database: PathBuf,
    /// Nothing where the log lies at a server.
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    is: Identity,
    wal: PathBuf,
    /// Known after the first commit; the file stays until the last process has closed it.
    wal_is: Option<Identity>,
}

/// A file's device and number.
type Identity = (u64, u64);

impl Place {
    /// The files of a folder whose database was just opened.
    pub(in crate::store) fn new(folder: &Folder, database: &Database) -> Result<Self, StoreError> {
        let files = |file: &Path| {
            Ok(Files {
                is: identity(file).ok_or_else(|| gone(file))?,
                wal: folder.wal(),
                wal_is: None,
            })
        };
        Ok(Self {
            files: database.file().map(files).transpose()?,
            database: database.path(),
        })
    }

    /// The database.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// Notes which write-ahead log is in use.
    pub(super) fn remember_wal(&mut self) {
        if let Some(files) = &mut self.files
            && files.wal_is.is_none()
        {
            files.wal_is = identity(&files.wal);
        }
    }

    /// Fails if a file is not where it was.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        if identity(&self.database) != Some(files.is) {
            return Err(gone(&self.database));
        }
        if files.wal_is.is_some() && identity(&files.wal) != files.wal_is {
            return Err(gone(&files.wal));
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
