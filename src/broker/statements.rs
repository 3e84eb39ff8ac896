//! The statements of capabilities, for those who decide about a call, where the agent's files are.

pub use crate::capabilities::{ByTarget, statement_behind};
