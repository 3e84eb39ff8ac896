//! What is wrong with a policy: every mistake, each with its line and column.

use std::fmt;

/// One mistake in a policy.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// One sentence that says what is wrong.
    pub message: String,
    /// What to write instead; empty when the sentence says it all.
    pub hint: String,
}

/// Every mistake of one policy, in the order of their places. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems {
    /// The file's name.
    pub file: String,
    /// The mistakes.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.list.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            let Problem {
                line,
                column,
                message,
                hint,
            } = problem;
            write!(f, "{}:{line}:{column}: {message}", self.file)?;
            if !hint.is_empty() {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects the mistakes of one text.
#[derive(Debug)]
pub(super) struct Finder<'t> {
    text: &'t str,
    found: Vec<Problem>,
}

impl<'t> Finder<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    /// Adds a mistake at a byte of the text.
    pub(super) fn add(&mut self, at: usize, message: impl Into<String>, hint: impl Into<String>) {
        let (line, column) = self.place(at);
        let problem = Problem {
            line,
            column,
            message: message.into(),
            hint: hint.into(),
        };
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// The line and column of a byte, both from 1.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let before: &str = (0..=at.min(self.text.len()))
            .rev()
            .find_map(|at| self.text.get(..at))
            .unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// All of them, as an error, if there are any.
    pub(super) fn finish(mut self, file: &str) -> Result<(), Problems> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort();
        Err(Problems {
            file: file.to_owned(),
            list: self.found,
        })
    }
}
