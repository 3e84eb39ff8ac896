//! A TOML document that remembers where everything stands, read key by key so that every
//! problem in it is found, not only the first.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::problem::{Place, Problem, Problems};
use crate::config::secret::reason;

/// A configuration longer than this is some other file.
const MAX_BYTES: u64 = 1024 * 1024;

/// A value together with where it was written.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

/// The text of a configuration file.
#[derive(Debug)]
pub(super) struct Source {
    /// The file, as the user would name it.
    pub shown: PathBuf,
    /// What it says.
    pub text: String,
}

/// One table of a document, and its path in it: `targets.orders`.
#[derive(Debug)]
pub(super) struct Table<'t> {
    source: &'t Source,
    path: String,
    /// Where it begins.
    pub place: Place,
    entries: &'t DeTable<'t>,
}

impl Source {
    /// Reads a file. `shown` is its name in problems.
    pub(super) fn read(path: &Path, shown: PathBuf) -> Result<Self, Problem> {
        let fault = |what: &str| {
            Problem::new(
                Place::File(shown.clone()),
                format!("the configuration file {what}"),
                "",
            )
        };
        let unreadable = |e: std::io::Error| fault(&format!("cannot be read: {}", reason(&e)));
        let facts = fs::metadata(path).map_err(unreadable)?;
        if !facts.is_file() {
            return Err(fault("is not a file"));
        }
        if facts.len() > MAX_BYTES {
            return Err(fault("is larger than 1 MiB"));
        }
        let bytes = fs::read(path).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|_| fault("is not UTF-8 text"))?;
        Ok(Self { shown, text })
    }

    /// Parses it. With a syntax error, what the rest means is guesswork, so only those errors
    /// are added and there is no table.
    pub(super) fn parse(&self, problems: &mut Problems) -> Option<DeTable<'_>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        for error in &errors {
            let place = match error.span() {
                Some(span) => self.place(&span),
                None => Place::File(self.shown.clone()),
            };
            problems.add(Problem::new(
                place,
                format!("not TOML: {}", error.message()),
                "",
            ));
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// The whole document as a table.
    pub(super) fn top<'t>(&'t self, entries: &'t DeTable<'t>) -> Table<'t> {
        Table {
            source: self,
            path: String::new(),
            place: Place::File(self.shown.clone()),
            entries,
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place::Position {
            file: self.shown.clone(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

impl<'t> Table<'t> {
    /// Adds a problem for each key that is not in `known`.
    pub(super) fn only(&self, known: &[&str], problems: &mut Problems) {
        for key in self.entries.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                problems.add(Problem::new(
                    self.source.place(&key.span()),
                    format!("unknown key `{}`", self.name(key.get_ref())),
                    format!("the keys here are {}", list(known)),
                ));
            }
        }
    }

    /// The keys, with their tables, of a table whose keys are names that the user chooses; in
    /// the order of the file.
    pub(super) fn tables(&self, problems: &mut Problems) -> Vec<(At<String>, Table<'t>)> {
        let mut keys: Vec<_> = self.entries.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        let mut tables = Vec::new();
        for key in keys {
            if let Some(mut table) = self.table(key.get_ref(), problems) {
                let place = self.source.place(&key.span());
                table.place = place.clone();
                let value = key.get_ref().to_string();
                tables.push((At { value, place }, table));
            }
        }
        tables
    }

    /// Whether a key is there, of whatever type.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A table inside this one.
    pub(super) fn table(&self, key: &str, problems: &mut Problems) -> Option<Table<'t>> {
        let (value, place) = self.value(key)?;
        let DeValue::Table(entries) = value else {
            self.mismatch(key, (value, place), "a table", problems);
            return None;
        };
        Some(Table {
            source: self.source,
            path: self.name(key),
            place,
            entries,
        })
    }

    /// A text.
    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<At<String>> {
        let (value, place) = self.value(key)?;
        let DeValue::String(text) = value else {
            self.mismatch(key, (value, place), "a text in quotes", problems);
            return None;
        };
        let value = text.to_string();
        Some(At { value, place })
    }

    /// `true` or `false`.
    pub(super) fn truth(&self, key: &str, problems: &mut Problems) -> Option<At<bool>> {
        let (value, place) = self.value(key)?;
        let DeValue::Boolean(truth) = value else {
            self.mismatch(key, (value, place), "true or false", problems);
            return None;
        };
        let value = *truth;
        Some(At { value, place })
    }

    /// A text, or a whole number as it was written.
    pub(super) fn amount(&self, key: &str, problems: &mut Problems) -> Option<At<String>> {
        let (value, place) = self.value(key)?;
        let value = if let DeValue::String(text) = value {
            text.to_string()
        } else if let Some(number) = value.as_integer().filter(|number| number.radix() == 10) {
            number.as_str().to_owned()
        } else {
            self.mismatch(key, (value, place), "a whole number or a text", problems);
            return None;
        };
        Some(At { value, place })
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str, problems: &mut Problems) -> Option<Vec<At<String>>> {
        let (value, place) = self.value(key)?;
        let DeValue::Array(items) = value else {
            self.mismatch(key, (value, place), "a list of texts", problems);
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            let place = self.source.place(&item.span());
            if let Some(text) = item.get_ref().as_str() {
                let value = text.to_owned();
                texts.push(At { value, place });
            } else {
                self.mismatch(key, (item.get_ref(), place), "a list of texts", problems);
            }
        }
        Some(texts)
    }

    /// Every text of a table whose keys the user chooses.
    pub(super) fn all_texts(&self, problems: &mut Problems) -> Vec<(String, At<String>)> {
        let keys = self.entries.keys().map(|key| key.get_ref().to_string());
        keys.filter_map(|key| self.text(&key, problems).map(|text| (key, text)))
            .collect()
    }

    fn value(&self, key: &str) -> Option<(&'t DeValue<'t>, Place)> {
        let value: &'t Spanned<DeValue<'t>> = self.entries.get(key)?;
        Some((value.get_ref(), self.source.place(&value.span())))
    }

    fn mismatch(
        &self,
        key: &str,
        (value, place): (&DeValue<'_>, Place),
        wanted: &str,
        problems: &mut Problems,
    ) {
        let (name, found) = (self.name(key), value.type_str());
        problems.add(Problem::new(
            place,
            format!("`{name}` must be {wanted}, but this is of the type {found}"),
            "",
        ));
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
