//! What `secondkey doctor` says of a target.

/// How a check came out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, but somebody should know.
    Warning,
    /// Has to be mended before the target is of use.
    Bad,
}

/// One thing that was checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// How it came out.
    pub verdict: Verdict,
    /// What was found, in one sentence.
    pub found: String,
    /// What to do about it; empty when there is nothing to do.
    pub mend: String,
}

impl Check {
    /// A check that came out well.
    pub fn good(found: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Good,
            found: found.into(),
            mend: String::new(),
        }
    }

    /// Something that somebody should know.
    pub fn warning(found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warning,
            found: found.into(),
            mend: mend.into(),
        }
    }

    /// Something that has to be mended.
    pub fn bad(found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Bad,
            found: found.into(),
            mend: mend.into(),
        }
    }
}
