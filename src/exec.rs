//! RUNS verified work on PostgreSQL, MySQL/MariaDB or SQLite. The only layer that holds a
//! database credential or speaks to a driver.
//!
//! An engine does four things: it adds to a parsed statement what only it can know
//! ([`Executor::judge`]), runs a [`VerifiedToken`]'s work ([`Executor::run`]), reads its own
//! catalogue with fixed statements, and checks itself for `secondkey doctor`. Where a target has several
//! logins, each has a pool of its own, and no role is ever switched on a connection.

mod admission;
pub mod check;
mod ledger;
pub mod mysql;
mod nearest;
pub mod parsing;
pub mod postgres;
pub mod rows;
mod server;
pub mod sqlite;

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub use check::Check;
pub use parsing::ParsePool;
pub use rows::{Event, Running};

use crate::core::ledger::{Entry, LedgerName, Note};
use crate::core::refusal::Refusal;
use crate::core::schema::{Described, TableDescription, TableSummary};
use crate::core::statement::{Effect, Statement, batch};
use crate::core::target::Target;
use crate::core::token::VerifiedToken;
use crate::core::work::Work;
use server::Server;

/// What an executor needs to serve one target.
#[derive(Debug)]
pub struct Settings {
    /// The target, as the rest of the program knows it.
    pub target: Target,
    /// The whole database URL, credentials included.
    pub url: SecretString,
    /// The same for logins that can do more: what asks for no more than this effect may use it. Reads use the first,
    /// and so does everything where there is none.
    pub logins: BTreeMap<Effect, SecretString>,
    /// Whether a login that can do more than the target allows is accepted (and reported).
    pub allow_privileged_login: bool,
}

/// One target, with the connections of each of its logins. Connects on first use, never at start.
#[derive(Debug)]
pub struct Executor {
    target: Target,
    /// The login that can do least.
    first: Server,
    /// The others, by what they are for.
    further: BTreeMap<Effect, Server>,
    /// Where changes under idempotency keys are noted.
    ledger: Option<LedgerName>,
}

impl Executor {
    /// Prepares to serve a target. Does not connect; refuses a URL it cannot use.
    pub fn new(settings: Settings, parser: Arc<ParsePool>) -> Result<Self, Refusal> {
        let Settings {
            target,
            url,
            logins,
            allow_privileged_login,
        } = settings;
        let with_login = move |target: Target, url| {
            let settings = Settings {
                target,
                url,
                logins: BTreeMap::new(),
                allow_privileged_login,
            };
            Server::new(settings, Arc::clone(&parser))
        };
        // A login that others do the changes for has no business being able to.
        let first = if logins.is_empty() {
            with_login(target.clone(), url)
        } else {
            with_login(target.up_to(Effect::Read), url)
        }?;
        let further = logins.into_iter().map(|(effect, url)| {
            let server = with_login(target.up_to(effect), url)?;
            Ok((effect, server))
        });
        let further = further.collect::<Result<_, Refusal>>()?;
        Ok(Self {
            target,
            first,
            further,
            ledger: None,
        })
    }

    /// The same with a ledger in the target.
    #[must_use]
    pub fn with_ledger(mut self, ledger: Option<LedgerName>) -> Self {
        self.ledger = ledger;
        self
    }

    /// Where changes under idempotency keys are noted.
    pub fn ledger(&self) -> Option<&LedgerName> {
        self.ledger.as_ref()
    }

    /// What the ledger says of a key.
    pub async fn recall(&self, note: &Note) -> Result<Option<Entry>, Refusal> {
        let found = self.login(Effect::Write).ledger(None, &note.query()).await;
        found?.map(|row| ledger::entry(&row)).transpose()
    }

    /// What the ledger says of a key for good: where nothing was noted so far, nothing will be.
    pub async fn settle(&self, note: &Note) -> Result<Entry, Refusal> {
        let void = note.void(self.target.engine);
        let server = self.login(Effect::Write);
        let found = server.ledger(Some(&void), &note.query()).await?;
        found
            .as_deref()
            .map_or_else(|| Err(ledger::broken()), ledger::entry)
    }

