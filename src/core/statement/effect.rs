//! Effects: the four kinds of thing that work can do.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What work can do, from harmless to worst. Unknown counts as the worst.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Changes nothing that anybody else could see.
    Read,
    /// Changes rows, or state of the same weight: a sequence, a row lock.
    Write,
    /// Changes what the database is made of: tables, views, indexes, functions.
    Schema,
    /// Reaches beyond the data: roles, settings, files, other sessions, code that cannot be seen.
    Admin,
}

impl Effect {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Schema => "schema",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One finding: an effect and the words for it, such as `deletes from orders` or `calls setval`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Reason {
    /// How bad it is.
    pub effect: Effect,
    /// A verb phrase whose subject is the statement.
    pub because: String,
}
