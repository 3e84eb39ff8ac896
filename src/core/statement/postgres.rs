//! PostgreSQL, read by its own parser (`libpg_query`): the whole tree, every node, every call.
//!
//! What is not on a list of known harmless parts counts as the worst effect. Names that only the
//! catalogue can judge are collected for [`resolve`].

pub mod catalogue;
mod dangerous;
mod depth;
pub(crate) mod functions;
mod nodes;
mod redact;
pub mod resolve;
mod review;
mod size;
mod syntax;
mod tree;
mod walk;

use std::collections::BTreeSet;

use crate::core::engine::Engine;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::{Effect, Names, Shape, Statement};

use tree::Tree;

/// Parses one statement.
pub(super) fn parse(sql: &str) -> Result<Statement, Refusal> {
    let statements = raw(sql)?;
    let tree = match statements.as_slice() {
        [] => return Err(super::empty()),
        [one] => one,
        several => return Err(super::several(several.len())),
    };
    let mut found = blank();
    found.redacted = redact::redacted(sql);
    walk::Walk::new(&mut found).top(tree);
    review::inspect(tree, &mut found);
    Ok(found)
}

/// A statement of which nothing is known yet.
fn blank() -> Statement {
    Statement {
        engine: Engine::Postgres,
        effect: Effect::Read,
        kind: String::new(),
        shape: Shape::Change,
        reasons: Vec::new(),
        reads: BTreeSet::new(),
        writes: BTreeSet::new(),
        columns_written: BTreeSet::new(),
        functions: BTreeSet::new(),
        has_where: None,
        findings: BTreeSet::new(),
        parts: Vec::new(),
        names: Names::default(),
        placeholders: 0,
        redacted: String::new(),
    }
}

/// The trees of all statements in a text.
fn raw(sql: &str) -> Result<Vec<Tree>, Refusal> {
    syntax::check_comments(sql)?;
    // The scanner hands out a null pointer for a text without any token.
    if sql.bytes().all(|byte| b" \t\n\r\x0b\x0c".contains(&byte)) {
        return Ok(Vec::new());
    }
    // A text that cannot be scanned cannot be parsed either, and the parser says why.
    if pg_query::scan_tokens(sql).is_ok_and(|tokens| depth::is_too_deep(&tokens)) {
        return Err(syntax::too_deep());
    }
    let parsed = pg_query::parse(sql, 0).map_err(|error| syntax::refusal(sql, &error))?;
    parsed
        .protobuf
        .stmts
        .iter()
        .filter_map(|raw| raw.stmt.as_ref())
        .map(|statement| Tree::of(statement.as_ref()))
        .collect::<Result<_, _>>()
        .map_err(|error| Refusal::new(Code::SyntaxError, error.to_string()))
}

/// Judges the statements of a body that is stored in the database, all of them, into `found`. A
/// rule counts as what it does, not as what made it.
fn judge_body(sql: &str, found: &mut Statement) -> Result<(), Refusal> {
    let sql = body_text(sql);
    for tree in raw(&sql)? {
        if tree.name() == "RuleStmt" {
            walk::Walk::new(found).rule(&tree);
        } else {
            walk::Walk::new(found).inner(&tree);
        }
    }
    Ok(())
}

/// The statements of a body: those between BEGIN ATOMIC and END, or the query that RETURN stands
/// for.
fn body_text(sql: &str) -> std::borrow::Cow<'_, str> {
    let text = sql.trim();
    if let Some(inner) = text.strip_prefix("BEGIN ATOMIC") {
        return inner.strip_suffix("END").unwrap_or(inner).into();
    }
    match text.strip_prefix("RETURN ") {
        Some(value) => format!("select {value}").into(),
        None => sql.into(),
    }
}

#[cfg(test)]
#[path = "postgres/tests.rs"]
mod tests;
