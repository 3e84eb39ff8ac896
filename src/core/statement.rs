//! The statement guard: what one SQL statement can do, judged from its whole parsed tree.
//!
//! [`parse`] is static: it sees the text alone, and names what only the engine can judge. The
//! executor then resolves those names against the catalogue of the database and takes the worse.
//! Unknown syntax and unknown functions count as the worst effect. Nothing here runs SQL.

pub mod batch;
mod clauses;
pub mod effect;
pub mod mysql;
pub mod named;
pub mod names;
pub mod postgres;
pub mod sqlite;

pub use effect::{Effect, Reason};
pub use names::{Call, Name, Names};

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::core::engine::Engine;
use crate::core::limits::STATEMENT_BYTES;
use crate::core::refusal::{Code, Refusal};
use crate::core::review;

/// The stack that [`parse`] needs, in bytes. A 64 KiB statement was seen to need more than 2 MiB.
pub const STACK_BYTES: usize = 64 * 1024 * 1024;

/// How an executor has to run a statement.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A query in the engine's own sense (`SELECT`, `VALUES`, `TABLE`, `WITH ... SELECT`) that does
    /// not change rows: it can stand behind a cursor or inside `EXISTS (...)`.
    Query,
    /// Anything else that only reads: `SHOW`, `EXPLAIN`, a reading `PRAGMA`.
    Inspect,
    /// Everything that changes something.
    Change,
}

/// Exactly one parsed statement and what it can do.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Statement {
    /// The engine whose rules it was read by.
    pub engine: Engine,
    /// The worst thing it can do.
    pub effect: Effect,
    /// The verb, lower case: `select`, `insert`, `create table`, `explain`, ...
    pub kind: String,
    /// How it has to be run.
    pub shape: Shape,
    /// Why the effect is what it is, worst first; empty for a plain read.
    pub reasons: Vec<Reason>,
    /// Relations it reads, CTE names left out.
    pub reads: BTreeSet<Name>,
    /// Relations it changes, creates or drops.
    pub writes: BTreeSet<Name>,
    /// Columns it sets, each with its table as the schema where that can be seen; `*` where not all
    /// of them can. Empty where it sets none.
    pub columns_written: BTreeSet<Name>,
    /// Every function that it calls by name, built-in ones too.
    pub functions: BTreeSet<Name>,
    /// Whether an `UPDATE` or `DELETE` has a `WHERE`; nothing for other statements and where that
    /// cannot be seen.
    pub has_where: Option<bool>,
    /// What the review rules find in the text. A shape that is not known has no finding.
    pub findings: BTreeSet<review::Rule>,
    /// Everything it names that only the engine's catalogue can judge. Stays with whoever asks the engine.
    #[serde(skip)]
    pub names: Names,
    /// Of a batch its statements, in order; each is judged by itself. Empty for one statement alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Self>,
    /// How many values its placeholders need: the highest number used.
    pub placeholders: usize,
    /// The statement without its literals and comments, for logs and the audit.
    pub redacted: String,
}

impl Statement {
    /// Records a finding; the effect becomes at least as bad.
    pub fn worsen(&mut self, effect: Effect, because: impl Into<String>) {
        let reason = Reason {
            effect,
            because: because.into(),
        };
        if effect > Effect::Read && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
            self.reasons
                .sort_by_key(|reason| std::cmp::Reverse(reason.effect));
        }
        self.effect = self.effect.max(effect);
        if self.effect > Effect::Read {
            self.shape = Shape::Change;
        }
    }

    /// The reasons in one line: `calls setval, deletes from orders`.
    pub fn because(&self) -> String {
        let texts: Vec<&str> = self.reasons.iter().map(|r| r.because.as_str()).collect();
        texts.join(", ")
    }
}

/// Parses `sql` by the rules of `engine`: exactly one statement, at most [`STATEMENT_BYTES`].
///
/// Needs a big stack ([`STACK_BYTES`]): deeply nested text recurses. Call it on the parse pool.
pub fn parse(engine: Engine, sql: &str) -> Result<Statement, Refusal> {
    if sql.len() > STATEMENT_BYTES {
        let sentence = format!(
            "the statement has {} bytes and the limit is {STATEMENT_BYTES}",
            sql.len()
        );
        return Err(Refusal::new(Code::StatementTooLarge, sentence)
            .hint("send long values as parameters, or split the statement"));
    }
    if sql.contains('\0') {
        return Err(
            Refusal::new(Code::SyntaxError, "the statement contains a NUL character")
                .hint("remove the NUL character"),
        );
    }
    match engine {
        Engine::MySql => mysql::parse(sql),
        Engine::Postgres => postgres::parse(sql),
        Engine::Sqlite => sqlite::parse(sql),
    }
}

/// The refusal for a text without a statement.
pub(crate) fn empty() -> Refusal {
    Refusal::new(
        Code::EmptyStatement,
        "there is no SQL statement in the text",
    )
    .hint("send exactly one statement")
}

/// The refusal for a text with several statements.
pub(crate) fn several(count: usize) -> Refusal {
    Refusal::new(
        Code::MultipleStatements,
        format!("the text holds {count} statements, and a call runs exactly one"),
    )
    .hint("send each statement in a call of its own")
}
