//! What can become of a statement, in one vocabulary for both engines.

use rusqlite::ErrorCode;
use tokio_postgres::error::SqlState;

/// Why a statement did not work.
#[derive(Clone, Debug)]
pub(in crate::store) struct Error {
    kind: Kind,
    why: String,
}

/// Of what sort an error is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::store) enum Kind {
    /// The server does not answer, or the connection to it was lost.
    Away,
    /// Others are in the way.
    Busy,
    /// No space is left.
    Full,
    /// There is no row.
    NoRow,
    /// Anything else.
    Other,
    /// It cannot be written.
    ReadOnly,
}

impl Error {
    pub(super) fn no_row() -> Self {
        Self {
            kind: Kind::NoRow,
            why: "there is no such row".to_owned(),
        }
    }

    /// The server does not answer.
    pub(super) fn away(why: impl Into<String>) -> Self {
        Self {
            kind: Kind::Away,
            why: why.into(),
        }
    }

    /// What is there is not what this program writes.
    pub(in crate::store) fn damaged(why: &str) -> Self {
        Self {
            kind: Kind::Other,
            why: why.to_owned(),
        }
    }

    /// Of what sort it is.
    pub(in crate::store) fn kind(&self) -> Kind {
        self.kind
    }

    /// What the engine said.
    pub(in crate::store) fn why(&self) -> &str {
        &self.why
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(ErrorCode::ReadOnly) => Kind::ReadOnly,
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed,
            ) => Kind::Busy,
            _ if error == rusqlite::Error::QueryReturnedNoRows => Kind::NoRow,
            _ => Kind::Other,
        };
        Self {
            kind,
            why: error.to_string(),
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            return Self::away("the connection was lost");
        };
        let code = said.code();
        let state = code.code();
        let kind = if *code == SqlState::DISK_FULL || *code == SqlState::OUT_OF_MEMORY {
            Kind::Full
        } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            Kind::ReadOnly
        } else if [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::TOO_MANY_CONNECTIONS,
        ]
        .contains(code)
        {
            Kind::Busy
        } else if state.starts_with("08") || state.starts_with("57P") {
            Kind::Away
        } else {
            Kind::Other
        };
        // Not its detail: that may quote a row.
        Self {
            kind,
            why: format!("{} ({state})", said.message()),
        }
    }
}

/// What may be missing.
pub(in crate::store) trait Optional<T> {
    /// Nothing where there is no row.
    fn optional(self) -> super::Result<Option<T>>;
}

impl<T> Optional<T> for super::Result<T> {
    fn optional(self) -> super::Result<Option<T>> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == Kind::NoRow => Ok(None),
            Err(error) => Err(error),
        }
    }
}
