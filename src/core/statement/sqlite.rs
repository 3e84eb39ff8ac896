//! SQLite.

use crate::core::refusal::Refusal;
use crate::core::statement::Statement;

/// Parses one statement.
pub(super) fn parse(_sql: &str) -> Result<Statement, Refusal> {
    Err(super::empty())
}
