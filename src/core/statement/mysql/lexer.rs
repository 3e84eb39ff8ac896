//! Cuts SQL text into tokens by the server's own rules, so that nothing later has to look at raw
//! text: comments, strings and executable comments are decided here and nowhere else.
//!
//! The rules are those of a session with `sql_mode` free of `ANSI_QUOTES` and
//! `NO_BACKSLASH_ESCAPES` and with `utf8mb4` names, which the executor pins on each connection.

use crate::core::refusal::{Code, Refusal};

/// What a token is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::core::statement) enum Kind {
    /// A name or keyword without quotes.
    Word,
    /// A name in backticks.
    Quoted,
    /// A string.
    Text,
    /// A number, or a hexadecimal or bit literal.
    Number,
    /// `?`.
    Parameter,
    /// `@name`.
    UserVariable,
    /// `@@name`.
    SystemVariable,
    /// An operator or punctuation.
    Symbol,
}

/// One token.
#[derive(Clone, Debug)]
pub(in crate::core::statement) struct Token {
    /// What it is.
    pub(in crate::core::statement) kind: Kind,
    /// As written; for a quoted name the name without its quotes.
    pub(in crate::core::statement) text: String,
    /// A word in lower case; empty for everything else.
    pub(in crate::core::statement) word: String,
    /// Whether blanks or a comment stand before it.
    pub(in crate::core::statement) gap: bool,
    /// Where it stands in the text, in bytes.
    pub(in crate::core::statement) span: std::ops::Range<usize>,
}

impl Token {
    /// Whether this is the keyword `word`, which is in lower case.
    pub(in crate::core::statement) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.word == word
    }

    /// Whether this is one of the keywords.
    pub(in crate::core::statement) fn is_any(&self, words: &[&str]) -> bool {
        self.kind == Kind::Word && words.contains(&self.word.as_str())
    }

    /// Whether this is the operator or punctuation `symbol`.
    pub(in crate::core::statement) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    /// The name, where this can be one.
    pub(in crate::core::statement) fn name(&self) -> Option<&str> {
        matches!(self.kind, Kind::Word | Kind::Quoted).then_some(self.text.as_str())
    }
}

/// A text as tokens.
#[derive(Debug, Default)]
pub(in crate::core::statement) struct Tokens {
    /// The tokens, those inside unversioned executable comments included.
    pub(in crate::core::statement) list: Vec<Token>,
    /// Whether an optimizer hint changes settings for the statement (MySQL's `SET_VAR`).
    pub(in crate::core::statement) setting_hint: bool,
}

/// Cuts `sql` into tokens. Refuses what the server would read by its version.
pub(in crate::core::statement) fn lex(sql: &str) -> Result<Tokens, Refusal> {
    let mut lexer = Lexer {
        text: sql,
        rest: sql,
        start: 0,
        gap: false,
        executable: false,
        tokens: Tokens::default(),
    };
    while lexer.step()? {}
    if lexer.executable {
        return Err(syntax("an executable comment is not closed"));
    }
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
    /// Where the token that is being read begins.
    start: usize,
    gap: bool,
    /// Inside `/*! ... */`, whose content both servers execute.
    executable: bool,
    tokens: Tokens,
}

/// Operators of more than one character, longest first.
const OPERATORS: [&str; 13] = [
    "<=>", "->>", "<=", ">=", "<>", "!=", ":=", "&&", "||", "<<", ">>", "->", "..",
];

