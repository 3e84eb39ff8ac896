//! Running work above `read`: on a connection of its own, in one transaction that is committed
//! before anybody sees a row of its answer.

use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::core::answer;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::{Effect, Statement};
use crate::exec::Event;
use crate::exec::ledger::{Row, unwritten};
use crate::exec::rows::ROWS_PER_EVENT;
use crate::exec::sqlite::gate::Ceiling;
use crate::exec::sqlite::open::{self, Opened};
use crate::exec::sqlite::read::{self, Outlet};
use crate::exec::sqlite::stop::Stop;
use crate::exec::sqlite::values::Columns;
use crate::exec::sqlite::workers::Desk;
use crate::exec::sqlite::{Order, errors, judge, params};

/// The largest answer of a change, in bytes of JSON: it is held until the change is committed.
pub(super) const ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// How long the ledger may take, in milliseconds.
const LEDGER_MS: u32 = 10_000;

/// What a change answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) columns: Columns,
    pub(super) pages: Vec<Vec<answer::Row>>,
    pub(super) bytes: usize,
}

/// Runs a change to its end, whether or not anybody waits for it.
pub(super) fn run(desk: &Desk, order: &Order, stop: &Stop, outlet: &mut Outlet) {
    match change(desk, order, stop) {
        Ok((answer, affected)) => {
            outlet.start(answer.columns.shown);
            let events = outlet.events.clone();
            // The thread is free for the next change, however long the reader takes.
            outlet.runtime.spawn(tell(events, answer.pages, affected));
        }
        Err(refusal) => outlet.fail(stop, refusal),
    }
}

async fn tell(events: mpsc::Sender<Event>, pages: Vec<Vec<answer::Row>>, affected: u64) {
    for page in pages {
        // It is committed; without a reader there is nothing left to do.
        if events.send(Event::Rows(page)).await.is_err() {
            return;
        }
    }
    let affected = Some(affected);
    let _unread = events.send(Event::Done { affected }).await;
}

fn change(desk: &Desk, order: &Order, stop: &Stop) -> Result<(Answer, u64), Refusal> {
    desk.file.identity()?;
    let opened = open::for_change(desk.file.path(), &desk.trusted, order.vacuum)
        .map_err(|error| errors::refusal(&error))?;
    let connection = &opened.connection;
    if order.ceiling == Effect::Admin {
        // VACUUM and some pragmas run outside of a transaction only.
        let answer = step(&opened, order, stop)?;
        return Ok((answer, connection.changes()));
    }
    opened.gate.own();
    stop.patiently(connection, || connection.execute_batch("BEGIN IMMEDIATE"))?;
    is_as_judged(&opened, order, stop)?;
    let answer = step(&opened, order, stop)?;
    // A definition can write rows of its own, such as those in which FTS5 keeps its settings.
    let affected = if order.ceiling == Effect::Write {
        connection.changes()
    } else {
        0
    };
    let columns = answer
        .columns
        .shown
        .iter()
        .map(|column| column.name.as_str());
    order.keep.check(Some(affected), columns)?;
    opened.gate.own();
    if order.keep.nothing {
        return Ok((answer, affected));
    }
    note(connection, order, (affected, 0))?;
    commit(connection, stop)?;
    Ok((answer, affected))
    // Every way out before the commit drops the connection, which rolls back.
}

/// Notes the change in the ledger, if there is one, inside its transaction.
pub(super) fn note(
    connection: &Connection,
    order: &Order,
    (affected, statements): (u64, usize),
) -> Result<(), Refusal> {
    let Some(note) = &order.keep.note else {
        return Ok(());
    };
    let noted = connection.execute_batch(&note.done(Some(affected), statements));
    noted.map_err(|error| unwritten(&errors::refusal(&error)))
}

