//! Several statements in one transaction. A batch that only reads runs in a read-only one, whose mode
//! is pinned before the first of them.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::change::{Outcome, checked, commit, counted, execute, note, running};
use super::pool::Loan;
use super::read::too_much;
use super::run::{HELD, Order, abandon, bounded, failure, roll_back, told};
use super::{binary, errors, prepared};
use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;
use crate::exec::Running;

/// What to run.
#[derive(Debug)]
pub(super) struct Batch {
    /// What the server shows of it while it runs.
    pub(super) name: String,
    pub(super) orders: Vec<Order>,
    pub(super) limits: Limits,
    pub(super) effect: Effect,
    pub(super) cancel: CancellationToken,
}

/// Why nothing of it stands, and at which statement it ended, counted from 0.
pub(super) type Failed = (Option<usize>, Refusal);

/// Runs a batch to its end, whether or not anybody waits for it.
pub(super) async fn start(batch: Batch, loan: Loan) -> Result<Vec<Running>, Failed> {
    let first = usize::try_from(batch.limits.rows)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let (answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        let _unheard = answer.send(run(Arc::new(batch), loan).await);
    });
    let outcomes = answered.await.unwrap_or_else(|_| {
        let refusal = Refusal::new(
            Code::OutcomeUnknown,
            "the batch ended without an answer; whether it was kept is not known",
        );
        Err((None, refusal))
    })?;
    Ok(outcomes
        .into_iter()
        .map(|outcome| running(outcome, first))
        .collect())
}

async fn run(batch: Arc<Batch>, mut loan: Loan) -> Result<Vec<Outcome>, Failed> {
    let limit = Duration::from_millis(batch.limits.time_ms.into());
    let worked = bounded(
        work(Arc::clone(&batch), &mut loan).boxed(),
        batch.cancel.cancelled().boxed(),
        limit,
    )
    .await;
    match worked {
        Err(stopped) => {
            abandon(loan).await;
            Err((None, stopped.into()))
        }
        Ok(Err((at, refusal))) => {
            let refusal = told(&loan, refusal);
            roll_back(loan).await;
            Err((at, refusal))
        }
        Ok(Ok(outcomes)) => {
            commit(&loan.session.client)
                .await
                .map_err(|refusal| (None, refusal))?;
            loan.give_back();
            Ok(outcomes)
        }
    }
}

/// Runs the statements in a transaction that is still open afterwards.
async fn work(batch: Arc<Batch>, loan: &mut Loan) -> Result<Vec<Outcome>, Failed> {
    let mode = if batch.effect == Effect::Read {
        "isolation level repeatable read, read only"
    } else {
        "read write"
    };
    // Whoever has asked something cannot change the mode of the transaction any more.
    let begin = format!(
        "begin {mode}; set local statement_timeout = {}; set local application_name = '{}'; select 1",
        batch.limits.time_ms, batch.name
    );
    let opened = loan.session.client.batch_execute(&begin).await;
    opened.map_err(|error| (None, errors::refusal(&error)))?;
    let (mut outcomes, mut room) = (Vec::new(), HELD);
    for (at, order) in batch.orders.iter().enumerate() {
        let outcome = one(order, loan, &mut room).await;
        outcomes.push(outcome.map_err(|refusal| (Some(at), refusal))?);
    }
    let changed = outcomes.iter().filter_map(|outcome| outcome.affected);
    let counts = (Some(changed.sum()), outcomes.len());
    if let Some(order) = batch.orders.first() {
        let noted = note(&loan.session.client, order, counts).await;
        noted.map_err(|refusal| (None, refusal))?;
    }
    Ok(outcomes)
}

async fn one(order: &Order, loan: &mut Loan, room: &mut usize) -> Result<Outcome, Refusal> {
    let prepared = prepared::prepare(&mut loan.session, &order.sql, false).await?;
    let params = checked(order, &prepared)?;
    let client = &loan.session.client;
    match execute(client, &prepared, params, room).await {
        Ok((rows, affected)) => {
            let rows = rows.ok_or_else(too_much)?;
            let rows = binary::answers(client, &rows).await;
            Ok(Outcome {
                columns: prepared.columns.clone(),
                rows: rows.map_err(|error| errors::refusal(&error))?,
                affected: counted(order, affected),
            })
        }
        Err(error) => {
            loan.session.forget(&order.sql);
            Err(failure(&error, prepared.statement.params()))
        }
    }
}
