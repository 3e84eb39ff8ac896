//! What an agent remembers of its capabilities, so that one that is no longer what it was is noticed.
//!
//! Those of the first file that is seen for a target are taken as they are (trust on first use). From then on each is
//! held against the digest that was accepted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::capability::{Bundle, Capability};
use crate::core::time::Timestamp;
use crate::core::work::Digest;

/// What happens to a capability that is not the one that was accepted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenChanged {
    /// It is called as it is now, and marked.
    #[default]
    Run,
    /// It is withdrawn until somebody has accepted it, by a signature.
    Ask,
}

/// One capability of a target, as it was accepted and as it was last seen.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    /// The target.
    pub target: String,
    /// The capability's name.
    pub name: String,
    /// What was accepted, with its digest; nothing where it is new.
    pub accepted: Option<(Digest, Box<Capability>)>,
    /// What was seen last, with its digest.
    pub seen: (Digest, Box<Capability>),
    /// Since when that is so.
    pub seen_at: Timestamp,
}

impl Remembered {
    /// The digest of what was accepted.
    pub fn before(&self) -> Option<Digest> {
        self.accepted.as_ref().map(|(digest, _)| *digest)
    }

    /// Whether it is not what was accepted.
    pub fn is_changed(&self) -> bool {
        self.before() != Some(self.seen.0)
    }

    /// The parts that are not what they were, by name: before and now.
    pub fn differences(&self) -> BTreeMap<String, (Option<String>, Option<String>)> {
        let parts = |capability: Option<&Capability>| {
            let whole = capability.and_then(|it| serde_json::to_value(it).ok());
            let map = whole.and_then(|whole| whole.as_object().cloned());
            map.unwrap_or_default()
        };
        let was = parts(self.accepted.as_ref().map(|(_, it)| it.as_ref()));
        let is = parts(Some(&self.seen.1));
        let text = |value: Option<&serde_json::Value>| {
            value.map(|value| match value.as_str() {
                Some(text) => text.to_owned(),
                None => value.to_string(),
            })
        };
        let names = was.keys().chain(is.keys());
        let differ = names.filter(|name| was.get(*name) != is.get(*name));
        let both = |name: &String| (name.clone(), (text(was.get(name)), text(is.get(name))));
        differ.map(both).collect()
    }
}

/// What is to be kept of a target's capabilities after a look at their file: those that are new, and those that are
/// not as they were when they were last seen.
pub fn news(
    known: &[Remembered],
    (target, bundle): (&str, &Bundle),
    (when, now): (WhenChanged, Timestamp),
) -> Vec<Remembered> {
    let first = known.is_empty() || when == WhenChanged::Run;
    let mut news = Vec::new();
    for capability in bundle.iter() {
        let seen = (capability.digest(), Box::new(capability.as_ref().clone()));
        let name = capability.name.as_str();
        let accepted = match known.iter().find(|one| one.name == name) {
            Some(one) if one.seen.0 == seen.0 => continue,
            Some(one) => one.accepted.clone(),
            None => first.then(|| seen.clone()),
        };
        news.push(Remembered {
            target: target.to_owned(),
            name: name.to_owned(),
            accepted,
            seen,
            seen_at: now,
        });
    }
    news
}
