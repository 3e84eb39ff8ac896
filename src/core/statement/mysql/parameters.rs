//! Which column each parameter is compared with.
//!
//! MySQL compares text with a number by turning the text into one: `name = 0` is true for every
//! name that does not start with a digit. A number for a text column is therefore a mistake, or
//! somebody's trick, and is refused before it is sent.

use serde_json::Value;

use super::lexer::{self, Kind, Token};
use super::resolve::ColumnKind;

/// A parameter that is compared with a column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Comparison {
    /// Which parameter, counted from 0.
    pub parameter: usize,
    /// The column's name in lower case.
    pub column: String,
}

/// The comparisons of a column with a parameter in a statement.
pub fn comparisons(sql: &str) -> Vec<Comparison> {
    let Ok(lexed) = lexer::lex(sql) else {
        return Vec::new();
    };
    let tokens = &lexed.list;
    let mut parameter = 0;
    let mut assigning = false;
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        assigning = match token.word.as_str() {
            "set" => true,
            "where" | "on" | "having" | "select" | "from" => false,
            _ => assigning,
        };
        if token.kind != Kind::Parameter {
            continue;
        }
        if let Some(column) = column(tokens, at).filter(|_| !assigning) {
            let column = column.to_ascii_lowercase();
            found.push(Comparison { parameter, column });
        }
        parameter += 1;
    }
    found
}

/// The column that the parameter at `at` is compared with.
fn column(tokens: &[Token], at: usize) -> Option<&str> {
    let before = |n: usize| at.checked_sub(n).and_then(|i| tokens.get(i));
    let previous = before(1)?;
    if is_comparison(previous) {
        return before(2)?.name();
    }
    // column IN (?, ?), column NOT IN (?, ?), column BETWEEN ? AND ?
    let mut back = tokens.get(..at)?.iter().rev();
    if previous.is("between") {
        return before(if before(2)?.is("not") { 3 } else { 2 })?.name();
    }
    if previous.is("and") && before(3)?.is("between") {
        return before(if before(4)?.is("not") { 5 } else { 4 })?.name();
    }
    if previous.is_symbol("(") || previous.is_symbol(",") {
        back.find(|t| {
            !(t.is_symbol(",") || matches!(t.kind, Kind::Parameter | Kind::Text | Kind::Number))
        })
        .filter(|t| t.is_symbol("("))?;
        back.next().filter(|t| t.is("in"))?;
        let name = back.next()?;
        return if name.is("not") {
            back.next()?.name()
        } else {
            name.name()
        };
    }
    // ? = column
    let operator = tokens.get(at + 1).filter(|t| is_comparison(t))?;
    let mut name = tokens
        .get(at + 2)
        .filter(|_| operator.kind == Kind::Symbol)?;
    if tokens.get(at + 3).is_some_and(|t| t.is_symbol(".")) {
        name = tokens.get(at + 4)?;
    }
    name.name()
}

fn is_comparison(token: &Token) -> bool {
    const SYMBOLS: [&str; 8] = ["=", "<>", "!=", "<=>", "<", ">", "<=", ">="];
    token.kind == Kind::Symbol && SYMBOLS.contains(&token.text.as_str())
}

/// The first parameter whose value does not fit the column it is compared with, and that column.
/// `columns` holds the columns of the relations that the statement names.
pub fn unfitting<'c>(
    comparisons: &'c [Comparison],
    values: &[Value],
    columns: &[(String, ColumnKind)],
) -> Option<(usize, &'c str)> {
    comparisons.iter().find_map(|comparison| {
        let value = values.get(comparison.parameter)?;
        let mut kinds = columns
            .iter()
            .filter(|(name, _)| *name == comparison.column)
            .map(|(_, kind)| *kind);
        let guessed = value.is_number() || value.is_boolean();
        // A name that is text in one table and a number in another says nothing.
        let text =
            kinds.next() == Some(ColumnKind::Text) && kinds.all(|kind| kind == ColumnKind::Text);
        (guessed && text).then_some((comparison.parameter, comparison.column.as_str()))
    })
}
