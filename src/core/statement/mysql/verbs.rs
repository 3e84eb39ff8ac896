//! What each kind of statement does, by its first words.

use std::collections::BTreeSet;

use super::lexer::{Kind, Token};
use super::{query, render, scan, show};
use crate::core::statement::{Effect, Name, Shape, Statement};

/// Whether a statement can hold others, with semicolons between them.
pub(super) fn holds_statements(tokens: &[Token]) -> bool {
    let starts = |words: [&str; 2]| {
        let mut pairs = tokens.iter().zip(words);
        tokens.len() > 1 && pairs.all(|(token, word)| token.is(word))
    };
    let defines = tokens
        .first()
        .is_some_and(|t| t.is_any(&["create", "alter"]));
    starts(["begin", "not"]) || defines && CODE.contains(&object(tokens).0.as_str())
}

/// The parser has no limit of its own for chains of joins, each of which takes stack.
const MOST_JOINS: usize = 256;

/// Records what the statement does.
pub(super) fn judge(tokens: &[Token], out: &mut Statement) {
    let first = tokens.iter().find(|t| !t.is_symbol("("));
    let word = first.map_or("", |t| t.word.as_str());
    word.clone_into(&mut out.kind);
    match word {
        "select" | "values" | "table" => select(tokens, out),
        "with" => with(tokens, out),
        "insert" | "replace" | "update" | "delete" => change(tokens, 0, out),
        "create" | "alter" | "drop" | "truncate" | "rename" => schema(tokens, out),
        "show" => show::show(tokens, out),
        "explain" | "describe" | "desc" => show::explain(tokens, out),
        "analyze" => show::analyze(tokens, out),
        "help" => show::help(tokens, out),
        _ => other(word, out),
    }
}

fn select(tokens: &[Token], out: &mut Statement) {
    let mut previous: Option<&Token> = None;
    for token in tokens {
        let after_dot = previous.is_some_and(|p| p.is_symbol("."));
        if token.is("into") && !after_dot {
            out.worsen(Effect::Admin, "puts its rows into a file or a variable");
        }
        if token.is("procedure") && !after_dot {
            out.worsen(Effect::Admin, "hands its rows to a procedure");
        }
        previous = Some(token);
    }
    let joins = tokens
        .iter()
        .filter(|t| t.is_any(&["join", "straight_join"]));
    let tree = if joins.count() > MOST_JOINS {
        None
    } else {
        query::parse(&render::canonical(tokens))
    };
    match tree {
        Some(tree) => query::judge(&tree, out),
        None => scan::query(tokens, out),
    }
}

/// A statement behind table expressions: whatever its main verb is.
fn with(tokens: &[Token], out: &mut Statement) {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        }
        if depth > 0 {
            continue;
        }
        if token.is_any(&["insert", "replace", "update", "delete"]) {
            token.word.clone_into(&mut out.kind);
            return change(tokens, at, out);
        }
        if token.is_any(&["select", "values", "table"]) {
            break;
        }
    }
    "select".clone_into(&mut out.kind);
    select(tokens, out);
}

/// A statement that changes rows, whose verb stands at `at`.
fn change(tokens: &[Token], at: usize, out: &mut Statement) {
    let after = tokens.get(at + 1..).unwrap_or_default();
    let skipped = after
        .iter()
        .take_while(|t| {
            t.is_any(&[
                "low_priority",
                "delayed",
                "high_priority",
                "ignore",
                "quick",
                "into",
            ])
        })
        .count();
    let rest = after.get(skipped..).unwrap_or_default();
    let mut calls_begin_after = BTreeSet::new();
    match out.kind.as_str() {
        "insert" | "replace" => {
            if let Some((name, length)) = name(rest) {
                calls_begin_after.insert(at + skipped + length);
                out.writes.insert(name);
            }
            out.reads.extend(scan::relations(rest));
        }
        "update" => update(rest, out),
        _ => delete(rest, out),
    }
    let verb = match out.kind.as_str() {
        "insert" => "inserts into",
        "replace" => "inserts and replaces rows of",
        "update" => "updates",
        _ => "deletes from",
    };
    scan::functions(tokens, &calls_begin_after, out);
    if out.writes.is_empty() {
        return out.worsen(
            Effect::Admin,
            "changes rows in a way that is not understood",
        );
    }
    out.worsen(Effect::Write, format!("{verb} {}", list(&out.writes)));
}