/// Asks the ledger, after a statement on it if there is one.
pub(super) fn ledger(
    desk: &Desk,
    first: Option<&str>,
    query: &str,
) -> Result<Option<Row>, Refusal> {
    desk.file.identity()?;
    let opened = open::for_change(desk.file.path(), &desk.trusted, false)
        .map_err(|error| errors::refusal(&error))?;
    opened.gate.own();
    let stop = Stop::after(LEDGER_MS, CancellationToken::new());
    let connection = &opened.connection;
    if let Some(first) = first {
        stop.patiently(connection, || connection.execute_batch(first))?;
    }
    let text = |value: rusqlite::types::Value| match value {
        rusqlite::types::Value::Integer(number) => Some(number.to_string()),
        rusqlite::types::Value::Text(text) => Some(text),
        rusqlite::types::Value::Null
        | rusqlite::types::Value::Real(_)
        | rusqlite::types::Value::Blob(_) => None,
    };
    stop.patiently(connection, || {
        let mut statement = connection.prepare(query)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let fields = (0..columns).map(|at| row.get(at).map(text));
        fields.collect::<rusqlite::Result<Row>>().map(Some)
    })
}

/// Refuses if the statement would do more than it was judged to do. From here on no other process can
/// change the schema: a view or trigger that came in between is seen now, or comes too late.
pub(super) fn is_as_judged(opened: &Opened, order: &Order, stop: &Stop) -> Result<(), Refusal> {
    let parsed = Statement::clone(&order.parsed);
    let now = judge::judge(opened, parsed, order.work.text(), stop)?;
    let judged = &order.judged;
    let same = now.effect <= order.ceiling
        && now.writes.is_subset(&judged.writes)
        && now.reads.is_subset(&judged.reads);
    if same {
        return Ok(());
    }
    Err(Refusal::new(
        Code::ClassificationMismatch,
        format!(
            "the database's schema has changed since the statement was judged, and now it {}",
            now.because()
        ),
    )
    .hint("nothing of it was done; send it again to have it judged as things are now"))
}

/// Prepares, binds and steps through the statement under its ceiling.
pub(super) fn step(opened: &Opened, order: &Order, stop: &Stop) -> Result<Answer, Refusal> {
    opened.gate.enforce(Ceiling {
        effect: order.ceiling,
        explain: order.explain,
        vacuum: order.vacuum,
    });
    let failed = |error: rusqlite::Error| stop.failed(&error);
    stop.watch(&opened.connection).map_err(failed)?;
    let mut statement = stop.patiently(&opened.connection, || {
        opened.connection.prepare(order.work.text())
    })?;
    params::bind(&mut statement, order.work.params())?;
    let declared = read::declared(&statement);
    let page = usize::try_from(order.limits.rows)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let mut answer = Answer::default();
    let mut rows = statement.raw_query();
    let mut row = rows.next().map_err(failed)?;
    answer.columns = Columns::new(declared, row);
    while let Some(stored) = row {
        answer.add(answer.columns.row(stored).map_err(failed)?, page)?;
        row = rows.next().map_err(failed)?;
    }
    Ok(answer)
}

impl Answer {
    fn add(&mut self, row: answer::Row, first_page: usize) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(answer::json_bytes(&row));
        if self.bytes > ANSWER_BYTES {
            return Err(Refusal::new(
                Code::DatabaseError,
                "the change returns more than 32 MiB, so nothing of it was done",
            )
            .hint("name fewer columns after RETURNING, or leave it out"));
        }
        let full = if self.pages.len() <= 1 {
            first_page
        } else {
            ROWS_PER_EVENT
        };
        match self.pages.last_mut() {
            Some(page) if page.len() < full => page.push(row),
            _ => self.pages.push(vec![row]),
        }
        Ok(())
    }
}

/// Commits. While a reader is in the way it is tried again, and given up at the time limit.
pub(super) fn commit(connection: &Connection, stop: &Stop) -> Result<(), Refusal> {
    let no_watch: Option<fn() -> bool> = None;
    connection
        .progress_handler(0, no_watch)
        .map_err(|error| errors::refusal(&error))?;
    stop.patiently(connection, || connection.execute_batch("COMMIT"))
}
