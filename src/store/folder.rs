//! The state folder: only its owner may enter, and one process at a time sets it up.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};

use crate::core::workspace::FOLDER;
use crate::store::database::{Database, PATIENCE};
use crate::store::error::StoreError;
use crate::store::sql::Server;
use crate::store::workspaces::name_in;

/// Says at which server the tables are.
pub(super) const STORE_FILE: &str = "store";

/// The paths in a state folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The paths in a folder, whether there is one or not.
    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Opens the folder, and makes it if there is none.
    pub(super) fn open(root: &Path) -> Result<Self, StoreError> {
        let folder = Self::at(root);
        private_folder(root)?;
        private_folder(&folder.keys())?;
        Ok(folder)
    }

    /// Where the tables are.
    pub(super) fn database(&self) -> Result<Database, StoreError> {
        self.tables_in("state.db")
    }

    /// Where the tables are of whoever may come to a relay.
    pub(super) fn members(&self) -> Result<Database, StoreError> {
        self.tables_in("members.db")
    }

    /// Whether there are tables, or where there may be some.
    pub(super) fn has_database(&self) -> bool {
        self.root.join("state.db").exists() || self.shared().is_some()
    }

    /// Whether there is a relay's members, or a store that may have some.
    pub(super) fn has_members(&self) -> bool {
        self.root.join("members.db").exists() || self.shared().is_some()
    }

    /// Whether they are at a server.
    pub(super) fn is_shared(&self) -> bool {
        self.shared().is_some()
    }

    fn tables_in(&self, name: &str) -> Result<Database, StoreError> {
        let Some(shared) = self.shared() else {
            return Ok(Database::File(self.root.join(name)));
        };
        let url = SecretString::from(read_private(&shared)?.trim());
        let server = Server::at(&url, &name_in(&self.root)?);
        let server = server.map_err(|refusal| StoreError::Damaged {
            path: shared,
            what: refusal.message,
        })?;
        Ok(Database::Server(server))
    }

    /// The file that says at which server the tables are, if they are at one. A relay's further workspaces are
    /// where its first is.
    fn shared(&self) -> Option<PathBuf> {
        let own = self.root.join(STORE_FILE);
        let above = self.root.parent().filter(|above| above.ends_with(FOLDER));
        let relays = above.and_then(|above| Some(above.parent()?.join(STORE_FILE)));
        [Some(own), relays]
            .into_iter()
            .flatten()
            .find(|path| path.exists())
    }

    /// Has the tables be at this server from now on.
    pub(super) fn share(&self, url: &SecretString) -> Result<(), StoreError> {
        let path = self.root.join(STORE_FILE);
        replace_private(&path, format!("{}\n", url.expose_secret()).as_bytes())
    }

    /// The database's write-ahead log.
    pub(super) fn wal(&self) -> PathBuf {
        self.root.join("state.db-wal")
    }

    /// The signed heads.
    pub(super) fn heads(&self) -> PathBuf {
        self.root.join("audit.heads")
    }

    /// The relay that was joined.
    pub(super) fn relay_pin(&self) -> PathBuf {
        self.root.join("relay.pin")
    }

    /// There while nothing new may run.
    pub(super) fn frozen(&self) -> PathBuf {
        self.root.join("frozen")
    }

    /// The keys.
    pub(super) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// What the web page keeps.
    pub(super) fn page(&self) -> PathBuf {
        self.root.join("page")
    }

    /// Held by the process that serves the web page.
    pub(super) fn page_lock(&self) -> PathBuf {
        self.root.join("page.lock")
    }

    /// Waits for the folder's lock. It is released when the file is dropped.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let path = self.root.join("state.lock");
        let failed = |error: &std::io::Error| StoreError::io("lock", &path, error);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&error))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Busy),
                Err(TryLockError::Error(error)) => return Err(failed(&error)),
            }
        }
    }
}

/// Makes a folder for its owner alone, or checks that an existing one is.
pub(super) fn private_folder(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| StoreError::io("create the folder", path, &error))?;
    refuse_if_open(path)
}

/// Refuses a file or folder that other users can read or change.
pub(super) fn refuse_if_open(path: &Path) -> Result<(), StoreError> {
    let metadata = path
        .metadata()
        .map_err(|error| StoreError::io("look at", path, &error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        Ok(())
    } else {
        Err(StoreError::Insecure {
            path: path.to_owned(),
            mode,
        })
    }
}

/// The permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Makes a file that nobody else can read, with this content and synced; an existing file is left
/// alone, and the answer is `false`.
pub(super) fn create_private(path: &Path, content: &[u8]) -> Result<bool, StoreError> {
    use std::io::Write as _;

    let failed = |error: &std::io::Error| StoreError::io("write", path, error);
    let opened = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(failed(&error)),
    };
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key would be refused for ever; without the file the next start makes a new one.
        drop(std::fs::remove_file(path));
        return Err(failed(&error));
    }
    Ok(true)
}

/// Puts a file with this content, which nobody else can read, in the place of one, at once.
pub(super) fn replace_private(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // Left by a process that died meanwhile.
    drop(std::fs::remove_file(&new));
    create_private(&new, content)?;
    std::fs::rename(&new, path).map_err(|error| StoreError::io("replace", path, &error))
}

/// Reads a file that only its owner can read.
pub(super) fn read_private(path: &Path) -> Result<String, StoreError> {
    refuse_if_open(path)?;
    std::fs::read_to_string(path).map_err(|error| StoreError::io("read", path, &error))
}