    /// The target that is served.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The login that suffices for this and can do least; the one that can do most where none does.
    fn login(&self, effect: Effect) -> &Server {
        if effect <= Effect::Read {
            return &self.first;
        }
        let suffices = self.further.range(effect..).next();
        let most = || self.further.last_key_value();
        suffices
            .or_else(most)
            .map_or(&self.first, |(_, server)| server)
    }

    /// Adds to a parsed statement what only this database knows: what views, functions, types and
    /// triggers really do. The result is never better than `statement`. Names mean what they mean to the login that
    /// would run it.
    pub async fn judge(
        &self,
        statement: Arc<Statement>,
        work: &Work,
    ) -> Result<Arc<Statement>, Refusal> {
        let mut server = self.login(statement.effect);
        loop {
            let judged = if work.is_batch() {
                judge_batch(server, &statement, work).await?
            } else {
                server.judge(Arc::clone(&statement), work).await?
            };
            let needed = self.login(judged.effect);
            if std::ptr::eq(server, needed) {
                return Ok(judged);
            }
            // Each time to one that can do more: what it is there may be worse still, and never better.
            server = needed;
        }
    }

    /// Runs the batch of a token, which is used up by this, in one transaction: what comes back is
    /// committed, and where nothing comes back nothing is, unless the code is `outcome_unknown`. A
    /// batch that only reads runs where nothing can be written.
    pub async fn run_batch(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Vec<Running>, Refusal> {
        let server = self.login(statement.effect);
        server.run_batch(token, statement, cancel).await
    }

    /// Runs the work of a token, which is used up by this. `statement` is what [`Self::judge`]
    /// made of the same work. When `cancel` fires, the statement is cancelled at the server.
    pub async fn run(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        let server = self.login(statement.effect);
        server.run(token, statement, cancel).await
    }

    /// The tables and views that the first login can see, those of the system left out, sorted by name.
    /// `schema` takes one schema only; `search` takes names and comments that contain it, in any
    /// letter case.
    pub async fn list_tables(
        &self,
        schema: Option<&str>,
        search: Option<&str>,
    ) -> Result<Vec<TableSummary>, Refusal> {
        self.first.list_tables(schema, search).await
    }

    /// One table or view, by its name or `schema.name`. An unknown name is refused with
    /// [`crate::core::refusal::Code::UnknownTable`] and the nearest names as a hint.
    pub async fn describe_table(&self, table: &str) -> Result<TableDescription, Refusal> {
        self.first.describe_table(table).await
    }

    /// What the server says of a statement with this effect, which is prepared and not run.
    pub async fn describe(&self, sql: &str, effect: Effect) -> Result<Described, Refusal> {
        self.login(effect).describe(sql, effect).await
    }

    /// Whether the first login can read any column that holds vectors.
    pub async fn has_vectors(&self) -> Result<bool, Refusal> {
        self.first.has_vectors().await
    }

    /// Whether the database answers and takes each login.
    pub async fn reach(&self) -> Result<(), Refusal> {
        self.first.reach().await?;
        for server in self.further.values() {
            server.reach().await?;
        }
        Ok(())
    }

    /// Checks the target end to end, from reaching it to what its logins may do.
    pub async fn check(&self) -> Vec<Check> {
        let mut checks = self.first.check().await;
        for (effect, server) in &self.further {
            let of_login = server.check().await.into_iter().map(|check| Check {
                found: format!("the login for `{effect}`: {}", check.found),
                ..check
            });
            checks.extend(of_login);
        }
        if let Some(name) = &self.ledger {
            let asked = self.login(Effect::Write).ledger(None, &name.probe()).await;
            checks.push(ledger::checked((name, self.target.engine), asked));
        }
        checks
    }
}

/// [`Executor::judge`] of each statement of a batch by itself, by one login: they run in one transaction.
async fn judge_batch(
    server: &Server,
    statement: &Statement,
    work: &Work,
) -> Result<Arc<Statement>, Refusal> {
    let mut parts = Vec::new();
    for (at, (part, alone)) in statement.parts.iter().zip(work.statements()).enumerate() {
        let judged = server.judge(Arc::new(part.clone()), &alone).await;
        let judged = judged.map_err(|refusal| batch::in_statement(at, refusal))?;
        parts.push(Arc::unwrap_or_clone(judged));
    }
    batch::compose(parts).map(Arc::new)
}
