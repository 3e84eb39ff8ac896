//! Colours for a statement. They help the eye and decide nothing: every character of the text is
//! shown, in its place, whatever it is taken for.
//!
//! Where engines differ, text counts as code rather than as a comment or a string, so that what runs is
//! never greyed out: MySQL's `/*! ... */` is code, and `--` begins a comment there only before a space.

use crate::core::engine::Engine;
use crate::core::visible::{Part, parts};
use crate::web::text::{Piece, push};

const COMMENT: &str = "comment";
const KEYWORD: &str = "keyword";
const NAME: &str = "";
const FOREIGN: &str = "foreign";
const NUMBER: &str = "number";
const PLACEHOLDER: &str = "placeholder";
const QUOTED: &str = "quoted";
const STRING: &str = "string";

/// A statement in pieces. What is odd about it is found in the whole, not token by token.
pub(super) fn statement(engine: Engine, sql: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut tokens = Tokens {
        engine,
        rest: sql,
        class: NAME,
        left: 0,
    };
    for part in parts(sql) {
        match part {
            Part::Plain(text) => {
                for (at, c) in text.char_indices() {
                    let c = text.get(at..at + c.len_utf8()).unwrap_or_default();
                    push(&mut pieces, tokens.class_of(c.len()), Part::Plain(c));
                }
            }
            Part::Odd(c) => push(&mut pieces, tokens.class_of(c.len_utf8()), part),
            Part::Blanks(text) => {
                for c in text.chars() {
                    tokens.class_of(c.len_utf8());
                }
                push(&mut pieces, NAME, part);
            }
        }
    }
    pieces
}

/// The tokens of a statement, character by character.
struct Tokens<'t> {
    engine: Engine,
    rest: &'t str,
    class: &'static str,
    /// Bytes of the token at hand that are still to come.
    left: usize,
}

impl Tokens<'_> {
    /// What the next character, of so many bytes, belongs to.
    fn class_of(&mut self, bytes: usize) -> &'static str {
        if self.left == 0
            && let Some(first) = self.rest.chars().next()
        {
            let (class, length) = token(self.engine, self.rest, first);
            (self.class, self.left) = (class, length.max(first.len_utf8()));
        }
        self.left = self.left.saturating_sub(bytes);
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        self.class
    }
}

/// What stands at the beginning of the text, and how many bytes of it.
fn token(engine: Engine, rest: &str, first: char) -> (&'static str, usize) {
    let mysql = engine == Engine::MySql;
    match first {
        '-' if is_dash_comment(engine, rest) => (COMMENT, line(rest)),
        '#' if mysql => (COMMENT, line(rest)),
        '/' if rest.starts_with("/*!") || rest.starts_with("/*M!") => (NAME, 2),
        '/' if rest.starts_with("/*") => (COMMENT, block(rest, engine == Engine::Postgres)),
        '\'' => (STRING, quoted(rest, '\'', mysql)),
        '"' if mysql => (STRING, quoted(rest, '"', true)),
        '"' => (QUOTED, quoted(rest, '"', false)),
        '`' if engine != Engine::Postgres => (QUOTED, quoted(rest, '`', false)),
        '$' if engine == Engine::Postgres => dollar(rest),
        '?' => (PLACEHOLDER, 1 + digits(rest, 1)),
        ':' | '@' if engine == Engine::Sqlite => (PLACEHOLDER, 1 + word(rest, 1)),
        c if c.is_ascii_digit() => (NUMBER, number(rest)),
        c if c == '_' || c.is_alphabetic() => {
            let length = word(rest, 0);
            (kind(rest.get(..length).unwrap_or_default()), length)
        }
        _ => (NAME, first.len_utf8()),
    }
}

fn is_dash_comment(engine: Engine, rest: &str) -> bool {
    let Some(after) = rest.strip_prefix("--") else {
        return false;
    };
    engine != Engine::MySql || after.chars().next().is_none_or(char::is_whitespace)
}

/// Up to the end of the line.
fn line(rest: &str) -> usize {
    rest.find(['\n', '\r']).unwrap_or(rest.len())
}

/// Up to the end of a comment; PostgreSQL's nest.
fn block(rest: &str, nests: bool) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0_u32);
    loop {
        match bytes.get(at..at + 2) {
            None => return rest.len(),
            Some(b"/*") if depth == 0 || nests => {
                depth = depth.saturating_add(1);
                at += 2;
            }
            Some(b"*/") => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            Some(_) => at += 1,
        }
    }
}

/// Up to the closing quote; one that is doubled closes nothing.
fn quoted(rest: &str, quote: char, backslashes: bool) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && backslashes {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return at + quote.len_utf8(),
            }
        }
    }
    rest.len()
}

/// A placeholder, or a string between two equal tags.
fn dollar(rest: &str) -> (&'static str, usize) {
    let count = digits(rest, 1);
    if count > 0 {
        return (PLACEHOLDER, 1 + count);
    }
    let end = 1 + word(rest, 1);
    let tag = rest.get(..=end).filter(|tag| tag.ends_with('$'));
    let Some(tag) = tag else {
        return (NAME, 1);
    };
    let body = rest.get(tag.len()..).unwrap_or_default();
    let length = body.find(tag).map_or(rest.len(), |at| at + 2 * tag.len());
    (STRING, length)
}

