//! Small texts with names that everybody has to see who shares a store: files in the state folder, or rows where
//! the store is at a server. Nothing here is secret to whoever can read the store.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::folder::{private_folder, read_private};
use crate::store::sql::{self, Connection, Optional as _, Server};

/// Where they are.
#[derive(Clone, Debug)]
pub(super) enum Shelf {
    /// In this folder.
    Folder(PathBuf),
    /// At a server.
    Server(Arc<Server>),
}

/// What tells one state of a text from the next: a file's inode, last change and length, or the like.
pub(super) type Stamp = (u64, i64, i64, u64);

/// A new text that lies beside its place; without [`Staged::place`] it goes away again.
#[derive(Debug)]
pub(super) enum Staged {
    /// In a file that is synced.
    File(tempfile::NamedTempFile, PathBuf),
    /// At a server it is written in one step anyway.
    Row(Arc<Server>, [String; 2]),
}

impl Shelf {
    /// The one of a state folder and its store.
    pub(super) fn of(root: &Path, database: &Database) -> Self {
        match database {
            Database::File(_) => Self::Folder(root.to_owned()),
            Database::Server(server) => Self::Server(Arc::clone(server)),
        }
    }

    /// What to call one of its texts in an error.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(root) => root.join(name),
            Self::Server(server) => PathBuf::from(format!("{}/{name}", server.schema())),
        }
    }

    /// The texts of a folder, by their names there, in no order.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<(String, Stamp)>, StoreError> {
        match self {
            Self::Folder(root) => files(&root.join(folder)),
            Self::Server(server) => at(server, |connection| {
                let rows = connection.query_map(LIST, [format!("{folder}/")], |row| {
                    let length: i64 = row.get(2)?;
                    let length = u64::try_from(length).unwrap_or(0);
                    Ok((row.get(0)?, (0, row.get(1)?, 0, length)))
                })?;
                rows.collect()
            }),
        }
    }

    /// One of them, if it is there.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self {
            Self::Folder(root) => {
                let path = root.join(name);
                path.exists().then(|| read_private(&path)).transpose()
            }
            Self::Server(server) => at(server, |connection| {
                let found = connection.query_row(READ, [name], |row| row.get(0));
                found.optional()
            }),
        }
    }

    /// Writes a new one beside its place.
    pub(super) fn stage(&self, name: &str, content: &str) -> Result<Staged, StoreError> {
        let root = match self {
            Self::Folder(root) => root,
            Self::Server(server) => {
                let row = [name.to_owned(), content.to_owned()];
                return Ok(Staged::Row(Arc::clone(server), row));
            }
        };
        let path = root.join(name);
        let folder = path.parent().unwrap_or(root);
        private_folder(folder)?;
        let failed = |error: &std::io::Error| StoreError::io("write", &path, error);
        // `tempfile` makes files for their owner alone.
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(folder)
            .map_err(|error| failed(&error))?;
        file.write_all(content.as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| failed(&error))?;
        Ok(Staged::File(file, path))
    }

    /// Takes one away; whether it was this call that did.
    pub(super) fn take(&self, name: &str) -> Result<bool, StoreError> {
        match self {
            Self::Folder(root) => {
                let path = root.join(name);
                match std::fs::remove_file(&path) {
                    Ok(()) => Ok(true),
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                    Err(error) => Err(StoreError::io("delete", &path, &error)),
                }
            }
            Self::Server(server) => at(server, |connection| {
                Ok(connection.execute(TAKE, [name])? == 1)
            }),
        }
    }
}

impl Staged {
    /// Puts it in its place, in one step and for good; an error where there is one of its name.
    pub(super) fn place(self) -> Result<(), StoreError> {
        let (file, path) = match self {
            Self::File(file, path) => (file, path),
            Self::Row(server, [name, content]) => {
                let placed = at(&server, |connection| {
                    connection.execute(PLACE, (&name, &content))
                });
                return match placed? {
                    0 => Err(StoreError::Io {
                        doing: format!("write `{name}`"),
                        why: "there is one already".to_owned(),
                    }),
                    _ => Ok(()),
                };
            }
        };
        let failed = |error: &std::io::Error| StoreError::io("write", &path, error);
        let placed = file.persist_noclobber(&path);
        placed.map_err(|error| failed(&error.error))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed(&error))
    }
}

fn files(folder: &Path) -> Result<Vec<(String, Stamp)>, StoreError> {
    let failed = |error: &std::io::Error| StoreError::io("look at", folder, error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(&error))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        match entry.metadata() {
            Ok(facts) => {
                let stamp = (facts.ino(), facts.ctime(), facts.ctime_nsec(), facts.size());
                found.push((name, stamp));
            }
            // Somebody else has taken it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(found)
}

fn at<T>(
    server: &Arc<Server>,
    mut work: impl FnMut(&Connection) -> sql::Result<T>,
) -> Result<T, StoreError> {
    let done = patiently(|| work(&server.connect()?));
    done.map_err(|error| StoreError::sql("use the store", &error))
}

const LIST: &str = "
    select substr(name, length(?1) + 1), changed, cast(length(content) as bigint) from files
    where substr(name, 1, length(?1)) = ?1";
const READ: &str = "select content from files where name = ?1";
const TAKE: &str = "delete from files where name = ?1";
/// The moment tells what is there from what may have been there under the same name.
const PLACE: &str = "
    insert into files (name, content, changed)
    values (?1, ?2, cast(extract(epoch from clock_timestamp()) * 1000000 as bigint))
    on conflict (name) do nothing";
