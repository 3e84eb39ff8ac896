//! Checks a log: each body against its leaf, each link against all before it, and the whole
//! against the heads that were signed on the way.

use std::collections::BTreeMap;

use crate::core::audit::entry::{Body, Stored, leaf, link};
use crate::core::audit::first_link;
use crate::core::audit::head::Head;
use crate::core::work::Digest;

/// What a whole and unbroken log amounts to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// How many entries it has.
    pub entries: u64,
    /// The link of the last one.
    pub link: Digest,
    /// How many bodies were removed; their leaves still hold the chain together.
    pub removed: u64,
    /// The newest head it was checked against. Without one a cut tail cannot be seen.
    pub against: Option<Head>,
}

/// Where a log is not what was written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Break {
    /// A body is not the one that was sealed here.
    #[error("entry {sequence} was edited: its body is not the one that was sealed")]
    Edited {
        /// Which entry.
        sequence: u64,
    },
    /// An entry is gone, or another stands in its place.
    #[error("entry {sequence} is missing: entry {found} stands in its place")]
    Missing {
        /// Which entry.
        sequence: u64,
        /// What stands there.
        found: u64,
    },
    /// A link does not follow from the entries before it.
    #[error(
        "entry {sequence} does not follow from the entries before it: it or one before it was edited, removed, inserted or moved"
    )]
    Unlinked {
        /// The first entry that does not fit.
        sequence: u64,
    },
    /// The chain is whole, but it is not the one that a head was signed for.
    #[error("the log was rewritten: something from entry {from} to {} is not what the head of {} entries says, signed at {}", head.count, head.count, head.at)]
    Rewritten {
        /// The first entry after the last head that fits.
        from: u64,
        /// The head that does not fit.
        head: Head,
    },
    /// The log is shorter than a head says.
    #[error("the log was cut: it has {entries} entries, and the head signed at {} says {}", head.at, head.count)]
    Cut {
        /// How many entries are left.
        entries: u64,
        /// The head that says so.
        head: Head,
    },
}

/// Checks entries one after the other.
#[derive(Clone, Debug)]
pub struct Checker {
    workspace: String,
    heads: BTreeMap<u64, Vec<Head>>,
    entries: u64,
    link: Digest,
    removed: u64,
    against: Option<Head>,
}

impl Checker {
    /// Begins at the start of a log. Heads of other workspaces are left out.
    pub fn new(workspace: &str, heads: impl IntoIterator<Item = Head>) -> Self {
        let mut by_count: BTreeMap<u64, Vec<Head>> = BTreeMap::new();
        for head in heads.into_iter().filter(|h| h.workspace == workspace) {
            by_count.entry(head.count).or_default().push(head);
        }
        Self {
            workspace: workspace.to_owned(),
            heads: by_count,
            entries: 0,
            link: first_link(workspace),
            removed: 0,
            against: None,
        }
    }

    /// Checks the next entry.
    pub fn push(&mut self, entry: &Stored) -> Result<(), Break> {
        self.check_heads()?;
        let sequence = self.entries.saturating_add(1);
        if entry.sequence != sequence {
            return Err(Break::Missing {
                sequence,
                found: entry.sequence,
            });
        }
        match &entry.body {
            None => self.removed = self.removed.saturating_add(1),
            Some(body) => self.check_body(sequence, body, &entry.leaf)?,
        }
        if entry.link != link(&self.link, &entry.leaf) {
            return Err(Break::Unlinked { sequence });
        }
        self.entries = sequence;
        self.link = entry.link;
        Ok(())
    }

    /// Ends the check: nothing comes after the last entry pushed.
    pub fn finish(mut self) -> Result<Verified, Break> {
        self.check_heads()?;
        if let Some((_, mut heads)) = self.heads.pop_last()
            && let Some(head) = heads.pop()
        {
            return Err(Break::Cut {
                entries: self.entries,
                head,
            });
        }
        Ok(Verified {
            entries: self.entries,
            link: self.link,
            removed: self.removed,
            against: self.against,
        })
    }

    fn check_body(&self, sequence: u64, body: &[u8], sealed: &Digest) -> Result<(), Break> {
        let in_place = |body: Body| body.sequence == sequence && body.workspace == self.workspace;
        if leaf(body) == *sealed && serde_json::from_slice(body).is_ok_and(in_place) {
            Ok(())
        } else {
            Err(Break::Edited { sequence })
        }
    }

    /// Compares the heads that were signed exactly here.
    fn check_heads(&mut self) -> Result<(), Break> {
        for head in self.heads.remove(&self.entries).unwrap_or_default() {
            if head.link != self.link {
                let good = self.against.as_ref().map_or(0, |head| head.count);
                return Err(Break::Rewritten {
                    from: good.saturating_add(1).min(head.count),
                    head,
                });
            }
            self.against = Some(head);
        }
        Ok(())
    }
}

/// Checks a whole log against the heads given.
pub fn verify(
    workspace: &str,
    entries: impl IntoIterator<Item = Stored>,
    heads: impl IntoIterator<Item = Head>,
) -> Result<Verified, Break> {
    let mut checker = Checker::new(workspace, heads);
    for entry in entries {
        checker.push(&entry)?;
    }
    checker.finish()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
