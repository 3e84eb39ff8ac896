//! PostgreSQL targets.
//!
//! A read passes three layers: the judgement of its whole parse tree and of everything it names
//! in the catalogue, a read-only transaction whose mode is pinned and a cursor in it, and the
//! privileges of the login.

mod batch;
mod binary;
mod catalogue;
mod change;
mod doctor;
mod errors;
mod guard;
mod nearest;
mod params;
mod pool;
mod prepared;
mod read;
mod run;
mod session;
mod tables;
mod values;

use std::sync::Arc;

use tokio_postgres::SimpleQueryMessage;
use tokio_util::sync::CancellationToken;

use crate::core::engine::Engine;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{Described, TableDescription, TableSummary};
use crate::core::statement::batch::in_statement;
use crate::core::statement::{Effect, Shape, Statement};
use crate::core::token::VerifiedToken;
use crate::core::work::Work;
use crate::exec::admission;
use crate::exec::ledger::Row;
use crate::exec::{Check, ParsePool, Running, Settings};
use crate::pg::Address;

use catalogue::Snapshot;
use pool::{Loan, Pool};
use run::Order;

/// One PostgreSQL target.
#[derive(Debug)]
pub struct Postgres {
    settings: Settings,
    parser: Arc<ParsePool>,
    pool: Arc<Pool>,
    snapshot: Snapshot,
}

impl Postgres {
    pub(super) fn new(settings: Settings, parser: Arc<ParsePool>) -> Result<Self, Refusal> {
        let address = Address::parse(&settings.url)?;
        Ok(Self {
            settings,
            parser,
            pool: Arc::new(Pool::new(address)),
            snapshot: Snapshot::default(),
        })
    }

    pub(super) async fn judge(
        &self,
        statement: Arc<Statement>,
        work: &Work,
    ) -> Result<Arc<Statement>, Refusal> {
        let judged = self.snapshot.judge(self, statement, work.text()).await?;
        Ok(judged)
    }

    pub(super) async fn run(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        admission::within(&token, &statement)?;
        let given = token.run().params().len();
        admission::counted(Engine::Postgres, statement.placeholders, given)?;
        let order = Order {
            sql: token.run().text().to_owned(),
            params: token.run().params().to_vec(),
            limits: token.claims().limits,
            keep: token.keep(),
            name: run::application_name(token.claims()),
            statement: Arc::clone(&statement),
            cancel,
        };
        let loan = tokio::select! {
            loan = self.lend() => loan?,
            () = order.cancel.cancelled() => return Err(errors::cancelled()),
        };
        let started = if statement.shape == Shape::Change {
            change::start(order, loan).await
        } else {
            read::start(Arc::clone(&self.pool), order, loan).await
        };
        if statement.effect >= Effect::Schema {
            self.snapshot.forget().await;
        }
        match started {
            Ok(running) => Ok(running),
            Err(refusal) => Err(self.snapshot.explain(refusal, &statement).await),
        }
    }

    pub(super) async fn run_batch(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Vec<Running>, Refusal> {
        admission::within(&token, &statement)?;
        let limits = token.claims().limits;
        let mut orders = Vec::new();
        for (part, work) in statement.parts.iter().zip(token.work().statements()) {
            admission::counted(Engine::Postgres, part.placeholders, work.params().len())?;
            orders.push(Order {
                sql: work.text().to_owned(),
                params: work.params().to_vec(),
                limits,
                keep: token.keep(),
                name: run::application_name(token.claims()),
                statement: Arc::new(part.clone()),
                cancel: cancel.clone(),
            });
        }
        let loan = tokio::select! {
            loan = self.lend() => loan?,
            () = cancel.cancelled() => return Err(errors::cancelled()),
        };
        let batch = batch::Batch {
            name: run::application_name(token.claims()),
            orders,
            limits,
            effect: statement.effect,
            cancel,
        };
        match batch::start(batch, loan).await {
            Ok(runs) => Ok(runs),
            Err((None, refusal)) => Err(refusal),
            Err((Some(at), refusal)) => {
                let part = statement.parts.get(at).unwrap_or(&statement);
                let explained = self.snapshot.explain(refusal, part).await;
                Err(in_statement(at, explained))
            }
        }
    }

    pub(super) async fn list_tables(
        &self,
        schema: Option<&str>,
        search: Option<&str>,
    ) -> Result<Vec<TableSummary>, Refusal> {
        let loan = self.lend().await?;
        let tables = tables::list(&loan.session, schema, search).await?;
        loan.give_back();
        Ok(tables)
    }

    pub(super) async fn describe_table(&self, table: &str) -> Result<TableDescription, Refusal> {
        let loan = self.lend().await?;
        let described = tables::describe(&loan.session, table).await;
        loan.give_back();
        described
    }

    pub(super) async fn describe(&self, sql: &str) -> Result<Described, Refusal> {
        let loan = self.lend().await?;
        let described = prepared::describe(&loan.session, sql).await;
        loan.give_back();
        described
    }

    pub(super) async fn has_vectors(&self) -> Result<bool, Refusal> {
        let loan = self.lend().await?;
        let found = tables::have_vectors(&loan.session).await;
        loan.give_back();
        found
    }

    pub(super) async fn reach(&self) -> Result<(), Refusal> {
        let loan = self.lend().await?;
        let asked = loan.session.client.batch_execute("select 1").await;
        asked.map_err(|error| errors::refusal(&error))?;
        loan.give_back();
        Ok(())
    }

    pub(super) async fn ledger(
        &self,
        first: Option<&str>,
        query: &str,
    ) -> Result<Option<Row>, Refusal> {
        let loan = self.lend().await?;
        let client = &loan.session.client;
        let failed = |error| errors::refusal(&error);
        // The session itself only reads, and a transaction of one's own may not.
        if let Some(first) = first {
            let sql =
                format!("begin read write; set local statement_timeout = 10000; {first}; commit");
            client.batch_execute(&sql).await.map_err(failed)?;
        }
        let rows = client.simple_query(query).await.map_err(failed)?;
        let row = rows.iter().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else {
                return None;
            };
            let fields = 0..row.len();
            Some(fields.map(|at| row.get(at).map(str::to_owned)).collect())
        });
        // Whatever fails on the way drops the connection, and so the transaction.
        loan.give_back();
        Ok(row)
    }

    pub(super) async fn check(&self) -> Vec<Check> {
        doctor::check(self).await
    }

    /// A connection whose login may do no more than the target allows.
    async fn lend(&self) -> Result<Loan, Refusal> {
        let mut loan = self.pool.lend().await?;
        let facts = loan.session.facts().await?;
        if facts.powers.is_empty()
            || self.settings.allow_privileged_login
            || !self.settings.target.is_read_only()
        {
            return Ok(loan);
        }
        let refusal = Refusal::new(
            Code::PrivilegedLogin,
            format!(
                "`{}` only reads, and its login {}",
                self.settings.target.name,
                facts.powers.join(", ")
            ),
        )
        .hint("give the target a login without these powers, or set allow_privileged_login");
        loan.give_back();
        Err(refusal)
    }
}
