//! The life of a principal at a relay.

use std::fmt;

/// Where a principal stands. Who was never spoken of is active.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Life {
    /// Their keys count.
    #[default]
    Active,
    /// Their keys count for nothing until somebody lets them go on.
    Suspended,
    /// Their keys are ended, and there will be no new ones.
    Retired,
}

impl Life {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Retired => "retired",
        }
    }

    /// The life of this written form.
    pub fn named(text: &str) -> Option<Self> {
        let all = [Self::Active, Self::Suspended, Self::Retired];
        all.into_iter().find(|life| life.as_str() == text)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
