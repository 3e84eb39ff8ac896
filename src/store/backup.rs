//! Copies of a whole state folder, with the workspaces below it, that can be put back.
//!
//! ```text
//! backup.json   what it is: its format, when it was made, and the SHA-256 of each file
//! state/        the files, as they lie in a state folder
//! ```
//!
//! Each database is copied as it is at one moment (`VACUUM INTO`), after the other files beside it: a signed head
//! is never of a longer log than the one that comes along.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::core::audit::{Break, Draft, EventKind, Verified};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::{Clock, Timestamp};
use crate::core::work::Digest;
use crate::core::workspace::WorkspaceName;
use crate::store::database::connect;
use crate::store::folder::{Folder, create_private, private_folder};
use crate::store::sql;
use crate::store::{Members, State, StoreError, Workspaces};

/// The format that is written.
const FORMAT: u32 = 1;
const MANIFEST: &str = "backup.json";
const FILES: &str = "state";

/// Why there is no backup, or nothing was put back. Nothing is left half done.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// What would be written is there.
    #[error("`{}` is there already", .0.display())]
    Exists(PathBuf),
    /// It is no backup of a relay, or one of a newer version.
    #[error("`{}` is no backup that this version can read: {}", .0.display(), .1)]
    NotOne(PathBuf, String),
    /// A file is not what it was.
    #[error("`{}` in the backup `{}` is missing, or not as it was written", .1, .0.display())]
    Changed(PathBuf, String),
    /// The audit log of a workspace does not hold.
    #[error("the audit log of the workspace `{workspace}` in the backup does not hold: {found}")]
    Broken {
        /// Whose log.
        workspace: WorkspaceName,
        /// What was found.
        found: Break,
    },
    /// The disk or a database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<BackupError> for Refusal {
    fn from(error: BackupError) -> Self {
        let hint = match &error {
            BackupError::Exists(_) => "name a folder that is not there yet",
            BackupError::NotOne(..) => "name a folder that `secondkey relay backup` has made",
            BackupError::Changed(..) | BackupError::Broken { .. } => {
                "nothing was put back; use another backup, or the same from another copy"
            }
            BackupError::Store(_) => "mend that and run the command again; nothing is half done",
        };
        Self::new(Code::InvalidArgument, error.to_string()).hint(hint)
    }
}

/// What is in a backup.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// When it was made, unix milliseconds.
    made_ms: i64,
    /// Of each file below `state/` its SHA-256 in hex.
    files: BTreeMap<String, Digest>,
}

/// What was put back.
#[derive(Debug)]
pub struct Restored {
    /// When the backup was made.
    pub made: Timestamp,
    /// Each workspace, and how far its log holds.
    pub workspaces: Vec<(WorkspaceName, Verified)>,
}

/// Copies the state folder `root`, which is open as `state`, with all its workspaces, into the new folder `to`.
/// Processes that use it may go on. Blocks.
pub fn back_up(root: &Path, to: &Path, now: Timestamp) -> Result<(), BackupError> {
    let staged = Staged::beside(to)?;
    let files = staged.path.join(FILES);
    {
        // Nobody makes keys or changes the format meanwhile.
        let _lock = Folder::at(root).lock()?;
        copy(root, &files)?;
    }
    let manifest = Manifest {
        format: FORMAT,
        made_ms: now.unix_ms(),
        files: digests(&files)?,
    };
    let mut text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
    text.push('\n');
    create_private(&staged.path.join(MANIFEST), text.as_bytes())?;
    staged.put_at(to)
}

/// Makes the state folder `to` of a backup, once every file in it and every workspace's audit log is found to be
/// whole; each log then says who put it back. Blocks.
pub async fn restore(
    from: &Path,
    to: &Path,
    by: &Principal,
    clock: Arc<dyn Clock>,
) -> Result<Restored, BackupError> {
    let manifest = manifest(from)?;
    let files = from.join(FILES);
    let found = digests(&files)?;
    if let Some(name) = differing(&manifest.files, &found) {
        return Err(BackupError::Changed(from.to_owned(), name));
    }
    let staged = Staged::beside(to)?;
    private_folder(&staged.path)?;
    for name in manifest.files.keys() {
        copy_file(&files.join(name), &staged.path.join(name))?;
    }
    let made = Timestamp::from_unix_ms(manifest.made_ms);
    let root = Workspaces::of(&staged.path);
    let mut names = vec![WorkspaceName::first()];
    names.extend(root.further()?);
    let mut workspaces = Vec::new();
    for name in names {
        let state = State::open(&root.path(&name), Arc::clone(&clock))?;
        let held = held(&state, &name, (made, by)).await;
        state.close().await?;
        workspaces.push((name, held?));
    }
    staged.put_at(to)?;
    Ok(Restored { made, workspaces })
}

