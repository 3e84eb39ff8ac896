//! SQLite's lexical rules, followed to the letter (its `tokenize.c`), so that this side and the
//! engine never disagree about where a string, a comment or a statement ends.

use crate::core::refusal::{Code, Refusal};

/// What a token is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A keyword or a plain name.
    Word,
    /// A name in `"..."`, `[...]` or backquotes. `"..."` can also turn out to be a string.
    Quoted,
    /// A string in `'...'`, which SQLite also takes for a table's name.
    Text,
    /// `x'...'`.
    Blob,
    /// A number.
    Number,
    /// `?`, `?1`, `$1`, `:name`, `@name`.
    Placeholder,
    /// Everything else, one operator at a time.
    Punct,
}

/// One token, as written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// The byte at which it starts.
    pub(crate) at: usize,
}

impl Token<'_> {
    /// Whether it is this keyword (upper case), in any letter case and not quoted.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether it is one of these keywords.
    pub(crate) fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Whether it is this operator.
    pub(crate) fn is_punct(&self, operator: &str) -> bool {
        self.kind == Kind::Punct && self.text == operator
    }

    /// The name it stands for where a name is wanted, lower case, without its quotes.
    pub(crate) fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_ascii_lowercase()),
            Kind::Quoted | Kind::Text => {
                let quote = self.text.chars().next()?;
                let inner = self.text.get(1..self.text.len().checked_sub(1)?)?;
                let plain = match quote {
                    '[' => inner.to_owned(),
                    other => inner.replace(&format!("{other}{other}"), &other.to_string()),
                };
                Some(plain.to_ascii_lowercase())
            }
            Kind::Blob | Kind::Number | Kind::Placeholder | Kind::Punct => None,
        }
    }
}

/// Splits a text into tokens; comments and blanks are left out.
pub(crate) fn tokens(sql: &str) -> Result<Vec<Token<'_>>, Refusal> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = sql.get(at..).filter(|rest| !rest.is_empty()) {
        let (kind, length) = measure(rest)?;
        let text = rest
            .get(..length)
            .ok_or_else(|| illegal("this character"))?;
        if let Some(kind) = kind {
            found.push(Token { kind, text, at });
        }
        at += length;
    }
    Ok(found)
}

