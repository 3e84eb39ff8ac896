//! Changes under idempotency keys on a target with a ledger: noted where they are made, and asked after there
//! when nothing else knows what came of them.

use crate::agent::Agent;
use crate::agent::collect::Collected;
use crate::core::idempotency;
use crate::core::ledger::{Entry, Note};
use crate::core::refusal::{Code, Refusal};
use crate::core::report::{PartReport, Report};
use crate::core::statement::{Effect, Statement};
use crate::core::token::Claims;
use crate::core::work::Work;
use crate::exec::Executor;

impl Agent {
    /// What is to be noted of a change; nothing without a key or a ledger, and of what only reads.
    pub(super) fn note(
        &self,
        claims: &Claims,
        (executor, effect): (&Executor, Effect),
    ) -> Option<Note> {
        let keyed = claims.request.is_keyed() && effect > Effect::Read;
        let table = executor.ledger().filter(|_| keyed)?;
        Some(Note::of(table, claims, self.clock.now().unix_ms()))
    }
}

/// Refuses to let anybody's statement near the ledger.
pub(super) fn keeps_off(
    executor: &Executor,
    statement: &Statement,
    work: &Work,
) -> Result<(), Refusal> {
    let Some(table) = executor.ledger() else {
        return Ok(());
    };
    let all = work.statements();
    let mut texts: Vec<&str> = all.iter().map(Work::text).collect();
    texts.push(work.text());
    if table.is_touched(statement, texts) {
        let message = "the statement names the table in which SecondKey notes what has run";
        return Err(Refusal::new(Code::Forbidden, message).hint(
            "nobody reads or changes it through SecondKey; send such a text as a parameter",
        ));
    }
    Ok(())
}

/// What came of a change before it is run here: another process may have made it under the same key.
pub(super) async fn before(
    executor: &Executor,
    note: Option<&Note>,
) -> Result<Option<Collected>, Refusal> {
    match note {
        Some(note) => match executor.recall(note).await? {
            Some(entry) => told(note, &entry).map(Some),
            None => Ok(None),
        },
        None => Ok(None),
    }
}

/// What came of a change that ended like this: another process may have been quicker under the same key, and
/// where the connection was lost in the middle of the commit, the ledger knows.
pub(super) async fn after(
    executor: &Executor,
    note: Option<&Note>,
    outcome: Result<Collected, Refusal>,
) -> Result<Collected, Refusal> {
    let (Err(refusal), Some(note)) = (&outcome, note) else {
        return outcome;
    };
    let found = if refusal.code == Code::OutcomeUnknown {
        executor.settle(note).await.map(Some)
    } else {
        executor.recall(note).await
    };
    match found {
        Ok(Some(entry)) => told(note, &entry),
        Ok(None) | Err(_) => outcome,
    }
}

/// What a row says of the work that it is asked after for.
fn told(note: &Note, entry: &Entry) -> Result<Collected, Refusal> {
    holds(note, entry)?;
    let part = |_| PartReport {
        columns: Vec::new(),
        rows: Vec::new(),
        affected: None,
        truncated: None,
    };
    Ok(Collected {
        columns: Vec::new(),
        rows: Vec::new(),
        affected: entry.changed,
        truncated: None,
        parts: (0..entry.statements).map(part).collect(),
        replayed: true,
    })
}

/// The same, for whoever did not run it.
pub(super) fn replayed(note: &Note, entry: &Entry, effect: Effect) -> Result<Report, Refusal> {
    holds(note, entry)?;
    Ok(Report::replayed(effect, entry.changed, entry.statements))
}

fn holds(note: &Note, entry: &Entry) -> Result<(), Refusal> {
    if entry.work != note.work {
        return Err(idempotency::conflict());
    }
    if entry.is_done {
        return Ok(());
    }
    let message = "the call with this idempotency key was begun before and broke off, and nothing of it stands";
    Err(Refusal::new(Code::RequestState, message).hint("take another key to try it anew"))
}
