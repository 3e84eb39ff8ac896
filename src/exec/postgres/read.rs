//! Reads. The server itself refuses change: a READ ONLY transaction whose mode is pinned, and in
//! it a cursor, which takes nothing but a query. Rows come as the server's own text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

use super::params::{self, Parameter};
use super::pool::{Loan, Pool};
use super::prepared::{self, CURSOR, Prepared};
use super::run::{Budget, HELD, Order, Stopped, abandon, bounded, failure, roll_back, told};
use super::values;
use crate::core::answer::Row;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Shape;
use crate::exec::rows::{EVENTS_AHEAD, Event, ROWS_PER_EVENT, Running};

/// Starts a read. When the caller goes away, before or after it answers, it is stopped.
pub(super) async fn start(pool: Arc<Pool>, order: Order, loan: Loan) -> Result<Running, Refusal> {
    let (answer, answered) = oneshot::channel();
    let gone = order.cancel.child_token();
    let watch = gone.clone().drop_guard();
    drop(pool);
    tokio::spawn(read(order, loan, gone, answer));
    let running = answered.await.unwrap_or_else(|_| {
        Err(Refusal::new(
            Code::Internal,
            "the read ended without an answer",
        ))
    });
    watch.disarm();
    running
}

/// What a flight brought: rows, or what went wrong.
enum Flight {
    Rows(Vec<Row>),
    Failed(Refusal),
}

async fn read(
    order: Order,
    mut loan: Loan,
    gone: CancellationToken,
    answer: oneshot::Sender<Result<Running, Refusal>>,
) {
    let mut budget = Budget::new(order.limits);
    let began = Instant::now();
    let wanted = usize::try_from(order.limits.rows)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let first = bounded(
        first_flight(&order, &mut loan, wanted).boxed(),
        gone.cancelled().boxed(),
        budget.left(),
    )
    .await;
    budget.spend(began);
    let (prepared, rows) = match first {
        Err(stopped) => {
            let _unheard = answer.send(Err(stopped.into()));
            return abandon(loan).await;
        }
        Ok(Err(refusal)) => {
            let _unheard = answer.send(Err(told(&loan, refusal)));
            return roll_back(loan).await;
        }
        Ok(Ok(first)) => first,
    };
    let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
    let more = rows.len() >= wanted && order.statement.shape == Shape::Query;
    let _room = events.try_send(Event::Rows(rows));
    if !more {
        let _room = events.try_send(Event::Done { affected: None });
    }
    let _unheard = answer.send(Ok(Running {
        columns: prepared.columns.clone(),
        events: receiver,
    }));
    if more {
        read_on(loan, &prepared, events, (gone, budget)).await;
    } else {
        roll_back(loan).await;
    }
}

/// Fetches until the end, until nobody listens, or until the time is over.
async fn read_on(
    loan: Loan,
    prepared: &Prepared,
    events: mpsc::Sender<Event>,
    (gone, mut budget): (CancellationToken, Budget),
) {
    loop {
        let began = Instant::now();
        let flight = next(&loan, prepared, &events, (&gone, budget.left()))
            .boxed()
            .await;
        budget.spend(began);
        match flight {
            Err(stopped) => {
                let _unheard = events.try_send(Event::Failed(stopped.into()));
                return abandon(loan).await;
            }
            Ok(Flight::Failed(refusal)) => {
                let _unheard = events.send(Event::Failed(told(&loan, refusal))).await;
                return roll_back(loan).await;
            }
            Ok(Flight::Rows(rows)) => {
                let last = rows.len() < ROWS_PER_EVENT;
                let heard = events.send(Event::Rows(rows)).await.is_ok();
                if heard && last {
                    let _unheard = events.send(Event::Done { affected: None }).await;
                }
                if last || !heard {
                    return roll_back(loan).await;
                }
            }
        }
    }
}

/// The next rows, unless something stops them.
async fn next(
    loan: &Loan,
    prepared: &Prepared,
    events: &mpsc::Sender<Event>,
    (gone, left): (&CancellationToken, Duration),
) -> Result<Flight, Stopped> {
    if left.is_zero() {
        return Err(Stopped::Time);
    }
    let stop = async {
        tokio::select! {
            () = gone.cancelled() => {}
            () = events.closed() => {}
        }
    };
    bounded(
        fetch(&loan.session.client, ROWS_PER_EVENT, prepared).boxed(),
        stop.boxed(),
        left,
    )
    .await
}

