//! Accounts of the operating system, as a configuration names them.

use std::fmt;
use std::str::FromStr;

/// Somebody, or several, by the system's own records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Account {
    /// `group:NAME`: everybody in a group.
    Group(String),
    /// `uid:NUMBER`: one user, whether or not the system has a name for them.
    Id(u32),
    /// `NAME`: one user.
    User(String),
}

/// Text that names no account.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an account; expected a user's name, `group:NAME` or `uid:NUMBER`")]
pub struct MalformedAccount;

impl FromStr for Account {
    type Err = MalformedAccount;

    fn from_str(text: &str) -> Result<Self, MalformedAccount> {
        match text.split_once(':') {
            None => name(text).map(Self::User),
            Some(("group", group)) => name(group).map(Self::Group),
            Some(("uid", id)) => id.parse().map(Self::Id).map_err(|_| MalformedAccount),
            Some(_) => Err(MalformedAccount),
        }
    }
}

/// No system allows more in a name than this does: no separator, no space, nothing that hides.
fn name(text: &str) -> Result<String, MalformedAccount> {
    let plain = |c: char| c.is_alphanumeric() || "._-@\\$".contains(c);
    if text.is_empty() || text.len() > 256 || !text.chars().all(plain) {
        return Err(MalformedAccount);
    }
    Ok(text.to_owned())
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Id(id) => write!(f, "uid:{id}"),
            Self::User(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_written_as_they_are_read() {
        for text in ["ada", "group:dev", "uid:4711", "ada.l@corp"] {
            assert_eq!(text.parse::<Account>().unwrap().to_string(), text);
        }
        for text in [
            "", "group:", "uid:-1", "uid:x", "user:ada", "a b", "ada/x", "ada\n",
        ] {
            assert_eq!(text.parse::<Account>(), Err(MalformedAccount), "{text}");
        }
    }
}