fn list(names: &BTreeSet<Name>) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

fn update(rest: &[Token], out: &mut Statement) {
    let end = outside(rest, &["set"]).unwrap_or(rest.len());
    let (tables, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    let listed = scan::listed(tables);
    out.reads.extend(scan::relations(after));
    if listed.len() > 1 {
        // Which of them change is for the SET clause to say; all of them may.
        out.reads.extend(listed.iter().cloned());
    }
    let aliased = aliases(tables);
    let assigned: Option<BTreeSet<Name>> = assigned(after)
        .into_iter()
        .map(|alias| {
            let alias = alias?;
            let table = aliased.iter().find(|(a, _)| *a == alias)?;
            Some(table.1.clone())
        })
        .collect();
    match assigned {
        Some(assigned) if listed.len() > 1 && !assigned.is_empty() => out.writes.extend(assigned),
        _ => out.writes.extend(listed),
    }
}

/// The qualifier of each column that a SET clause assigns to.
fn assigned(set: &[Token]) -> Vec<Option<String>> {
    let end = outside(set, &["where", "order", "limit", "returning"]).unwrap_or(set.len());
    let mut depth = 0_usize;
    let mut starts = true;
    let mut found = Vec::new();
    for (at, token) in set.iter().take(end).enumerate().skip(1) {
        if starts {
            let dotted = set.get(at + 1).is_some_and(|t| t.is_symbol("."));
            let lower = token.text.to_ascii_lowercase();
            found.push(dotted.then_some(lower));
        }
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        }
        starts = depth == 0 && token.is_symbol(",");
    }
    found
}

/// The tables of a list by the names that the statement has for them, in lower case.
fn aliases(tables: &[Token]) -> Vec<(String, Name)> {
    let mut found = Vec::new();
    let mut rest = tables;
    while !rest.is_empty() {
        let keyword = rest.first().is_some_and(|t| t.is_any(&AFTER_TABLE));
        let Some((table, length)) = name(rest).filter(|_| !keyword) else {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        rest = rest.get(length..).unwrap_or_default();
        let skip = usize::from(rest.first().is_some_and(|t| t.is("as")));
        let alias = rest
            .get(skip)
            .filter(|t| t.name().is_some() && !t.is_any(&AFTER_TABLE));
        let alias = alias.map_or(&table.name, |t| &t.text);
        found.push((alias.to_ascii_lowercase(), table.clone()));
    }
    found
}

const AFTER_TABLE: [&str; 15] = [
    "on",
    "using",
    "join",
    "left",
    "right",
    "inner",
    "cross",
    "natural",
    "straight_join",
    "set",
    "where",
    "force",
    "use",
    "ignore",
    "outer",
];

fn delete(rest: &[Token], out: &mut Statement) {
    let from = rest.iter().position(|t| t.is("from"));
    let using = outside(rest, &["using"]);
    let (targets, tables) = match (from, using) {
        // DELETE FROM a, b USING ...
        (Some(0), Some(using)) => (rest.get(1..using), rest.get(using + 1..)),
        // DELETE FROM a WHERE ...
        (Some(0), None) => {
            let target = rest.get(1..).unwrap_or_default();
            out.writes.extend(name(target).map(|(name, _)| name));
            out.reads.extend(scan::relations(target));
            return;
        }
        // DELETE a, b FROM ...
        (Some(from), _) => (rest.get(..from), rest.get(from + 1..)),
        (None, _) => return,
    };
    let tables = tables.unwrap_or_default();
    let aliased = aliases(tables);
    let mut targets = targets.unwrap_or_default();
    while !targets.is_empty() {
        let Some((target, length)) = name(targets) else {
            targets = targets.get(1..).unwrap_or_default();
            continue;
        };
        let lower = target.name.to_ascii_lowercase();
        let table = aliased.iter().find(|(alias, _)| *alias == lower);
        out.writes
            .insert(table.map_or(target, |(_, table)| table.clone()));
        targets = targets.get(length..).unwrap_or_default();
    }
    out.reads.extend(scan::listed(tables));
}

/// The first place of one of `words` outside parentheses.
fn outside(tokens: &[Token], words: &[&str]) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().position(|token| {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        }
        depth == 0 && token.is_any(words)
    })
}

