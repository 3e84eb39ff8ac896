//! Workspaces: the tenants of a relay, each with a state folder of its own.

use std::fmt;

/// The folder in a relay's state folder where its further workspaces lie.
pub const FOLDER: &str = "workspaces";
/// The file in a state folder that says whose it is; without it, it is [`WorkspaceName::first`]'s.
pub const NAME_FILE: &str = "workspace";

/// The name of a workspace: 1 to 40 of `a-z 0-9 -`, starting with a letter.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkspaceName(String);

/// Text that cannot name a workspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a workspace's name; use 1 to 40 of a-z 0-9 - and start with a letter")]
pub struct MalformedWorkspaceName;

impl WorkspaceName {
    /// The one that a relay begins with, and that of local mode.
    pub fn first() -> Self {
        Self("local".to_owned())
    }

    /// Whether it is the one that a relay begins with.
    pub fn is_first(&self) -> bool {
        self.0 == "local"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for WorkspaceName {
    type Err = MalformedWorkspaceName;

    fn from_str(text: &str) -> Result<Self, MalformedWorkspaceName> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if starts && text.len() <= 40 && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedWorkspaceName)
        }
    }
}

impl From<WorkspaceName> for String {
    fn from(name: WorkspaceName) -> Self {
        name.0
    }
}

impl fmt::Display for WorkspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_folder_and_nothing_else() {
        for good in ["local", "payments", "team-2"] {
            assert_eq!(good.parse::<WorkspaceName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "A",
            "2b",
            "-a",
            "a b",
            &"a".repeat(41),
        ] {
            assert!(bad.parse::<WorkspaceName>().is_err(), "{bad}");
        }
    }
}
