//! MySQL and MariaDB targets.
//!
//! Three layers keep a read from changing anything: the statement guard with the catalogue's facts
//! ([`MySql::judge`]); the server, which is asked whether its own grammar takes the text as a query
//! and runs it in a read-only transaction of a read-only session ([`read`]); and the login, which
//! may not hold privileges on the whole server that go beyond looking ([`login`]).

mod batch;
mod change;
mod check;
mod describe;
mod errors;
mod facts;
mod login;
mod params;
mod pool;
mod read;
mod session;
mod undo;
mod values;
mod watch;

use std::str::FromStr as _;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use sqlx::ConnectOptions as _;
use sqlx::mysql::MySqlConnectOptions;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::core::engine::Engine;
use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{Described, TableDescription, TableSummary};
use crate::core::statement::batch::in_statement;
use crate::core::statement::mysql::{self as guard, Catalogue};
use crate::core::statement::{Effect, Name, Shape, Statement};
use crate::core::target::Target;
use crate::core::token::VerifiedToken;
use crate::core::work::Work;
use crate::exec::admission;
use crate::exec::ledger::Row;
use crate::exec::rows::EVENTS_AHEAD;
use crate::exec::{Check, Event, ParsePool, Running, Settings};

use facts::{Facts, Kinds};
use pool::{Lease, Pool};
use read::{End, Grammar, Outlet};
use session::{Mode, Session};
use watch::{Watch, Why};

/// One MySQL or MariaDB target.
#[derive(Clone, Debug)]
pub struct MySql {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    target: Target,
    allow_privileged_login: bool,
    parser: Arc<ParsePool>,
    pool: Pool,
    facts: Facts,
    grammar: Grammar,
}

impl MySql {
    pub(super) fn new(settings: Settings, parser: Arc<ParsePool>) -> Result<Self, Refusal> {
        let options = options(settings.url.expose_secret())?;
        Ok(Self {
            inner: Arc::new(Inner {
                target: settings.target,
                allow_privileged_login: settings.allow_privileged_login,
                parser,
                pool: Pool::new(options),
                facts: Facts::default(),
                grammar: Grammar::default(),
            }),
        })
    }

    pub(super) async fn judge(
        &self,
        statement: Arc<Statement>,
        work: &Work,
    ) -> Result<Arc<Statement>, Refusal> {
        admission::counted(Engine::MySql, statement.placeholders, work.params().len())?;
        // Refuses what cannot be sent.
        params::arguments(work.params())?;
        let catalogue = self.catalogue().await?;
        self.fitting(&statement, work).await?;
        if statement.names.functions.is_empty()
            && statement.names.overloads.is_empty()
            && statement.reads.is_empty()
            && statement.writes.is_empty()
        {
            return Ok(statement);
        }
        Ok(Arc::new(guard::resolve(&statement, &catalogue)))
    }

