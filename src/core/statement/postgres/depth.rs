//! How deep a statement can nest, estimated from its tokens before anything recurses over it.
//!
//! Decoding the parse tree takes up to 32 KiB of stack for each level, so 64 MiB hold some 2,000
//! levels. The estimate counts tokens that can stand inside each other: those of all open
//! brackets, but only the ones since the last sign that starts a new item of a flat list.

use pg_query::protobuf::{ScanToken, Token};

/// The deepest estimate that is analysed. It leaves more than half of the stack free.
const DEEPEST: usize = 800;

/// What is open at one place: a bracket or a CASE.
#[derive(Default)]
struct Open {
    /// Tokens since the last item of a list began.
    item: usize,
    /// Joins and set operations, which stand inside each other however long the list is.
    chain: usize,
}

/// Whether the statement can nest deeper than the stack allows.
pub(super) fn is_too_deep(tokens: &[ScanToken]) -> bool {
    let mut open = vec![Open::default()];
    let mut depth: usize = 0;
    for token in tokens {
        let Ok(kind) = Token::try_from(token.token) else {
            continue;
        };
        if matches!(kind, Token::SqlComment | Token::CComment) {
            continue;
        }
        step(&mut open, &mut depth, kind);
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other token counts as one level"
)]
fn step(open: &mut Vec<Open>, depth: &mut usize, kind: Token) {
    match kind {
        Token::Ascii40 | Token::Ascii91 | Token::Case => {
            open.push(Open { item: 1, chain: 0 });
            *depth += 1;
        }
        Token::Ascii41 | Token::Ascii93 | Token::EndP if open.len() > 1 => {
            if let Some(closed) = open.pop() {
                *depth -= closed.item + closed.chain;
            }
        }
        Token::Ascii44 | Token::Ascii59 | Token::And | Token::Or | Token::When | Token::Else => {
            if let Some(top) = open.last_mut() {
                *depth -= top.item;
                // The bracket itself goes on being open.
                top.item = 1;
                *depth += 1;
            }
        }
        Token::Join | Token::Union | Token::Intersect | Token::Except => {
            if let Some(top) = open.last_mut() {
                // What was before it is one branch, what follows is another.
                *depth -= top.item;
                top.item = 1;
                top.chain += 1;
                *depth += 2;
            }
        }
        _ => {
            if let Some(top) = open.last_mut() {
                top.item += 1;
                *depth += 1;
            }
        }
    }
}
