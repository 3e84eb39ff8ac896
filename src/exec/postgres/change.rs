//! Work above `read`: one explicit transaction, so that a lost connection leaves nothing behind.
//! It goes on to its end when the caller goes away; only a cancel stops it.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, Error, Row};

use super::params::{self, Parameter};
use super::pool::Loan;
use super::prepared::{self, Prepared};
use super::read::too_much;
use super::run::{HELD, Order, abandon, bounded, failure, roll_back, told};
use super::{binary, errors};
use crate::core::answer::{Column, Row as Answer};
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Effect;
use crate::exec::ledger::unwritten;
use crate::exec::rows::{Event, ROWS_PER_EVENT, Running};

/// What the server says when a statement wants no transaction around it.
const WANTS_NO_TRANSACTION: &str = "25001";

/// What a change brought.
pub(super) struct Outcome {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Answer>,
    pub(super) affected: Option<u64>,
}

/// Why a change came to nothing, and what to do with its connection.
enum Failed {
    /// The statement was refused; the transaction is rolled back.
    Refused(Refusal),
    /// The statement is to be run outside a transaction.
    WantsNone,
}

/// Runs a change to its end.
pub(super) async fn start(order: Order, loan: Loan) -> Result<Running, Refusal> {
    if order.statement.kind == "transaction" {
        return Err(Refusal::new(
            Code::Forbidden,
            "transactions are opened and closed here, one for each statement",
        )
        .hint("leave BEGIN, COMMIT and ROLLBACK out"));
    }
    let (answer, answered) = oneshot::channel();
    let rows = usize::try_from(order.limits.rows).unwrap_or(usize::MAX);
    tokio::spawn(async move {
        let _unheard = answer.send(change(Arc::new(order), loan).await);
    });
    let outcome = answered.await.unwrap_or_else(|_| {
        Err(Refusal::new(
            Code::OutcomeUnknown,
            "the change ended without an answer; whether it was kept is not known",
        ))
    })?;
    Ok(running(outcome, rows.saturating_add(1)))
}

/// An answer that is all there.
pub(super) fn running(outcome: Outcome, first: usize) -> Running {
    let mut rows = outcome.rows;
    let rest = rows.split_off(rows.len().min(first));
    let (events, receiver) = mpsc::channel(rest.len() / ROWS_PER_EVENT + 3);
    let _room = events.try_send(Event::Rows(rows));
    for chunk in rest.chunks(ROWS_PER_EVENT) {
        let _room = events.try_send(Event::Rows(chunk.to_vec()));
    }
    let _room = events.try_send(Event::Done {
        affected: outcome.affected,
    });
    Running {
        columns: outcome.columns,
        events: receiver,
    }
}

async fn change(order: Arc<Order>, mut loan: Loan) -> Result<Outcome, Refusal> {
    let limit = Duration::from_millis(order.limits.time_ms.into());
    let worked = bounded(
        work(Arc::clone(&order), &mut loan).boxed(),
        order.cancel.cancelled().boxed(),
        limit,
    )
    .await;
    match worked {
        Err(stopped) => {
            abandon(loan).await;
            Err(stopped.into())
        }
        Ok(Err(Failed::Refused(refusal))) => {
            let refusal = told(&loan, refusal);
            roll_back(loan).await;
            Err(refusal)
        }
        Ok(Err(Failed::WantsNone)) => bare(order, loan, limit).await,
        Ok(Ok(outcome)) if order.keep.nothing => {
            // What is checked at the commit is checked now.
            let client = &loan.session.client;
            let checked = client.batch_execute("set constraints all immediate").await;
            roll_back(loan).await;
            checked.map_err(|error| errors::refusal(&error))?;
            Ok(outcome)
        }
        Ok(Ok(outcome)) => {
            commit(&loan.session.client).await?;
            // A setting, role or prepared name must not meet the next caller.
            if order.statement.effect < Effect::Admin {
                loan.give_back();
            }
            Ok(outcome)
        }
    }
}

