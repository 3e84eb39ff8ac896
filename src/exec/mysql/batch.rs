//! Several statements in one transaction, on a connection of its own. A batch that only reads runs in a
//! read-only session, and the server's grammar has to take each of its queries as one.
//!
//! All of it is committed or nothing is, as far as the tables' storage engine knows transactions.

use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;
use crate::exec::Running;
use crate::exec::mysql::change::{self, ANSWER_BYTES, Answer, Failure, Order};
use crate::exec::mysql::errors;
use crate::exec::mysql::read::{self, End, Grammar};
use crate::exec::mysql::session::Session;
use crate::exec::mysql::watch::Watch;

/// One statement of it.
#[derive(Debug)]
pub(super) struct Part {
    /// What the server is to be asked about the text's grammar.
    pub(super) probe: Option<String>,
    /// Whether its count of rows is that of changed ones.
    pub(super) changes: bool,
    pub(super) order: Order,
}

/// What to run.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) parts: Vec<Part>,
    pub(super) limits: Limits,
    pub(super) effect: Effect,
}

/// Why nothing of it stands, and at which statement it ended, counted from 0.
pub(super) type Failed = (Option<usize>, Refusal);

/// Runs a batch on a session that is for what it does: for changes, or for reads alone.
pub(super) async fn run(
    session: &mut Session,
    batch: Batch,
    (watch, grammar): (&Watch, &Grammar),
) -> Result<Vec<Running>, Failed> {
    let whole = |error: sqlx::Error| (None, errors::refusal(&error));
    session.limit(batch.limits.time_ms).await.map_err(whole)?;
    let changes = batch.effect > Effect::Read;
    if changes {
        let begun = session.own("START TRANSACTION READ WRITE").await;
        begun.map_err(whole)?;
    }
    let (mut runs, mut bytes, mut total) = (Vec::new(), 0_usize, 0_u64);
    let keep = batch.parts.first().map(|part| part.order.keep.clone());
    for (at, part) in batch.parts.into_iter().enumerate() {
        let counts = part.changes;
        let answer = one(session, part, (watch, grammar)).await;
        let answer = answer.map_err(|refusal| (Some(at), refusal))?;
        bytes = bytes.saturating_add(answer.bytes);
        if bytes > ANSWER_BYTES {
            return Err((Some(at), too_much()));
        }
        let affected = counts.then_some(answer.affected);
        total = total.saturating_add(affected.unwrap_or(0));
        runs.push(Running::over(answer.columns, answer.pages, affected));
    }
    if changes {
        let counts = (total, runs.len());
        let noted = change::note(session, &keep.unwrap_or_default(), counts).await;
        noted.map_err(|refusal| (None, refusal))?;
        let committed = change::commit(session, batch.limits).await;
        committed.map_err(|refusal| (None, refusal))?;
    }
    Ok(runs)
}

async fn one(
    session: &mut Session,
    part: Part,
    (watch, grammar): (&Watch, &Grammar),
) -> Result<Answer, Refusal> {
    if let Some(probe) = &part.probe {
        match read::ask(session, probe, grammar).await {
            Ok(()) => {}
            Err(End::Wrong(refusal)) => return Err(refusal),
            Err(End::Refused(error) | End::Broken(error)) => return Err(errors::refusal(&error)),
            Err(End::Stopped(why)) => return Err(why.refusal()),
            Err(End::Complete) => return Err(change::lost()),
        }
    }
    change::execute(session, part.order, watch)
        .await
        .map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Lost => change::lost(),
        })
}

fn too_much() -> Refusal {
    Refusal::new(
        Code::DatabaseError,
        "the batch returns more than 32 MiB of rows, so nothing of it was done",
    )
    .hint("name fewer columns, or ask for fewer rows")
}
