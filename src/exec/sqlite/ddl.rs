//! What SQLite keeps only as the text of a definition: the expressions of indexes and columns.

use crate::core::statement::sqlite::token::{Token, tokens};

/// The keys of an index as written, and the condition of a partial one.
pub(super) fn index(sql: &str) -> (Vec<String>, Option<String>) {
    let tokens = tokens(sql).unwrap_or_default();
    let keys = first_group(&tokens, 0)
        .map(|(open, close)| parts(sql, &tokens, open, close))
        .unwrap_or_default();
    let after = first_group(&tokens, 0).map_or(0, |(_, close)| close + 1);
    let condition = match tokens.get(after) {
        Some(token) if token.is("WHERE") => between(sql, tokens.get(after + 1), None),
        _ => None,
    };
    (keys, condition)
}

/// The expression of a generated column, from its table's definition.
pub(super) fn generated(sql: &str, column: &str) -> Option<String> {
    let tokens = tokens(sql).ok()?;
    let (open, close) = first_group(&tokens, 0)?;
    for (start, end) in commas(&tokens, open, close) {
        let definition = tokens.get(start..end)?;
        if definition.first()?.name()?.eq_ignore_ascii_case(column) {
            let by = definition.iter().position(|token| token.is("AS"))?;
            let (open, close) = first_group(definition, by)?;
            return between(sql, definition.get(open + 1), definition.get(close));
        }
    }
    None
}

/// The first `(` from `start` on and the `)` that closes it.
fn first_group(tokens: &[Token<'_>], start: usize) -> Option<(usize, usize)> {
    let mut open = None;
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(start) {
        if token.is_punct("(") {
            open = open.or(Some(i));
            depth += 1;
        } else if token.is_punct(")") {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some((open?, i));
            }
        }
    }
    None
}

/// The ranges between the commas of a group, nested groups left alone.
fn commas(tokens: &[Token<'_>], open: usize, close: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let (mut start, mut depth) = (open + 1, 0_usize);
    for (i, token) in tokens.iter().enumerate().take(close).skip(open + 1) {
        if token.is_punct("(") {
            depth += 1;
        } else if token.is_punct(")") {
            depth = depth.saturating_sub(1);
        } else if token.is_punct(",") && depth == 0 {
            found.push((start, i));
            start = i + 1;
        }
    }
    found.push((start, close));
    found
}

fn parts(sql: &str, tokens: &[Token<'_>], open: usize, close: usize) -> Vec<String> {
    commas(tokens, open, close)
        .into_iter()
        .filter_map(|(start, end)| between(sql, tokens.get(start), tokens.get(end)))
        .collect()
}

/// The text from one token up to another, or to the end.
fn between(sql: &str, from: Option<&Token<'_>>, to: Option<&Token<'_>>) -> Option<String> {
    let text = match to {
        Some(to) => sql.get(from?.at..to.at),
        None => sql.get(from?.at..),
    };
    text.map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_given_as_written() {
        let (keys, condition) = index(
            "CREATE UNIQUE INDEX i ON t(lower(name), \"a,b\" DESC) WHERE status = 'new' AND (x > 1)",
        );
        assert_eq!(keys, ["lower(name)", "\"a,b\" DESC"]);
        assert_eq!(condition.as_deref(), Some("status = 'new' AND (x > 1)"));
        let table =
            "CREATE TABLE t(a INT, [B] TEXT GENERATED ALWAYS AS (a || ',' || (1)) STORED, c)";
        assert_eq!(generated(table, "b").as_deref(), Some("a || ',' || (1)"));
        assert_eq!(generated(table, "c"), None);
        assert_eq!(generated("not sql '", "c"), None);
    }
}
