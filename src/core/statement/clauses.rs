//! What MySQL and SQLite have in common: clauses of a change, found in its tokens. It feeds the
//! review rules and what a policy knows of columns, never the effect: a shape that is not known
//! has no finding.

use std::collections::BTreeSet;

use crate::core::review::{LONGEST_LIST, Rule};
use crate::core::statement::{Name, Statement};

/// One token of either lexer.
pub(super) trait Lexeme {
    /// Whether it is one of these keywords, unquoted; in lower case.
    fn is_word(&self, words: &[&str]) -> bool;
    /// Whether it is this operator or punctuation.
    fn is_symbol(&self, symbol: &str) -> bool;
    /// The name it stands for, where it can be one.
    fn as_name(&self) -> Option<String>;
    /// A number or string as written.
    fn as_literal(&self) -> Option<&str>;
}

/// Fills in columns, `WHERE` and findings. The statement's kind and targets are known by then.
pub(super) fn inspect<T: Lexeme>(tokens: &[T], out: &mut Statement) {
    match out.kind.as_str() {
        "explain" | "describe" | "desc" => return,
        "update" | "delete" => change(tokens, out),
        "insert" | "replace" => {
            let columns = inserted(tokens, out);
            out.columns_written.extend(columns);
        }
        "alter table" => alter(tokens, out),
        "create table" if fills(tokens) => {
            out.findings.insert(Rule::MixedDdlDml);
        }
        kind if kind.starts_with("drop") => {
            out.findings.insert(Rule::Drop);
        }
        kind if kind.starts_with("truncate") => {
            out.findings.insert(Rule::Truncate);
        }
        _ => {}
    }
    if has_long_list(tokens) {
        out.findings.insert(Rule::LongInList);
    }
}

/// The places outside parentheses, with their tokens. `CASE ... END` counts as a parenthesis.
fn outer<T: Lexeme>(tokens: &[T]) -> impl Iterator<Item = (usize, &T)> {
    let mut depth = 0_usize;
    tokens.iter().enumerate().filter(move |(_, token)| {
        if token.is_symbol("(") || token.is_word(&["case"]) {
            depth += 1;
            return depth == 1;
        }
        if token.is_symbol(")") || token.is_word(&["end"]) {
            depth = depth.saturating_sub(1);
        }
        depth == 0
    })
}

fn find<T: Lexeme>(tokens: &[T], words: &[&str]) -> Option<usize> {
    let found = outer(tokens).find(|(_, token)| token.is_word(words));
    found.map(|(at, _)| at)
}

fn from<T>(tokens: &[T], at: usize) -> &[T] {
    tokens.get(at..).unwrap_or_default()
}

fn until<T>(tokens: &[T], at: usize) -> &[T] {
    tokens.get(..at).unwrap_or(tokens)
}

/// `UPDATE` and `DELETE`, perhaps behind `WITH`.
fn change<T: Lexeme>(tokens: &[T], out: &mut Statement) {
    let Some(verb) = find(tokens, &["update", "delete"]) else {
        out.columns_written.insert(Name::bare("*"));
        return;
    };
    let rest = from(tokens, verb + 1);
    let condition = find(rest, &["where"]);
    out.has_where = Some(condition.is_some());
    if out.kind == "update" {
        let columns = find(rest, &["set"]).map(|at| assigned(from(rest, at + 1), &out.writes));
        match columns {
            Some(columns) => out.columns_written.extend(columns),
            None => {
                out.columns_written.insert(Name::bare("*"));
            }
        }
    }
    // A join or a LIMIT chooses rows too.
    let tables = until(rest, condition.unwrap_or(rest.len()));
    let chooses =
        |(_, token): (usize, &T)| token.is_word(&["join", "straight_join", "using", "limit"]);
    let chosen = outer(rest).any(chooses) || out.writes.len() != 1 || lists(tables, &out.kind);
    match condition {
        None if !chosen => {
            out.findings.insert(Rule::NoWhere);
        }
        Some(at) if !chosen && always_true(until_end(from(rest, at + 1)), 0) => {
            out.findings.insert(Rule::WhereAlwaysTrue);
        }
        Some(_) | None => {}
    }
}

/// Whether several tables stand before `SET`, or in the `FROM` of a `DELETE`.
fn lists<T: Lexeme>(tables: &[T], kind: &str) -> bool {
    let end = if kind == "update" {
        find(tables, &["set"]).unwrap_or(tables.len())
    } else {
        find(tables, &["order", "returning"]).unwrap_or(tables.len())
    };
    outer(until(tables, end)).any(|(_, token)| token.is_symbol(","))
}

/// The condition, without what can follow it.
fn until_end<T: Lexeme>(condition: &[T]) -> &[T] {
    let end = find(condition, &["order", "limit", "returning"]);
    until(condition, end.unwrap_or(condition.len()))
}

