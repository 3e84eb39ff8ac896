//! The functions and relations that a statement names. In SQLite a function is always called as
//! `name(`, so looking at every pair of tokens finds every call, wherever it stands.

use std::collections::BTreeSet;

use crate::core::statement::Name;
use crate::core::statement::sqlite::token::{Kind, Token};

/// A dotted name that starts at `at`, and the place after it.
pub(super) fn dotted(statement: &[Token<'_>], at: usize) -> Option<(Name, usize)> {
    let first = statement.get(at)?.name()?;
    let dot = statement.get(at + 1).is_some_and(|t| t.is_punct("."));
    match statement.get(at + 2).and_then(Token::name) {
        Some(second) if dot && first == "main" => Some((Name::bare(second), at + 3)),
        Some(second) if dot => Some((Name::qualified(first, second), at + 3)),
        _ => Some((Name::bare(first), at + 1)),
    }
}

/// The names of all functions called, table-valued ones included. `define` is the kind of a
/// statement that defines something, in which some names before `(` are no calls.
pub(super) fn functions(statement: &[Token<'_>], kind: &str) -> BTreeSet<String> {
    let groups = Groups::of(statement);
    let mut found = BTreeSet::new();
    let mut depth = 0_usize;
    for (i, token) in statement.iter().enumerate() {
        if token.is_punct("(") {
            depth += 1;
        } else if token.is_punct(")") {
            depth = depth.saturating_sub(1);
        }
        let callable = matches!(token.kind, Kind::Word | Kind::Quoted);
        let called = statement.get(i + 1).is_some_and(|t| t.is_punct("("));
        if callable
            && called
            && !token.is_any(NOT_FUNCTIONS)
            && !is_definition(statement, i, (kind, depth))
            && !groups.is_cte(statement, i)
            && let Some(name) = token.name()
        {
            found.insert(name);
        }
    }
    found
}

/// Whether the name at `at`, which stands before `(`, is defined or described there, not called.
fn is_definition(statement: &[Token<'_>], at: usize, (kind, depth): (&str, usize)) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|i| statement.get(i));
    let lead = if before(1).is_some_and(|t| t.is_punct(".")) {
        before(3)
    } else {
        before(1)
    };
    // The column list of a table, the target of a cast, the table an index or key is on.
    if lead.is_some_and(|t| t.is_any(&["INTO", "TABLE", "VIEW", "REFERENCES", "AS", "EXISTS"])) {
        return true;
    }
    match kind {
        // Types are written here, and expressions only inside further parentheses.
        "create table" | "alter table" if depth <= usize::from(kind == "create table") => true,
        "create table" if lead.is_some_and(|t| t.is("USING")) => true,
        "create index" if depth == 0 => true,
        _ => false,
    }
}

/// Where each parenthesis is closed, found in one pass, as text can nest them by the thousand.
#[derive(Debug)]
struct Groups(Vec<Option<usize>>);

impl Groups {
    fn of(statement: &[Token<'_>]) -> Self {
        let mut closes = vec![None; statement.len()];
        let mut open = Vec::new();
        for (i, token) in statement.iter().enumerate() {
            if token.is_punct("(") {
                open.push(i);
            } else if token.is_punct(")")
                && let Some(close) = open.pop().and_then(|opened| closes.get_mut(opened))
            {
                *close = Some(i);
            }
        }
        Self(closes)
    }

    /// Whether the name at `at` begins `name(columns) AS [[NOT] MATERIALIZED] (`.
    fn is_cte(&self, statement: &[Token<'_>], at: usize) -> bool {
        let Some(close) = self.0.get(at + 1).copied().flatten() else {
            return false;
        };
        let mut rest = statement.iter().skip(close + 1);
        if !rest.next().is_some_and(|t| t.is("AS")) {
            return false;
        }
        let mut next = rest.next();
        for keyword in ["NOT", "MATERIALIZED"] {
            if next.is_some_and(|t| t.is(keyword)) {
                next = rest.next();
            }
        }
        next.is_some_and(|t| t.is_punct("("))
    }
}

/// The relations that stand after FROM, JOIN or a comma in a FROM clause, CTE names left out.
pub(super) fn relations(statement: &[Token<'_>]) -> BTreeSet<Name> {
    let ctes = cte_names(statement);
    let mut found = BTreeSet::new();
    let mut frames = vec![Frame::default()];
    for (i, token) in statement.iter().enumerate() {
        let Some(frame) = frames.last_mut() else {
            break;
        };
        let wanted = std::mem::take(&mut frame.wants_table);
        if token.is_punct("(") {
            frames.push(Frame {
                in_from: wanted,
                wants_table: wanted,
            });
        } else if token.is_punct(")") {
            frames.pop();
        } else if token.is_any(&["FROM", "JOIN"]) && !follows(statement, i, "DISTINCT") {
            *frame = Frame {
                in_from: true,
                wants_table: true,
            };
        } else if token.is_punct(",") {
            frame.wants_table = frame.in_from;
        } else if token.is_any(ENDS_FROM) {
            *frame = Frame::default();
        } else if wanted
            && let Some((name, after)) = dotted(statement, i)
            && !statement.get(after).is_some_and(|t| t.is_punct("("))
            && !(name.schema.is_none() && ctes.contains(&name.name))
        {
            found.insert(name);
        }
    }
    found
}

#[derive(Debug, Default)]
struct Frame {
    in_from: bool,
    wants_table: bool,
}

fn follows(statement: &[Token<'_>], at: usize, keyword: &str) -> bool {
    at.checked_sub(1)
        .and_then(|i| statement.get(i))
        .is_some_and(|t| t.is(keyword))
}

/// The names before `AS (` and its kin.
fn cte_names(statement: &[Token<'_>]) -> BTreeSet<String> {
    let groups = Groups::of(statement);
    let named = |at: usize| {
        let word = |i: usize, keyword: &str| statement.get(i).is_some_and(|t| t.is(keyword));
        let mut body = at + 2;
        body += usize::from(word(body, "NOT"));
        body += usize::from(word(body, "MATERIALIZED"));
        let plain = word(at + 1, "AS") && statement.get(body).is_some_and(|t| t.is_punct("("));
        (plain || groups.is_cte(statement, at)).then(|| statement.get(at)?.name())?
    };
    (0..statement.len()).filter_map(named).collect()
}

/// Keywords that end a FROM clause, or begin a statement inside parentheses.
const ENDS_FROM: &[&str] = &[
    "WHERE",
    "GROUP",
    "ORDER",
    "LIMIT",
    "HAVING",
    "WINDOW",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "SET",
    "RETURNING",
    "SELECT",
    "VALUES",
];

/// Keywords that can stand before `(` and are no functions.
const NOT_FUNCTIONS: &[&str] = &[
    "ALL",
    "ALWAYS",
    "AND",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CHECK",
    "COLLATE",
    "CONFLICT",
    "DEFAULT",
    "DISTINCT",
    "ELSE",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "FILTER",
    "FROM",
    "HAVING",
    "IN",
    "INTERSECT",
    "INTO",
    "IS",
    "ISNULL",
    "JOIN",
    "KEY",
    "LIMIT",
    "MATERIALIZED",
    "NOT",
    "NOTNULL",
    "OFFSET",
    "ON",
    "OR",
    "OVER",
    "RAISE",
    "RETURNING",
    "SELECT",
    "SET",
    "THEN",
    "UNION",
    "UNIQUE",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
];
