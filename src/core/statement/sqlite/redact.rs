//! A statement's text without its literals and comments.

use crate::core::statement::sqlite::token::{Kind, Token};

/// Writes the statement with `?` for each literal and one blank for each gap.
pub(super) fn redact(statement: &[Token<'_>]) -> String {
    let mut out = String::new();
    let mut before: Option<&Token<'_>> = None;
    for (i, token) in statement.iter().enumerate() {
        if before.is_some_and(|b| b.at + b.text.len() < token.at) {
            out.push(' ');
        }
        let after = statement.get(i + 1);
        out.push_str(if is_literal(before, token, after) {
            "?"
        } else {
            token.text
        });
        before = Some(token);
    }
    out
}

fn is_literal(before: Option<&Token<'_>>, token: &Token<'_>, after: Option<&Token<'_>>) -> bool {
    match token.kind {
        Kind::Text | Kind::Blob | Kind::Number => true,
        // SQLite takes "..." for a string when no column has the name, so it stays only where it
        // can be nothing but a name.
        Kind::Quoted if token.text.starts_with('"') => {
            let named = before.is_some_and(|b| b.is_punct(".") || b.is_any(BEFORE_NAMES));
            !named && !after.is_some_and(|a| a.is_punct(".") || a.is_punct("("))
        }
        Kind::Quoted | Kind::Word | Kind::Placeholder | Kind::Punct => false,
    }
}

/// Keywords after which a quoted token is a name.
const BEFORE_NAMES: &[&str] = &[
    "AS", "FROM", "JOIN", "INTO", "UPDATE", "TABLE", "VIEW", "INDEX", "TRIGGER", "PRAGMA", "COLUMN",
];
