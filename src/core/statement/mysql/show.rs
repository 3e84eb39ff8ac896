//! `SHOW`, `EXPLAIN`, `ANALYZE` and `HELP`, by lists of what is known to be harmless.

use std::collections::BTreeSet;

use super::lexer::{Kind, Token};
use super::{scan, verbs};
use crate::core::statement::{Effect, Shape, Statement};

/// What can follow `SHOW`, once `FULL`, `GLOBAL` and the like are out of the way.
const SHOWN: [&str; 24] = [
    "charset",
    "collation",
    "columns",
    "databases",
    "engines",
    "errors",
    "events",
    "fields",
    "grants",
    "index",
    "indexes",
    "keys",
    "plugins",
    "privileges",
    "processlist",
    "profile",
    "profiles",
    "schemas",
    "status",
    "tables",
    "triggers",
    "variables",
    "warnings",
    "locales",
];

/// The same, for what takes two words.
const SHOWN_PAIRS: [[&str; 2]; 25] = [
    ["all", "slaves"],
    ["all", "replicas"],
    ["binary", "logs"],
    ["binlog", "status"],
    ["character", "set"],
    ["count", "("],
    ["create", "database"],
    ["create", "event"],
    ["create", "function"],
    ["create", "package"],
    ["create", "procedure"],
    ["create", "schema"],
    ["create", "sequence"],
    ["create", "table"],
    ["create", "trigger"],
    ["create", "view"],
    ["function", "status"],
    ["master", "status"],
    ["open", "tables"],
    ["package", "status"],
    ["procedure", "status"],
    ["replica", "status"],
    ["slave", "status"],
    ["storage", "engines"],
    ["table", "status"],
];

/// Judges `SHOW ...`.
pub(super) fn show(tokens: &[Token], out: &mut Statement) {
    out.shape = Shape::Inspect;
    let rest = tokens.get(1..).unwrap_or_default();
    let skipped = rest
        .iter()
        .take_while(|t| t.is_any(&["full", "extended", "global", "session", "local"]))
        .count();
    let rest = rest.get(skipped..).unwrap_or_default();
    let (first, second) = (rest.first(), rest.get(1));
    let pair = |[a, b]: &[&str; 2]| {
        first.is_some_and(|t| t.is(a)) && second.is_some_and(|t| t.is(b) || t.is_symbol(b))
    };
    let engine =
        first.is_some_and(|t| t.is("engine")) && rest.get(2).is_some_and(|t| t.is("status"));
    let known = first.is_some_and(|t| t.is_any(&SHOWN)) || SHOWN_PAIRS.iter().any(pair) || engine;
    let words: Vec<&str> = [
        first,
        second.filter(|_| first.is_some_and(|t| t.is("create"))),
    ]
    .into_iter()
    .flatten()
    .map(|t| t.word.as_str())
    .collect();
    out.kind = ["show"]
        .into_iter()
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ");
    if !known {
        return out.worsen(
            Effect::Admin,
            "shows something that is not on the list of harmless things",
        );
    }
    let no_call = BTreeSet::from([tokens.len() - rest.len()]);
    scan::functions(tokens, &no_call, out);
    subject(rest, out);
}

/// Records the table that is shown, and the tables of a condition.
fn subject(rest: &[Token], out: &mut Statement) {
    let condition = rest
        .iter()
        .position(|t| t.is("where"))
        .unwrap_or(rest.len());
    let (what, condition) = rest.split_at_checked(condition).unwrap_or((rest, &[]));
    out.reads.extend(scan::relations(condition));
    let created = rest.first().is_some_and(|t| t.is("create"))
        && rest
            .get(1)
            .is_some_and(|t| t.is_any(&["table", "view", "sequence"]));
    let of_table = ["columns", "fields", "index", "indexes", "keys"];
    if created {
        let name = rest.get(2..).and_then(verbs::name);
        out.reads.extend(name.map(|(name, _)| name));
    } else if rest.first().is_some_and(|t| t.is_any(&of_table)) {
        let mut places = what
            .iter()
            .enumerate()
            .filter(|(_, t)| t.is_any(&["from", "in"]));
        let table = places
            .next()
            .and_then(|(at, _)| verbs::name(what.get(at + 1..)?));
        let schema = places.next().and_then(|(at, _)| what.get(at + 1)?.name());
        if let Some((mut name, _)) = table {
            name.schema = name.schema.or(schema.map(ToOwned::to_owned));
            out.reads.insert(name);
        }
    }
}

/// Judges `EXPLAIN ...`, `DESCRIBE ...` and MySQL's `EXPLAIN ANALYZE ...`.
pub(super) fn explain(tokens: &[Token], out: &mut Statement) {
    "explain".clone_into(&mut out.kind);
    out.shape = Shape::Inspect;
    let (rest, executes) = options(tokens);
    let Some(first) = rest.first() else {
        return out.worsen(Effect::Admin, "is not understood");
    };
    if first.is_any(&STATEMENTS) || first.is_symbol("(") {
        return inner(rest, executes, out);
    }
    // EXPLAIN t, EXPLAIN t column, EXPLAIN t 'pattern'.
    match verbs::name(rest) {
        Some((name, length)) if rest.len() <= length + 1 && !first.is("for") => {
            "describe".clone_into(&mut out.kind);
            out.reads.insert(name);
        }
        _ => out.worsen(Effect::Admin, "is not understood"),
    }
}

/// Judges `ANALYZE`: MariaDB's way to run a statement and tell how, or statistics of tables.
pub(super) fn analyze(tokens: &[Token], out: &mut Statement) {
    let (rest, _) = options(tokens);
    if rest
        .first()
        .is_some_and(|t| t.is_any(&STATEMENTS) && !t.is("table") || t.is_symbol("("))
    {
        out.shape = Shape::Inspect;
        return inner(rest, true, out);
    }
    out.worsen(Effect::Admin, "writes statistics of tables");
}

const STATEMENTS: [&str; 8] = [
    "select", "with", "values", "table", "insert", "replace", "update", "delete",
];

/// The tokens after the options, and whether the statement will be executed.
fn options(tokens: &[Token]) -> (&[Token], bool) {
    let mut rest = tokens.get(1..).unwrap_or_default();
    let mut executes = false;
    loop {
        rest = match rest {
            [t, after @ ..] if t.is_any(&["extended", "partitions"]) && !after.is_empty() => after,
            [t, after @ ..] if t.is("analyze") && !after.is_empty() => {
                executes = true;
                after
            }
            [t, equals, _, after @ ..] if t.is("format") && equals.is_symbol("=") => after,
            _ => return (rest, executes),
        };
    }
}

/// Judges the statement that is explained.
fn inner(tokens: &[Token], executes: bool, out: &mut Statement) {
    let kind = std::mem::take(&mut out.kind);
    verbs::judge(tokens, out);
    out.kind = kind;
    if !executes {
        // A plan alone changes no row and takes no lock.
        out.reasons.retain(|reason| reason.effect != Effect::Write);
        let worst = out.reasons.iter().map(|reason| reason.effect).max();
        out.effect = worst.unwrap_or(Effect::Read);
        out.reads.append(&mut out.writes);
    }
    out.shape = if out.effect == Effect::Read {
        Shape::Inspect
    } else {
        Shape::Change
    };
}

/// Judges `HELP 'topic'`.
pub(super) fn help(tokens: &[Token], out: &mut Statement) {
    out.shape = Shape::Inspect;
    let topic = |t: &Token| matches!(t.kind, Kind::Text | Kind::Word);
    if !matches!(tokens, [_, what] if topic(what)) {
        out.worsen(Effect::Admin, "is not understood");
    }
}
