//! SQLite's errors as refusals. The driver's own error carries the statement's text, literals and
//! all, so only SQLite's message is taken from it.

use rusqlite::ffi::ErrorCode;

use crate::core::refusal::{Code, Refusal};

/// What an error means for the caller.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other errors are best told in SQLite's own words"
)]
pub(super) fn refusal(error: &rusqlite::Error) -> Refusal {
    if needs_recovery(error) {
        return unavailable(
            "a writer that crashed left the database in need of recovery, and the file cannot be written here",
            "let this user write to the file and its folder, or open it once as one who may: `sqlite3 FILE .tables`",
        );
    }
    let Some((code, message)) = parts(error) else {
        return Refusal::new(
            Code::Internal,
            "the SQLite driver gave an answer of an unexpected kind",
        );
    };
    match code {
        ErrorCode::AuthorizationForStatementDenied => refused(),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => unavailable(
            "the database file cannot be opened",
            "check that this user may read the file and, for a database in WAL mode, write to its folder",
        ),
        ErrorCode::NotADatabase => unavailable(
            "the file is not a SQLite database",
            "check the path in the target's URL; encrypted databases are not supported",
        ),
        ErrorCode::DatabaseCorrupt => unavailable(
            "the database file is damaged",
            "run PRAGMA integrity_check and restore it from a backup",
        ),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Refusal::new(
            Code::DatabaseError,
            "another process has locked the database",
        )
        .hint("try again in a moment"),
        ErrorCode::ReadOnly => {
            Refusal::new(Code::DatabaseError, "the database cannot be written here")
                .hint("check that this user may write to the file and its folder")
        }
        ErrorCode::DiskFull => Refusal::new(Code::DatabaseError, "the disk is full")
            .hint("a person has to make room on the database's disk"),
        ErrorCode::TooBig => {
            Refusal::new(Code::DatabaseError, "a value or the statement is too large")
                .hint("values may have 64 MiB; take part of it with substr()")
        }
        ErrorCode::OutOfMemory => Refusal::new(Code::DatabaseError, "SQLite ran out of memory")
            .hint("work on fewer rows or smaller values"),
        ErrorCode::OperationInterrupted => super::stop::cancelled(),
        _ => from_message(&message),
    }
}

/// Whether another process's lock is in the way.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    parts(error).is_some_and(|(code, _)| {
        matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    })
}

/// Whether the file has to be repaired from its journal first, which takes the right to write.
pub(super) fn needs_recovery(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{
        SQLITE_READONLY_CANTINIT, SQLITE_READONLY_RECOVERY, SQLITE_READONLY_ROLLBACK,
    };
    error.sqlite_error().is_some_and(|error| {
        [
            SQLITE_READONLY_CANTINIT,
            SQLITE_READONLY_RECOVERY,
            SQLITE_READONLY_ROLLBACK,
        ]
        .contains(&error.extended_code)
    })
}

/// Whether the run was stopped from outside.
pub(super) fn is_interrupt(error: &rusqlite::Error) -> bool {
    parts(error).is_some_and(|(code, _)| code == ErrorCode::OperationInterrupted)
}

/// The name that SQLite does not know, if that is what the message says.
pub(super) fn unknown_name<'m>(message: &'m str, what: &str) -> Option<&'m str> {
    let name = message
        .strip_prefix("no such ")?
        .strip_prefix(what)?
        .strip_prefix(": ")?;
    Some(name.split(" - ").next().unwrap_or(name))
}

/// The refusal of an engine that was asked for more than the statement may do.
pub(super) fn refused() -> Refusal {
    Refusal::new(
        Code::Forbidden,
        "SQLite's authorizer refused the statement: it does more than it may do here",
    )
    .hint("use SELECT and known functions for reads")
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other error is the driver's own, and means that we misused it"
)]
fn parts(error: &rusqlite::Error) -> Option<(ErrorCode, String)> {
    match error {
        rusqlite::Error::SqliteFailure(error, message) => {
            Some((error.code, message.clone().unwrap_or_default()))
        }
        rusqlite::Error::SqlInputError { error, msg, .. } => Some((error.code, msg.clone())),
        rusqlite::Error::MultipleStatement => {
            Some((ErrorCode::Unknown, "near \";\": syntax error".into()))
        }
        _ => None,
    }
}

/// What an error means that came up while the statement ran. Functions and full-text tables put
/// pieces of the values they work on into their messages, so only the words before these are kept.
pub(super) fn while_running(error: &rusqlite::Error) -> Refusal {
    let Some((ErrorCode::Unknown, message)) = parts(error) else {
        return refusal(error);
    };
    let (area, rest) = match message.split_once(": ") {
        Some((area @ "fts5", rest)) => (format!("{area}: "), rest),
        _ => (String::new(), message.as_str()),
    };
    let ends: &[char] = &[':', '"', '\'', '[', '{', '`'];
    let words = rest.split(ends).next().unwrap_or_default().trim_end();
    Refusal::new(Code::DatabaseError, format!("SQLite says: {area}{words}")).hint(
        "look at the values that the statement works on: JSON, a full-text query, a number's range",
    )
}

fn from_message(message: &str) -> Refusal {
    let code = if unknown_name(message, "table").is_some() {
        Code::UnknownTable
    } else if unknown_name(message, "column").is_some() {
        Code::UnknownColumn
    } else if is_syntax(message) {
        Code::SyntaxError
    } else {
        Code::DatabaseError
    };
    let message = if message.is_empty() {
        "an unknown error"
    } else {
        message
    };
    let refusal = Refusal::new(code, format!("SQLite says: {message}"));
    if unknown_name(message, "function").is_some() {
        return refusal
            .hint("`SELECT name FROM pragma_function_list` lists the functions there are");
    }
    if code == Code::SyntaxError {
        return syntax_error(message).hint("write the statement in SQLite's dialect");
    }
    refusal
}

/// The token that SQLite stumbled over is shown unless it is a literal.
fn syntax_error(message: &str) -> Refusal {
    let token = message.split('"').nth(1).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphabetic() || c == '_' || c.is_ascii_punctuation();
    let literal = ["'", "x'", "X'"]
        .iter()
        .any(|quote| token.starts_with(quote));
    let shown = if literal || !token.starts_with(is_name) {
        "syntax error"
    } else {
        message
    };
    Refusal::new(Code::SyntaxError, format!("SQLite says: {shown}"))
}

fn is_syntax(message: &str) -> bool {
    ["syntax error", "incomplete input", "unrecognized token"]
        .iter()
        .any(|part| message.contains(part))
}

fn unavailable(sentence: &str, hint: &str) -> Refusal {
    Refusal::new(Code::DatabaseUnavailable, sentence).hint(hint)
}