/// Deeper conditions have no finding.
const DEEPEST: usize = 32;

/// Whether a condition is true whatever the row: `1`, `true`, `2 = 2`, and such a one among
/// several with `OR`.
fn always_true<T: Lexeme>(condition: &[T], depth: usize) -> bool {
    if depth > DEEPEST {
        return false;
    }
    let branches = split(condition, "or");
    if branches.len() > 1 {
        return branches.iter().any(|one| always_true(one, depth + 1));
    }
    let parts = split(condition, "and");
    if parts.len() > 1 {
        return parts.iter().all(|one| always_true(one, depth + 1));
    }
    match condition {
        [one] => {
            let number = one.as_literal().and_then(|text| text.parse::<u64>().ok());
            one.is_word(&["true"]) || number.is_some_and(|number| number > 0)
        }
        [left, equals, right] if equals.is_symbol("=") || equals.is_symbol("==") => {
            left.as_literal().is_some() && left.as_literal() == right.as_literal()
        }
        [open, inner @ .., close] if open.is_symbol("(") && close.is_symbol(")") => {
            // Only if they belong together.
            let together = outer(condition)
                .filter(|(_, token)| token.is_symbol("("))
                .count()
                == 1;
            together && always_true(inner, depth + 1)
        }
        _ => false,
    }
}

fn split<'t, T: Lexeme>(condition: &'t [T], word: &str) -> Vec<&'t [T]> {
    let mut places: Vec<usize> = outer(condition)
        .filter(|(_, token)| token.is_word(&[word]))
        .map(|(at, _)| at)
        .collect();
    places.push(condition.len());
    let mut start = 0;
    let mut parts = Vec::new();
    for place in places {
        parts.push(condition.get(start..place).unwrap_or_default());
        start = place + 1;
    }
    parts
}

/// The columns that a `SET` clause assigns to; `set` begins after `SET`.
fn assigned<T: Lexeme>(set: &[T], tables: &BTreeSet<Name>) -> BTreeSet<Name> {
    let end = find(set, &["where", "order", "limit", "returning", "from"]);
    let set = until(set, end.unwrap_or(set.len()));
    let mut columns = BTreeSet::new();
    let mut starts = vec![0];
    let commas = outer(set).filter(|(_, token)| token.is_symbol(","));
    starts.extend(commas.map(|(at, _)| at + 1));
    for start in starts {
        match from(set, start) {
            // (a, b) = (...)
            [open, inner @ ..] if open.is_symbol("(") => columns.extend(listed(inner, tables)),
            single => {
                columns.insert(column(single, tables).map_or_else(|| Name::bare("*"), |c| c.0));
            }
        }
    }
    columns
}

/// The columns of a list that ends with `)`; `*` where it is something else.
fn listed<T: Lexeme>(inner: &[T], tables: &BTreeSet<Name>) -> BTreeSet<Name> {
    let mut columns = BTreeSet::new();
    let mut rest = inner;
    while let Some((name, length)) = column(rest, tables) {
        columns.insert(name);
        match from(rest, length) {
            [close, ..] if close.is_symbol(")") => return columns,
            [comma, after @ ..] if comma.is_symbol(",") => rest = after,
            _ => break,
        }
    }
    columns.insert(Name::bare("*"));
    columns
}

/// The column that the tokens begin with, and how many tokens its name takes. Without a table of
/// its own it belongs to the one table that is changed.
fn column<T: Lexeme>(tokens: &[T], tables: &BTreeSet<Name>) -> Option<(Name, usize)> {
    let mut parts = vec![tokens.first()?.as_name()?];
    while let [dot, name, ..] = from(tokens, parts.len() * 2 - 1)
        && dot.is_symbol(".")
    {
        parts.push(name.as_name()?);
    }
    let length = parts.len() * 2 - 1;
    let column = parts.pop()?;
    let mut tables = tables.iter();
    let name = match (parts.pop(), tables.next(), tables.next()) {
        (_, Some(only), None) => Name::qualified(only.name.clone(), column),
        (Some(table), ..) => Name::qualified(table, column),
        (None, ..) => Name::bare(column),
    };
    Some((name, length))
}

