//! Signed heads: a file that is appended to and never rewritten, in which notes are separated by an empty line; or
//! rows where the store is at a server.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;

use crate::core::audit::{Head, origin};
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::folder::Folder;
use crate::store::sql::{self, Server};

/// Where they are.
#[derive(Clone, Debug)]
pub(super) enum Heads {
    /// In this file.
    File(PathBuf),
    /// At a server.
    Server(Arc<Server>),
}

impl Heads {
    /// Those of a state folder and its store.
    pub(super) fn of(folder: &Folder, database: &Database) -> Self {
        match database {
            Database::File(_) => Self::File(folder.heads()),
            Database::Server(server) => Self::Server(Arc::clone(server)),
        }
    }

    /// Adds a note at the end, in one write, and syncs it.
    pub(super) fn append(&self, note: &str) -> Result<(), StoreError> {
        match self {
            Self::File(path) => {
                try_append(path, note).map_err(|error| StoreError::io("write", path, &error))
            }
            Self::Server(server) => {
                let added = patiently(|| server.connect()?.execute(ADD, [note]));
                added.map(drop).map_err(|error| failed(&error))
            }
        }
    }

    /// Every head that one of `keys` signed, oldest first, and how many notes were not readable: the last in a
    /// file may be half a note, when the disk was full or the process killed.
    pub(super) fn read(
        &self,
        workspace: &str,
        keys: &[VerifyingKey],
    ) -> Result<(Vec<Head>, usize), StoreError> {
        let text = match self {
            Self::File(path) => match std::fs::read(path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
                Err(error) => return Err(StoreError::io("read", path, &error)),
            },
            Self::Server(server) => {
                let notes = patiently(|| {
                    let rows = server.connect()?.query_map(ALL, (), |row| row.get(0))?;
                    rows.collect::<sql::Result<Vec<String>>>()
                });
                notes.map_err(|error| failed(&error))?.join("\n")
            }
        };
        let notes = split(&text, &origin(workspace));
        let opened: Vec<Option<Head>> = notes.iter().map(|n| Head::open(n, keys).ok()).collect();
        let bad = opened.iter().filter(|head| head.is_none()).count();
        Ok((opened.into_iter().flatten().collect(), bad))
    }
}

fn failed(error: &sql::Error) -> StoreError {
    StoreError::sql("use the signed heads", error)
}

const ADD: &str = "insert into heads (note) values (?1)";
const ALL: &str = "select note from heads order by place";

fn try_append(path: &Path, note: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    // Half a note, left by a full disk or a killed process, must not swallow this one.
    let begin = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{begin}{note}\n").as_bytes())?;
    file.sync_data()
}

/// Splits into notes: each goes from an origin line to the end of its signatures, so that half a note
/// spoils no other.
fn split(text: &str, origin: &str) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    let mut signed = false;
    for line in text.lines() {
        let signature = line.starts_with('\u{2014}');
        if line == origin {
            notes.push(String::new());
        } else if signed && !signature {
            // What follows the signatures belongs to no note.
            continue;
        }
        signed = signature;
        if let Some(note) = notes.last_mut() {
            note.push_str(line);
            note.push('\n');
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::core::time::Timestamp;
    use crate::core::work::Digest;

    #[test]
    fn half_a_note_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.heads");
        let key = SigningKey::from_bytes(&[3; 32]);
        let head = |count| Head {
            workspace: "local".into(),
            count,
            link: Digest::of(&[b"x"]),
            at: Timestamp::from_unix_ms(0),
        };
        let note = head(2).sign(&key);
        for half in (1..note.len()).filter_map(|cut| note.get(..cut)) {
            std::fs::write(&path, format!("{}\n{half}", head(1).sign(&key))).unwrap();
            let all = Heads::File(path.clone());
            all.append(&head(3).sign(&key)).unwrap();
            all.append(&head(4).sign(&key)).unwrap();
            let (heads, bad) = all.read("local", &[key.verifying_key()]).unwrap();
            let counts: Vec<u64> = heads.iter().map(|head| head.count).collect();
            assert!(
                counts == [1, 3, 4] && bad <= 1 || counts == [1, 2, 3, 4],
                "{half}: {counts:?}"
            );
        }
    }
}
