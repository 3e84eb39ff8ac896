//! Targets: the databases that can be named in a call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::engine::Engine;
use crate::core::limits::Limits;
use crate::core::statement::Effect;

/// The name of a target: 1 to 64 of `a-z A-Z 0-9 _ -`, starting with a letter or digit.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetName(String);

/// Text that cannot name a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a target name; use 1 to 64 of a-z A-Z 0-9 _ - and start with a letter or digit")]
pub struct MalformedTargetName;

impl TargetName {
    /// The name of a target whose owner gave it none.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TargetName {
    type Error = MalformedTargetName;

    fn try_from(text: String) -> Result<Self, MalformedTargetName> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let starts = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && text.len() <= 64 && text.bytes().all(good) {
            Ok(Self(text))
        } else {
            Err(MalformedTargetName)
        }
    }
}

impl std::str::FromStr for TargetName {
    type Err = MalformedTargetName;

    fn from_str(text: &str) -> Result<Self, MalformedTargetName> {
        Self::try_from(text.to_owned())
    }
}

impl From<TargetName> for String {
    fn from(name: TargetName) -> Self {
        name.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One database in one environment. Holds no credential.
#[derive(Clone, Debug)]
pub struct Target {
    /// What callers write.
    pub name: TargetName,
    /// Which engine it is.
    pub engine: Engine,
    /// The environment, such as `production`; free text from the configuration.
    pub environment: String,
    /// Free labels from the configuration.
    pub labels: BTreeMap<String, String>,
    /// The effects that run here without anybody's approval.
    pub allow: BTreeSet<Effect>,
    /// The largest limits a call can ask for here.
    pub limits: Limits,
    /// Functions and relations that the owner vouches for, as `name` or `schema.name`: the guard
    /// takes them to be reads although it cannot see what they do.
    pub trusted: BTreeSet<String>,
    /// Whether the record of a read is on the disk before the read starts. That of any other work
    /// always is.
    pub sync_reads: bool,
    /// Whether nothing but capabilities runs here: free SQL and the catalogue do not exist.
    pub only_capabilities: bool,
}

impl Target {
    /// The same, for a login that is there for what has no more effect than this.
    #[must_use]
    pub fn up_to(&self, effect: Effect) -> Self {
        let mut target = self.clone();
        target.allow = [Effect::Read, effect].into();
        target
    }

    /// Whether nothing but reads runs here.
    pub fn is_read_only(&self) -> bool {
        self.allow.iter().all(|effect| *effect == Effect::Read)
    }
}
