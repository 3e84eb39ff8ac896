//! A statement without its literals and comments, for logs and the audit.

use pg_query::protobuf::Token;

/// The statement with every literal as `?`, comments out and each gap one blank.
pub(super) fn redacted(sql: &str) -> String {
    let Ok(tokens) = pg_query::scan_tokens(sql) else {
        return "?".into();
    };
    let mut text = String::with_capacity(sql.len().min(4096));
    let mut end = 0;
    for token in tokens {
        let start = usize::try_from(token.start).unwrap_or_default();
        let stop = usize::try_from(token.end).unwrap_or_default();
        let kind = Token::try_from(token.token);
        if matches!(kind, Ok(Token::SqlComment | Token::CComment)) {
            continue;
        }
        if start > end && !text.is_empty() {
            text.push(' ');
        }
        end = stop;
        if matches!(
            kind,
            Ok(Token::Fconst
                | Token::Sconst
                | Token::Usconst
                | Token::Bconst
                | Token::Xconst
                | Token::Iconst)
        ) {
            text.push('?');
        } else {
            text.push_str(sql.get(start..stop).unwrap_or("?"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn no_literal_and_no_comment_is_left() {
        for (sql, want) in [
            (
                "SELECT 'x''y', E'\\'s', $q$ s $q$, U&'s', B'1', X'ff', 1.5e3, 42 /* s */ -- s",
                "SELECT ?, ?, ?, ?, ?, ?, ?, ?",
            ),
            ("create  user u\npassword 's'", "create user u password ?"),
            ("select $1::int+ -5", "select $1::int+ -?"),
            ("select '\u{e9}', \"\u{e9}\"", "select ?, \"\u{e9}\""),
            ("do $$ begin s; end $$", "do ?"),
            ("select 'unterminated", "?"),
        ] {
            assert_eq!(redacted(sql), want);
        }
    }
}
