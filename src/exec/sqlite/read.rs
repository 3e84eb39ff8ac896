//! Running a read: row after row from SQLite to whoever reads them.

use rusqlite::{CachedStatement, Connection, Row as StoredRow, Rows};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::core::answer::{self, Column, Row};
use crate::core::limits::Limits;
use crate::core::refusal::Refusal;
use crate::exec::Event;
use crate::exec::rows::ROWS_PER_EVENT;
use crate::exec::sqlite::gate::Ceiling;
use crate::exec::sqlite::open::Opened;
use crate::exec::sqlite::stop::{Obstacles, Stop};
use crate::exec::sqlite::values::Columns;
use crate::exec::sqlite::{Order, errors, params};

/// About how many bytes of JSON one event holds after the first page.
const BYTES_PER_EVENT: usize = 1024 * 1024;

/// The way back to the caller.
#[derive(Debug)]
pub(super) struct Outlet {
    /// Told the columns, or why there are none, as soon as that is known.
    pub(super) started: Option<oneshot::Sender<Result<Vec<Column>, Refusal>>>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) runtime: Handle,
}

impl Outlet {
    /// Tells the columns.
    pub(super) fn start(&mut self, columns: Vec<Column>) {
        if let Some(started) = self.started.take() {
            // A caller that went away does not want to know.
            let _unwanted = started.send(Ok(columns));
        }
    }

    /// Tells that it failed: as the answer itself before the start, as an event after it.
    pub(super) fn fail(&mut self, stop: &Stop, refusal: Refusal) {
        // In both cases: a caller that went away does not want to know.
        if let Some(started) = self.started.take() {
            let _unwanted = started.send(Err(refusal));
        } else if self
            .events
            .try_send(Event::Failed(refusal.clone()))
            .is_err()
        {
            let _unwanted = stop.send(&self.runtime, &self.events, Event::Failed(refusal));
        }
    }
}

/// Runs a read on a connection that cannot do anything else.
pub(super) fn run(opened: &Opened, order: &Order, stop: &Stop, outlet: &mut Outlet) {
    let ended = stream(opened, order, stop, outlet);
    opened.gate.enforce(Ceiling::READ);
    let sent = ended.and_then(|()| {
        stop.send(
            &outlet.runtime,
            &outlet.events,
            Event::Done { affected: None },
        )
    });
    if let Err(refusal) = sent {
        outlet.fail(stop, refusal);
    }
}

fn stream(opened: &Opened, order: &Order, stop: &Stop, outlet: &mut Outlet) -> Result<(), Refusal> {
    opened.gate.enforce(Ceiling {
        explain: order.explain,
        ..Ceiling::READ
    });
    stop.watch(&opened.connection)
        .map_err(|error| stop.refusal(&error))?;
    let mut statement = stop.patiently(&opened.connection, || {
        opened.connection.prepare_cached(order.work.text())
    })?;
    let harmless = match statement.is_explain() {
        // SQLite calls no pragma that might set something read-only; the gate knows which form asks.
        0 => (statement.readonly() || order.parsed.kind == "pragma") && !order.explain,
        _ => true,
    };
    if !harmless {
        return Err(errors::refused());
    }
    params::bind(&mut statement, order.work.params())?;
    answer(
        &opened.connection,
        &mut statement,
        order.limits,
        stop,
        outlet,
    )
}

/// Steps through a statement. The first step is tried again while a lock is in its way; after that
/// the statement holds its own.
fn answer(
    connection: &Connection,
    statement: &mut CachedStatement<'_>,
    limits: Limits,
    stop: &Stop,
    outlet: &mut Outlet,
) -> Result<(), Refusal> {
    let mut obstacles = Obstacles::on(connection);
    loop {
        let mut rows = statement.raw_query();
        match rows.next() {
            Ok(Some(first)) => {
                let columns = Columns::new(declared(first.as_ref()), Some(first));
                outlet.start(columns.shown.clone());
                let first = columns.row(first).map_err(|error| stop.failed(&error))?;
                return pages(
                    first,
                    &columns,
                    &mut rows,
                    Pages {
                        limits,
                        stop,
                        outlet,
                    },
                );
            }
            Ok(None) => {
                drop(rows);
                outlet.start(Columns::new(declared(statement), None).shown);
                return Ok(());
            }
            Err(error) if obstacles.pass(&error) => {
                if let Some(why) = stop.why() {
                    return Err(why);
                }
            }
            Err(error) => return Err(stop.failed(&error)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Pages<'a> {
    limits: Limits,
    stop: &'a Stop,
    outlet: &'a Outlet,
}

/// Sends the first page with one row more than it shows, and then page after page.
fn pages(first: Row, columns: &Columns, rows: &mut Rows<'_>, to: Pages<'_>) -> Result<(), Refusal> {
    let mut full = usize::try_from(to.limits.rows)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let mut full_bytes = usize::try_from(to.limits.bytes).unwrap_or(usize::MAX);
    let mut bytes = answer::json_bytes(&first);
    let mut page = vec![first];
    loop {
        let next = rows.next().map_err(|error| to.stop.failed(&error))?;
        let next = next.map(|row: &StoredRow<'_>| columns.row(row)).transpose();
        let next = next.map_err(|error| to.stop.failed(&error))?;
        let ended = next.is_none();
        // A page that is over its bytes already is cut by them; its rows need not be complete.
        if ended || page.len() >= full || bytes > full_bytes {
            let event = Event::Rows(std::mem::take(&mut page));
            to.stop.send(&to.outlet.runtime, &to.outlet.events, event)?;
            (full, full_bytes, bytes) = (ROWS_PER_EVENT, BYTES_PER_EVENT, 0);
        }
        match next {
            Some(row) => {
                bytes = bytes.saturating_add(answer::json_bytes(&row));
                page.push(row);
            }
            None => return Ok(()),
        }
    }
}

/// The names and declared types of a statement's columns.
pub(super) fn declared(statement: &rusqlite::Statement<'_>) -> Vec<(String, Option<String>)> {
    let column = |c: &rusqlite::Column<'_>| (c.name().to_owned(), c.decl_type().map(str::to_owned));
    statement.columns().iter().map(column).collect()
}
