//! RUNS verified work on PostgreSQL, MySQL/MariaDB or SQLite. The only layer that holds a
//! database credential or speaks to a driver.
//!
//! An engine does four things: it adds to a parsed statement what only it can know
//! ([`Executor::judge`]), runs a [`VerifiedToken`]'s work ([`Executor::run`]), reads its own
//! catalogue with fixed statements, and checks itself for `secondkey doctor`.

mod admission;
pub mod check;
pub mod mysql;
mod nearest;
pub mod parsing;
pub mod postgres;
pub mod rows;
pub mod sqlite;

use std::sync::Arc;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub use check::Check;
pub use parsing::ParsePool;
pub use rows::{Event, Running};

use crate::core::engine::Engine;
use crate::core::refusal::Refusal;
use crate::core::schema::{TableDescription, TableSummary};
use crate::core::statement::Statement;
use crate::core::target::Target;
use crate::core::token::VerifiedToken;
use crate::core::work::Work;

/// What an executor needs to serve one target.
#[derive(Debug)]
pub struct Settings {
    /// The target, as the rest of the program knows it.
    pub target: Target,
    /// The whole database URL, credentials included.
    pub url: SecretString,
    /// Whether a login that can do more than the target allows is accepted (and reported).
    pub allow_privileged_login: bool,
}

/// One target's engine, with its connections. Connects on first use, never at start.
#[derive(Debug)]
pub enum Executor {
    /// MySQL or MariaDB.
    MySql(mysql::MySql),
    /// PostgreSQL.
    Postgres(postgres::Postgres),
    /// SQLite.
    Sqlite(sqlite::Sqlite),
}

impl Executor {
    /// Prepares to serve a target. Does not connect; refuses a URL it cannot use.
    pub fn new(settings: Settings, parser: Arc<ParsePool>) -> Result<Self, Refusal> {
        Ok(match settings.target.engine {
            Engine::MySql => Self::MySql(mysql::MySql::new(settings, parser)?),
            Engine::Postgres => Self::Postgres(postgres::Postgres::new(settings, parser)?),
            Engine::Sqlite => Self::Sqlite(sqlite::Sqlite::new(settings, parser)?),
        })
    }

    /// The target that is served.
    pub fn target(&self) -> &Target {
        match self {
            Self::MySql(engine) => engine.target(),
            Self::Postgres(engine) => engine.target(),
            Self::Sqlite(engine) => engine.target(),
        }
    }

    /// Adds to a parsed statement what only this database knows: what views, functions, types and
    /// triggers really do. The result is never better than `statement`.
    pub async fn judge(
        &self,
        statement: Arc<Statement>,
        work: &Work,
    ) -> Result<Arc<Statement>, Refusal> {
        // Boxed: what one engine may have to look up is kilobytes that every call would carry along.
        match self {
            Self::MySql(engine) => Box::pin(engine.judge(statement, work)).await,
            Self::Postgres(engine) => Box::pin(engine.judge(statement, work)).await,
            Self::Sqlite(engine) => Box::pin(engine.judge(statement, work)).await,
        }
    }

    /// Runs the work of a token, which is used up by this. `statement` is what [`Self::judge`]
    /// made of the same work. When `cancel` fires, the statement is cancelled at the server.
    pub async fn run(
        &self,
        token: VerifiedToken,
        statement: Arc<Statement>,
        cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        match self {
            Self::MySql(engine) => Box::pin(engine.run(token, statement, cancel)).await,
            Self::Postgres(engine) => Box::pin(engine.run(token, statement, cancel)).await,
            Self::Sqlite(engine) => Box::pin(engine.run(token, statement, cancel)).await,
        }
    }

    /// The tables and views that the login can see, those of the system left out, sorted by name.
    /// `schema` takes one schema only; `search` takes names and comments that contain it, in any
    /// letter case.
    pub async fn list_tables(
        &self,
        schema: Option<&str>,
        search: Option<&str>,
    ) -> Result<Vec<TableSummary>, Refusal> {
        match self {
            Self::MySql(engine) => engine.list_tables(schema, search).await,
            Self::Postgres(engine) => engine.list_tables(schema, search).await,
            Self::Sqlite(engine) => engine.list_tables(schema, search).await,
        }
    }

    /// One table or view, by its name or `schema.name`. An unknown name is refused with
    /// [`crate::core::refusal::Code::UnknownTable`] and the nearest names as a hint.
    pub async fn describe_table(&self, table: &str) -> Result<TableDescription, Refusal> {
        match self {
            Self::MySql(engine) => engine.describe_table(table).await,
            Self::Postgres(engine) => engine.describe_table(table).await,
            Self::Sqlite(engine) => engine.describe_table(table).await,
        }
    }

    /// Whether the database answers and takes the login.
    pub async fn reach(&self) -> Result<(), Refusal> {
        match self {
            Self::MySql(engine) => engine.reach().await,
            Self::Postgres(engine) => engine.reach().await,
            Self::Sqlite(engine) => engine.reach().await,
        }
    }

    /// Checks the target end to end, from reaching it to what its login may do.
    pub async fn check(&self) -> Vec<Check> {
        match self {
            Self::MySql(engine) => engine.check().await,
            Self::Postgres(engine) => engine.check().await,
            Self::Sqlite(engine) => engine.check().await,
        }
    }
}
