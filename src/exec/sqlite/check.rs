//! What `secondkey doctor` says of a SQLite target.

use rusqlite::Connection;

use crate::exec::Check;
use crate::exec::sqlite::gate::Ceiling;
use crate::exec::sqlite::open::{self, Opened};
use crate::exec::sqlite::workers::Desk;

/// Checks the file, the connection for reads and, where changes are allowed, the one for them.
pub(super) fn check(desk: &mut Desk, read_only: bool) -> Vec<Check> {
    let path = desk.file.path().display().to_string();
    // A connection that stood before could hide that the file is gone or was replaced.
    desk.forget();
    let mut found = match desk.reader() {
        Ok(opened) => {
            let mut found = vec![opens(&opened.connection, &path)];
            found.push(cannot_write(opened));
            found
        }
        Err(refusal) => {
            return vec![Check::bad(
                refusal.message,
                refusal.hint.unwrap_or_default(),
            )];
        }
    };
    if !read_only {
        found.push(can_write(desk));
    }
    found
}

fn opens(connection: &Connection, path: &str) -> Check {
    let ask = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0));
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
        row.get::<_, i64>(0)
    });
    match (tables, ask("PRAGMA journal_mode")) {
        (Ok(_), Ok(mode)) => Check::good(format!(
            "`{path}` opens (SQLite {}, journal mode {mode})",
            rusqlite::version()
        )),
        (Err(error), _) | (_, Err(error)) => {
            let refusal = super::errors::refusal(&error);
            Check::bad(
                format!("`{path}` cannot be read: {}", refusal.message),
                refusal.hint.unwrap_or_default(),
            )
        }
    }
}

/// Tries to write on the connection for reads, with the authorizer out of the way.
fn cannot_write(opened: &Opened) -> Check {
    opened.gate.own();
    let probe = "BEGIN; CREATE TABLE secondkey_probe(probe); ROLLBACK";
    let wrote = opened.connection.execute_batch(probe).is_ok();
    if !opened.connection.is_autocommit() {
        // Nothing was changed; this ends the transaction that the refused statement left open.
        let _nothing_to_undo = opened.connection.execute_batch("ROLLBACK");
    }
    opened.gate.enforce(Ceiling::READ);
    if wrote {
        Check::bad(
            "the connection for reads could write",
            "do not use this target, and report this",
        )
    } else {
        Check::good("the connection for reads cannot write: SQLite itself refuses")
    }
}

fn can_write(desk: &Desk) -> Check {
    let opened = open::for_change(desk.file.path(), &desk.trusted, false);
    let read_only = opened.and_then(|opened| opened.connection.is_readonly("main"));
    if matches!(read_only, Ok(false)) {
        Check::good("the file can be written, as the target's configuration allows changes")
    } else {
        Check::bad(
            "the target allows changes, but the file cannot be written",
            "let this user write to the file and its folder, or allow reads only",
        )
    }
}
