//! Reads a mapping key by key, so that every mistake in it is found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::capability::keys::{Key, Takes};
use crate::config::capability::node::{Node, Spot, What};
use crate::config::problem::{Place, Problem, Problems};
use crate::core::capability::duration;
use crate::core::quantity;

/// What was found until here.
#[derive(Debug)]
pub(super) struct Report {
    file: PathBuf,
    /// What is wrong.
    pub problems: Problems,
    /// What should be known.
    pub warnings: Vec<Problem>,
}

impl Report {
    /// Nothing yet, of this file.
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            problems: Problems::default(),
            warnings: Vec::new(),
        }
    }

    /// Something is wrong at this place.
    pub(super) fn problem(
        &mut self,
        spot: Spot,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let place = self.place(spot);
        self.problems.add(Problem::new(place, message, hint));
    }

    /// Something should be known of this place.
    pub(super) fn warning(
        &mut self,
        spot: Spot,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let place = self.place(spot);
        self.warnings.push(Problem::new(place, message, hint));
    }

    fn place(&self, (line, column): Spot) -> Place {
        if line == 0 {
            return Place::File(self.file.clone());
        }
        Place::Position {
            file: self.file.clone(),
            line,
            column,
        }
    }
}

/// A mapping whose keys are known.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    /// Its place in the file, in words: `capabilities.get_customer`.
    pub path: String,
    /// Where it begins.
    pub spot: Spot,
    entries: &'n [(String, Spot, Node)],
}

impl<'n> Fields<'n> {
    /// A mapping with these keys and no other.
    pub(super) fn of(
        node: &'n Node,
        path: String,
        keys: &[Key],
        report: &mut Report,
    ) -> Option<Self> {
        let fields = Self::free(node, path, report)?;
        for (name, spot, node) in fields.entries {
            match keys.iter().find(|key| key.name == name) {
                None => {
                    let known: Vec<String> =
                        keys.iter().map(|key| format!("`{}`", key.name)).collect();
                    let name = fields.name(name);
                    report.problem(
                        *spot,
                        format!("unknown key `{}`", name.escape_debug()),
                        format!("the keys here are {}", known.join(", ")),
                    );
                }
                Some(key) => key.look(&fields.name(name), (*spot, node), report),
            }
        }
        Some(fields)
    }

    /// A mapping whose keys the author chooses.
    pub(super) fn free(node: &'n Node, path: String, report: &mut Report) -> Option<Self> {
        let What::Map(entries) = &node.what else {
            report.problem(
                node.spot,
                format!("`{path}` must be a mapping, and this is {}", node.kind()),
                "",
            );
            return None;
        };
        let mut seen = BTreeSet::new();
        for (name, spot, _) in entries {
            if !seen.insert(name) {
                let name = name.escape_debug();
                report.problem(
                    *spot,
                    format!("the key `{name}` stands here twice"),
                    "take one of them out",
                );
            }
        }
        Some(Self {
            path,
            spot: node.spot,
            entries,
        })
    }

    /// All entries, in the order of the file.
    pub(super) fn entries(&self) -> &'n [(String, Spot, Node)] {
        self.entries
    }

    /// The value of a key.
    pub(super) fn node(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|(name, ..)| name == key);
        entry.map(|(_, _, node)| node)
    }

    /// Where a key's value stands, else where the mapping begins.
    pub(super) fn spot_of(&self, key: &str) -> Spot {
        self.node(key).map_or(self.spot, |node| node.spot)
    }

    /// A text; nothing where there is none, or where it was found to be something else.
    pub(super) fn text(&self, key: &str) -> Option<&'n str> {
        match &self.node(key)?.what {
            What::Text(text) => Some(text),
            What::Null | What::Truth(_) | What::Number(_) | What::List(_) | What::Map(_) => None,
        }
    }

    /// `true` or `false`, likewise.
    pub(super) fn truth(&self, key: &str) -> Option<bool> {
        match self.node(key)?.what {
            What::Truth(truth) => Some(truth),
            What::Null | What::Text(_) | What::Number(_) | What::List(_) | What::Map(_) => None,
        }
    }

    /// A whole number, likewise.
    pub(super) fn whole(&self, key: &str) -> Option<i64> {
        whole(self.node(key)?)
    }

    /// A size in bytes, likewise.
    pub(super) fn size(&self, key: &str) -> Option<u64> {
        size(self.node(key)?)
    }

    /// Milliseconds, likewise.
    pub(super) fn time(&self, key: &str) -> Option<u64> {
        duration(self.text(key)?)
    }

    /// A list's values, likewise.
    pub(super) fn list(&self, key: &str) -> Option<&'n [Node]> {
        match &self.node(key)?.what {
            What::List(items) => Some(items),
            What::Null | What::Truth(_) | What::Text(_) | What::Number(_) | What::Map(_) => None,
        }
    }

    /// Any value, as JSON.
    pub(super) fn any(&self, key: &str) -> Option<Value> {
        self.node(key).map(Node::json)
    }

    /// A mapping with these keys, likewise.
    pub(super) fn section(&self, key: &str, keys: &[Key], report: &mut Report) -> Option<Self> {
        Self::of(self.node(key)?, self.name(key), keys, report)
    }

    /// A key's place in the file, in words.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

impl Key {
    /// Says what is wrong with the value of a key that holds no mapping.
    fn look(&self, name: &str, (spot, node): (Spot, &Node), report: &mut Report) {
        let text = match &node.what {
            What::Text(text) => Some(text.as_str()),
            What::Null | What::Truth(_) | What::Number(_) | What::List(_) | What::Map(_) => None,
        };
        let (good, wanted) = match self.takes {
            Takes::Ignored => {
                report.warning(spot, format!("`{name}` is not used here"), self.about);
                return;
            }
            Takes::Any | Takes::Section(_) | Takes::Named(_) => return,
            Takes::Sections(_) | Takes::List => {
                (matches!(node.what, What::List(_)), "a list".to_owned())
            }
            Takes::Text => (text.is_some(), "a text".to_owned()),
            Takes::Truth => (
                matches!(node.what, What::Truth(_)),
                "true or false".to_owned(),
            ),
            Takes::Whole => (whole(node).is_some(), "a whole number".to_owned()),
            Takes::Size => (size(node).is_some(), "a size such as `512KB`".to_owned()),
            Takes::Time => (
                text.is_some_and(|text| duration(text).is_some()),
                "a time such as `5s` or `1m30s`".to_owned(),
            ),
            Takes::Word(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                (
                    text.is_some_and(|text| words.contains(&text)),
                    format!("one of {}", quoted.join(", ")),
                )
            }
        };
        if !good {
            report.problem(
                node.spot,
                format!("`{name}` must be {wanted}, and this is {}", node.kind()),
                "",
            );
        }
    }
}

fn whole(node: &Node) -> Option<i64> {
    match &node.what {
        What::Number(number) => number.as_i64(),
        What::Null | What::Truth(_) | What::Text(_) | What::List(_) | What::Map(_) => None,
    }
}

fn size(node: &Node) -> Option<u64> {
    match &node.what {
        What::Number(number) => number.as_u64(),
        What::Text(text) => quantity::bytes(text),
        What::Null | What::Truth(_) | What::List(_) | What::Map(_) => None,
    }
    .filter(|size| *size > 0)
}
