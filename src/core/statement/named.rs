//! Named placeholders (`:name`), found by each engine's own rules of where a token begins and ends: none
//! in a string, a quoted name, a comment, a cast (`::`) or a dollar quote.
//!
//! No engine but SQLite knows them. [`bind`] turns them into what the engine knows.

use std::ops::Range;

use pg_query::protobuf::Token;

use crate::core::engine::Engine;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::mysql::lexer;
use crate::core::statement::sqlite::token;

/// A text with the engine's own placeholders, and which named value each stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bound {
    /// The text.
    pub text: String,
    /// The name of the value of each placeholder, in the order in which values are sent.
    pub order: Vec<String>,
}

/// One placeholder in a text.
#[derive(Debug, Eq, PartialEq)]
struct Found<'a> {
    name: &'a str,
    span: Range<usize>,
}

/// Turns `:name` into `$1` (PostgreSQL), `?1` (SQLite) or `?` (MySQL, MariaDB, where a name that occurs
/// twice is sent twice). Refuses a text that has placeholders without a name already.
///
/// It does not recurse, so it needs no big stack.
pub fn bind(engine: Engine, sql: &str) -> Result<Bound, Refusal> {
    let found = match engine {
        Engine::Postgres => postgres(sql)?,
        Engine::MySql => mysql(sql)?,
        Engine::Sqlite => sqlite(sql)?,
    };
    let mut bound = Bound {
        text: String::with_capacity(sql.len()),
        order: Vec::new(),
    };
    let mut rest = 0;
    for Found { name, span } in found {
        bound
            .text
            .push_str(sql.get(rest..span.start).unwrap_or_default());
        rest = span.end;
        // `a:b` must not become the name `a$1`.
        if bound
            .text
            .ends_with(|c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "_$".contains(c))
        {
            bound.text.push(' ');
        }
        let known = bound.order.iter().position(|other| other == name);
        let at = known
            .filter(|_| engine != Engine::MySql)
            .unwrap_or_else(|| {
                bound.order.push(name.to_owned());
                bound.order.len() - 1
            });
        bound.text.push(match engine {
            Engine::Postgres => '$',
            Engine::Sqlite | Engine::MySql => '?',
        });
        if engine != Engine::MySql {
            bound.text.push_str(&(at + 1).to_string());
        }
    }
    bound.text.push_str(sql.get(rest..).unwrap_or_default());
    Ok(bound)
}

/// Whether a text can name a parameter: 1 to 63 of `a-z A-Z 0-9 _`, no digit first.
pub fn is_name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 63
        && text.bytes().all(good)
        && text.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

fn unnamed() -> Refusal {
    Refusal::new(
        Code::SyntaxError,
        "the statement has a placeholder without a name",
    )
    .hint("write `:name`, and declare the name under `params`")
}

/// The name after a colon that ends at byte `colon`.
fn after_colon(sql: &str, colon: usize, span: Range<usize>) -> Option<Found<'_>> {
    let name = sql.get(span.clone())?;
    (span.start == colon && is_name(name)).then_some(Found {
        name,
        span: colon - 1..span.end,
    })
}

fn postgres(sql: &str) -> Result<Vec<Found<'_>>, Refusal> {
    // The scanner makes a null pointer of a text without tokens.
    if sql.bytes().all(|b| b" \t\n\r\x0b\x0c".contains(&b)) {
        return Ok(Vec::new());
    }
    let tokens = pg_query::scan_tokens(sql).map_err(|_| {
        Refusal::new(Code::SyntaxError, "the statement cannot be read")
            .hint("look for a string or a comment without an end")
    })?;
    let mut found = Vec::new();
    let mut colon = None;
    for token in tokens {
        let place = |at| usize::try_from(at).unwrap_or_default();
        let span = place(token.start)..place(token.end);
        match Token::try_from(token.token) {
            Ok(Token::Param) => return Err(unnamed()),
            Ok(Token::Ascii58) => colon = Some(span.end),
            _ => {
                found.extend(colon.take().and_then(|colon| after_colon(sql, colon, span)));
            }
        }
    }
    Ok(found)
}

