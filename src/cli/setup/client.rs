//! The two clients: where each looks for a project's servers, and how each writes variables.

use std::path::Path;

use clap::ValueEnum;

/// A client that can be set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Client {
    /// `.mcp.json` in the project's folder.
    ClaudeCode,
    /// `.cursor/mcp.json` in the project's folder.
    Cursor,
}

impl Client {
    /// The client's own name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
        }
    }

    /// The file with a project's servers, from the project's folder.
    pub(super) fn file(self) -> &'static Path {
        Path::new(match self {
            Self::ClaudeCode => ".mcp.json",
            Self::Cursor => ".cursor/mcp.json",
        })
    }

    /// What the client replaces by an environment variable; nothing is there when it is not set.
    pub(super) fn variable(self, name: &str) -> String {
        match self {
            Self::ClaudeCode => format!("${{{name}:-}}"),
            Self::Cursor => format!("${{env:{name}}}"),
        }
    }

    /// What the client replaces by an environment variable that it should miss when it is not set.
    pub(super) fn needed_variable(self, name: &str) -> String {
        match self {
            Self::ClaudeCode => format!("${{{name}}}"),
            Self::Cursor => format!("${{env:{name}}}"),
        }
    }

    /// A path inside the project. Claude Code starts servers in the project's folder, Cursor in one of
    /// its own.
    pub(super) fn in_project(self, inside: &str) -> String {
        match self {
            Self::ClaudeCode => inside.to_owned(),
            Self::Cursor => format!("${{workspaceFolder}}/{inside}"),
        }
    }

    /// Whether a remote server's kind has to be named.
    pub(super) fn names_http(self) -> bool {
        match self {
            Self::ClaudeCode => true,
            Self::Cursor => false,
        }
    }

    /// What a person has to do in the client.
    pub(super) fn next(self, name: &str) -> String {
        match self {
            Self::ClaudeCode => format!(
                "start `claude` anew in that folder and agree when it asks about `{name}`; `/mcp` shows how it stands"
            ),
            Self::Cursor => {
                format!(
                    "open Cursor's settings, \"MCP\", and switch `{name}` on, or off and on again"
                )
            }
        }
    }
}
