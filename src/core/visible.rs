//! Text as a person may see it: nothing in it acts on a terminal or a page, hides, or turns the
//! order of what is read. What somebody signs for is always shown through this.

use std::fmt::Write as _;

/// The text with every character written out that would not show as itself: control characters but
/// for line ends and tabs, and characters that are invisible or change the direction of the text.
/// They become `\u{202e}`, as Rust writes them.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || c == '\t' || !is_hidden(c) {
            shown.push(c);
        } else {
            // Writing to a string has no way to fail.
            let _: std::fmt::Result = write!(shown, "{}", c.escape_unicode());
        }
    }
    shown
}

/// [`visible`] on one line: line ends and tabs are written out too.
pub fn on_one_line(text: &str) -> String {
    let shown = visible(text);
    shown.replace('\n', "\\n").replace('\t', "\\t")
}

/// How many characters of the text do not show as themselves.
pub fn hidden_in(text: &str) -> usize {
    let counts = |c: &char| *c != '\n' && *c != '\t' && is_hidden(*c);
    text.chars().filter(counts).count()
}

/// Control characters (Cc), and what Unicode calls default-ignorable or a line separator
/// (DerivedCoreProperties.txt, version 16): joiners, marks of direction, fillers, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
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
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
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
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_and_plain_text_stays(text in any::<String>(), plain in "[ -~]*") {
            prop_assert_eq!(hidden_in(&visible(&text)), 0);
            prop_assert!(!on_one_line(&text).contains(char::is_control));
            prop_assert_eq!(visible(&plain), plain);
        }
    }
}
