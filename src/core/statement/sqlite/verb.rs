//! What kind of statement it is, from its first words. SQLite's grammar fixes what a statement can
//! do by its main verb: a `SELECT` holds no statement that writes, and `WITH` only SELECTs.

use crate::core::refusal::{Code, Refusal};
use crate::core::statement::sqlite::pragma;
use crate::core::statement::sqlite::token::Token;
use crate::core::statement::{Effect, Shape};

/// The verb and what follows from it alone.
#[derive(Debug)]
pub(super) struct Verb {
    /// Lower case, with the kind of object: `create table`.
    pub(super) kind: String,
    pub(super) effect: Effect,
    pub(super) shape: Shape,
    /// The verb phrase of the reason, to which the object's name is added. Empty for reads.
    pub(super) because: &'static str,
    /// How many tokens stand before the name of the table it changes, where it changes one.
    pub(super) object_at: Option<usize>,
}

/// Reads the verb of a statement.
pub(super) fn read(statement: &[Token<'_>]) -> Result<Verb, Refusal> {
    let Some(first) = statement.first() else {
        return Err(crate::core::statement::empty());
    };
    match first.text.to_ascii_uppercase().as_str() {
        "SELECT" | "VALUES" => Ok(query(first)),
        "WITH" => with(statement),
        "INSERT" | "REPLACE" | "UPDATE" | "DELETE" => Ok(change(statement, 0)),
        "CREATE" | "ALTER" | "DROP" => Ok(definition(statement)),
        "PRAGMA" => Ok(pragma(statement)),
        "EXPLAIN" => explain(statement),
        other => match MAINTENANCE.iter().find(|(verb, _)| *verb == other) {
            Some((_, because)) => Ok(Verb {
                kind: other.to_ascii_lowercase(),
                effect: Effect::Admin,
                shape: Shape::Change,
                because,
                object_at: None,
            }),
            None => Err(unknown(first)),
        },
    }
}

fn query(first: &Token<'_>) -> Verb {
    Verb {
        kind: first.text.to_ascii_lowercase(),
        effect: Effect::Read,
        shape: Shape::Query,
        because: "",
        object_at: None,
    }
}

/// `WITH [RECURSIVE] name [(columns)] AS [[NOT] MATERIALIZED] (...), ... verb`, walked by its
/// form, because a CTE can have a verb's name.
fn with(statement: &[Token<'_>]) -> Result<Verb, Refusal> {
    let word = |i: usize, keyword: &str| statement.get(i).is_some_and(|t| t.is(keyword));
    let punct = |i: usize, text: &str| statement.get(i).is_some_and(|t| t.is_punct(text));
    let misshapen = || {
        Refusal::new(Code::SyntaxError, "the WITH clause cannot be understood")
            .hint("write WITH name AS (SELECT ...), ... and then one SELECT or change")
    };
    let mut at = 1;
    if word(at, "RECURSIVE") && !word(at + 1, "AS") && !punct(at + 1, "(") {
        at += 1;
    }
    loop {
        at += 1;
        if punct(at, "(") {
            at = after_parentheses(statement, at).ok_or_else(misshapen)?;
        }
        if !word(at, "AS") {
            return Err(misshapen());
        }
        at += 1;
        at += usize::from(word(at, "NOT"));
        at += usize::from(word(at, "MATERIALIZED"));
        at = after_parentheses(statement, at).ok_or_else(misshapen)?;
        if !punct(at, ",") {
            break;
        }
        at += 1;
    }
    match statement.get(at) {
        Some(verb) if verb.is_any(&["SELECT", "VALUES"]) => Ok(query(verb)),
        Some(verb) if verb.is_any(&["INSERT", "REPLACE", "UPDATE", "DELETE"]) => {
            Ok(change(statement, at))
        }
        _ => Err(misshapen()),
    }
}

/// The place after the parenthesis that closes the one at `open`.
fn after_parentheses(statement: &[Token<'_>], open: usize) -> Option<usize> {
    if !statement.get(open)?.is_punct("(") {
        return None;
    }
    let mut depth = 0_usize;
    for (i, token) in statement.iter().enumerate().skip(open) {
        if token.is_punct("(") {
            depth += 1;
        } else if token.is_punct(")") {
            depth -= 1;
            if depth == 0 {
                return Some(i + 1);
            }
        }
    }
    None
}

fn change(statement: &[Token<'_>], verb_at: usize) -> Verb {
    let verb = statement
        .get(verb_at)
        .map_or("", |t| t.text)
        .to_ascii_lowercase();
    let because = match verb.as_str() {
        "update" => "updates",
        "delete" => "deletes from",
        _ => "inserts into",
    };
    // UPDATE OR IGNORE t, INSERT OR IGNORE INTO t, DELETE FROM t.
    let skipped =
        |t: &Token<'_>| t.is_any(&["OR", "ROLLBACK", "ABORT", "FAIL", "IGNORE", "REPLACE"]);
    let rest = statement.iter().enumerate().skip(verb_at + 1);
    let object_at = if verb == "update" {
        rest.clone().find(|(_, t)| !skipped(t)).map(|(i, _)| i)
    } else {
        rest.clone()
            .find(|(_, t)| t.is_any(&["INTO", "FROM"]))
            .map(|(i, _)| i + 1)
    };
    Verb {
        kind: verb,
        effect: Effect::Write,
        shape: Shape::Change,
        because,
        object_at,
    }
}

fn definition(statement: &[Token<'_>]) -> Verb {
    let verb = statement
        .first()
        .map_or("", |t| t.text)
        .to_ascii_lowercase();
    let because = match verb.as_str() {
        "create" => "creates",
        "alter" => "alters",
        _ => "drops",
    };
    let what = |t: &Token<'_>| t.is_any(&["TABLE", "VIEW", "INDEX", "TRIGGER"]);
    let what_at = statement.iter().take(5).position(what);
    let object = what_at.and_then(|i| statement.get(i));
    let object_at = what_at.map(|i| {
        let after = statement.iter().skip(i + 1);
        i + 1
            + after
                .take_while(|t| t.is_any(&["IF", "NOT", "EXISTS"]))
                .count()
    });
    Verb {
        kind: match object {
            Some(object) => format!("{verb} {}", object.text.to_ascii_lowercase()),
            None => verb,
        },
        effect: Effect::Schema,
        shape: Shape::Change,
        because,
        object_at,
    }
}

/// `PRAGMA [schema.]name [= value | (value)]`.
fn pragma(statement: &[Token<'_>]) -> Verb {
    let dotted = usize::from(statement.get(2).is_some_and(|t| t.is_punct("."))) * 2;
    let name = statement
        .get(1 + dotted)
        .and_then(Token::name)
        .unwrap_or_default();
    let rest = statement.get(2 + dotted..).unwrap_or_default();
    let reads = match rest {
        [] => pragma::reads(&name, false),
        [open, .., close] if open.is_punct("(") && close.is_punct(")") => {
            pragma::reads(&name, true)
        }
        _ => false,
    };
    Verb {
        kind: "pragma".into(),
        effect: if reads { Effect::Read } else { Effect::Admin },
        shape: if reads { Shape::Inspect } else { Shape::Change },
        because: if reads {
            ""
        } else {
            "uses a pragma that can change settings"
        },
        object_at: None,
    }
}

/// `EXPLAIN` runs nothing. A pragma is the exception, as some take effect when they are compiled.
fn explain(statement: &[Token<'_>]) -> Result<Verb, Refusal> {
    let word = |i: usize, keyword: &str| statement.get(i).is_some_and(|t| t.is(keyword));
    let inner_at = if word(1, "QUERY") && word(2, "PLAN") {
        3
    } else {
        1
    };
    let inner = read(statement.get(inner_at..).unwrap_or_default())?;
    let admin = inner.effect == Effect::Admin;
    Ok(Verb {
        kind: "explain".into(),
        effect: if admin { Effect::Admin } else { Effect::Read },
        shape: if admin { Shape::Change } else { Shape::Inspect },
        because: if admin { inner.because } else { "" },
        object_at: None,
    })
}

fn unknown(first: &Token<'_>) -> Refusal {
    let shown: String = first.text.chars().take(40).collect();
    Refusal::new(Code::SyntaxError, format!("no SQLite statement begins with {shown:?}"))
        .hint("begin with SELECT, WITH, VALUES, EXPLAIN, PRAGMA, INSERT, UPDATE, DELETE, CREATE, ALTER or DROP")
}

/// Statements about files, transactions and upkeep.
const MAINTENANCE: &[(&str, &str)] = &[
    ("ANALYZE", "rewrites the planner's statistics"),
    ("ATTACH", "opens another database file"),
    ("BEGIN", "controls transactions"),
    ("COMMIT", "controls transactions"),
    ("DETACH", "closes a database file"),
    ("END", "controls transactions"),
    ("REINDEX", "rebuilds indexes"),
    ("RELEASE", "controls transactions"),
    ("ROLLBACK", "controls transactions"),
    ("SAVEPOINT", "controls transactions"),
    ("VACUUM", "rewrites or copies the database file"),
];