/// Runs the statement in a transaction that is still open afterwards.
async fn work(order: Arc<Order>, loan: &mut Loan) -> Result<Outcome, Failed> {
    let prepared = prepared::prepare(&mut loan.session, &order.sql, false)
        .await
        .map_err(Failed::Refused)?;
    let params = checked(&order, &prepared).map_err(Failed::Refused)?;
    let client = &loan.session.client;
    let begin = format!(
        "begin read write; set local statement_timeout = {}; set local application_name = '{}'",
        order.limits.time_ms, order.name
    );
    let mut room = HELD;
    let (opened, ran) = futures::join!(
        client.batch_execute(&begin),
        execute(client, &prepared, params, &mut room)
    );
    if let Err(error) = opened {
        return Err(Failed::Refused(errors::refusal(&error)));
    }
    match ran {
        Ok((rows, affected)) => {
            let rows = match rows {
                Some(rows) => binary::answers(client, &rows)
                    .await
                    .map_err(|error| Failed::Refused(errors::refusal(&error)))?,
                None => return Err(Failed::Refused(too_much())),
            };
            let affected = counted(&order, affected);
            let columns = prepared.columns.iter().map(|column| column.name.as_str());
            order
                .keep
                .check(affected, columns)
                .map_err(Failed::Refused)?;
            note(client, &order, (affected, 0))
                .await
                .map_err(Failed::Refused)?;
            Ok(Outcome {
                columns: prepared.columns.clone(),
                rows,
                affected,
            })
        }
        Err(error) => {
            loan.session.forget(&order.sql);
            let wants_none = error
                .code()
                .is_some_and(|c| c.code() == WANTS_NO_TRANSACTION);
            Err(if wants_none && order.statement.effect >= Effect::Schema {
                Failed::WantsNone
            } else {
                Failed::Refused(failure(&error, prepared.statement.params()))
            })
        }
    }
}

/// Notes the change in the ledger, if there is one, inside its transaction.
pub(super) async fn note(
    client: &Client,
    order: &Order,
    (affected, statements): (Option<u64>, usize),
) -> Result<(), Refusal> {
    let Some(note) = &order.keep.note else {
        return Ok(());
    };
    let noted = client.batch_execute(&note.done(affected, statements)).await;
    noted.map_err(|error| unwritten(&errors::refusal(&error)))
}

pub(super) fn checked(order: &Order, prepared: &Prepared) -> Result<Vec<Parameter>, Refusal> {
    let odd = |c: &&tokio_postgres::Column| !binary::can_be_written(c.type_());
    if let Some(column) = prepared.statement.columns().iter().find(odd) {
        return Err(Refusal::new(
            Code::DatabaseError,
            format!(
                "the column `{}` is an anonymous record, which a change cannot answer",
                column.name()
            ),
        )
        .hint("return its fields one by one"));
    }
    params::parameters(prepared.statement.params(), &order.params)
}

/// Runs a statement and gathers what it returns; no rows when they were too many for `room`, the bytes
/// that may still be held.
pub(super) async fn execute(
    client: &Client,
    prepared: &Prepared,
    params: Vec<Parameter>,
    room: &mut usize,
) -> Result<(Option<Vec<Row>>, u64), Error> {
    let stream = client.query_raw(&prepared.statement, params).await?;
    let mut stream = std::pin::pin!(stream);
    let (mut rows, mut fits) = (Vec::new(), true);
    while let Some(row) = stream.next().await {
        let row = row?;
        fits &= row.raw_size_bytes() <= *room;
        if fits {
            *room -= row.raw_size_bytes();
            rows.push(row);
        }
    }
    let affected = stream.rows_affected().unwrap_or_default();
    Ok((fits.then_some(rows), affected))
}

/// Runs a statement that stands alone (VACUUM, CREATE INDEX CONCURRENTLY), on a connection that
/// is given up afterwards.
async fn bare(order: Arc<Order>, loan: Loan, limit: Duration) -> Result<Outcome, Refusal> {
    let client = &loan.session.client;
    let alone = async {
        let begin = format!(
            "rollback; set statement_timeout = {}; set application_name = '{}'",
            order.limits.time_ms, order.name
        );
        client.batch_execute(&begin).await?;
        client.execute_typed(&order.sql, &[]).await
    };
    match bounded(alone.boxed(), order.cancel.cancelled().boxed(), limit).await {
        Err(stopped) => {
            abandon(loan).await;
            Err(Refusal::from(stopped))
        }
        Ok(Err(error)) => Err(errors::refusal(&error)),
        Ok(Ok(_)) => Ok(Outcome {
            columns: Vec::new(),
            rows: Vec::new(),
            affected: None,
        }),
    }
}

/// How many rows were changed, for statements that change rows.
pub(super) fn counted(order: &Order, affected: u64) -> Option<u64> {
    matches!(
        order.statement.kind.as_str(),
        "insert" | "update" | "delete" | "merge"
    )
    .then_some(affected)
}

pub(super) async fn commit(client: &Client) -> Result<(), Refusal> {
    match client.batch_execute("commit").await {
        Ok(()) => Ok(()),
        Err(error) if errors::is_lost(&error) => Err(Refusal::new(
            Code::OutcomeUnknown,
            "the connection was lost while the change was being committed; whether it was kept is not known",
        )
        .hint("look at the data before sending it again")),
        Err(error) => Err(errors::refusal(&error)),
    }
}
