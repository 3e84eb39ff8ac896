//! What the doctor found, as text and as JSON.

use std::fmt;

use serde::Serialize;

use crate::exec::Check;
use crate::exec::check::Verdict;

/// Everything the doctor found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The version of this program.
    version: &'static str,
    /// What was looked at, in order.
    sections: Vec<Section>,
    /// How much this set-up holds against; absent when there is no set-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    /// How many findings have to be mended.
    bad: usize,
    /// How many findings somebody should know of.
    warnings: usize,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    about: String,
    findings: Vec<Finding>,
}

/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    verdict: &'static str,
    found: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mend: String,
}

/// How much a set-up holds against.
#[derive(Debug, Serialize)]
pub(super) struct Level {
    /// Its name.
    pub name: &'static str,
    /// What that means.
    pub means: &'static str,
    /// The facts it was computed from.
    pub because: Vec<String>,
}

impl Report {
    pub(super) fn new(sections: Vec<Section>, level: Option<Level>) -> Self {
        let count = |verdict| {
            let findings = sections.iter().flat_map(|section| &section.findings);
            findings
                .filter(|finding| finding.verdict == verdict)
                .count()
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            bad: count(word(Verdict::Bad)),
            warnings: count(word(Verdict::Warning)),
            sections,
            level,
        }
    }

    /// How many findings have to be mended.
    pub(super) fn bad(&self) -> usize {
        self.bad
    }
}

impl Section {
    pub(super) fn new(about: impl Into<String>, checks: impl IntoIterator<Item = Check>) -> Self {
        let finding = |check: Check| Finding {
            verdict: word(check.verdict),
            found: check.found,
            mend: check.mend,
        };
        Self {
            about: about.into(),
            findings: checks.into_iter().map(finding).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "SecondKey {}", self.version)?;
        for section in &self.sections {
            writeln!(f, "\n{}", section.about)?;
            for finding in &section.findings {
                writeln!(f, "  {:<9}{}", finding.verdict, finding.found)?;
                if !finding.mend.is_empty() {
                    writeln!(f, "  {:<9}-> {}", "", finding.mend)?;
                }
            }
        }
        if let Some(level) = &self.level {
            writeln!(f, "\nlevel: {} - {}", level.name, level.means)?;
            for fact in &level.because {
                writeln!(f, "  {fact}")?;
            }
        }
        let warnings = match self.warnings {
            1 => "1 warning".to_owned(),
            several => format!("{several} warnings"),
        };
        write!(f, "\n{} to mend, {warnings}", self.bad)
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Warning => "warning",
        Verdict::Bad => "bad",
    }
}
