//! How text is laid out for whoever reads it: wrapped by us, with a mark of ours on every line, so
//! that no statement can be written in a way that looks like a line of this program's.

use std::io::{self, IsTerminal as _};

/// The width that labels take.
const LABEL: usize = 12;
/// The width that the mark of a block takes.
const MARK: usize = 4;
/// No line is made narrower than this.
const NARROWEST: usize = 20;

/// Where text goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The columns of the terminal, where it is one.
    width: Option<usize>,
}

impl Look {
    /// For standard output.
    pub(super) fn of_output() -> Self {
        let width = io::stdout()
            .is_terminal()
            .then(|| terminal_size::terminal_size_of(io::stdout()));
        Self::of(width.flatten())
    }

    /// For standard error, where questions are asked.
    pub(super) fn of_questions() -> Self {
        let width = io::stderr()
            .is_terminal()
            .then(|| terminal_size::terminal_size_of(io::stderr()));
        Self::of(width.flatten())
    }

    fn of(size: Option<(terminal_size::Width, terminal_size::Height)>) -> Self {
        Self {
            width: size.map(|(width, _)| usize::from(width.0)),
        }
    }

    #[cfg(test)]
    pub(super) fn of_width(width: Option<usize>) -> Self {
        Self { width }
    }

    /// In reverse, where that can be seen.
    pub(super) fn loud(self, text: &str) -> String {
        if self.width.is_some() {
            format!("\u{1b}[1;7m {text} \u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// A label and what it says.
    pub(super) fn field(self, label: &str, text: &str) -> String {
        let mut lines = String::new();
        for (number, line) in self.flowed(text, LABEL).iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            lines.push_str(format!("{label:<LABEL$}{line}").trim_end());
            lines.push('\n');
        }
        lines
    }

    /// A block of text, with a mark before each of its lines, and another before what goes on from
    /// the line above.
    pub(super) fn block(self, mark: char, text: &str) -> String {
        let mut lines = String::new();
        for whole in text.split('\n') {
            for (number, part) in self.wrapped(whole, MARK).iter().enumerate() {
                let mark = if number == 0 { mark } else { ':' };
                lines.extend(["  ", mark.encode_utf8(&mut [0; 4]), " ", part, "\n"]);
            }
        }
        lines
    }

    /// Like [`Look::wrapped`], and between words where that can be.
    fn flowed(self, text: &str, taken: usize) -> Vec<String> {
        let room = self.room(taken);
        let mut parts: Vec<String> = Vec::new();
        for word in text.split(' ') {
            let fits = |part: &String| columns(part) + 1 + columns(word) <= room;
            match parts.last_mut().filter(|part| fits(part)) {
                Some(part) => part.extend([" ", word]),
                None => parts.extend(self.wrapped(word, taken)),
            }
        }
        parts
    }

    fn room(self, taken: usize) -> usize {
        let room = |width: usize| width.saturating_sub(taken).max(NARROWEST);
        self.width.map_or(usize::MAX, room)
    }

    /// Parts that fit beside `taken` columns. Nothing is cut off.
    fn wrapped(self, text: &str, taken: usize) -> Vec<String> {
        if self.width.is_none() {
            return vec![text.to_owned()];
        }
        let room = self.room(taken);
        let mut parts = vec![String::new()];
        let mut used = 0;
        for c in text.chars() {
            // A tab goes to the next stop, wherever that is; four columns are as good.
            let shown = if c == '\t' {
                "    ".to_owned()
            } else {
                c.to_string()
            };
            let wide = columns(&shown);
            if used + wide > room {
                parts.push(String::new());
                used = 0;
            }
            used += wide;
            if let Some(part) = parts.last_mut() {
                part.push_str(&shown);
            }
        }
        parts
    }
}

/// At most so many: what is not ASCII takes up to two.
fn columns(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_statement_cannot_write_a_line_of_ours() {
        let forged = format!("select 1;{}target      stock in test", " ".repeat(200));
        let shown = Look::of_width(Some(40)).block('|', &forged);
        let marked = |line: &str| line.starts_with("  | ") || line.starts_with("  : ");
        assert!(shown.lines().all(marked), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 40));
    }

    proptest! {
        #[test]
        fn fields_keep_every_letter(text in "[ -~é]{0,200}", width in 0_usize..120) {
            let shown = Look::of_width(Some(width)).field("label", &text);
            let read: String = shown.lines().map(|line| line.get(12..).unwrap_or_default()).collect();
            prop_assert_eq!(read.replace(' ', ""), text.replace(' ', ""));
        }

        #[test]
        fn nothing_is_ever_cut_off(text in "[ -~é是\n]{0,400}", width in 0_usize..120) {
            let shown = Look::of_width(Some(width)).block('|', &text);
            let mut read = String::new();
            for (number, line) in shown.lines().enumerate() {
                if line.starts_with("  | ") && number > 0 {
                    read.push('\n');
                }
                read.push_str(&line[4..]);
            }
            prop_assert_eq!(read, text);
        }
    }
}
