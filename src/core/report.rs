//! What an executor reports: what it thinks of work, what came of a run, further rows of one.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::answer::{Column, Row};
use crate::core::ids::{HandleId, RequestId};
use crate::core::limits::Limits;
use crate::core::policy::Judgement;
use crate::core::principal::Principal;
use crate::core::review::Finding;
use crate::core::statement::{Effect, Statement};

/// What an agent says of work, before anybody orders it.
#[derive(Debug)]
pub struct Assessment {
    /// What it can do, by the text and the database's catalogue.
    pub statement: Arc<Statement>,
    /// What the agent's own policy says.
    pub judgement: Judgement,
}

/// What came of a run.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// The effect the agent found.
    pub effect: Effect,
    /// The columns; empty for work that answers no rows.
    pub columns: Vec<Column>,
    /// The first page.
    pub rows: Vec<Row>,
    /// Rows inserted, changed or deleted.
    pub affected: Option<u64>,
    /// What is not on the first page.
    pub truncated: Option<Truncated>,
    /// What the review rules found, though nothing of it refuses the work.
    pub findings: Vec<Finding>,
    /// Whether it is a capability's answer: its columns are those that may leave, in their declared types.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub capability: bool,
    /// Of a batch what each statement answered, in order. Rows and columns of its own it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartReport>,
    /// Whether it is told once more of a run that was asked for before under the same idempotency key: rows
    /// are not kept for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// From the moment the token was accepted to the first page.
    pub elapsed: Duration,
}

/// What one statement of a batch answered.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub struct PartReport {
    /// The columns; empty for a statement that answers no rows.
    pub columns: Vec<Column>,
    /// The first page.
    pub rows: Vec<Row>,
    /// Rows inserted, changed or deleted.
    pub affected: Option<u64>,
    /// What is not on the first page.
    pub truncated: Option<Truncated>,
}

/// What a page leaves out, and where the rest is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Truncated {
    /// Which limit cut it.
    pub by: Cut,
    /// Rows on this page.
    pub shown: u64,
    /// The result has at least this many rows.
    pub at_least: u64,
    /// Whether `at_least` is the exact number.
    pub exact: bool,
    /// Where the rest waits, while it does.
    pub handle: Option<HandleId>,
    /// The number of the first row after this page, counted from 0.
    pub next: u64,
    /// What to do when not even one row fits, or what broke.
    pub note: Option<String>,
}

impl Report {
    /// What is told once more of a run that is over: what it changed, and no rows.
    pub fn replayed(effect: Effect, rows: Option<u64>, statements: u64) -> Self {
        let part = |_| PartReport {
            columns: Vec::new(),
            rows: Vec::new(),
            affected: None,
            truncated: None,
        };
        Self {
            effect,
            columns: Vec::new(),
            rows: Vec::new(),
            affected: rows.filter(|_| effect > Effect::Read),
            truncated: None,
            findings: Vec::new(),
            parts: (0..statements).map(part).collect(),
            capability: false,
            replayed: true,
            elapsed: Duration::ZERO,
        }
    }

    /// How many rows were changed, of all statements together; of a read that was not cut short, how many
    /// were answered.
    pub fn counted(&self) -> Option<u64> {
        let changed = self.parts.iter().filter_map(|part| part.affected).sum();
        match (self.affected, self.parts.is_empty()) {
            (Some(affected), _) => Some(affected),
            (None, false) => Some(changed),
            (None, true) => self.truncated.is_none().then_some(self.rows.len() as u64),
        }
    }

    /// Adds what somebody else's review has found; each rule is told of once.
    pub fn also_found(&mut self, findings: &[Finding]) {
        for finding in findings {
            if !self.findings.iter().any(|known| known.rule == finding.rule) {
                self.findings.push(*finding);
            }
        }
    }
}

/// The limit that cut a result.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// The page's limit in bytes.
    Bytes,
    /// The statement broke while further rows were read.
    Error,
    /// The page's limit in rows.
    Rows,
    /// The space kept for results.
    Spool,
    /// The statement's time limit.
    Time,
}

impl Cut {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Error => "error",
            Self::Rows => "rows",
            Self::Spool => "spool",
            Self::Time => "time",
        }
    }
}

/// Where a result comes from, and what may be done with it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Origin {
    /// Whose rows these are.
    pub owner: Principal,
    /// The request that they answer.
    pub request: RequestId,
    /// The target that they come from.
    pub target: String,
    /// The largest page that the target allows.
    pub limits: Limits,
}

/// One page of the rows that an executor keeps for whoever asked.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub struct PageOfRows {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows of the page.
    pub rows: Vec<Row>,
    /// What comes after it.
    pub truncated: Option<Truncated>,
    /// Where the rows come from.
    pub origin: Origin,
}
