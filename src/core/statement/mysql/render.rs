//! Writes tokens back as text: without literals for logs, and in the plainest spelling for the
//! parser.
//!
//! The parser never sees the caller's text. What it reads holds no comment, no literal and none of
//! the spellings that it does not know, so it cannot disagree with the lexer about where a string
//! ends. Precedence may differ from the server's; who is called and what is read does not.

use super::lexer::{Kind, Token};

/// The statement for logs: every literal a `?`, comments gone.
pub(super) fn redacted(tokens: &[Token]) -> String {
    let mut out = String::new();
    for token in tokens {
        if token.gap && !out.is_empty() {
            out.push(' ');
        }
        match token.kind {
            Kind::Text | Kind::Number | Kind::Parameter => out.push('?'),
            Kind::Quoted => quote(&mut out, &token.text),
            Kind::Word | Kind::UserVariable | Kind::SystemVariable | Kind::Symbol => {
                out.push_str(&token.text);
            }
        }
    }
    out
}

fn quote(out: &mut String, name: &str) {
    out.push('`');
    out.push_str(&name.replace('`', "``"));
    out.push('`');
}

/// The query as written, without comments and the modifiers that only a whole statement may have.
pub(super) fn embeddable(sql: &str, tokens: &[Token]) -> String {
    const MODIFIERS: [&str; 5] = [
        "high_priority",
        "sql_buffer_result",
        "sql_cache",
        "sql_calc_found_rows",
        "sql_no_cache",
    ];
    let mut out = String::new();
    let mut previous: Option<&Token> = None;
    for token in tokens {
        let modifier = token.is_any(&MODIFIERS) && previous.is_some_and(begins_select);
        if token.gap {
            out.push(' ');
        }
        if !modifier {
            out.push_str(sql.get(token.span.clone()).unwrap_or_default());
        }
        previous = Some(token);
    }
    out
}

/// The statement in the spelling that the parser understands best.
pub(super) fn canonical(tokens: &[Token]) -> String {
    let mut out = String::new();
    let mut previous: Option<&Token> = None;
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        let skip = if token.kind == Kind::Word {
            word(&mut out, previous, token, after)
        } else {
            other(&mut out, previous, token);
            0
        };
        previous = Some(token);
        rest = after.get(skip..).unwrap_or_default();
    }
    out
}

fn other(out: &mut String, previous: Option<&Token>, token: &Token) {
    if token.is_symbol(".") {
        if out.ends_with(' ') {
            out.pop();
        }
        out.push('.');
        return;
    }
    match token.kind {
        // Strings side by side are one string.
        Kind::Text if previous.is_some_and(|p| p.kind == Kind::Text) => return,
        Kind::Text => out.push_str("'x'"),
        Kind::Number => out.push('1'),
        Kind::Parameter => out.push('?'),
        Kind::UserVariable => out.push_str("@x"),
        Kind::SystemVariable => out.push_str("@@x"),
        Kind::Quoted => quote(out, &token.text),
        Kind::Word => {}
        Kind::Symbol => out.push_str(match token.text.as_str() {
            "<=>" => "=",
            "&&" => "AND",
            "||" => "OR",
            "!" | "~" => "-",
            symbol => symbol,
        }),
    }
    out.push(' ');
}

/// Writes one word; returns how many of the tokens after it are covered by what was written.
fn word(out: &mut String, previous: Option<&Token>, token: &Token, after: &[Token]) -> usize {
    let (next, then) = (after.first(), after.get(1));
    let next_is = |word: &str| next.is_some_and(|t| t.is(word));
    let paren_next = next.is_some_and(|t| t.is_symbol("("));
    let after_dot = previous.is_some_and(|p| p.is_symbol("."));
    let literal_next = next.is_some_and(|t| matches!(t.kind, Kind::Text | Kind::Number));
    let (text, skip) = match token.word.as_str() {
        _ if after_dot => (token.text.as_str(), 0),
        "div" => ("/", 0),
        "mod" if !paren_next => ("%", 0),
        "xor" => ("OR", 0),
        "rlike" | "regexp" => ("LIKE", 0),
        "sounds" if next_is("like") => ("", 0),
        "distinctrow" => ("DISTINCT", 0),
        "binary" if prefixes(next) => ("", 0),
        "with" if next_is("rollup") => ("", 1),
        "charset" if then.is_some_and(|t| t.is_symbol(")")) => ("", 1),
        "character" if next_is("set") => ("", 2),
        // Before a parenthesis it could be the name of somebody's function.
        word if SELECT_MODIFIERS.contains(&word)
            && previous.is_some_and(begins_select)
            && !paren_next =>
        {
            ("", 0)
        }
        word if UNITS.contains(&word) => ("DAY", 0),
        word if word.starts_with('_') && literal_next => ("", 0),
        _ => (token.text.as_str(), 0),
    };
    out.push_str(text);
    if !text.is_empty() {
        out.push(' ');
    }
    skip
}

/// Whether `BINARY` before this token is the operator, not the type.
fn prefixes(next: Option<&Token>) -> bool {
    next.is_some_and(|t| !(t.is_symbol(")") || t.is_symbol("(") || t.is_symbol(",")))
}

fn begins_select(token: &Token) -> bool {
    token.is_any(&["select", "distinct", "all", "distinctrow"]) || token.is_any(&SELECT_MODIFIERS)
}

const SELECT_MODIFIERS: [&str; 8] = [
    "high_priority",
    "sql_big_result",
    "sql_buffer_result",
    "sql_cache",
    "sql_calc_found_rows",
    "sql_no_cache",
    "sql_small_result",
    "straight_join",
];

/// Units of two parts, which the parser does not know.
const UNITS: [&str; 11] = [
    "day_hour",
    "day_microsecond",
    "day_minute",
    "day_second",
    "hour_microsecond",
    "hour_minute",
    "hour_second",
    "minute_microsecond",
    "minute_second",
    "second_microsecond",
    "year_month",
];
