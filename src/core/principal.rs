//! Who acts.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of actor a principal is. Only a human can ever approve.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A model behind an MCP client.
    Ai,
    /// A person.
    Human,
    /// A program that is not driven by a model.
    Service,
}

impl PrincipalKind {
    /// The prefix in a principal's written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ai => "ai",
            Self::Human => "human",
            Self::Service => "service",
        }
    }
}

/// Who acts, written `<kind>:<name>`. In local mode a label, not proof of anything.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Principal {
    kind: PrincipalKind,
    name: String,
}

/// Text that does not name a principal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a principal; expected `ai:NAME`, `human:NAME` or `service:NAME`")]
pub struct MalformedPrincipal;

impl Principal {
    /// A principal of `kind`; control characters in `name` become `?`, and it is cut at 128 characters.
    pub fn new(kind: PrincipalKind, name: &str) -> Self {
        let tidy = |c: char| if c.is_control() { '?' } else { c };
        Self {
            kind,
            name: name.chars().take(128).map(tidy).collect(),
        }
    }

    /// What kind of actor this is.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// A client of a user of the operating system: `ai:<user>/<client>`.
    pub fn client_of(user: &str, client: &str) -> Self {
        Self::new(PrincipalKind::Ai, &format!("{user}/{client}"))
    }

    /// The name without its kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is that principal, or a client of it: `ai:ada/claude-code` is of `ai:ada`.
    pub fn is_of(&self, holder: &Self) -> bool {
        self.kind == holder.kind && (self.name == holder.name || self.os_user() == holder.name)
    }

    /// Whose client this is: `ai:ada` for `ai:ada/claude-code`; anybody else is their own.
    #[must_use]
    pub fn holder(&self) -> Self {
        Self {
            kind: self.kind,
            name: self.os_user().to_owned(),
        }
    }

    /// The user of the operating system that the name begins with: of a client everything before the
    /// first `/`, of anybody else the whole.
    pub fn os_user(&self) -> &str {
        match (self.kind, self.name.split_once('/')) {
            (PrincipalKind::Ai, Some((user, _))) => user,
            _ => &self.name,
        }
    }
}

impl TryFrom<String> for Principal {
    type Error = MalformedPrincipal;

    fn try_from(text: String) -> Result<Self, MalformedPrincipal> {
        let (kind, name) = text.split_once(':').ok_or(MalformedPrincipal)?;
        let kind = match kind {
            "ai" => PrincipalKind::Ai,
            "human" => PrincipalKind::Human,
            "service" => PrincipalKind::Service,
            _ => return Err(MalformedPrincipal),
        };
        Ok(Self::new(kind, name))
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.to_string()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_survives_being_written_and_read() {
        let who = Principal::new(PrincipalKind::Ai, "ada/claude-code");
        assert_eq!(Principal::try_from(who.to_string()).unwrap(), who);
    }

    #[test]
    fn a_client_belongs_to_the_user_before_the_first_slash() {
        assert_eq!(Principal::client_of("ada", "bo/x").os_user(), "ada");
        assert_eq!(
            Principal::client_of("ada", "x").to_string(),
            "ai:ada/x".to_owned()
        );
        let person = Principal::new(PrincipalKind::Human, "ada/x");
        assert_eq!(person.os_user(), "ada/x");
    }

    #[test]
    fn a_name_cannot_smuggle_control_characters_into_a_log() {
        assert_eq!(
            Principal::new(PrincipalKind::Ai, "a\nb\u{1b}[2J").name(),
            "a?b?[2J"
        );
    }
}
