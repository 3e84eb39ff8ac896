//! SQLite: read by its own lexical rules and the verb, which fixes what its statements can do.
//!
//! No SQL parser in Rust knows all of SQLite's grammar, and none is needed here: SQLite's verbs
//! cannot hide inside one another, a call is always `name(`, and the engine's own parser gives its
//! own judgement through the authorizer (`exec::sqlite`), of which the worse counts.

pub(crate) mod functions;
mod names;
pub(crate) mod placeholders;
pub(crate) mod pragma;
mod redact;
pub(crate) mod token;
mod verb;

use std::collections::BTreeSet;

use crate::core::engine::Engine;
use crate::core::refusal::Refusal;
use crate::core::statement::clauses::{self, Lexeme};
use crate::core::statement::{Effect, Name, Names, Statement};

use functions::Standing;
use token::{Kind, Token};
use verb::Verb;

/// Parses one statement.
pub(super) fn parse(sql: &str) -> Result<Statement, Refusal> {
    let tokens = token::tokens(sql)?;
    let statements = split(&tokens);
    let [only] = statements.as_slice() else {
        return Err(match statements.len() {
            0 => super::empty(),
            count => super::several(count),
        });
    };
    let verb = verb::read(only)?;
    let mut statement = Statement {
        engine: Engine::Sqlite,
        effect: Effect::Read,
        shape: verb.shape,
        reasons: Vec::new(),
        reads: names::relations(only),
        writes: BTreeSet::new(),
        columns_written: BTreeSet::new(),
        functions: BTreeSet::new(),
        has_where: None,
        findings: BTreeSet::new(),
        parts: Vec::new(),
        names: Names::default(),
        placeholders: placeholders::count(only)?,
        redacted: redact::redact(only),
        kind: verb.kind.clone(),
    };
    judge_verb(&mut statement, only, &verb);
    judge_names(&mut statement, only);
    clauses::inspect(only, &mut statement);
    Ok(statement)
}

impl Lexeme for Token<'_> {
    fn is_word(&self, words: &[&str]) -> bool {
        self.kind == Kind::Word
            && words
                .iter()
                .any(|word| self.text.eq_ignore_ascii_case(word))
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.is_punct(symbol)
    }

    fn as_name(&self) -> Option<String> {
        self.name()
    }

    fn as_literal(&self) -> Option<&str> {
        matches!(self.kind, Kind::Number | Kind::Text).then_some(self.text)
    }
}

/// Cuts a text into statements; empty ones are left out.
fn split<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut found = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        let end = if is_trigger(rest) {
            trigger_end(rest)
        } else {
            rest.iter()
                .position(|t| t.is_punct(";"))
                .unwrap_or(rest.len())
        };
        let (statement, after) = rest.split_at(end);
        if !statement.is_empty() {
            found.push(statement);
        }
        // What follows a trigger's END without `;` stays, and counts as another statement.
        rest = match after {
            [semicolon, after @ ..] if semicolon.is_punct(";") => after,
            other => other,
        };
    }
    found
}

fn is_trigger(statement: &[Token<'_>]) -> bool {
    let words = ["EXPLAIN", "QUERY", "PLAN", "CREATE", "TEMP", "TEMPORARY"];
    let mut after = statement.iter().skip_while(|t| t.is_any(&words));
    let creates = statement.iter().take(4).any(|t| t.is("CREATE"));
    creates && after.next().is_some_and(|t| t.is("TRIGGER"))
}

/// The body of a trigger holds statements; it ends with `; END`.
fn trigger_end(rest: &[Token<'_>]) -> usize {
    rest.windows(2)
        .position(|pair| matches!(pair, [a, b] if a.is_punct(";") && b.is("END")))
        .map_or(rest.len(), |at| at + 2)
}

fn judge_verb(statement: &mut Statement, tokens: &[Token<'_>], verb: &Verb) {
    let object = verb.object_at.and_then(|at| names::dotted(tokens, at));
    match object {
        Some((name, _)) => {
            statement.worsen(verb.effect, format!("{} {name}", verb.because));
            if verb.effect < Effect::Admin {
                statement.reads.remove(&name);
                statement.writes.insert(name);
            }
        }
        None => statement.worsen(verb.effect, verb.because),
    }
    if verb.kind == "create index" || verb.kind == "create trigger" {
        let on = tokens.iter().position(|t| t.is("ON"));
        statement.writes.extend(
            on.and_then(|at| names::dotted(tokens, at + 1))
                .map(|(name, _)| name),
        );
    }
}

fn judge_names(statement: &mut Statement, tokens: &[Token<'_>]) {
    let explains = statement.kind == "explain";
    for function in names::functions(tokens, &statement.kind) {
        statement.functions.insert(Name::bare(function.as_str()));
        let pragma = pragma::changes_as_table(&function);
        match functions::standing(&function) {
            Standing::Harmless => {}
            Standing::Harmful(because) if !explains => {
                statement.worsen(Effect::Admin, format!("calls {function}, which {because}"));
            }
            Standing::Unknown if pragma => {
                statement.worsen(
                    Effect::Admin,
                    format!("reads {function}, which can change settings"),
                );
            }
            Standing::Unknown if function.starts_with("pragma_") => {}
            Standing::Unknown | Standing::Harmful(_) => {
                statement.names.functions.insert(Name::bare(function));
            }
        }
    }
    let pragmas: Vec<String> = statement
        .reads
        .iter()
        .filter(|name| pragma::changes_as_table(&name.name))
        .map(|name| name.name.clone())
        .collect();
    for pragma in pragmas {
        statement.worsen(
            Effect::Admin,
            format!("reads {pragma}, which can change settings"),
        );
    }
}

#[cfg(test)]
#[path = "sqlite/tests.rs"]
mod tests;
