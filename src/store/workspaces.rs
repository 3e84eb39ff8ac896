//! The workspaces of a relay. The first is the relay's own state folder; each further one is a state
//! folder below it, so that nothing has to be kept apart by a condition in a query.
//!
//! ```text
//! workspaces/<name>/               a state folder
//! workspaces/<name>/workspace      its name
//! workspaces/<name>/removing       there once it is to be no more
//! workspaces/<name>/serving.lock   held by the relay that serves it
//! removed/<name>-<unix ms>/        what was one; nothing reads it
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::core::time::Timestamp;
use crate::core::workspace::{FOLDER, NAME_FILE, WorkspaceName};
use crate::store::database::Database;
use crate::store::error::StoreError;
use crate::store::folder::{Folder, create_private, private_folder, read_private};

/// How long a relay gets to let go of a workspace.
const PATIENCE: Duration = Duration::from_secs(15);

/// The workspaces below one relay's state folder.
#[derive(Clone, Debug)]
pub struct Workspaces {
    root: PathBuf,
}

/// Held by whoever serves a workspace.
#[derive(Debug)]
pub struct Serving(#[expect(dead_code, reason = "held for its drop")] File);

impl Workspaces {
    /// Those of a relay's state folder.
    pub fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The state folder of one.
    pub fn path(&self, name: &WorkspaceName) -> PathBuf {
        if name.is_first() {
            self.root.clone()
        } else {
            self.root.join(FOLDER).join(name.as_str())
        }
    }

    /// Every one there is besides the first, in the order of their names.
    pub fn further(&self) -> Result<Vec<WorkspaceName>, StoreError> {
        let folder = self.root.join(FOLDER);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("read", &folder, &error)),
        };
        let mut names: Vec<WorkspaceName> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|name| self.is_there(name))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Whether there is one of this name.
    pub fn is_there(&self, name: &WorkspaceName) -> bool {
        let path = self.path(name);
        name.is_first() || path.join(NAME_FILE).is_file() && !path.join("removing").exists()
    }

    /// Makes the folder of a further one; `false` where there is one of this name.
    pub fn make(&self, name: &WorkspaceName) -> Result<bool, StoreError> {
        if name.is_first() {
            return Ok(false);
        }
        private_folder(&self.root.join(FOLDER))?;
        let path = self.path(name);
        private_folder(&path)?;
        // The relay takes it for one from here on.
        create_private(&path.join(NAME_FILE), name.as_str().as_bytes())
    }

    /// The right to serve one, until it is dropped; nothing where another process has it.
    pub fn serve(&self, name: &WorkspaceName) -> Result<Option<Serving>, StoreError> {
        let path = self.path(name).join("serving.lock");
        let failed = |error: &std::io::Error| StoreError::io("lock", &path, error);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Serving(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }

    /// Takes a further one away from the relay that serves it, waits until that has let go, and puts its
    /// folder aside. Gives where it is now. Blocks.
    pub fn remove(&self, name: &WorkspaceName, now: Timestamp) -> Result<PathBuf, StoreError> {
        let path = self.path(name);
        create_private(&path.join("removing"), b"")?;
        let deadline = Instant::now() + PATIENCE;
        let _serving = loop {
            match self.serve(name)? {
                Some(serving) => break serving,
                None if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                None => return Err(StoreError::Busy),
            }
        };
        let aside = self.root.join("removed");
        private_folder(&aside)?;
        let to = aside.join(format!("{name}-{}", now.unix_ms()));
        if let Database::Server(server) = Folder::at(&path).database()? {
            server
                .put_aside(&format!("removed_{name}_{}", now.unix_ms()))
                .map_err(|error| StoreError::sql("put the tables aside", &error))?;
        }
        std::fs::rename(&path, &to).map_err(|error| StoreError::io("move", &path, &error))?;
        Ok(to)
    }
}

/// Whose a state folder is.
pub(super) fn name_in(path: &Path) -> Result<WorkspaceName, StoreError> {
    let file = path.join(NAME_FILE);
    if !file.exists() {
        return Ok(WorkspaceName::first());
    }
    let name = read_private(&file)?.trim().parse();
    name.map_err(|_| StoreError::Damaged {
        path: file,
        what: "it does not hold a workspace's name".to_owned(),
    })
}