fn mysql(sql: &str) -> Result<Vec<Found<'_>>, Refusal> {
    let mut found = Vec::new();
    let mut colon = None;
    for token in lexer::lex(sql)?.list {
        if token.kind == lexer::Kind::Parameter {
            return Err(unnamed());
        }
        if token.is_symbol(":") {
            colon = Some(token.span.end);
        } else {
            found.extend(
                colon
                    .take()
                    .and_then(|colon| after_colon(sql, colon, token.span)),
            );
        }
    }
    Ok(found)
}

fn sqlite(sql: &str) -> Result<Vec<Found<'_>>, Refusal> {
    let placeholders = token::tokens(sql)?;
    let placeholders = placeholders
        .into_iter()
        .filter(|token| token.kind == token::Kind::Placeholder);
    let named = placeholders.map(|token| {
        let name = token.text.strip_prefix(':').filter(|name| is_name(name));
        let span = token.at..token.at + token.text.len();
        name.map(|name| Found { name, span }).ok_or_else(unnamed)
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENGINES: [Engine; 3] = [Engine::Postgres, Engine::MySql, Engine::Sqlite];

    fn bound(engine: Engine, sql: &str) -> (String, Vec<String>) {
        let bound = bind(engine, sql).unwrap();
        (bound.text, bound.order)
    }

    #[test]
    fn a_name_that_occurs_twice_is_one_value_where_the_engine_numbers_them() {
        let sql = "select :a, :b, :a where x = :b_2";
        assert_eq!(
            bound(Engine::Postgres, sql).0,
            "select $1, $2, $1 where x = $3"
        );
        assert_eq!(
            bound(Engine::Sqlite, sql),
            (
                "select ?1, ?2, ?1 where x = ?3".into(),
                vec!["a".into(), "b".into(), "b_2".into()]
            )
        );
        assert_eq!(
            bound(Engine::MySql, sql),
            (
                "select ?, ?, ? where x = ?".into(),
                ["a", "b", "a", "b_2"].map(String::from).to_vec()
            )
        );
    }

    #[test]
    fn what_only_looks_like_a_placeholder_is_left_alone() {
        for engine in ENGINES {
            for text in ["'a :b c'", "\"a :b\"", "1 /* :b */", "1 -- :b\n"] {
                let sql = format!("select {text}");
                assert_eq!(bound(engine, &sql), (sql, vec![]), "{engine:?}");
            }
        }
        for text in [
            "$$ :b $$",
            "$x$ :b $x$",
            "a::int",
            "E'\\':b'",
            "a[1:2]",
            "U&':b'",
        ] {
            let sql = format!("select {text}");
            assert_eq!(bound(Engine::Postgres, &sql), (sql, vec![]));
        }
        for text in ["`:b`", "'\\':b'", "@a:=1", "1 # :b"] {
            let sql = format!("select {text}");
            assert_eq!(bound(Engine::MySql, &sql), (sql, vec![]));
        }
        let sql = "select [:b], `:b`";
        assert_eq!(bound(Engine::Sqlite, sql), (sql.into(), vec![]));
    }

    #[test]
    fn a_placeholder_stands_before_a_cast_and_may_be_a_keyword() {
        assert_eq!(
            bound(Engine::Postgres, "select :from::date, :limit").0,
            "select $1::date, $2"
        );
        assert_eq!(bound(Engine::MySql, "select (:from)").0, "select (?)");
    }

    #[test]
    fn a_placeholder_without_a_name_is_refused() {
        for (engine, sql) in [
            (Engine::Postgres, "select $1"),
            (Engine::MySql, "select ?"),
            (Engine::Sqlite, "select ?"),
            (Engine::Sqlite, "select ?1"),
            (Engine::Sqlite, "select @a"),
            (Engine::Sqlite, "select $a"),
            (Engine::Sqlite, "select :1"),
        ] {
            let refusal = bind(engine, sql).unwrap_err();
            assert_eq!(refusal.code, Code::SyntaxError, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_bound_or_refused_and_nothing_else_is_touched(sql in "(:[a-c]|['\"`$:/*# -]|[a-c1-3]| ){0,24}") {
            for engine in ENGINES {
                if let Ok(bound) = bind(engine, &sql) {
                    let again = bind(engine, &bound.text);
                    prop_assert_eq!(again.is_ok(), bound.order.is_empty());
                    if bound.order.is_empty() {
                        prop_assert_eq!(&bound.text, &sql);
                    }
                }
            }
        }
    }
}
