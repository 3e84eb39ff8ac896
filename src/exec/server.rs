//! One engine with one login. What it does is boxed: what one engine may have to look up is kilobytes that every
//! call would carry along.

use std::sync::Arc;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::core::engine::Engine;
use crate::core::refusal::Refusal;
use crate::core::schema::{Described, TableDescription, TableSummary};
use crate::core::statement::{Effect, Statement};
use crate::core::token::VerifiedToken;
use crate::core::work::Work;
use crate::exec::ledger::Row;
use crate::exec::{Check, ParsePool, Running, Settings, mysql, postgres, sqlite};

/// One login's connections to one database. What each function means stands at [`super::Executor`].
#[derive(Debug)]
pub(super) enum Server {
    /// MySQL or MariaDB.
    MySql(mysql::MySql),
    /// PostgreSQL.
    Postgres(postgres::Postgres),
    /// SQLite.
    Sqlite(sqlite::Sqlite),
}

impl Server {
    pub(super) fn new(settings: Settings, parser: Arc<ParsePool>) -> Result<Self, Refusal> {
        Ok(match settings.target.engine {
            Engine::MySql => Self::MySql(mysql::MySql::new(settings, parser)?),
            Engine::Postgres => Self::Postgres(postgres::Postgres::new(settings, parser)?),
            Engine::Sqlite => Self::Sqlite(sqlite::Sqlite::new(settings, parser)?),
        })
    }

    pub(super) async fn judge(
        &self,
        statement: Arc<Statement>,
        work: &Work,
    ) -> Result<Arc<Statement>, Refusal> {
        match self {
            Self::MySql(engine) => engine.judge(statement, work).boxed().await,
            Self::Postgres(engine) => engine.judge(statement, work).boxed().await,
            Self::Sqlite(engine) => engine.judge(statement, work).boxed().await,
        }
    }

    pub(super) async fn run_batch(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Vec<Running>, Refusal> {
        match self {
            Self::MySql(engine) => engine.run_batch(token, statement, cancel).boxed().await,
            Self::Postgres(engine) => engine.run_batch(token, statement, cancel).boxed().await,
            Self::Sqlite(engine) => engine.run_batch(token, statement, cancel).boxed().await,
        }
    }

    pub(super) async fn run(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        match self {
            Self::MySql(engine) => engine.run(token, statement, cancel).boxed().await,
            Self::Postgres(engine) => engine.run(token, statement, cancel).boxed().await,
            Self::Sqlite(engine) => engine.run(token, statement, cancel).boxed().await,
        }
    }

    pub(super) async fn list_tables(
        &self,
        schema: Option<&str>,
        search: Option<&str>,
    ) -> Result<Vec<TableSummary>, Refusal> {
        match self {
            Self::MySql(engine) => engine.list_tables(schema, search).boxed().await,
            Self::Postgres(engine) => engine.list_tables(schema, search).boxed().await,
            Self::Sqlite(engine) => engine.list_tables(schema, search).boxed().await,
        }
    }

    pub(super) async fn describe_table(&self, table: &str) -> Result<TableDescription, Refusal> {
        match self {
            Self::MySql(engine) => engine.describe_table(table).boxed().await,
            Self::Postgres(engine) => engine.describe_table(table).boxed().await,
            Self::Sqlite(engine) => engine.describe_table(table).boxed().await,
        }
    }

    pub(super) async fn describe(&self, sql: &str, effect: Effect) -> Result<Described, Refusal> {
        match self {
            Self::MySql(engine) => engine.describe(sql, effect).boxed().await,
            Self::Postgres(engine) => engine.describe(sql).boxed().await,
            Self::Sqlite(engine) => engine.describe(sql).boxed().await,
        }
    }

    pub(super) async fn has_vectors(&self) -> Result<bool, Refusal> {
        match self {
            Self::MySql(engine) => engine.has_vectors().boxed().await,
            Self::Postgres(engine) => engine.has_vectors().boxed().await,
            Self::Sqlite(_) => Ok(false),
        }
    }

    pub(super) async fn reach(&self) -> Result<(), Refusal> {
        match self {
            Self::MySql(engine) => engine.reach().boxed().await,
            Self::Postgres(engine) => engine.reach().boxed().await,
            Self::Sqlite(engine) => engine.reach().boxed().await,
        }
    }

    /// Runs a statement on the ledger, if there is one, and gives the first row of a query on it, each field
    /// as text.
    pub(super) async fn ledger(
        &self,
        first: Option<&str>,
        query: &str,
    ) -> Result<Option<Row>, Refusal> {
        match self {
            Self::MySql(engine) => engine.ledger(first, query).boxed().await,
            Self::Postgres(engine) => engine.ledger(first, query).boxed().await,
            Self::Sqlite(engine) => engine.ledger(first, query).boxed().await,
        }
    }

    pub(super) async fn check(&self) -> Vec<Check> {
        match self {
            Self::MySql(engine) => engine.check().boxed().await,
            Self::Postgres(engine) => engine.check().boxed().await,
            Self::Sqlite(engine) => engine.check().boxed().await,
        }
    }
}
