//! How often something came to which end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts since the process began, by words of the program's own.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    /// One more.
    pub fn count(&self, end: &'static str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(end).or_default();
        *count = count.saturating_add(1);
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}
