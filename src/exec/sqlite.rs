//! SQLite targets: one file, read by up to four threads and changed by one.
//!
//! A read runs on a connection that cannot write (see [`open`]); the statement guard has judged
//! its text, and the engine judges it again while it compiles (see [`gate`]).

mod batch;
mod catalogue;
mod change;
mod check;
mod ddl;
mod errors;
mod file;
mod gate;
mod hints;
mod judge;
mod open;
mod params;
mod read;
mod stop;
mod values;
mod workers;

#[cfg(test)]
mod layers_tests;

pub mod sample;

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::core::engine::Engine;
use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{Described, TableDescription, TableSummary};
use crate::core::statement::batch::in_statement;
use crate::core::statement::{Effect, Statement};
use crate::core::target::Target;
use crate::core::token::{Keep, VerifiedToken};
use crate::core::work::Work;
use crate::exec::admission;
use crate::exec::ledger::Row;
use crate::exec::rows::EVENTS_AHEAD;
use crate::exec::{Check, ParsePool, Running, Settings};

use file::DatabaseFile;
use read::Outlet;
use stop::Stop;
use workers::{Desk, Lane, Workers};

/// How long the catalogue or a judgement may take, in milliseconds.
const CATALOGUE_MS: u32 = 10_000;
/// How long the catalogue waits for another process's lock.
const CATALOGUE_BUSY: Duration = Duration::from_secs(5);

/// One SQLite target.
#[derive(Debug)]
pub struct Sqlite {
    target: Target,
    parser: Arc<ParsePool>,
    workers: Workers,
}

/// One statement to be run.
#[derive(Debug)]
struct Order {
    work: Work,
    limits: Limits,
    /// What has to hold before a change is kept.
    keep: Keep,
    /// As the guard judged it, which is what the token is held against.
    judged: Arc<Statement>,
    /// The same from its text alone.
    parsed: Arc<Statement>,
    /// The worst that it may do.
    ceiling: Effect,
    explain: bool,
    vacuum: bool,
}

impl Sqlite {
    pub(super) fn new(settings: Settings, parser: Arc<ParsePool>) -> Result<Self, Refusal> {
        let file = DatabaseFile::from_url(settings.url.expose_secret())?;
        Ok(Self {
            workers: Workers::new(file, settings.target.trusted.clone()),
            target: settings.target,
            parser,
        })
    }

    pub(super) async fn judge(
        &self,
        statement: Arc<Statement>,
        work: &Work,
    ) -> Result<Arc<Statement>, Refusal> {
        admission::counted(Engine::Sqlite, statement.placeholders, work.params().len())?;
        let sql = work.text().to_owned();
        let judged = self
            .workers
            .run(Lane::Read, move |desk| {
                let stop = Stop::after(CATALOGUE_MS, CancellationToken::new());
                judge::judge(desk.reader()?, Statement::clone(&statement), &sql, &stop)
            })
            .await??;
        Ok(Arc::new(judged))
    }

    pub(super) async fn run(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        let order = self.order(&token, statement).await?;
        let (started, has_started) = oneshot::channel();
        let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
        let mut outlet = Outlet {
            started: Some(started),
            events,
            runtime: Handle::current(),
        };
        let lane = if order.ceiling == Effect::Read {
            Lane::Read
        } else {
            Lane::Change
        };
        let token = cancel.clone();
        self.workers.submit(
            lane,
            Box::new(move |desk| work_off(desk, &order, token, &mut outlet)),
        )?;
        let columns = tokio::select! {
            biased;
            started = has_started => started.map_err(|_| {
                Refusal::new(Code::Internal, "the thread that runs SQLite failed")
            })??,
            () = gave_up(&cancel, lane) => return Err(stop::cancelled()),
        };
        Ok(Running {
            columns,
            events: receiver,
        })
    }

