//! Which checks a verifier makes: all of them. A test build can leave one out, to show that the
//! attack it stands against then works.
//!
//! In a build without the feature `weaken`, which no default contains, a [`Checks`] holds nothing
//! and has no way to hold anything, so there is nothing for an attacker to switch off.

use std::marker::PhantomData;

/// The checks that fail with an error of type `E`. Each check is named by its error.
#[derive(Clone, Debug)]
pub struct Checks<E> {
    #[cfg(any(test, feature = "weaken"))]
    without: std::collections::BTreeSet<E>,
    of: PhantomData<E>,
}

impl<E: Clone + Ord> Checks<E> {
    /// Every check.
    pub fn all() -> Self {
        Self {
            #[cfg(any(test, feature = "weaken"))]
            without: std::collections::BTreeSet::new(),
            of: PhantomData,
        }
    }

    /// Every check but the ones that were left out before and the one that fails with `error`.
    #[cfg(any(test, feature = "weaken"))]
    #[must_use]
    pub fn without(mut self, error: impl Into<E>) -> Self {
        self.without.insert(error.into());
        self
    }

    /// Fails with `error` where `holds` is false.
    pub fn demand(&self, holds: bool, error: impl Into<E>) -> Result<(), E> {
        let error = error.into();
        if holds || self.is_off(&error) {
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Whether the check that fails with `error` was left out.
    #[cfg(any(test, feature = "weaken"))]
    pub(in crate::core) fn is_off(&self, error: &E) -> bool {
        self.without.contains(error)
    }

    /// Whether the check that fails with `error` was left out: never.
    #[cfg(not(any(test, feature = "weaken")))]
    #[expect(
        clippy::unused_self,
        reason = "the other form of this function reads it"
    )]
    pub(in crate::core) fn is_off(&self, _: &E) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_checks_are_made_but_the_one_that_is_left_out() {
        let all = Checks::<&str>::all();
        assert_eq!(all.demand(false, "late"), Err("late"));
        assert_eq!(all.demand(true, "late"), Ok(()));
        let weak = all.without("late");
        assert_eq!(weak.demand(false, "late"), Ok(()));
        assert_eq!(weak.demand(false, "early"), Err("early"));
    }
}