/// The name that the tokens begin with, and how many tokens it takes.
pub(super) fn name(tokens: &[Token]) -> Option<(Name, usize)> {
    let first = tokens.first()?.name()?;
    match (tokens.get(1), tokens.get(2).and_then(Token::name)) {
        (Some(dot), Some(second)) if dot.is_symbol(".") => {
            Some((Name::qualified(first, second), 3))
        }
        _ => Some((Name::bare(first), 1)),
    }
}

/// Things that hold code, which runs later with its definer's rights.
const CODE: [&str; 5] = ["procedure", "function", "trigger", "event", "package"];

/// The kind of thing that a schema statement is about, and where its name begins.
fn object(tokens: &[Token]) -> (String, usize) {
    const KINDS: [&str; 19] = [
        "table",
        "tables",
        "view",
        "index",
        "sequence",
        "database",
        "schema",
        "procedure",
        "function",
        "trigger",
        "event",
        "package",
        "user",
        "role",
        "server",
        "tablespace",
        "logfile",
        "instance",
        "resource",
    ];
    let kind = tokens.iter().take(24).position(|t| t.is_any(&KINDS));
    // `TRUNCATE t` has no word for it.
    let truncates = tokens.first().is_some_and(|t| t.is("truncate"));
    let kind = kind.filter(|at| {
        let table = tokens.get(*at).is_some_and(|t| t.is("table"));
        tokens.iter().take(*at).all(|t| !t.is("as")) && (table && *at == 1 || !truncates)
    });
    let Some(at) = kind else {
        return ("table".into(), 1);
    };
    let skipped = tokens
        .iter()
        .skip(at + 1)
        .take_while(|t| t.is_any(&["if", "not", "exists"]))
        .count();
    let kind = tokens.get(at).map_or("", |t| t.word.as_str());
    (kind.to_owned(), at + 1 + skipped)
}

fn schema(tokens: &[Token], out: &mut Statement) {
    let verb = std::mem::take(&mut out.kind);
    let (object, start) = object(tokens);
    out.kind = format!("{verb} {object}");
    let code = CODE.contains(&object.as_str());
    match object.as_str() {
        "table" | "tables" | "view" | "index" | "sequence" => {}
        "database" | "schema" => return out.worsen(Effect::Schema, doing(&verb, "a database")),
        _ if code && verb == "drop" => return out.worsen(Effect::Schema, doing(&verb, "code")),
        _ if code => return out.worsen(Effect::Admin, doing(&verb, "code that runs later")),
        _ => return out.worsen(Effect::Admin, doing(&verb, &format!("a {object}"))),
    }
    targets(tokens, &object, start, out);
    if out.writes.is_empty() {
        return out.worsen(
            Effect::Admin,
            "changes tables in a way that is not understood",
        );
    }
    out.worsen(Effect::Schema, doing(&verb, &list(&out.writes)));
    beyond(tokens, out);
    if let Some(at) = tokens.iter().position(|t| t.is_any(&["select", "with"])) {
        let source = tokens.get(at..).unwrap_or_default();
        scan::functions(source, &BTreeSet::new(), out);
        out.reads.extend(scan::relations(source));
    }
}

