//! How many values a statement's placeholders need.

use crate::core::limits::PARAMETERS;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::sqlite::token::{Kind, Token};

/// Counts the values wanted. `?` and each new name take the next number, as SQLite numbers them;
/// `?2`, `$2`, `:2` and `@2` all stand for the second value.
pub(super) fn count(statement: &[Token<'_>]) -> Result<usize, Refusal> {
    let mut used = Used::default();
    for token in statement.iter().filter(|t| t.kind == Kind::Placeholder) {
        used.take(token.text)?;
    }
    used.count()
}

/// The number that a placeholder written like this carries, where it carries one.
pub(crate) fn number(text: &str) -> Option<usize> {
    let digits = text.get(1..)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(usize::MAX))
}

#[derive(Debug, Default)]
struct Used {
    /// The values used, by number.
    numbers: std::collections::BTreeSet<usize>,
    names: Vec<String>,
    highest: usize,
    /// Whether `$2`-like ones occur: to SQLite these are names, numbered in order of appearance.
    dollar: bool,
    /// Whether ones without a number occur.
    in_order: bool,
}

impl Used {
    fn take(&mut self, text: &str) -> Result<(), Refusal> {
        let slot = match number(text) {
            Some(0) => return Err(wrong("placeholders count from 1, and one says 0")),
            Some(n) if n > PARAMETERS => {
                return Err(wrong(&format!(
                    "a placeholder's number is over {PARAMETERS}"
                )));
            }
            Some(n) => {
                self.dollar |= !text.starts_with('?');
                n
            }
            None => {
                self.in_order = true;
                if text == "?" {
                    self.highest + 1
                } else if self.names.iter().any(|name| name == text) {
                    return Ok(());
                } else {
                    self.names.push(text.to_owned());
                    self.highest + 1
                }
            }
        };
        self.highest = self.highest.max(slot);
        self.numbers.insert(slot);
        Ok(())
    }

    fn count(&self) -> Result<usize, Refusal> {
        if self.dollar && self.in_order {
            return Err(wrong(
                "numbered placeholders like $1 are mixed with unnumbered ones",
            ));
        }
        if self.highest > PARAMETERS {
            return Err(wrong(&format!(
                "there are more than {PARAMETERS} placeholders"
            )));
        }
        match (1..=self.highest).find(|n| !self.numbers.contains(n)) {
            Some(gap) => Err(wrong(&format!(
                "the placeholders go up to {} but none has the number {gap}",
                self.highest
            ))),
            None => Ok(self.highest),
        }
    }
}

fn wrong(sentence: &str) -> Refusal {
    Refusal::new(Code::ParameterCount, sentence)
        .hint("number placeholders $1, $2, ... without gaps, and send one value for each number")
}
