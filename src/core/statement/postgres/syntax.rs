//! The parser's complaints, without what the text holds.

use crate::core::refusal::{Code, Refusal};

/// The longest piece of the text that an error repeats.
const LONGEST: usize = 40;

/// The most steps that the scanner may spend on comment starts; they take it about 30 ms.
const COMMENT_STEPS: usize = 4 * 1024 * 1024;

/// Refuses a text that the scanner would need seconds for: at each `/*` it reads on to the end of
/// the run of operator characters, so thousands of them in one run cost their number squared.
pub(super) fn check_comments(sql: &str) -> Result<(), Refusal> {
    let operator = |byte: &u8| b"~!@#^&|`?+-*/%<>=".contains(byte);
    let steps: usize = sql
        .as_bytes()
        .split(|byte| !operator(byte))
        .map(|run| run.len() * run.windows(2).filter(|pair| pair == b"/*").count())
        .sum();
    if steps > COMMENT_STEPS {
        return Err(Refusal::new(
            Code::SyntaxError,
            "the statement holds too many comment starts in a row",
        )
        .hint("leave the comments out"));
    }
    Ok(())
}

/// The refusal for a text that the parser does not take.
pub(super) fn refusal(sql: &str, error: &pg_query::Error) -> Refusal {
    let pg_query::Error::Parse(message) = error else {
        return too_deep();
    };
    if is_about_depth(message) {
        return too_deep();
    }
    let (what, near) = match message.split_once(" at or near ") {
        Some((what, near)) => (what, Some(near.trim_matches('"'))),
        None => (message.as_str(), None),
    };
    let near = near.filter(|token| may_be_repeated(token));
    let mut sentence = match near {
        Some(token) => format!("{what} at or near `{token}`"),
        None if what.contains('\'') => "the statement has a syntax error".to_owned(),
        None => what.to_owned(),
    };
    if let Some((line, column)) = position(sql, what, near) {
        sentence = format!("{sentence} (line {line}, column {column})");
    }
    Refusal::new(Code::SyntaxError, sentence)
        .hint("the text must be one statement in PostgreSQL's own SQL; values go in as $1, $2, ...")
}

fn is_about_depth(message: &str) -> bool {
    ["stack depth", "memory exhausted", "too deeply"]
        .iter()
        .any(|part| message.contains(part))
}

/// The refusal for a statement that would need too much stack.
pub(super) fn too_deep() -> Refusal {
    Refusal::new(
        Code::SyntaxError,
        "the statement is nested too deeply to be analysed",
    )
    .hint("write it more simply, or in several statements")
}

/// A word or a sign, but no literal.
fn may_be_repeated(token: &str) -> bool {
    let word = token.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !token.starts_with(|c: char| c.is_ascii_digit());
    let sign = token
        .chars()
        .all(|c| "+-*/<>=~!@#%^&|`?()[],.;:".contains(c));
    !token.is_empty() && token.len() <= LONGEST && (word || sign)
}

/// Line and column where the parser stopped, when the text leaves no doubt.
fn position(sql: &str, what: &str, near: Option<&str>) -> Option<(usize, usize)> {
    let offset = if what.ends_with("at end of input") {
        sql.trim_end().len()
    } else {
        let near = near?;
        let mut places = sql.match_indices(near).map(|(at, _)| at);
        match (places.next(), places.next()) {
            (Some(only), None) => only,
            _ => return None,
        }
    };
    let before = sql.get(..offset)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    Some((line, column))
}
