//! Ends of approved work that the relay has not put on record yet. They are said again after each
//! reconnect, until it has.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::ids::RequestId;
use crate::wire::fleet::Ended;

/// More of them are not kept: the agent's own audit log has them all.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Unsaid(Mutex<BTreeMap<RequestId, Ended>>);

impl Unsaid {
    pub(super) fn keep(&self, ended: Ended) {
        let mut all = self.lock();
        if all.len() >= MOST {
            all.pop_first();
        }
        all.insert(ended.request.clone(), ended);
    }

    pub(super) fn recorded(&self, request: &RequestId) {
        self.lock().remove(request);
    }

    pub(super) fn all(&self) -> Vec<Ended> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RequestId, Ended>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
