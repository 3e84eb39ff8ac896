//! The server's errors as refusals: its code and sentence, never a row's or parameter's value.

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use crate::core::refusal::{Code, Refusal};

/// The refusal for an error of the driver or the server.
pub(super) fn refusal(error: &Error) -> Refusal {
    if let Some(error) = error.as_db_error() {
        return from_server(error);
    }
    // The driver keeps the kind of an error to itself; its sentence is all there is.
    if error.to_string().contains("TLS") {
        return Refusal::new(
            Code::DatabaseUnavailable,
            "the server speaks no TLS, or its certificate was not accepted",
        )
        .hint("`sslmode` and `sslrootcert` in the database URL say what is accepted");
    }
    Refusal::new(
        Code::DatabaseUnavailable,
        "the connection to the database could not be made or was lost",
    )
    .hint("the database may be down or starting; try again in a moment, or run `secondkey doctor`")
}

/// Whether the connection is of no more use.
pub(super) fn is_lost(error: &Error) -> bool {
    error
        .as_db_error()
        .is_none_or(|error| error.parsed_severity() == Some(tokio_postgres::error::Severity::Fatal))
}

fn from_server(error: &DbError) -> Refusal {
    let state = error.code().code();
    let message = sentence(state, error.message());
    let refusal = match state {
        "42P01" => Refusal::new(Code::UnknownTable, message),
        "42703" => Refusal::new(Code::UnknownColumn, message),
        "42601" => Refusal::new(Code::SyntaxError, message),
        "57014" if message.contains("statement timeout") => time_limit(),
        "57014" => Refusal::new(Code::Cancelled, "the statement was cancelled"),
        "55P03" => Refusal::new(Code::DatabaseError, message)
            .hint("another session holds a lock; try again in a moment"),
        "42501" => Refusal::new(Code::DatabaseError, message)
            .hint("the login of this target does not have that privilege"),
        "25006" => Refusal::new(Code::Forbidden, message)
            .hint("this was judged to be a read, and reads cannot change anything"),
        "40001" | "40P01" => Refusal::new(Code::DatabaseError, message)
            .hint("nothing was changed; the same statement can be sent again"),
        _ if state.starts_with("28") || state == "3D000" => {
            Refusal::new(Code::DatabaseUnavailable, "the database refused the login")
                .hint("run `secondkey doctor`; the URL's user, password or database may be wrong")
        }
        _ if state.starts_with("08") || state.starts_with("57P") || state == "53300" => {
            Refusal::new(Code::DatabaseUnavailable, message).hint("try again in a moment")
        }
        _ => Refusal::new(Code::DatabaseError, message),
    };
    let refusal = match (&refusal.hint, error.hint()) {
        (None, Some(hint)) if !state.starts_with("22") => refusal.hint(hint),
        _ => refusal,
    };
    refusal.sqlstate(state)
}

/// The server's sentence. Data exceptions end in the value that was wrong, which is left out.
fn sentence(state: &str, message: &str) -> String {
    let message = if state.starts_with("22") {
        message.split(": \"").next().unwrap_or(message)
    } else {
        message
    };
    message.to_owned()
}

/// The number of the parameter that an error is about, from the server's own note.
pub(super) fn parameter(error: &Error) -> Option<usize> {
    let context = error.as_db_error()?.where_()?;
    let (_, rest) = context.split_once("parameter $")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The refusal for a row that the wire guard did not let through.
pub(super) fn too_large() -> Refusal {
    Refusal::new(
        Code::DatabaseError,
        "one row of the answer is larger than 16 MiB",
    )
    .hint("select fewer columns, or cut the large ones with left() or substring()")
}

/// The refusal for a statement that took too long.
pub(super) fn time_limit() -> Refusal {
    Refusal::new(
        Code::TimeLimit,
        "the statement was stopped at its time limit",
    )
    .hint("ask for less, add a WHERE or LIMIT, or raise timeout_ms if the target allows it")
}

/// The refusal for a statement that was cancelled before anything of it stood.
pub(super) fn cancelled() -> Refusal {
    Refusal::new(
        Code::Cancelled,
        "the statement was cancelled; nothing of it stands",
    )
}