/// How far a restored workspace's log holds; then it says who restored it.
async fn held(
    state: &State,
    name: &WorkspaceName,
    (made, by): (Timestamp, &Principal),
) -> Result<Verified, BackupError> {
    // Also of another format: brought to this one here, and not by a relay that is already waited for.
    Members::open(state)?;
    let verified = state.log().verify(None)?.outcome;
    let verified = verified.map_err(|found| BackupError::Broken {
        workspace: name.clone(),
        found,
    })?;
    let draft = Draft::new(state.now(), EventKind::StateRestored).by(by);
    let draft = draft.text("made", &made.to_string());
    state.log().append(draft).await?;
    Ok(verified)
}

fn manifest(from: &Path) -> Result<Manifest, BackupError> {
    let not_one = |why: String| BackupError::NotOne(from.to_owned(), why);
    let text = std::fs::read(from.join(MANIFEST)).map_err(|error| {
        let missing = error.kind() == ErrorKind::NotFound;
        not_one(if missing {
            format!("there is no `{MANIFEST}` in it")
        } else {
            error.to_string()
        })
    })?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| not_one(error.to_string()))?;
    if manifest.format != FORMAT {
        let why = format!("its format is {}, and not {FORMAT}", manifest.format);
        return Err(not_one(why));
    }
    Ok(manifest)
}

/// The first file that only one of them has, or that is another.
fn differing(said: &BTreeMap<String, Digest>, found: &BTreeMap<String, Digest>) -> Option<String> {
    let changed = said
        .iter()
        .find(|(name, digest)| found.get(*name) != Some(*digest));
    let added = || found.keys().find(|name| !said.contains_key(*name));
    changed.map(|(name, _)| name).or_else(added).cloned()
}

/// A folder that is made beside its place, and taken away unless it gets there.
struct Staged {
    path: PathBuf,
}

impl Staged {
    fn beside(place: &Path) -> Result<Self, BackupError> {
        if place.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(place.to_owned()));
        }
        let mut name = place.as_os_str().to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let path = PathBuf::from(name);
        if path.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(path));
        }
        private_folder(&path)?;
        Ok(Self { path })
    }

    /// Renames it to its place, where nothing may have come meanwhile.
    fn put_at(self, place: &Path) -> Result<(), BackupError> {
        if place.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(place.to_owned()));
        }
        std::fs::rename(&self.path, place)
            .map_err(|error| StoreError::io("make", place, &error))?;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone where it was put at its place.
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// Copies a state folder and what lies below it; databases last.
fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    private_folder(to)?;
    let (databases, others): (Vec<PathBuf>, Vec<PathBuf>) = entries(from)?
        .into_iter()
        .partition(|path| is_database(path));
    for path in others {
        let Some(name) = path.file_name() else {
            continue;
        };
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            copy_file(&path, &to.join(name))?;
        }
    }
    for path in databases {
        let Some(name) = path.file_name() else {
            continue;
        };
        copy_database(&path, &to.join(name))?;
    }
    Ok(())
}

/// The files and folders in a folder that belong into a backup.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error: &std::io::Error| StoreError::io("read", folder, error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        let kind = entry.file_type().map_err(|error| failed(&error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let passing = ["-wal", "-shm", "-journal", ".lock"]
            .iter()
            .any(|end| name.ends_with(end));
        if !passing && name != REMOVED && (kind.is_dir() || kind.is_file()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// What was a workspace once; see [`Workspaces`].
const REMOVED: &str = "removed";

fn is_database(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "db")
}

fn copy_database(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |error: &sql::Error| StoreError::sql("copy the state database", error);
    // Its permissions are those of this empty file.
    create_private(to, b"")?;
    connect(from)?
        .execute("VACUUM INTO ?1", (to.to_string_lossy(),))
        .map_err(|error| failed(&error))?;
    let synced = File::open(to).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreError::io("write", to, &error))
}

/// Copies a file, for its owner alone, and makes the folders on its way.
fn copy_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    if let Some(folder) = to.parent() {
        private_folder(folder)?;
    }
    let content = std::fs::read(from).map_err(|error| StoreError::io("read", from, &error))?;
    create_private(to, &content)?;
    Ok(())
}

/// The SHA-256 of each file below a folder, by its path from there.
fn digests(folder: &Path) -> Result<BTreeMap<String, Digest>, StoreError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for path in entries(&here)? {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path);
            found.insert(name.to_string_lossy().into_owned(), digest(&path)?);
        }
    }
    Ok(found)
}

fn digest(path: &Path) -> Result<Digest, StoreError> {
    let failed = |error: &std::io::Error| StoreError::io("read", path, error);
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let (mut hash, mut part) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        let count = file.read(&mut part).map_err(|error| failed(&error))?;
        match part.get(..count) {
            Some([]) | None => return Ok(Digest::from_bytes(hash.finalize().into())),
            Some(read) => hash.update(read),
        }
    }
}