/// The columns of an `INSERT`, those that it updates on a conflict too.
fn inserted<T: Lexeme>(tokens: &[T], out: &Statement) -> BTreeSet<Name> {
    let mut columns = BTreeSet::new();
    let verb = find(tokens, &["insert", "replace"]).unwrap_or_default();
    let rest = from(tokens, verb + 1);
    let conflict = find(rest, &["conflict", "duplicate"]).unwrap_or(rest.len());
    let (insert, on_conflict) = rest.split_at_checked(conflict).unwrap_or((rest, &[]));
    let source = outer(insert).find(|(_, token)| {
        token.is_symbol("(")
            || token.is_word(&["values", "value", "select", "with", "set", "default"])
    });
    match source {
        Some((at, token)) if token.is_word(&["set"]) => {
            let end = find(from(insert, at), &["on", "as"]).map_or(insert.len(), |end| at + end);
            let set = until(insert, end);
            columns.extend(assigned(from(set, at + 1), &out.writes));
        }
        Some((at, token)) if token.is_symbol("(") => match from(insert, at + 1) {
            [first, ..] if first.is_word(&["select", "with", "values"]) => {
                columns.insert(Name::bare("*"));
            }
            [close, ..] if close.is_symbol(")") => {}
            inner => columns.extend(listed(inner, &out.writes)),
        },
        Some(_) | None => {
            columns.insert(Name::bare("*"));
        }
    }
    // DO UPDATE SET a = 1; ON DUPLICATE KEY UPDATE a = 1.
    if let Some(update) = find(on_conflict, &["update"]) {
        let set = from(on_conflict, update + 1);
        let skip = usize::from(set.first().is_some_and(|token| token.is_word(&["set"])));
        columns.extend(assigned(from(set, skip), &out.writes));
    }
    columns
}

/// `ALTER TABLE`, one clause after the other.
fn alter<T: Lexeme>(tokens: &[T], out: &mut Statement) {
    let is = |clause: &[T], at: usize, words: &[&str]| {
        clause.get(at).is_some_and(|token| token.is_word(words))
    };
    // The first clause begins with its verb; before that stands the table's name.
    let verbs = ["add", "drop", "modify", "change", "alter", "rename"];
    let Some(first) = find(from(tokens, 1), &verbs) else {
        return;
    };
    for clause in split_commas(from(tokens, first + 1)) {
        if is(clause, 0, &["drop"]) && is(clause, 1, &["column"]) {
            out.findings.insert(Rule::Drop);
        }
        if is(clause, 0, &["modify", "change"]) {
            out.findings.insert(Rule::ColumnTypeChange);
        }
        if is(clause, 0, &["add"]) && adds_unfilled(clause) {
            out.findings.insert(Rule::NotNullWithoutDefault);
        }
    }
}

fn split_commas<T: Lexeme>(tokens: &[T]) -> Vec<&[T]> {
    let mut places: Vec<usize> = outer(tokens)
        .filter(|(_, token)| token.is_symbol(","))
        .map(|(at, _)| at)
        .collect();
    places.push(tokens.len());
    let mut start = 0;
    let mut parts = Vec::new();
    for place in places {
        parts.push(tokens.get(start..place).unwrap_or_default());
        start = place + 1;
    }
    parts
}

/// Whether `ADD [COLUMN] name type ... NOT NULL` has nothing that fills the column.
fn adds_unfilled<T: Lexeme>(clause: &[T]) -> bool {
    const FILLS: [&str; 5] = ["default", "generated", "as", "auto_increment", "serial"];
    const NO_COLUMN: [&str; 10] = [
        "constraint",
        "index",
        "key",
        "unique",
        "primary",
        "foreign",
        "check",
        "fulltext",
        "spatial",
        "partition",
    ];
    if clause.get(1).is_some_and(|token| token.is_word(&NO_COLUMN)) {
        return false;
    }
    let words: Vec<&T> = outer(clause).map(|(_, token)| token).collect();
    let not_null = words
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.is_word(&["not"]) && b.is_word(&["null"])));
    not_null && !words.iter().any(|token| token.is_word(&FILLS))
}

/// Whether `CREATE TABLE` takes rows from a query.
fn fills<T: Lexeme>(tokens: &[T]) -> bool {
    tokens.iter().any(|token| token.is_word(&["select"]))
}

/// Whether some `IN (...)` has more than [`LONGEST_LIST`] members.
fn has_long_list<T: Lexeme>(tokens: &[T]) -> bool {
    tokens.windows(3).enumerate().any(|(at, window)| {
        let [word, open, first] = window else {
            return false;
        };
        let is_list = word.is_word(&["in"])
            && open.is_symbol("(")
            && !first.is_word(&["select", "with", "values"]);
        is_list && is_long(from(tokens, at + 2))
    })
}

fn is_long<T: Lexeme>(members: &[T]) -> bool {
    let mut depth = 0_usize;
    let mut commas = 0_usize;
    for token in members {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => break,
            }
        } else if depth == 0 && token.is_symbol(",") {
            commas += 1;
        }
    }
    commas >= LONGEST_LIST
}

#[cfg(test)]
#[path = "clauses_tests.rs"]
mod tests;
