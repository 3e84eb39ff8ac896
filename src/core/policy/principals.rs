//! What is known of principals: which roles and groups a configuration gives to whom.

use crate::core::policy::facts::Standing;
use crate::core::principal::{MalformedPrincipal, Principal};

/// The longest name of a role or a group, in characters.
pub const NAME_CHARS: usize = 64;

/// Whom an entry is about: one principal, or all whose written form begins alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pattern {
    /// `human:ada`.
    One(Principal),
    /// `ai:ada/*`: what stands before the star.
    Prefix(String),
}

/// Text that is not a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MalformedPattern {
    /// It names no kind, or nobody.
    #[error(transparent)]
    Principal(#[from] MalformedPrincipal),
    /// A star that is not its last character.
    #[error("not a pattern: a `*` can only stand at the end")]
    Star,
}

impl Pattern {
    /// Reads `ai:ada/claude-code`, `ai:ada/*` or `ai:*`.
    pub fn parse(text: &str) -> Result<Self, MalformedPattern> {
        let (before, starred) = match text.strip_suffix('*') {
            Some(before) => (before, true),
            None => (text, false),
        };
        if before.contains('*') {
            return Err(MalformedPattern::Star);
        }
        let principal = Principal::try_from(before.to_owned())?;
        // What a principal would not keep as it is can match nobody.
        if principal.to_string() != before || (principal.name().is_empty() && !starred) {
            return Err(MalformedPrincipal.into());
        }
        Ok(if starred {
            Self::Prefix(before.to_owned())
        } else {
            Self::One(principal)
        })
    }

    /// Whether it is about this principal.
    pub fn fits(&self, principal: &Principal) -> bool {
        match self {
            Self::One(one) => one == principal,
            Self::Prefix(prefix) => principal.to_string().starts_with(prefix.as_str()),
        }
    }
}

/// The roles and groups of principals. Whom no entry is about has none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Principals(Vec<(Pattern, Standing)>);

impl Principals {
    /// From entries. Several can be about one principal, who then has what all of them give.
    pub fn new(entries: Vec<(Pattern, Standing)>) -> Self {
        Self(entries)
    }

    /// What is known of a principal.
    pub fn of(&self, principal: &Principal) -> Standing {
        let mut standing = Standing::NONE;
        let about = self.0.iter().filter(|(pattern, _)| pattern.fits(principal));
        for (_, given) in about {
            standing.roles.extend(given.roles.iter().cloned());
            standing.groups.extend(given.groups.iter().cloned());
        }
        standing
    }
}

/// Whether text can be the name of a role or a group: the groups of the trust file are written alike.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=NAME_CHARS).contains(&text.len()) && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn who(text: &str) -> Principal {
        Principal::try_from(text.to_owned()).unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn standing(roles: &[&str], groups: &[&str]) -> Standing {
        Standing {
            roles: set(roles),
            groups: set(groups),
        }
    }

    #[test]
    fn everybody_has_what_all_entries_about_them_give() {
        let entry = |pattern, standing| (Pattern::parse(pattern).unwrap(), standing);
        let principals = Principals::new(vec![
            entry("ai:*", standing(&["readonly"], &[])),
            entry("ai:ada/*", standing(&["developer"], &["payments"])),
            entry("human:bo", standing(&[], &["dba"])),
        ]);
        let of = |text| principals.of(&who(text));
        assert_eq!(
            of("ai:ada/claude-code"),
            standing(&["developer", "readonly"], &["payments"])
        );
        // No longer name and no other kind slips in.
        assert_eq!(of("ai:adam/cursor"), standing(&["readonly"], &[]));
        assert_eq!(of("human:ada"), Standing::NONE);
        assert_eq!(of("human:bo"), standing(&[], &["dba"]));
        assert_eq!(of("human:bob"), Standing::NONE);
        assert_eq!(of("service:ai:ada/x"), Standing::NONE);
    }

    #[test]
    fn what_could_match_nobody_is_no_pattern() {
        for good in ["ai:*", "ai:ada/*", "human:ada", "service:night job"] {
            assert!(Pattern::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "*", "", "ada", "ai:", "human:", "ai*", "ai:a\nb", "robot:r2",
        ] {
            assert_eq!(
                Pattern::parse(bad),
                Err(MalformedPattern::Principal(MalformedPrincipal)),
                "{bad}"
            );
        }
        for bad in ["ai:*/x", "ai:**", "*:ada"] {
            assert_eq!(Pattern::parse(bad), Err(MalformedPattern::Star), "{bad}");
        }
        let long = format!("human:{}", "a".repeat(129));
        assert!(Pattern::parse(&long).is_err());
    }
}