fn doing(verb: &str, what: &str) -> String {
    let verb = match verb {
        "create" => "creates",
        "alter" => "alters",
        "drop" => "drops",
        "truncate" => "empties",
        _ => "renames",
    };
    format!("{verb} {what}")
}

fn targets(tokens: &[Token], object: &str, start: usize, out: &mut Statement) {
    let start = if object == "index" {
        // CREATE INDEX i ON t: the table is what changes.
        match tokens.iter().position(|t| t.is("on")) {
            Some(on) => on + 1,
            None => return,
        }
    } else {
        start
    };
    let mut rest = tokens.get(start..).unwrap_or_default();
    while let Some((name, length)) = name(rest) {
        out.writes.insert(name);
        rest = rest.get(length..).unwrap_or_default();
        match rest.first() {
            Some(t) if t.is_symbol(",") || t.is("to") => rest = rest.get(1..).unwrap_or_default(),
            _ => return,
        }
        // After the comma of ALTER TABLE or CREATE comes no further table.
        if !tokens
            .first()
            .is_some_and(|t| t.is_any(&["drop", "rename", "truncate"]))
        {
            return;
        }
    }
}

/// Table options that reach for files or other servers.
fn beyond(tokens: &[Token], out: &mut Statement) {
    const ENGINES: [&str; 7] = [
        "innodb",
        "myisam",
        "aria",
        "memory",
        "archive",
        "rocksdb",
        "columnstore",
    ];
    for (at, token) in tokens.iter().enumerate() {
        let after = |n: usize| tokens.get(at + n);
        let next_is = |word: &str| after(1).is_some_and(|t| t.is(word));
        if token.is_any(&["data", "index"]) && next_is("directory") {
            out.worsen(Effect::Admin, "chooses a folder on the server");
        }
        if token.is_any(&["import", "discard"]) && next_is("tablespace") {
            out.worsen(Effect::Admin, "exchanges files of the server");
        }
        let value = if after(1).is_some_and(|t| t.is_symbol("=")) {
            after(2)
        } else {
            after(1)
        };
        if token.is("connection") && value.is_some_and(|v| v.kind == Kind::Text) {
            out.worsen(Effect::Admin, "connects to another server");
        }
        let chosen = value.filter(|v| token.is("engine") && v.kind != Kind::Symbol);
        if chosen.is_some_and(|v| {
            !ENGINES.contains(
                &v.text
                    .trim_matches(['\'', '"'])
                    .to_ascii_lowercase()
                    .as_str(),
            )
        }) {
            out.worsen(
                Effect::Admin,
                "uses a storage engine that may reach beyond the database",
            );
        }
    }
}

fn other(word: &str, out: &mut Statement) {
    out.shape = Shape::Change;
    if out.kind.is_empty() {
        "unknown".clone_into(&mut out.kind);
    }
    let because = match word {
        "set" => "changes settings or variables",
        "use" => "changes the session's database",
        "call" => "calls a procedure, which cannot be seen into",
        "do" => "evaluates expressions for their effect",
        "handler" => "reads past the rules for queries",
        "prepare" | "execute" | "deallocate" => "runs text that cannot be seen",
        "lock" | "unlock" => "locks or unlocks tables",
        "grant" | "revoke" => "changes privileges",
        "start" | "commit" | "rollback" | "savepoint" | "release" | "xa" => "controls transactions",
        "begin" => "begins a transaction or a block of statements",
        "load" => "loads a file of the server",
        "kill" => "ends another connection or statement",
        "install" | "uninstall" => "loads code into the server",
        "flush" | "reset" | "purge" | "shutdown" | "change" | "stop" | "binlog" | "cache" => {
            "administers the server"
        }
        "optimize" | "repair" | "check" | "checksum" => "maintains tables",
        _ => "is not understood",
    };
    out.worsen(Effect::Admin, because);
}