/// Everything up to the first rows, in one round trip when the statement is known.
async fn first_flight(
    order: &Order,
    loan: &mut Loan,
    wanted: usize,
) -> Result<(Arc<Prepared>, Vec<Row>), Refusal> {
    let as_cursor = order.statement.shape == Shape::Query;
    let prepared = prepared::prepare(&mut loan.session, &order.sql, as_cursor).await?;
    let types = prepared.statement.params();
    let params = params::parameters(types, &order.params)?;
    let client = &loan.session.client;
    // Any query pins the mode: SET TRANSACTION READ WRITE is refused from then on.
    let begin = format!(
        "begin read only; select pg_catalog.set_config('statement_timeout', '{}', true), pg_catalog.set_config('application_name', '{}', true)",
        order.limits.time_ms, order.name
    );
    let flight = if let Some(declare) = &prepared.declare {
        let (opened, declared, fetched) = futures::join!(
            client.batch_execute(&begin),
            client.execute_raw(declare, params),
            fetch(client, wanted, &prepared),
        );
        opened.and(declared).map(|_| fetched)
    } else {
        let (opened, rows) = futures::join!(
            client.batch_execute(&begin),
            inspect(client, &prepared, params)
        );
        opened.and(rows).map(Flight::Rows)
    };
    match flight {
        Ok(Flight::Rows(rows)) => Ok((prepared, rows)),
        Ok(Flight::Failed(refusal)) => {
            loan.session.forget(&order.sql);
            Err(refusal)
        }
        Err(error) => {
            loan.session.forget(&order.sql);
            Err(failure(&error, prepared.statement.params()))
        }
    }
}

/// The next rows of the cursor, over the simple protocol: every type as text.
async fn fetch(client: &Client, rows: usize, prepared: &Prepared) -> Flight {
    let text = format!("fetch {rows} from {CURSOR}");
    let types: Vec<&Type> = prepared
        .statement
        .columns()
        .iter()
        .map(tokio_postgres::Column::type_)
        .collect();
    match client.simple_query_raw(&text).await {
        Ok(messages) => gather(messages, &types).await,
        Err(error) => Flight::Failed(super::errors::refusal(&error)),
    }
}

async fn gather(
    messages: impl Stream<Item = Result<SimpleQueryMessage, Error>>,
    types: &[&Type],
) -> Flight {
    let mut messages = std::pin::pin!(messages);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(message) = messages.next().await {
        let row = match message {
            Ok(SimpleQueryMessage::Row(row)) => row,
            Ok(SimpleQueryMessage::RowDescription(columns)) if columns.len() != types.len() => {
                return Flight::Failed(out_of_date());
            }
            Ok(_) => continue,
            Err(error) => return Flight::Failed(super::errors::refusal(&error)),
        };
        let mut values = Row::with_capacity(types.len());
        for (at, kind) in types.iter().enumerate() {
            let text = row.try_get(at).unwrap_or_default();
            bytes += text.map_or(0, str::len);
            values.push(values::value(kind, text));
        }
        if bytes > HELD {
            return Flight::Failed(too_much());
        }
        rows.push(values);
    }
    Flight::Rows(rows)
}

/// The rows of SHOW or EXPLAIN, which no cursor takes. They are few, and their types are text.
async fn inspect(
    client: &Client,
    prepared: &Prepared,
    params: Vec<Parameter>,
) -> Result<Vec<Row>, Error> {
    let stream = client.query_raw(&prepared.statement, params).await?;
    let mut stream = std::pin::pin!(stream);
    let mut rows = Vec::new();
    while let Some(row) = stream.next().await {
        let row = row?;
        let value = |(at, column): (usize, &tokio_postgres::Column)| {
            let text: Option<super::binary::Text> = row.try_get(at).ok();
            values::value(
                column.type_(),
                text.as_ref().map(super::binary::Text::as_str),
            )
        };
        rows.push(row.columns().iter().enumerate().map(value).collect());
    }
    Ok(rows)
}

fn out_of_date() -> Refusal {
    Refusal::new(
        Code::DatabaseError,
        "the table changed while the statement was being run",
    )
    .hint("send the same statement again")
}

/// The refusal for rows that would take too much memory.
pub(super) fn too_much() -> Refusal {
    Refusal::new(
        Code::DatabaseError,
        "the rows asked for at once take more than 64 MiB",
    )
    .hint("select fewer columns or rows, or cut large values with left() or substring()")
}
