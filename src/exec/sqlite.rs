//! SQLite targets.

pub mod sample;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{TableDescription, TableSummary};
use crate::core::statement::Statement;
use crate::core::target::Target;
use crate::core::token::VerifiedToken;
use crate::core::work::Work;
use crate::exec::{Check, ParsePool, Running, Settings};

/// One SQLite target.
#[derive(Debug)]
pub struct Sqlite {
    settings: Settings,
    parser: Arc<ParsePool>,
}

impl Sqlite {
    pub(super) fn new(settings: Settings, parser: Arc<ParsePool>) -> Result<Self, Refusal> {
        Ok(Self { settings, parser })
    }

    pub(super) fn target(&self) -> &Target {
        &self.settings.target
    }

    pub(super) async fn judge(
        &self,
        statement: Arc<Statement>,
        _work: &Work,
    ) -> Result<Arc<Statement>, Refusal> {
        Ok(statement)
    }

    pub(super) async fn run(
        &self,
        _token: VerifiedToken,
        _statement: Arc<Statement>,
        _cancel: CancellationToken,
    ) -> Result<Running, Refusal> {
        Err(Refusal::new(Code::Internal, "placeholder"))
    }

    pub(super) async fn list_tables(
        &self,
        _schema: Option<&str>,
        _search: Option<&str>,
    ) -> Result<Vec<TableSummary>, Refusal> {
        Ok(Vec::new())
    }

    pub(super) async fn describe_table(&self, _table: &str) -> Result<TableDescription, Refusal> {
        Err(Refusal::new(Code::Internal, "placeholder"))
    }

    pub(super) async fn reach(&self) -> Result<(), Refusal> {
        Ok(())
    }

    pub(super) async fn check(&self) -> Vec<Check> {
        Vec::new()
    }
}