fn digits(rest: &str, from: usize) -> usize {
    let bytes = rest.bytes().skip(from);
    bytes.take_while(u8::is_ascii_digit).count()
}

fn number(rest: &str) -> usize {
    let part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'.' || *b == b'_';
    rest.bytes().take_while(part).count()
}

/// How many bytes of a word there are from a place on.
fn word(rest: &str, from: usize) -> usize {
    let chars = rest.get(from..).unwrap_or_default().chars();
    let part = |c: &char| c.is_alphanumeric() || *c == '_';
    chars.take_while(part).map(char::len_utf8).sum()
}

fn kind(word: &str) -> &'static str {
    if !word.is_ascii() {
        return FOREIGN;
    }
    let upper = word.to_ascii_uppercase();
    if KEYWORDS.binary_search(&upper.as_str()).is_ok() {
        KEYWORD
    } else {
        NAME
    }
}

/// Sorted.
const KEYWORDS: &[&str] = &[
    "ADD",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "BEGIN",
    "BETWEEN",
    "BY",
    "CALL",
    "CASCADE",
    "CASE",
    "CAST",
    "CHECK",
    "COLLATE",
    "COLUMN",
    "COMMIT",
    "CONCURRENTLY",
    "CONFLICT",
    "CONSTRAINT",
    "COPY",
    "CREATE",
    "CROSS",
    "DATABASE",
    "DEFAULT",
    "DELETE",
    "DESC",
    "DISTINCT",
    "DO",
    "DROP",
    "DUPLICATE",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FETCH",
    "FILTER",
    "FOR",
    "FOREIGN",
    "FROM",
    "FULL",
    "FUNCTION",
    "GRANT",
    "GROUP",
    "HAVING",
    "IF",
    "IGNORE",
    "ILIKE",
    "IN",
    "INDEX",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCK",
    "MERGE",
    "NATURAL",
    "NOT",
    "NOTHING",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRAGMA",
    "PRIMARY",
    "PROCEDURE",
    "RECURSIVE",
    "REFERENCES",
    "RENAME",
    "REPLACE",
    "RETURNING",
    "REVOKE",
    "RIGHT",
    "ROLE",
    "ROLLBACK",
    "SCHEMA",
    "SELECT",
    "SEQUENCE",
    "SET",
    "SHOW",
    "TABLE",
    "THEN",
    "TO",
    "TRIGGER",
    "TRUE",
    "TRUNCATE",
    "TYPE",
    "UNION",
    "UNIQUE",
    "UPDATE",
    "USER",
    "USING",
    "VACUUM",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENGINES: [Engine; 3] = [Engine::MySql, Engine::Postgres, Engine::Sqlite];

    fn marked(engine: Engine, sql: &str, class: &str) -> Vec<String> {
        let pieces = statement(engine, sql);
        let of = pieces.into_iter().filter(|piece| piece.class == class);
        of.map(|piece| piece.text).collect()
    }

    #[test]
    fn the_keywords_are_sorted() {
        assert!(KEYWORDS.is_sorted());
    }

    #[test]
    fn a_statement_is_coloured() {
        let sql = "UPDATE \"o\" SET a = 'it''s', n = 4.5 WHERE id = $1 -- why";
        assert_eq!(
            marked(Engine::Postgres, sql, KEYWORD),
            ["UPDATE", "SET", "WHERE"]
        );
        assert_eq!(marked(Engine::Postgres, sql, STRING), ["'it''s'"]);
        assert_eq!(marked(Engine::Postgres, sql, PLACEHOLDER), ["$1"]);
        assert_eq!(marked(Engine::Postgres, sql, COMMENT), ["-- why"]);
        assert_eq!(marked(Engine::Postgres, sql, NUMBER), ["4.5"]);
    }

    #[test]
    fn what_runs_is_no_comment() {
        let mysql = |sql| marked(Engine::MySql, sql, COMMENT);
        assert!(mysql("SELECT 1 /*! UNION DELETE */").is_empty());
        assert!(mysql("SELECT 1 /*M!100100 UNION */").is_empty());
        assert!(mysql("SELECT 5--1").is_empty());
        assert_eq!(mysql("SELECT 1 -- x\n, 2"), ["-- x"]);
        assert_eq!(marked(Engine::Sqlite, "/* /* */ x", COMMENT), ["/* /* */"]);
        assert_eq!(
            marked(Engine::Postgres, "/* /* */ */ x", COMMENT),
            ["/* /* */ */"]
        );
        assert_eq!(
            marked(Engine::Postgres, "$a$ ' $a$ x", STRING),
            ["$a$ ' $a$"]
        );
        assert_eq!(
            marked(Engine::Sqlite, r"'\' x 'y'", STRING),
            [r"'\'", "'y'"]
        );
    }

    proptest! {
        /// The text as it is, with nothing but odd characters by their names.
        #[test]
        fn nothing_is_lost(sql in r#"([-'"`$?:@#/*\\!a-z0-9 \n]|\PC){0,60}"#) {
            for engine in ENGINES {
                let shown: String = statement(engine, &sql).into_iter().map(|p| p.text).collect();
                let plain: String = crate::web::text::pieces(&sql).into_iter().map(|p| p.text).collect();
                prop_assert_eq!(shown, plain);
            }
        }
    }
}
