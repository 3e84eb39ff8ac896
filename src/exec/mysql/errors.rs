//! The driver's and the server's errors as refusals. No value of a row or parameter and no
//! credential passes through here: where a server quotes something, only names are kept.

use sqlx::mysql::MySqlDatabaseError;

use crate::core::refusal::{Code, Refusal};
use crate::core::statement::mysql::without_literals;

/// What an error means for the caller.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other error of the driver means that we misused it or the server broke the protocol"
)]
pub(super) fn refusal(error: &sqlx::Error) -> Refusal {
    match error {
        sqlx::Error::Database(_) => match number(error) {
            Some((number, database)) => from_server(number, database),
            None => Refusal::new(Code::DatabaseError, "the server reported an error"),
        },
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => lost(),
        sqlx::Error::PoolTimedOut => Refusal::new(
            Code::DatabaseUnavailable,
            "the database did not answer in time",
        )
        .hint("try again in a moment"),
        sqlx::Error::Configuration(_) => Refusal::new(
            Code::DatabaseUnavailable,
            "the target's URL has an option that the driver cannot use",
        )
        .hint("check ssl-mode, ssl-ca and the other options of the URL"),
        _ => Refusal::new(
            Code::DatabaseUnavailable,
            "the server and the driver did not understand each other",
        )
        .hint("try again; report this if it happens again"),
    }
}

/// The refusal for a connection that broke.
pub(super) fn lost() -> Refusal {
    Refusal::new(
        Code::DatabaseUnavailable,
        "the connection to the database was lost",
    )
    .hint("try again in a moment")
}

/// Whether the connection itself broke, so that another one may fare better.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match number(error) {
        // Killed, shut down, timed out by the server while it was idle.
        Some((number, _)) => matches!(number, 1053 | 1152..=1161 | 1927 | 4031),
        None => true,
    }
}

/// The server's own number of an error.
pub(super) fn number(error: &sqlx::Error) -> Option<(u16, &MySqlDatabaseError)> {
    let database = error
        .as_database_error()?
        .try_downcast_ref::<MySqlDatabaseError>()?;
    Some((database.number(), database))
}

/// The refusal of work that ran into its time limit.
pub(super) fn time_limit() -> Refusal {
    Refusal::new(
        Code::TimeLimit,
        "the statement was stopped at its time limit",
    )
    .hint("narrow it with WHERE or LIMIT, or ask for more time with timeout_ms")
}

/// The refusal of work whose caller gave up.
pub(super) fn cancelled() -> Refusal {
    Refusal::new(Code::Cancelled, "the statement was cancelled")
}

fn from_server(number: u16, error: &MySqlDatabaseError) -> Refusal {
    let code = match number {
        1146 | 1051 | 1109 => Code::UnknownTable,
        1054 => Code::UnknownColumn,
        1064 | 1149 => Code::SyntaxError,
        1969 | 3024 => return time_limit(),
        1317 => return cancelled(),
        1045 | 1044 | 1698 | 1862 | 1820 | 3118 | 4151 => return refused_login(number),
        1040 | 1203 | 1226 => {
            return Refusal::new(
                Code::DatabaseUnavailable,
                "the server takes no more connections",
            )
            .hint("try again in a moment");
        }
        1049 | 1053 | 1129 | 1130 | 1927 | 4031 => Code::DatabaseUnavailable,
        1792 => {
            return Refusal::new(
                Code::Forbidden,
                "the server refused a change inside a read-only transaction",
            )
            .sqlstate("25006")
            .hint("only reads run this way, and MariaDB does not even EXPLAIN a change there: EXPLAIN a SELECT with the same WHERE instead");
        }
        _ => Code::DatabaseError,
    };
    let refusal = Refusal::new(
        code,
        format!("the server says: {}", told(number, error.message())),
    );
    let refusal = match hint(number) {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    };
    match error.code() {
        Some(state) => refusal.sqlstate(state),
        None => refusal,
    }
}

