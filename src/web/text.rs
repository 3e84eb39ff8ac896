//! Text of others, made safe to look at: what could hide or reorder it is shown by its name.
//!
//! HTML is escaped by the templates. What remains are characters that a browser obeys instead of
//! showing them: controls, bidirectional marks (CVE-2021-42574), zero-width and unusual spaces. Which
//! these are is the same everywhere: `core/visible.rs`.

use askama::Template;

use crate::core::time::Timestamp;
use crate::core::visible::{Part, counted, parts};

/// A piece of text with how it is to be marked; empty for plain text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    /// The CSS class.
    pub(super) class: &'static str,
    /// The text.
    pub(super) text: String,
}

/// Text of others, as HTML.
#[derive(Clone, Debug, Default, Template)]
#[template(
    ext = "html",
    source = "{% for p in pieces %}{% if p.class.is_empty() %}{{ p.text }}{% else %}<span class=\"{{ p.class }}\">{{ p.text }}</span>{% endif %}{% endfor %}"
)]
pub(super) struct Text {
    pub(super) pieces: Vec<Piece>,
}

impl Text {
    /// Text without colours.
    pub(super) fn of(text: &str) -> Self {
        Self {
            pieces: pieces(text),
        }
    }
}

/// A point in time, which the script turns into the reader's own time.
#[derive(Clone, Debug)]
pub(super) struct When {
    /// RFC 3339.
    pub(super) iso: String,
    /// For people, in UTC.
    pub(super) shown: String,
}

impl When {
    pub(super) fn new(at: Timestamp) -> Self {
        let iso = at.to_string();
        let shown = iso.get(..19).unwrap_or(&iso).replace('T', " ");
        Self {
            shown: format!("{shown} UTC"),
            iso,
        }
    }
}

/// Marks a character that is shown by its name.
pub(super) const ODD: &str = "odd";

/// Adds a part of a text, in its class if it is shown as it is.
pub(super) fn push(pieces: &mut Vec<Piece>, class: &'static str, part: Part<'_>) {
    let odd = |text| Piece { class: ODD, text };
    match part {
        Part::Odd(c) => pieces.push(odd(name(c))),
        Part::Blanks(blanks) => pieces.push(odd(format!("\n{}\n", counted(blanks)))),
        Part::Plain(text) => match pieces.last_mut().filter(|last| last.class == class) {
            Some(last) => last.text.push_str(text),
            None => pieces.push(Piece {
                class,
                text: text.to_owned(),
            }),
        },
    }
}

/// Text in pieces.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for part in parts(text) {
        push(&mut pieces, "", part);
    }
    pieces
}

/// Text on one line: odd characters and line breaks by their names.
pub(super) fn line(text: &str) -> String {
    let quoted = |name: &str| format!("\u{2039}{name}\u{203a}");
    let show = |part| match part {
        Part::Odd(c) => quoted(&name(c)),
        Part::Blanks(blanks) => quoted(&counted(blanks)),
        Part::Plain(text) => text
            .replace('\n', &quoted(&name('\n')))
            .replace('\t', &quoted(&name('\t'))),
    };
    parts(text).into_iter().map(show).collect()
}

fn name(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What stands there, with the names taken back.
    fn restored(pieces: &[Piece]) -> String {
        let restore = |piece: &Piece| match piece.class {
            ODD => {
                let code = piece.text.strip_prefix("U+").unwrap();
                let code = u32::from_str_radix(code, 16).unwrap();
                char::from_u32(code).unwrap().to_string()
            }
            _ => piece.text.clone(),
        };
        pieces.iter().map(restore).collect()
    }

    #[test]
    fn what_hides_or_turns_text_is_named() {
        let shown = pieces("a\u{202e}b\u{200b}\r\nc\u{a0}");
        let shown: Vec<_> = shown.iter().map(|p| (p.class, p.text.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("", "a"),
                (ODD, "U+202E"),
                ("", "b"),
                (ODD, "U+200B"),
                (ODD, "U+000D"),
                ("", "\nc"),
                (ODD, "U+00A0"),
            ]
        );
        assert_eq!(
            line("a\nb\u{202e}"),
            "a\u{2039}U+000A\u{203a}b\u{2039}U+202E\u{203a}"
        );
        assert_eq!(line("größe 日本"), "größe 日本");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text: String) {
            prop_assert_eq!(restored(&pieces(&text)), text);
        }
    }
}