    pub(super) async fn run_batch(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Vec<Running>, Refusal> {
        admission::within(&token, &statement)?;
        let limits = token.claims().limits.intersect(Limits::MAX);
        let mut orders = Vec::new();
        for (part, work) in statement.parts.iter().zip(token.work().statements()) {
            let parsed = self.parser.parse(Engine::Sqlite, work.text()).await?;
            admission::counted(Engine::Sqlite, parsed.placeholders, work.params().len())?;
            orders.push(Order {
                limits,
                keep: token.keep(),
                ceiling: part.effect.max(parsed.effect),
                explain: parsed.kind == "explain",
                vacuum: false,
                judged: Arc::new(part.clone()),
                parsed,
                work,
            });
        }
        let stop = Stop::after(limits.time_ms, cancel);
        let run = if statement.effect == Effect::Read {
            self.workers
                .run(Lane::Read, move |desk| batch::read(desk, &orders, &stop))
                .await
        } else {
            self.workers
                .run(Lane::Change, move |desk| {
                    batch::change(desk, &orders, &stop)
                })
                .await
        };
        run?.map_err(|(at, refusal)| match at {
            Some(at) => in_statement(at, refusal),
            None => refusal,
        })
    }

    /// What exactly is to run. The text is parsed once more from the work that the token is for.
    async fn order(&self, token: &VerifiedToken, judged: Arc<Statement>) -> Result<Order, Refusal> {
        let work = token.run().clone();
        let parsed = self.parser.parse(Engine::Sqlite, work.text()).await?;
        admission::counted(Engine::Sqlite, parsed.placeholders, work.params().len())?;
        let worse = if judged.effect > parsed.effect {
            &judged
        } else {
            &parsed
        };
        let effect = admission::within(token, worse)?;
        Ok(Order {
            limits: token.claims().limits.intersect(Limits::MAX),
            keep: token.keep(),
            ceiling: effect,
            explain: parsed.kind == "explain",
            vacuum: parsed.kind == "vacuum",
            judged,
            parsed,
            work,
        })
    }

    pub(super) async fn list_tables(
        &self,
        schema: Option<&str>,
        search: Option<&str>,
    ) -> Result<Vec<TableSummary>, Refusal> {
        if schema.is_some_and(|schema| !schema.eq_ignore_ascii_case("main")) {
            return Ok(Vec::new());
        }
        let search = search.map(str::to_lowercase);
        self.catalogue(move |connection| catalogue::list(connection, search.as_deref()))
            .await
    }

    pub(super) async fn describe_table(&self, table: &str) -> Result<TableDescription, Refusal> {
        let table = table.to_owned();
        self.catalogue(move |connection| catalogue::describe(connection, &table))
            .await
    }

    pub(super) async fn describe(&self, sql: &str) -> Result<Described, Refusal> {
        let sql = sql.to_owned();
        let described = self.workers.run(Lane::Read, move |desk| {
            let stop = Stop::after(CATALOGUE_MS, CancellationToken::new());
            judge::describe(desk.reader()?, &sql, &stop)
        });
        described.await?
    }

    pub(super) async fn reach(&self) -> Result<(), Refusal> {
        let any = "SELECT 1 FROM sqlite_schema LIMIT 1";
        self.catalogue(move |connection| {
            let asked = connection.query_row(any, [], |_| Ok(()));
            match asked {
                Ok(()) | Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
                Err(error) => Err(errors::refusal(&error)),
            }
        })
        .await
    }

    pub(super) async fn ledger(
        &self,
        first: Option<&str>,
        query: &str,
    ) -> Result<Option<Row>, Refusal> {
        let (first, query) = (first.map(str::to_owned), query.to_owned());
        let ask = move |desk: &mut Desk| change::ledger(desk, first.as_deref(), &query);
        self.workers.run(Lane::Change, ask).await?
    }

    pub(super) async fn check(&self) -> Vec<Check> {
        let read_only = self.target.is_read_only();
        let checked = self
            .workers
            .run(Lane::Read, move |desk| check::check(desk, read_only))
            .await;
        checked.unwrap_or_else(|refusal| vec![Check::bad(refusal.message, "report this")])
    }

    async fn catalogue<T: Send + 'static>(
        &self,
        look_up: impl FnOnce(&rusqlite::Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.workers
            .run(Lane::Read, move |desk| {
                let opened = desk.reader()?;
                let stop = Stop::after(CATALOGUE_MS, CancellationToken::new());
                stop.watch(&opened.connection)
                    .map_err(|error| errors::refusal(&error))?;
                let connection = &opened.connection;
                let wait = |time| {
                    connection
                        .busy_timeout(time)
                        .map_err(|error| errors::refusal(&error))
                };
                wait(CATALOGUE_BUSY)?;
                stop.patiently(connection, || judge::read_schema(opened))?;
                let found = look_up(connection);
                wait(open::BUSY)?;
                found
            })
            .await?
    }
}

fn work_off(desk: &mut Desk, order: &Order, cancel: CancellationToken, outlet: &mut Outlet) {
    let stop = Stop::after(order.limits.time_ms, cancel);
    // Nobody waits for this any more, and nothing of it has begun.
    if let Some(why) = stop.why() {
        return outlet.fail(&stop, why);
    }
    if order.ceiling > Effect::Read {
        return change::run(desk, order, &stop, outlet);
    }
    let stop = stop.or_unread(&outlet.events);
    match desk.reader() {
        Ok(opened) => read::run(opened, order, &stop, outlet),
        Err(refusal) => outlet.fail(&stop, refusal),
    }
}

/// Ends when a caller need not wait any longer for a read to start. A change is waited for: it
/// says itself whether it was stopped or had happened.
async fn gave_up(cancel: &CancellationToken, lane: Lane) {
    match lane {
        Lane::Read => cancel.cancelled().await,
        Lane::Change => std::future::pending().await,
    }
}
