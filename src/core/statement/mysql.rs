//! MySQL and MariaDB.
//!
//! Three views of one text: our own lexer decides what is a comment, a string and a statement's
//! end; the tokens alone say which functions are called and which clauses reach beyond a query;
//! and the tree that sqlparser makes of the tokens, walked by an allow-list, says what is read.
//! The worst of them counts. The server is asked a fourth time, by the executor.

mod expression;
mod functions;
pub(super) mod lexer;
mod parameters;
mod query;
mod render;
mod resolve;
mod scan;
mod show;
mod verbs;

use std::collections::BTreeSet;

pub use parameters::{Comparison, comparisons, unfitting};
pub use resolve::{Catalogue, ColumnKind, View, resolve};

use crate::core::engine::Engine;
use crate::core::refusal::Refusal;
use crate::core::statement::clauses::{self, Lexeme};
use crate::core::statement::{Effect, Names, Shape, Statement};
use lexer::{Kind, Token};

/// Parses one statement.
pub(super) fn parse(sql: &str) -> Result<Statement, Refusal> {
    let lexer::Tokens { list, setting_hint } = lexer::lex(sql)?;
    let tokens = one(&list)?;
    let mut out = Statement {
        engine: Engine::MySql,
        effect: Effect::Read,
        kind: String::new(),
        shape: Shape::Query,
        reasons: Vec::new(),
        reads: BTreeSet::new(),
        writes: BTreeSet::new(),
        columns_written: BTreeSet::new(),
        functions: BTreeSet::new(),
        has_where: None,
        findings: BTreeSet::new(),
        parts: Vec::new(),
        names: Names::default(),
        placeholders: tokens.iter().filter(|t| t.kind == Kind::Parameter).count(),
        redacted: render::redacted(tokens),
    };
    scan::dangers(tokens, &mut out);
    if setting_hint {
        out.worsen(Effect::Admin, "changes settings in an optimizer hint");
    }
    verbs::judge(tokens, &mut out);
    system_schemas(&mut out);
    clauses::inspect(tokens, &mut out);
    Ok(out)
}

impl Lexeme for Token {
    fn is_word(&self, words: &[&str]) -> bool {
        self.is_any(words)
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.is_symbol(symbol)
    }

    fn as_name(&self) -> Option<String> {
        self.name().map(str::to_ascii_lowercase)
    }

    fn as_literal(&self) -> Option<&str> {
        matches!(self.kind, Kind::Number | Kind::Text).then_some(self.text.as_str())
    }
}

/// A text for the server to prepare and never to execute. Its grammar takes it only when `sql` is
/// a query that can stand inside another one, which nothing with a side effect can.
pub fn grammar_probe(sql: &str) -> Result<String, Refusal> {
    let lexed = lexer::lex(sql)?;
    let query = render::embeddable(sql, one(&lexed.list)?);
    Ok(format!("SELECT EXISTS(\n{query}\n)"))
}

/// A piece of SQL, such as a server quotes in an error, without its literals. `None` when it
/// cannot be read.
pub fn without_literals(sql: &str) -> Option<String> {
    lexer::lex(sql)
        .ok()
        .map(|lexed| render::redacted(&lexed.list))
}

/// The tokens of the one statement that the text has to be.
fn one(tokens: &[Token]) -> Result<&[Token], Refusal> {
    let mut pieces = tokens
        .split(|t| t.is_symbol(";"))
        .filter(|piece| !piece.is_empty());
    let first = pieces.next().ok_or_else(super::empty)?;
    if first.first().is_some_and(|t| t.is("delimiter")) {
        return Err(lexer::syntax("DELIMITER belongs to a client program")
            .hint("send one statement without a delimiter; its own semicolons do no harm"));
    }
    match pieces.count() {
        0 => Ok(first),
        // Its end is the server's to find, which takes one statement and no more.
        _ if verbs::holds_statements(first) => Ok(tokens),
        more => Err(super::several(more + 1)),
    }
}

/// Records the use of schemas that hold the server's secrets or other people's statements.
fn system_schemas(out: &mut Statement) {
    let touched: Vec<(String, String)> = out
        .reads
        .union(&out.writes)
        .filter_map(|n| {
            Some((
                n.schema.as_ref()?.to_ascii_lowercase(),
                n.name.to_ascii_lowercase(),
            ))
        })
        .collect();
    for (schema, name) in touched {
        if is_guarded(&schema, &name) {
            out.worsen(Effect::Admin, format!("touches the system schema {schema}"));
        }
    }
}

/// Whether a relation belongs to the server's own secrets. Names in lower case.
fn is_guarded(schema: &str, name: &str) -> bool {
    const COUNTERS: [&str; 10] = [
        "events_stages_summary",
        "events_waits_summary",
        "file_summary",
        "global_status",
        "global_variables",
        "memory_summary",
        "session_status",
        "session_variables",
        "table_io_waits_summary",
        "table_lock_waits_summary",
    ];
    match schema {
        "mysql" | "sys" => true,
        "performance_schema" => !COUNTERS.iter().any(|counter| name.starts_with(counter)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
