//! The first line of a connection, and the answer to it.

use serde::{Deserialize, Serialize};

use crate::wire::VERSION;

/// The longest hello, in bytes.
pub const LONGEST: usize = 4 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wants {
    /// An MCP client.
    Mcp,
    /// The commands for people.
    People,
}

impl Wants {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::People => "people",
        }
    }
}

/// The first line. What a later version adds to it is no reason to refuse this one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hello {
    /// [`VERSION`].
    pub secondkey: u32,
    /// What the connection is for.
    #[serde(rename = "for")]
    pub wants: Wants,
}

impl Hello {
    /// A hello of this version.
    pub fn new(wants: Wants) -> Self {
        Self {
            secondkey: VERSION,
            wants,
        }
    }
}

/// What a hello says of its version, whatever else it says.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub struct Spoken {
    /// The version.
    pub secondkey: u32,
}

/// The answer to a hello.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Welcome {
    /// The version of the agent's program.
    pub version: String,
    /// Who is at this end, as the kernel says.
    pub you: String,
    /// Whom the agent runs as.
    pub agent: String,
}
