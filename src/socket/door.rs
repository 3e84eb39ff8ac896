//! The socket itself: made where nobody else can put another in its place, and taken away at the end.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::core::level::{self, Facts, What};
use crate::core::refusal::{Code, Refusal};
use crate::system::{accounts, owners};

/// The owner and the group may connect. Which group that is, is the folder's or the process's.
const MODE: u32 = 0o660;
/// What others may not do to the folder of the socket.
const WRITE_BY_OTHERS: u32 = 0o022;

/// A listening socket. Dropping it takes its file away.
#[derive(Debug)]
pub struct Door {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode: another's file at the same path is left alone.
    file: (u64, u64),
    /// Held as long as this socket listens.
    _lock: File,
}

impl Door {
    /// Listens at a path. What an agent that was killed has left there is replaced; an agent that still
    /// listens is not, and neither is any other file.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        let path = std::path::absolute(path).map_err(|error| failed(path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        check_folder(&folder, accounts::own_uid())?;
        let lock = lock(&path)?;
        make_room(&path)?;
        let listener = bind(&path, &folder).map_err(|error| failed(&path, &error))?;
        let facts = path
            .symlink_metadata()
            .map_err(|error| failed(&path, &error))?;
        Ok(Self {
            listener,
            file: (facts.dev(), facts.ino()),
            path,
            _lock: lock,
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let facts = self.path.symlink_metadata();
        if facts.is_ok_and(|facts| (facts.dev(), facts.ino()) == self.file) {
            // If it stays, the next agent replaces it.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Refuses a folder in which anybody but `agent` and the superuser can put another socket.
pub fn check_folder(folder: &Path, agent: u32) -> Result<(), Refusal> {
    let shown = folder.display();
    let chain = owners::chain(folder).map_err(|error| failed(folder, &error))?;
    let open = chain
        .last()
        .is_some_and(|last| last.mode & WRITE_BY_OTHERS != 0);
    let found = level::judge(&Facts {
        agent,
        socket_group: None,
        client: None,
        files: vec![level::File {
            what: What::Socket,
            path: shown.to_string(),
            chain,
        }],
    });
    let why = found.spoilt.into_iter().next().or_else(|| {
        open.then(|| format!("the folder of the socket `{shown}` can be changed by other users"))
    });
    match why {
        None => Ok(()),
        Some(why) => Err(Refusal::new(Code::AgentUnavailable, why).hint(
            "the socket needs a folder that belongs to the agent's user and that nobody else can write to, such as /run/secondkey",
        )),
    }
}

/// One agent at one path.
fn lock(path: &Path) -> Result<File, Refusal> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let lock = path.with_file_name(name);
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock);
    let file = opened.map_err(|error| failed(&lock, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(taken(path)),
        Err(TryLockError::Error(error)) => Err(failed(&lock, &error)),
    }
}

/// Refuses what is not a socket that nobody listens at any more.
fn make_room(path: &Path) -> Result<(), Refusal> {
    let facts = match path.symlink_metadata() {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(path, &error)),
    };
    if !facts.file_type().is_socket() {
        let sentence = format!("`{}` is there already, and is no socket", path.display());
        return Err(
            Refusal::new(Code::InvalidArgument, sentence).hint("name another path with --socket")
        );
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(_) => Err(taken(path)),
        Err(error) => Err(failed(path, &error)),
    }
}

/// Made in a folder of its own and moved into place: it is never there with the wrong permissions, and
/// takes the place of one that is left over in one step.
fn bind(path: &Path, folder: &Path) -> io::Result<UnixListener> {
    let made = tempfile::Builder::new().prefix(".s").tempdir_in(folder)?;
    let at = made.path().join("s");
    let listener = UnixListener::bind(&at)?;
    std::fs::set_permissions(&at, Permissions::from_mode(MODE))?;
    std::fs::rename(&at, path)?;
    made.close()?;
    Ok(listener)
}

fn taken(path: &Path) -> Refusal {
    let sentence = format!("another agent listens at `{}` already", path.display());
    Refusal::new(Code::InvalidArgument, sentence)
        .hint("end it first, or name another path with --socket")
}

fn failed(path: &Path, error: &io::Error) -> Refusal {
    let sentence = format!(
        "`{}` cannot be used for the socket: {error}",
        path.display()
    );
    Refusal::new(Code::InvalidArgument, sentence)
        .hint("name a path in a folder that is there and yours, with --socket")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[tokio::test]
    async fn a_socket_is_made_once_replaced_when_left_over_and_taken_away() {
        let folder = folder();
        let path = folder.path().join("agent.sock");
        let door = Door::open(&path).unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let second = Door::open(&path).unwrap_err();
        assert!(
            second.message.contains("another agent listens"),
            "{second:?}"
        );
        assert!(UnixStream::connect(&path).is_ok(), "the first goes on");
        drop(door);
        assert!(!path.exists());

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err(), "left over");
        let door = Door::open(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another's").unwrap();
        drop(door);
        assert_eq!(std::fs::read(&path).unwrap(), b"another's");
        assert!(
            Door::open(&path)
                .unwrap_err()
                .message
                .contains("is no socket")
        );
    }

    #[tokio::test]
    async fn a_socket_that_somebody_listens_at_without_our_lock_stays() {
        let folder = folder();
        let path = folder.path().join("agent.sock");
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(
            Door::open(&path)
                .unwrap_err()
                .message
                .contains("another agent listens")
        );
        drop(other);
    }

    #[tokio::test]
    async fn a_folder_in_which_others_can_write_is_refused() {
        let folder = folder();
        for mode in [0o770, 0o707, 0o1777] {
            let open = Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path(), open).unwrap();
            let refused = Door::open(&folder.path().join("agent.sock")).unwrap_err();
            assert!(
                refused.message.contains("changed by other users"),
                "{refused:?}"
            );
        }
        assert!(Door::open(&folder.path().join("no/agent.sock")).is_err());
        assert!(check_folder(Path::new("/"), accounts::own_uid()).is_ok());
    }
}