impl<'a> Lexer<'a> {
    fn step(&mut self) -> Result<bool, Refusal> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(false);
        };
        let second = self.rest.chars().nth(1);
        self.start = self.at();
        match first {
            ' ' | '\t'..='\r' => {
                self.take(1);
                self.gap = true;
            }
            '#' => self.line_comment(),
            // `--` starts a comment only before a blank, a control character or the end.
            '-' if second == Some('-') && self.rest.chars().nth(2).is_none_or(ends_dashes) => {
                self.line_comment();
            }
            '/' if second == Some('*') => self.block_comment()?,
            '*' if second == Some('/') && self.executable => {
                self.take(2);
                self.executable = false;
                self.gap = true;
            }
            '\'' | '"' => self.string(first)?,
            '`' => {
                let name = self.backticks()?;
                self.push(Kind::Quoted, name);
            }
            '@' => self.variable()?,
            '?' => self.symbol(Kind::Parameter, 1),
            '.' if self.follows_name() => {
                self.symbol(Kind::Symbol, 1);
                if self.rest.starts_with(is_name_character) {
                    self.start = self.at();
                    self.word();
                }
            }
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            '0'..='9' => self.number(),
            '\\' => {
                return Err(syntax("there is a backslash outside a string")
                    .hint("client commands such as \\! or \\G do not exist here; send plain SQL"));
            }
            _ if is_name_character(first) => self.word_or_literal()?,
            _ if first.is_control() => return Err(syntax("there is a control character")),
            _ => {
                let operator = OPERATORS.iter().find(|o| self.rest.starts_with(**o));
                self.symbol(Kind::Symbol, operator.map_or(1, |o| o.len()));
            }
        }
        Ok(true)
    }

    fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// Takes `bytes` bytes, or to the end where that would cut a character.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn push(&mut self, kind: Kind, text: impl Into<String>) {
        let text = text.into();
        let word = match kind {
            Kind::Word => text.to_ascii_lowercase(),
            Kind::Quoted
            | Kind::Text
            | Kind::Number
            | Kind::Parameter
            | Kind::UserVariable
            | Kind::SystemVariable
            | Kind::Symbol => String::new(),
        };
        let gap = std::mem::take(&mut self.gap);
        self.tokens.list.push(Token {
            kind,
            text,
            word,
            gap,
            span: self.start..self.at(),
        });
    }

    fn symbol(&mut self, kind: Kind, bytes: usize) {
        let width = self.rest.chars().next().map_or(1, char::len_utf8);
        let text = self.take(bytes.max(width));
        self.push(kind, text);
    }

    fn word(&mut self) {
        let text = self.take_while(is_name_character);
        self.push(Kind::Word, text);
    }

    /// A word, or one of `x'..'`, `b'..'` and `n'..'`.
    fn word_or_literal(&mut self) -> Result<(), Refusal> {
        let mut characters = self.rest.chars();
        let (first, second) = (characters.next(), characters.next());
        if matches!(first, Some('x' | 'X' | 'b' | 'B' | 'n' | 'N')) && second == Some('\'') {
            self.take(1);
            return self.string('\'');
        }
        self.word();
        Ok(())
    }

    fn follows_name(&self) -> bool {
        !self.gap && self.tokens.list.last().is_some_and(|t| t.name().is_some())
    }

    /// A number, or a name that starts with a digit.
    fn number(&mut self) {
        let start = self.rest;
        let run = self.take_while(is_name_character);
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let exponent = run
            .split_once(['e', 'E'])
            .filter(|(whole, _)| digits(whole));
        let number = if digits(run) {
            if self.rest.starts_with('.') {
                self.take(1);
                self.take_while(|c| c.is_ascii_digit());
            }
            self.exponent();
            true
        } else if let Some((_, "")) = exponent {
            self.signed_digits()
        } else {
            exponent.is_some_and(|(_, power)| digits(power))
                || of_digits(run.strip_prefix("0x"), |b| b.is_ascii_hexdigit())
                || of_digits(run.strip_prefix("0b"), |b| matches!(b, b'0' | b'1'))
        };
        let kind = if number { Kind::Number } else { Kind::Word };
        let used = start.len() - self.rest.len();
        self.push(kind, start.get(..used).unwrap_or(start));
    }

    /// The exponent after a fraction.
    fn exponent(&mut self) {
        let Some(rest) = self.rest.strip_prefix(['e', 'E']) else {
            return;
        };
        let unsigned = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            self.rest = unsigned;
            self.take_while(|c| c.is_ascii_digit());
        }
    }

    fn signed_digits(&mut self) -> bool {
        let unsigned = self.rest.strip_prefix(['+', '-']);
        match unsigned {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
                self.rest = rest;
                self.take_while(|c| c.is_ascii_digit());
                true
            }
            _ => false,
        }
    }

    fn string(&mut self, quote: char) -> Result<(), Refusal> {
        let inside = self.rest.get(1..).unwrap_or_default();
        let mut characters = inside.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            if c == '\\' {
                characters.next();
            } else if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
                let text = self.take(at + 2);
                self.push(Kind::Text, text);
                return Ok(());
            }
        }
        Err(syntax("a string is not closed"))
    }

    fn backticks(&mut self) -> Result<String, Refusal> {
        let inside = self.rest.get(1..).unwrap_or_default();
        let mut name = String::new();
        let mut characters = inside.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            if c == '`' && characters.next_if(|(_, next)| *next == '`').is_none() {
                self.take(at + 2);
                return Ok(name);
            }
            name.push(c);
        }
        Err(syntax("a name in backticks is not closed"))
    }

    fn variable(&mut self) -> Result<(), Refusal> {
        if self.rest.starts_with("@@") {
            self.take(2);
            let name = self.take_while(|c| is_name_character(c) || c == '.');
            self.push(Kind::SystemVariable, format!("@@{name}"));
            return Ok(());
        }
        self.take(1);
        match self.rest.chars().next() {
            Some('`') => {
                let name = self.backticks()?;
                self.push(Kind::UserVariable, format!("@{name}"));
            }
            // The name may be a secret: `'user'@'host'` is written the same way.
            Some(quote @ ('\'' | '"')) => {
                self.string(quote)?;
                if let Some(last) = self.tokens.list.last_mut() {
                    last.kind = Kind::UserVariable;
                    "@?".clone_into(&mut last.text);
                }
            }
            _ => {
                let name = self.take_while(|c| is_name_character(c) || c == '.');
                self.push(Kind::UserVariable, format!("@{name}"));
            }
        }
        Ok(())
    }

    fn line_comment(&mut self) {
        self.take_while(|c| c != '\n');
        self.gap = true;
    }

    fn block_comment(&mut self) -> Result<(), Refusal> {
        let inside = self.rest.get(2..).unwrap_or_default();
        if self.executable {
            return Err(syntax("there is a comment inside an executable comment"));
        }
        self.gap = true;
        if inside.starts_with("M!") || is_versioned(inside) {
            return Err(Refusal::new(
                Code::Forbidden,
                "a comment like `/*!50000 ... */` or `/*M! ... */` runs on some server versions only",
            )
            .hint("write what is inside it as plain SQL, or leave it out"));
        }
        if inside.starts_with('!') {
            self.take(3);
            self.executable = true;
            return Ok(());
        }
        let Some(end) = inside.find("*/") else {
            return Err(syntax("a comment is not closed"));
        };
        let text = self.take(end + 4).to_ascii_lowercase();
        let settings = ["set_var", "max_execution_time", "resource_group"];
        if text.starts_with("/*+") && settings.iter().any(|s| text.contains(s)) {
            self.tokens.setting_hint = true;
        }
        Ok(())
    }
}

fn is_versioned(comment: &str) -> bool {
    comment
        .strip_prefix('!')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn of_digits(digits: Option<&str>, good: impl Fn(u8) -> bool) -> bool {
    digits.is_some_and(|d| !d.is_empty() && d.bytes().all(good))
}

fn ends_dashes(c: char) -> bool {
    c == ' ' || c.is_ascii_control()
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// The refusal of text that cannot be read.
pub(in crate::core::statement) fn syntax(what: &str) -> Refusal {
    Refusal::new(
        Code::SyntaxError,
        format!("the statement cannot be read: {what}"),
    )
}
