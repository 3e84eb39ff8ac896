//! What can go wrong with the state folder, in words for the person who has to mend it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::core::refusal::{Code, Refusal};
use crate::core::request::InvalidTransition;
use crate::store::sql::{self, Kind};

/// Why the state folder could not be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The server that holds the store does not answer, or the connection to it was lost.
    #[error("the store does not answer: {0}")]
    Away(String),
    /// Other processes held the file for longer than anybody should wait.
    #[error("the state folder is busy: other processes have held it for {} seconds", super::database::PATIENCE.as_secs())]
    Busy,
    /// The store was closed, or its writer has died.
    #[error("the state folder is closed")]
    Closed,
    /// Something in it is not what this program writes.
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No space is left.
    #[error("the disk of the state folder is full")]
    Full,
    /// Somebody took a file away, or put another in its place, while it was in use.
    #[error("`{}` was removed or replaced while it was in use; put it back and start secondkey again", path.display())]
    Gone {
        /// Which file.
        path: PathBuf,
    },
    /// Others on this machine could read or change it.
    #[error("`{}` is open to other users (mode {mode:04o}); close it with `chmod {} {}`", path.display(), expected_mode(*mode), path.display())]
    Insecure {
        /// Which file or folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The operating system or SQLite refused.
    #[error("cannot {doing}: {why}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        why: String,
    },
    /// A newer version has changed the file.
    #[error(
        "the state folder was written by a newer version of secondkey (format {found}; this one knows up to {known}); install the newer version again"
    )]
    Newer {
        /// The format of the file.
        found: i64,
        /// The newest format this binary knows.
        known: i64,
    },
    /// The keys of the folder are not those that the store at a server is used with.
    #[error(
        "the keys are not those of the relay whose store this is: {0}; copy the folder `keys` from there"
    )]
    OtherKeys(String),
    /// It cannot be written.
    #[error("the state folder is read-only")]
    ReadOnly,
}

/// Why an execution could not begin.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BeginError {
    /// The request has been begun before; a request runs once.
    #[error("this request was begun before, and a request runs only once")]
    AlreadyUsed,
    /// The request is not one that this token may begin now.
    #[error(transparent)]
    NotDispatched(#[from] InvalidTransition),
    /// The token comes from before the journal, which therefore cannot know whether it was used.
    #[error("the token is older than this agent's journal, which cannot tell whether it was used")]
    OlderThanJournal,
    /// The journal or the log cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreError {
    /// An error of the operating system while `doing` something with `path`.
    pub(super) fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let kind = error.kind();
        if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            Self::Full
        } else if kind == ErrorKind::ReadOnlyFilesystem {
            Self::ReadOnly
        } else {
            Self::Io {
                doing: format!("{doing} `{}`", path.display()),
                why: error.to_string(),
            }
        }
    }

    /// What became of a statement while `doing` something.
    pub(super) fn sql(doing: &str, error: &sql::Error) -> Self {
        match error.kind() {
            Kind::Away => Self::Away(error.why().to_owned()),
            Kind::Busy => Self::Busy,
            Kind::Full => Self::Full,
            Kind::ReadOnly => Self::ReadOnly,
            Kind::NoRow | Kind::Other => Self::Io {
                doing: doing.to_owned(),
                why: error.why().to_owned(),
            },
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::new(
            Code::AuditUnavailable,
            format!("nothing was run, because it cannot be recorded: {error}"),
        )
        .hint("tell the person who runs secondkey; calls work again once this is mended")
    }
}

impl From<BeginError> for Refusal {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Store(error) => error.into(),
            BeginError::AlreadyUsed
            | BeginError::NotDispatched(_)
            | BeginError::OlderThanJournal => {
                Self::new(Code::TokenRefused, error.to_string()).hint("make the call again")
            }
        }
    }
}

/// What the permissions should be, given what they are: the owner's part alone.
fn expected_mode(mode: u32) -> String {
    format!("{:o}", mode & 0o700)
}