/// The kind (none for blanks and comments) and length of the token that `rest` starts with.
fn measure(rest: &str) -> Result<(Option<Kind>, usize), Refusal> {
    let bytes = rest.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let first = at(0);
    Ok(match first {
        b' ' | b'\t' | b'\n' | b'\r' | 0x0c => (None, run(bytes, 0, is_blank)),
        b'-' if at(1) == b'-' => (None, run(bytes, 0, |b| b != b'\n')),
        b'/' if at(1) == b'*' && bytes.len() > 2 => (None, block_comment(rest)),
        0xef if at(1) == 0xbb && at(2) == 0xbf => (None, 3),
        b'\'' => (Some(Kind::Text), quoted(bytes, first)?),
        b'"' | b'`' => (Some(Kind::Quoted), quoted(bytes, first)?),
        b'[' => (Some(Kind::Quoted), bracketed(rest)?),
        b'0'..=b'9' => (Some(Kind::Number), number(bytes)?),
        b'.' if at(1).is_ascii_digit() => (Some(Kind::Number), number(bytes)?),
        b'?' => (
            Some(Kind::Placeholder),
            1 + run(bytes, 1, |b| b.is_ascii_digit()),
        ),
        b'$' | b':' | b'@' => (Some(Kind::Placeholder), named_placeholder(bytes)?),
        b'x' | b'X' if at(1) == b'\'' => (Some(Kind::Blob), blob(bytes)?),
        _ if is_name(first) && first != b'$' => (Some(Kind::Word), run(bytes, 0, is_name)),
        _ => (Some(Kind::Punct), operator(rest)?),
    })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

/// Whether a byte can stand inside a name. Every character beyond ASCII can.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// How many bytes from `start` on are good.
fn run(bytes: &[u8], start: usize, good: impl Fn(u8) -> bool) -> usize {
    bytes.iter().skip(start).take_while(|b| good(**b)).count()
}

/// Comments do not nest, and one without an end goes to the end of the text.
fn block_comment(rest: &str) -> usize {
    rest.get(2..)
        .and_then(|inner| inner.find("*/"))
        .map_or(rest.len(), |end| end + 4)
}

fn quoted(bytes: &[u8], quote: u8) -> Result<usize, Refusal> {
    let mut i = 1;
    while let Some(byte) = bytes.get(i) {
        if *byte == quote {
            if bytes.get(i + 1) != Some(&quote) {
                return Ok(i + 1);
            }
            i += 1;
        }
        i += 1;
    }
    let what = if quote == b'\'' {
        "a string"
    } else {
        "a quoted name"
    };
    Err(unfinished(what))
}

fn bracketed(rest: &str) -> Result<usize, Refusal> {
    rest.find(']')
        .map(|end| end + 1)
        .ok_or_else(|| unfinished("a name in brackets"))
}

fn number(bytes: &[u8]) -> Result<usize, Refusal> {
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let digits = |from: usize| run(bytes, from, |b| b.is_ascii_digit() || b == b'_');
    let mut end;
    if at(0) == b'0' && matches!(at(1), b'x' | b'X') && at(2).is_ascii_hexdigit() {
        end = 2 + run(bytes, 2, |b| b.is_ascii_hexdigit() || b == b'_');
    } else {
        end = digits(0);
        if at(end) == b'.' {
            end += 1;
            end += digits(end);
        }
        let sign = usize::from(matches!(at(end + 1), b'+' | b'-'));
        if matches!(at(end), b'e' | b'E') && at(end + 1 + sign).is_ascii_digit() {
            end += 1 + sign;
            end += digits(end);
        }
    }
    if is_name(at(end)) {
        return Err(illegal("a number that runs into a name"));
    }
    Ok(end)
}

fn named_placeholder(bytes: &[u8]) -> Result<usize, Refusal> {
    let length = 1 + run(bytes, 1, is_name);
    let next = bytes.get(length).copied().unwrap_or(0);
    // `$name(...)` and `$name::x` are for Tcl, with quoting rules of their own.
    let tcl = next == b'(' || (next == b':' && bytes.get(length + 1) == Some(&b':'));
    if length == 1 || tcl {
        return Err(illegal("a placeholder of this form").hint("write placeholders as $1, $2 or ?"));
    }
    Ok(length)
}

fn blob(bytes: &[u8]) -> Result<usize, Refusal> {
    let digits = run(bytes, 2, |b| b.is_ascii_hexdigit());
    if bytes.get(2 + digits) == Some(&b'\'') && digits % 2 == 0 {
        Ok(digits + 3)
    } else {
        Err(illegal("a blob literal that is not pairs of hex digits"))
    }
}

fn operator(rest: &str) -> Result<usize, Refusal> {
    const SHORT: &str = "+-*/%=<>|&~(),;.";
    const LONG: &[&str] = &["->>", "->", "||", "==", "!=", "<>", "<=", ">=", "<<", ">>"];
    if let Some(long) = LONG.iter().find(|long| rest.starts_with(**long)) {
        return Ok(long.len());
    }
    match rest.chars().next() {
        Some(known) if SHORT.contains(known) => Ok(1),
        Some(other) => Err(illegal(&format!("the character {other:?}"))),
        None => Err(illegal("nothing")),
    }
}

fn unfinished(what: &str) -> Refusal {
    Refusal::new(
        Code::SyntaxError,
        format!("{what} in the statement has no end"),
    )
    .hint("close every quote; a quote inside a string is written twice")
}

fn illegal(what: &str) -> Refusal {
    Refusal::new(
        Code::SyntaxError,
        format!("{what} does not belong in SQLite's SQL"),
    )
}
