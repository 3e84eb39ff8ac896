//! Several statements in one transaction. One that only reads is held to reading, whatever stands beside
//! it, and a batch of such runs on a connection that cannot write.

use rusqlite::Connection;

use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;
use crate::exec::Running;
use crate::exec::sqlite::change::{ANSWER_BYTES, commit, is_as_judged, note, step};
use crate::exec::sqlite::gate::Ceiling;
use crate::exec::sqlite::open::{self, Opened};
use crate::exec::sqlite::stop::Stop;
use crate::exec::sqlite::workers::Desk;
use crate::exec::sqlite::{Order, errors};

/// Why nothing of it stands, and at which statement it ended, counted from 0.
type Failed = (Option<usize>, Refusal);

/// Runs a batch of which at least one statement changes something.
pub(super) fn change(desk: &Desk, orders: &[Order], stop: &Stop) -> Result<Vec<Running>, Failed> {
    let whole = |refusal| (None, refusal);
    if let Some(why) = stop.why() {
        return Err(whole(why));
    }
    desk.file.identity().map_err(whole)?;
    let opened = open::for_change(desk.file.path(), &desk.trusted, false);
    let opened = opened.map_err(|error| whole(errors::refusal(&error)))?;
    let connection = &opened.connection;
    opened.gate.own();
    stop.patiently(connection, || connection.execute_batch("BEGIN IMMEDIATE"))
        .map_err(whole)?;
    for (at, order) in orders.iter().enumerate() {
        opened.gate.own();
        is_as_judged(&opened, order, stop).map_err(|refusal| (Some(at), refusal))?;
    }
    let (runs, changed) = steps(&opened, orders, stop)?;
    opened.gate.own();
    if let Some(order) = orders.first() {
        note(connection, order, (changed, runs.len())).map_err(whole)?;
    }
    commit(connection, stop).map_err(whole)?;
    Ok(runs)
    // Every way out before the commit drops the connection, which rolls back.
}

/// Runs a batch of statements that all read, which see the database as it is at one moment.
pub(super) fn read(desk: &mut Desk, orders: &[Order], stop: &Stop) -> Result<Vec<Running>, Failed> {
    let whole = |refusal| (None, refusal);
    if let Some(why) = stop.why() {
        return Err(whole(why));
    }
    let opened = desk.reader().map_err(whole)?;
    let connection = &opened.connection;
    opened.gate.own();
    stop.patiently(connection, || connection.execute_batch("BEGIN"))
        .map_err(whole)?;
    let runs = steps(opened, orders, stop);
    opened.gate.own();
    let ended = end(connection);
    opened.gate.enforce(Ceiling::READ);
    let (runs, _) = runs?;
    ended.map_err(|error| whole(errors::refusal(&error)))?;
    Ok(runs)
}

fn end(connection: &Connection) -> rusqlite::Result<()> {
    // What is left of the time must not keep the transaction open.
    let no_watch: Option<fn() -> bool> = None;
    connection.progress_handler(0, no_watch)?;
    connection.execute_batch("ROLLBACK")
}

/// The answers, and how many rows were changed in all.
fn steps(opened: &Opened, orders: &[Order], stop: &Stop) -> Result<(Vec<Running>, u64), Failed> {
    let (mut runs, mut bytes, mut all) = (Vec::new(), 0_usize, 0_u64);
    for (at, order) in orders.iter().enumerate() {
        let answer = step(opened, order, stop).map_err(|refusal| (Some(at), refusal))?;
        bytes = bytes.saturating_add(answer.bytes);
        if bytes > ANSWER_BYTES {
            return Err((Some(at), too_much()));
        }
        let changed = order.ceiling > Effect::Read;
        let affected = changed.then(|| opened.connection.changes());
        all = all.saturating_add(affected.unwrap_or(0));
        runs.push(Running::over(answer.columns.shown, answer.pages, affected));
    }
    Ok((runs, all))
}

fn too_much() -> Refusal {
    Refusal::new(
        Code::DatabaseError,
        "the batch returns more than 32 MiB, so nothing of it was done",
    )
    .hint("name fewer columns, or ask for fewer rows")
}