fn refused_login(number: u16) -> Refusal {
    let sentence = if number == 1044 {
        "the login may not use this database"
    } else {
        "the server refused the login"
    };
    Refusal::new(Code::DatabaseUnavailable, sentence)
        .hint("a person has to check the user, password and grants of the target's login")
}

fn hint(number: u16) -> Option<&'static str> {
    Some(match number {
        1064 => "write the statement in the dialect of MySQL and MariaDB",
        1142 | 1143 | 1227 | 1370 => "the target's login lacks this privilege",
        1205 | 1213 => "another transaction was in the way; try again",
        1305 => "check the function's name; a stored function may need its schema in front",
        1295 => "this kind of statement cannot be prepared on this server",
        1062 => "a row with this key exists; update it, or choose another key",
        1451 | 1452 => "a foreign key forbids it; look at the table's keys with describe_table",
        _ => return None,
    })
}

/// The server's words, with everything quoted left out that is not a name.
fn told(number: u16, message: &str) -> String {
    // Errors whose quotes hold names of tables, columns, functions and the like.
    const NAMES: [u16; 32] = [
        1046, 1048, 1049, 1050, 1051, 1052, 1054, 1055, 1060, 1061, 1066, 1072, 1091, 1109, 1110,
        1136, 1140, 1142, 1143, 1146, 1176, 1222, 1227, 1241, 1242, 1248, 1305, 1364, 1370, 1630,
        1347, 4091,
    ];
    if number == 1064 {
        return near(message);
    }
    if NAMES.contains(&number) {
        return without_user(message);
    }
    let Some((before, rest)) = message.split_once('\'') else {
        return message.to_owned();
    };
    // A value may hold quotes itself, so everything between the first and the last goes.
    match (number, rest.rsplit_once(" for key ")) {
        (1062, Some((_, key))) => format!("{before}'...' for key {key}"),
        _ => format!(
            "{before}'...'{}",
            rest.rsplit('\'').next().unwrap_or_default()
        ),
    }
}

/// `... denied to user 'name'@'host' for ...` without who that is.
fn without_user(message: &str) -> String {
    match message.split_once(" to user '") {
        Some((before, rest)) => {
            let after = rest.split_once(" for ").map_or("", |(_, after)| after);
            format!("{before} to this login for {after}")
        }
        None => message.to_owned(),
    }
}

/// A syntax error: where it is, without the literals of the text there.
fn near(message: &str) -> String {
    let place = message
        .split_once("near '")
        .and_then(|(_, rest)| rest.rsplit_once("' at line "));
    let Some((text, line)) = place else {
        return "there is an error in the SQL syntax".into();
    };
    // The server cuts the text off somewhere, perhaps inside a literal.
    let plain = text
        .split(['\'', '"', '`', '\\'])
        .next()
        .and_then(without_literals)
        .unwrap_or_default();
    match plain.trim() {
        "" => format!("there is an error in the SQL syntax at line {line}"),
        plain => format!("there is an error in the SQL syntax near `{plain}` at line {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_quotes_is_told_only_where_it_is_a_name() {
        assert_eq!(
            told(1062, "Duplicate entry 'alice' for key 'PRIMARY'"),
            "Duplicate entry '...' for key 'PRIMARY'"
        );
        assert_eq!(
            told(
                1366,
                "Incorrect integer value: 'it's' for column `t`.`n` at row 1"
            ),
            "Incorrect integer value: '...' for column `t`.`n` at row 1"
        );
        assert_eq!(
            told(
                1142,
                "SELECT command denied to user 'ro'@'h' for table `a`.`b`"
            ),
            "SELECT command denied to this login for table `a`.`b`"
        );
        let unknown = "Table 'atk.nope' doesn't exist";
        assert_eq!(told(1146, unknown), unknown);
    }

    #[test]
    fn a_syntax_error_says_where_without_literals() {
        let message = "You have an error in your SQL syntax; check the manual for the right syntax to use near 'FORM t WHERE a = 17 AND b = 'secret'' at line 2";
        assert_eq!(
            told(1064, message),
            "there is an error in the SQL syntax near `FORM t WHERE a = ? AND b =` at line 2"
        );
    }
}
