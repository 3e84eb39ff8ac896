//! Names that a statement uses, as written and case-folded by its engine's rules.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A name, perhaps with the schema it was written with.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(from = "String", into = "String")]
pub struct Name {
    /// The schema (database, on MySQL), where it was written.
    pub schema: Option<String>,
    /// The name itself.
    pub name: String,
}

impl Name {
    /// A name without a schema.
    pub fn bare(name: impl Into<String>) -> Self {
        Self {
            schema: None,
            name: name.into(),
        }
    }

    /// A name in a schema.
    pub fn qualified(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: Some(schema.into()),
            name: name.into(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        match text.split_once('.') {
            Some((schema, name)) => Self::qualified(schema, name),
            None => Self::bare(text),
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.to_string()
    }
}

/// A call by a bare name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Call {
    /// The function's name.
    pub name: String,
    /// How many arguments it is given, where the text says.
    pub arguments: Option<usize>,
}

/// Everything a statement names that only the engine's catalogue can judge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    /// Functions called that are not on the engine's list of harmless built-ins.
    pub functions: BTreeSet<Name>,
    /// Operators used (PostgreSQL: a user can define one, or overload a built-in one).
    pub operators: BTreeSet<Name>,
    /// Types named in casts and definitions.
    pub types: BTreeSet<Name>,
    /// Calls of built-in functions that a user's function of the same name could take over.
    pub overloads: BTreeSet<Call>,
    /// What is selected from a value (PostgreSQL `value.name`): a column, or any function that takes
    /// one argument, in disguise.
    pub selections: BTreeSet<String>,
}
