//! The answers to calls that asked for a task and waited for nobody: they were over when the task was
//! made, and are kept for whoever fetches them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::core::ids::RequestId;
use crate::core::principal::Principal;
use crate::core::time::Timestamp;

/// How long an answer is kept.
pub(super) const KEPT: Duration = Duration::from_hours(1);
/// Answers that are kept at most; of more, the oldest go first.
const MOST: usize = 256;

/// An answer and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Over {
    pub(super) owner: Principal,
    pub(super) at: Timestamp,
    /// As the call would have given it.
    pub(super) result: Map<String, Value>,
}

/// The answers of one process, by the id of their tasks.
#[derive(Debug, Default)]
pub(in crate::mcp) struct Kept(Mutex<BTreeMap<RequestId, (Instant, Over)>>);

impl Kept {
    pub(super) fn put(&self, id: RequestId, over: Over) {
        let mut kept = self.tidied();
        // Ids begin with the time.
        while kept.len() >= MOST {
            kept.pop_first();
        }
        kept.insert(id, (Instant::now(), over));
    }

    /// The answer behind a task, if it is this one's.
    pub(super) fn of(&self, owner: &Principal, id: &RequestId) -> Option<Over> {
        let kept = self.tidied();
        let (_, over) = kept.get(id)?;
        (over.owner == *owner).then(|| over.clone())
    }

    /// All of one owner, the newest first.
    pub(super) fn all_of(&self, owner: &Principal) -> Vec<(RequestId, Over)> {
        let kept = self.tidied();
        let theirs = kept.iter().rev();
        let theirs = theirs.filter(|(_, (_, over))| over.owner == *owner);
        theirs
            .map(|(id, (_, over))| (id.clone(), over.clone()))
            .collect()
    }

    fn tidied(&self) -> MutexGuard<'_, BTreeMap<RequestId, (Instant, Over)>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (since, _)| since.elapsed() < KEPT);
        kept
    }
}