    pub(super) async fn run(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        let parsed = self.parsed(&token, &statement).await?;
        let limits = token.claims().limits.intersect(Limits::MAX);
        let sql = token.run().text().to_owned();
        let arguments = params::arguments(token.run().params())?;
        if statement.effect > Effect::Read || parsed.shape == Shape::Change {
            let effect = statement.effect.max(parsed.effect).max(Effect::Write);
            let order = change::Order {
                sql,
                arguments,
                limits,
                effect,
                returns_changed: change::returns_changed(&parsed.kind),
                keep: token.keep(),
            };
            return self.change(order, statement, cancel).await;
        }
        let probe = match parsed.shape {
            Shape::Query => Some(guard::grammar_probe(&sql)?),
            Shape::Inspect | Shape::Change => None,
        };
        let text = parsed.redacted.to_ascii_lowercase();
        let order = read::Order {
            may_fall_short: text.contains("recursive") || text.contains("examined"),
            sql,
            arguments,
            limits,
            probe,
            hides_hashes: parsed.kind == "show grants",
        };
        self.read(order, statement, cancel).await
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
            admission::counted(Engine::MySql, part.placeholders, work.params().len())?;
            let plain = part.shape == Shape::Query && statement.effect == Effect::Read;
            orders.push(batch::Part {
                probe: plain
                    .then(|| guard::grammar_probe(work.text()))
                    .transpose()?,
                changes: part.shape == Shape::Change,
                order: change::Order {
                    sql: work.text().to_owned(),
                    arguments: params::arguments(work.params())?,
                    limits,
                    keep: token.keep(),
                    returns_changed: change::returns_changed(&part.kind),
                    effect: statement.effect,
                },
            });
        }
        let this = self.clone();
        let watch = Watch::new(self.inner.pool.options(), cancel, limits.time_ms, None);
        let batch = batch::Batch {
            parts: orders,
            limits,
            effect: statement.effect,
        };
        // It goes on to its end whether or not anybody waits for it.
        let task = tokio::spawn(async move { this.batch(batch, &watch).await });
        match task.await.map_err(|_| broken())? {
            Ok(runs) => Ok(runs),
            Err((None, refusal)) => Err(refusal),
            Err((Some(at), refusal)) => {
                let part = statement.parts.get(at).unwrap_or(&statement);
                Err(in_statement(at, self.hinted(refusal, part).await))
            }
        }
    }

    async fn batch(
        &self,
        batch: batch::Batch,
        watch: &Watch,
    ) -> Result<Vec<Running>, batch::Failed> {
        let inner = &self.inner;
        let with = (watch, &inner.grammar);
        if batch.effect == Effect::Read {
            let lease = self.lease(true).await;
            let mut lease = lease.map_err(|refusal| (None, refusal))?;
            // Not given back where it failed: it may still be at work.
            let runs = batch::run(&mut lease.session, batch, with).await?;
            lease.give_back(&inner.pool).await;
            return Ok(runs);
        }
        let opened = Session::open(inner.pool.options(), Mode::Change).await;
        let mut session = opened.map_err(|refusal| (None, refusal))?;
        let done = batch::run(&mut session, batch, with).await;
        // Whatever was not committed is rolled back by this.
        session.close().await;
        done
    }

    /// The statement, parsed once more from the work that the token is for.
    async fn parsed(
        &self,
        token: &VerifiedToken,
        judged: &Statement,
    ) -> Result<Arc<Statement>, Refusal> {
        let work = token.run();
        let parsed = self.inner.parser.parse(Engine::MySql, work.text()).await?;
        admission::counted(Engine::MySql, parsed.placeholders, work.params().len())?;
        let worse = if judged.effect > parsed.effect {
            judged
        } else {
            &parsed
        };
        admission::within(token, worse)?;
        Ok(parsed)
    }

    async fn read(
        &self,
        order: read::Order,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        let (started, has_started) = oneshot::channel();
        let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
        let options = self.inner.pool.options();
        let watched = Some(events.clone());
        let watch = Watch::new(options, cancel, order.limits.time_ms, watched);
        let this = self.clone();
        drop(tokio::spawn(async move {
            let mut started = Some(started);
            let ended = this.stream(&order, &mut started, &events, &watch).await;
            let failed = match ended {
                Ok(()) => return,
                Err(refusal) => this.hinted(refusal, &statement).await,
            };
            // In both cases: a caller that went away does not want to know.
            if let Some(started) = started.take() {
                let _unwanted = started.send(Err(failed));
            } else {
                let _unwanted = events.send(Event::Failed(failed)).await;
            }
        }));
        let columns = has_started.await.map_err(|_| broken())??;
        Ok(Running {
            columns,
            events: receiver,
        })
    }

    /// Runs a read on a connection, on a second one if the first turns out to be gone.
    async fn stream(
        &self,
        order: &read::Order,
        started: &mut Option<read::Started>,
        events: &mpsc::Sender<Event>,
        watch: &Watch,
    ) -> Result<(), Refusal> {
        let mut fresh = false;
        loop {
            let lease = watch.during(self.lease(fresh)).await;
            let mut lease = lease.map_err(Why::refusal)??;
            let outlet = Outlet {
                started,
                events,
                watch,
            };
            let end = read::run(&mut lease.session, order, outlet, &self.inner.grammar).await;
            return match end {
                End::Complete => {
                    // Nobody has to wait for the transaction to end.
                    let _unwanted = events.send(Event::Done { affected: None }).await;
                    lease.give_back(&self.inner.pool).await;
                    Ok(())
                }
                End::Refused(error) => {
                    lease.give_back(&self.inner.pool).await;
                    Err(errors::refusal(&error))
                }
                End::Wrong(refusal) => Err(refusal),
                End::Stopped(why) => {
                    watch.kill(lease.session.id).await;
                    Err(why.refusal())
                }
                End::Broken(_) if started.is_some() && !lease.fresh => {
                    fresh = true;
                    continue;
                }
                End::Broken(error) => Err(errors::refusal(&error)),
            };
        }
    }

    async fn change(
        &self,
        order: change::Order,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        let options = self.inner.pool.options().clone();
        let watch = Watch::new(&options, cancel, order.limits.time_ms, None);
        if order.keep.nothing {
            let mut session = Session::open(&options, Mode::Read).await?;
            let undoable = undo::can_be_undone(&mut session, &statement).await;
            session.close().await;
            undoable?;
        }
        // It goes on to its end whether or not anybody waits for it.
        let task = tokio::spawn(async move { change::run(&options, order, &watch).await });
        let answer = match task.await.map_err(|_| broken())? {
            Ok(answer) => answer,
            Err(refusal) => return Err(self.hinted(refusal, &statement).await),
        };
        let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
        let affected = Some(answer.affected);
        drop(tokio::spawn(async move {
            for page in answer.pages {
                // It is committed; without a reader there is nothing left to do.
                if events.send(Event::Rows(page)).await.is_err() {
                    return;
                }
            }
            let _unread = events.send(Event::Done { affected }).await;
        }));
        Ok(Running {
            columns: answer.columns,
            events: receiver,
        })
    }

    /// A connection for reads. A new one is looked at before it is used.
    async fn lease(&self, fresh: bool) -> Result<Lease, Refusal> {
        let mut lease = self.inner.pool.take(fresh).await?;
        if lease.fresh {
            self.look(&mut lease).await?;
        }
        Ok(lease)
    }

    /// Reads what the login may do, and the facts that the guard relies on.
    async fn look(&self, lease: &mut Lease) -> Result<Arc<Catalogue>, Refusal> {
        let inner = &self.inner;
        if inner.target.is_read_only() && !inner.allow_privileged_login {
            let excess = login::excess(&mut lease.session).await?;
            if !excess.is_empty() {
                return Err(login::refusal(&excess));
            }
        }
        let trusted = &inner.target.trusted;
        inner
            .facts
            .read(&mut lease.session, trusted, &inner.parser)
            .await
    }

    /// The facts, not older than a minute.
    async fn catalogue(&self) -> Result<Arc<Catalogue>, Refusal> {
        if let Some(fresh) = self.inner.facts.fresh() {
            return Ok(fresh);
        }
        let mut lease = self.alive().await?;
        let found = match self.inner.facts.fresh() {
            // Read just now, with a new connection.
            Some(fresh) => Ok(fresh),
            None => self.look(&mut lease).await,
        };
        lease.give_back(&self.inner.pool).await;
        found
    }

    /// A connection for reads that answers.
    async fn alive(&self) -> Result<Lease, Refusal> {
        let mut lease = self.lease(false).await?;
        if lease.fresh || lease.session.own("DO 0").await.is_ok() {
            return Ok(lease);
        }
        drop(lease);
        self.lease(true).await
    }

    /// Refuses a number for a text column.
    async fn fitting(&self, statement: &Statement, work: &Work) -> Result<(), Refusal> {
        let values = work.params();
        if !values.iter().any(|v| v.is_number() || v.is_boolean()) {
            return Ok(());
        }
        let comparisons = guard::comparisons(work.text());
        if comparisons.is_empty() {
            return Ok(());
        }
        let mut columns = Vec::new();
        for relation in statement.reads.union(&statement.writes) {
            columns.extend(self.kinds(relation).await?.iter().cloned());
        }
        match guard::unfitting(&comparisons, values, &columns) {
            None => Ok(()),
            Some((at, column)) => Err(params::unfit(
                at + 1,
                &format!("is a number, and the column `{column}` holds text"),
            )
            .hint("send it as text: the server takes a number for every text that is none")),
        }
    }

    /// The columns of a relation, not older than a minute.
    async fn kinds(&self, relation: &Name) -> Result<Kinds, Refusal> {
        if let Some(known) = self.inner.facts.kinds(relation) {
            return Ok(known);
        }
        let mut lease = self.alive().await?;
        let found = describe::kinds(&mut lease.session, relation).await;
        lease.give_back(&self.inner.pool).await;
        Ok(self.inner.facts.remember(relation, found?))
    }

    /// Adds the nearest names to a refusal about an unknown one.
    async fn hinted(&self, refusal: Refusal, statement: &Statement) -> Refusal {
        if !matches!(refusal.code, Code::UnknownTable | Code::UnknownColumn) {
            return refusal;
        }
        let Ok(mut lease) = self.alive().await else {
            return refusal;
        };
        let found = describe::nearest(&mut lease.session, statement, &refusal).await;
        lease.give_back(&self.inner.pool).await;
        match found {
            Ok(hint) => refusal.hint(hint),
            Err(_) => refusal,
        }
    }

    pub(super) async fn list_tables(
        &self,
        schema: Option<&str>,
        search: Option<&str>,
    ) -> Result<Vec<TableSummary>, Refusal> {
        let mut lease = self.alive().await?;
        let found = describe::list(&mut lease.session, schema, search).await;
        lease.give_back(&self.inner.pool).await;
        found
    }

    pub(super) async fn describe_table(&self, table: &str) -> Result<TableDescription, Refusal> {
        let mut lease = self.alive().await?;
        let found = describe::table(&mut lease.session, table).await;
        lease.give_back(&self.inner.pool).await;
        found
    }

    pub(super) async fn describe(&self, sql: &str, effect: Effect) -> Result<Described, Refusal> {
        if effect > Effect::Read {
            // MariaDB prepares no change in a transaction that only reads.
            let mut session = Session::open(self.inner.pool.options(), Mode::Change).await?;
            let found = read::describe(&mut session, sql).await;
            session.close().await;
            return found;
        }
        let mut lease = self.alive().await?;
        let found = read::describe(&mut lease.session, sql).await;
        lease.give_back(&self.inner.pool).await;
        found
    }

    pub(super) async fn has_vectors(&self) -> Result<bool, Refusal> {
        let mut lease = self.alive().await?;
        let found = describe::have_vectors(&mut lease.session).await;
        lease.give_back(&self.inner.pool).await;
        found
    }

    pub(super) async fn reach(&self) -> Result<(), Refusal> {
        let lease = self.alive().await?;
        lease.give_back(&self.inner.pool).await;
        Ok(())
    }

    pub(super) async fn ledger(
        &self,
        first: Option<&str>,
        query: &str,
    ) -> Result<Option<Row>, Refusal> {
        let mut session = Session::open(self.inner.pool.options(), Mode::Change).await?;
        let asked = async {
            if let Some(first) = first {
                session.own(first).await?;
            }
            session.first(query).await
        };
        let row = asked.await.map_err(|error| errors::refusal(&error));
        session.close().await;
        row
    }

    pub(super) async fn check(&self) -> Vec<Check> {
        let inner = &self.inner;
        check::check(
            inner.pool.options(),
            &inner.target,
            inner.allow_privileged_login,
        )
        .await
    }
}

/// How to connect by a URL. What would change how text is read cannot be set by it.
fn options(url: &str) -> Result<MySqlConnectOptions, Refusal> {
    let options = MySqlConnectOptions::from_str(url).map_err(|_| {
        Refusal::new(Code::InvalidArgument, "the target's URL cannot be used")
            .hint("write mysql://user@host:3306/database, with ssl-mode and ssl-ca as options")
    })?;
    Ok(options
        .charset("utf8mb4")
        .timezone(None)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(256)
        .disable_statement_logging())
}

fn broken() -> Refusal {
    Refusal::new(Code::Internal, "the connection's task broke")
}

#[cfg(test)]
mod tests;
