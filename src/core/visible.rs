//! Text as a person may see it: nothing in it acts on a terminal or a page, hides, or turns the
//! order of what is read. What somebody signs for is always shown through this.

use std::fmt::Write as _;

/// Blank characters in a row from which on they are counted instead of shown: nobody scrolls past
/// ten screens of nothing to look for what follows.
const MANY_BLANKS: usize = 120;
/// Line ends in a row from which on the same is done.
const MANY_LINES: usize = 5;
/// Combining marks in a row that are shown; real writing has hardly more.
const MARKS: usize = 2;

/// A stretch of text, and how it is to be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part<'t> {
    /// As it is.
    Plain(&'t str),
    /// A character that would not show as itself, by its number.
    Odd(char),
    /// Many spaces, tabs and line ends, by how many they are.
    Blanks(&'t str),
}

/// A text in its parts, which together are the whole of it.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    // What stands before combines with nothing.
    let mut marks = MARKS;
    while let Some(c) = rest.chars().next() {
        let (stretch, after) = rest.split_at(stretch(rest));
        rest = after;
        if is_blank(c) {
            parts.push(if is_much(stretch) {
                Part::Blanks(stretch)
            } else {
                Part::Plain(stretch)
            });
            marks = MARKS;
            continue;
        }
        for (at, c) in stretch.char_indices() {
            marks = if is_mark(c) { marks + 1 } else { 0 };
            let piece = stretch.get(at..at + c.len_utf8()).unwrap_or_default();
            parts.push(if is_hidden(c) || marks > MARKS {
                Part::Odd(c)
            } else {
                Part::Plain(piece)
            });
        }
    }
    parts
}

/// The length of the blanks that a text begins with, or of what comes before its first blank.
fn stretch(text: &str) -> usize {
    let blank = text.starts_with(is_blank);
    text.find(|c| is_blank(c) != blank).unwrap_or(text.len())
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n')
}

fn is_much(blanks: &str) -> bool {
    blanks.len() >= MANY_BLANKS || line_ends(blanks) >= MANY_LINES
}

fn line_ends(blanks: &str) -> usize {
    blanks.bytes().filter(|byte| *byte == b'\n').count()
}

/// How a person is told of blanks that are not shown.
pub fn counted(blanks: &str) -> String {
    match line_ends(blanks) {
        0 => format!("[{} blanks]", blanks.len()),
        lines => format!("[{} blanks, {lines} line ends]", blanks.len()),
    }
}

/// The text with every character written out that would not show as itself: control characters but
/// for line ends and tabs, and characters that are invisible, look like a space, mean whatever a font
/// says, or change the direction of the text. They become `\u{202e}`, as Rust writes them. Very many
/// blanks become a line that counts them.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for part in parts(text) {
        // Writing to a string has no way to fail.
        let _: std::fmt::Result = match part {
            Part::Plain(text) => write!(shown, "{text}"),
            Part::Odd(c) => write!(shown, "{}", c.escape_unicode()),
            Part::Blanks(blanks) => write!(shown, "\n{}\n", counted(blanks)),
        };
    }
    shown
}

/// [`visible`] on one line: line ends and tabs are written out too.
pub fn on_one_line(text: &str) -> String {
    let shown = visible(text);
    shown.replace('\n', "\\n").replace('\t', "\\t")
}

/// How many characters of the text show something: neither space nor hidden.
pub fn shown_in(text: &str) -> usize {
    let shows = |c: &char| !c.is_whitespace() && !is_hidden(*c);
    text.chars().filter(shows).count()
}

/// How many characters of the text do not show as themselves.
pub fn hidden_in(text: &str) -> usize {
    let odd = |part: &Part<'_>| matches!(part, Part::Odd(_));
    parts(text).into_iter().filter(odd).count()
}

/// Control characters (Cc), spaces other than the space, private use, noncharacters, and what Unicode
/// calls default-ignorable or a line separator (DerivedCoreProperties.txt, version 16): joiners, marks
/// of direction, fillers, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace() && c != ' '
        || u32::from(c) & 0xfffe == 0xfffe
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{fdd0}'..='\u{fdef}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffc}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{10ffff}'
        )
}

/// Marks that are drawn onto the character before them (blocks of combining diacritical marks).
fn is_mark(c: char) -> bool {
    matches!(
        c,
        '\u{300}'..='\u{36f}'
            | '\u{483}'..='\u{489}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{fe20}'..='\u{fe2f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_act_hide_or_turn_is_written_out() {
        let text = "delete\u{1b}[2K\r\u{202e}from\u{200b} orders\u{e0041}\n\tэ 是";
        assert_eq!(
            visible(text),
            "delete\\u{1b}[2K\\u{d}\\u{202e}from\\u{200b} orders\\u{e0041}\n\tэ 是"
        );
        assert_eq!(hidden_in(text), 5);
        assert_eq!(on_one_line("a\n\tb"), "a\\n\\tb");
        assert_eq!(shown_in(" a\u{200b}\r\n\u{2800}b \u{3164}"), 2);
    }

    #[test]
    fn what_looks_like_a_space_or_piles_up_is_written_out() {
        let text = "drop\u{a0}table\u{3000}x e\u{301}e\u{301}\u{302}\u{303} \u{301}\u{e000}";
        assert_eq!(
            visible(text),
            "drop\\u{a0}table\\u{3000}x e\u{301}e\u{301}\u{302}\\u{303} \\u{301}\\u{e000}"
        );
    }

    #[test]
    fn what_many_blanks_push_out_of_sight_is_shown() {
        let text = format!("SELECT 1 -- {}\n; DROP TABLE t", "\n".repeat(400));
        assert_eq!(
            visible(&text),
            "SELECT 1 --\n[402 blanks, 401 line ends]\n; DROP TABLE t"
        );
        let wide = format!("a{}b", " ".repeat(3_000));
        assert_eq!(visible(&wide), "a\n[3000 blanks]\nb");
        let usual = "SELECT 1\n\n\n        FROM t\n";
        assert_eq!(visible(usual), usual);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(text in "([ \\n\\t]{0,300}|\\PC|\u{301}|\u{202e}|a){0,20}") {
            let whole: String = parts(&text).into_iter().map(|part| match part {
                Part::Plain(text) | Part::Blanks(text) => text.to_owned(),
                Part::Odd(c) => c.to_string(),
            }).collect();
            prop_assert_eq!(whole, text);
        }

        #[test]
        fn nothing_hidden_is_left_and_plain_text_stays(text in any::<String>(), plain in "[ -~]*") {
            prop_assert_eq!(hidden_in(&visible(&text)), 0);
            prop_assert!(!on_one_line(&text).contains(char::is_control));
            prop_assert_eq!(visible(&plain), plain);
        }
    }
}
