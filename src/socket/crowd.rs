//! How many connections there are, and of whom: nobody keeps others out by having many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::time::Timestamp;

/// Connections at the same time.
pub(super) const MOST: usize = 512;
/// Connections of one user at the same time.
pub(super) const MOST_OF_ONE: usize = 32;
/// Refusals of one user are recorded this often, in milliseconds: a log is not filled by knocking.
const RECORD_EVERY_MS: i64 = 60_000;
/// Users whose refusals are remembered.
const REMEMBERED: usize = 1_000;

/// The connections there are. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd {
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    count: usize,
    by_user: HashMap<u32, usize>,
    refused: HashMap<u32, Refused>,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    recorded: Timestamp,
    since: u64,
}

/// A place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    crowd: Crowd,
    uid: u32,
}

impl Crowd {
    /// A place for a user's connection, unless they or all together have too many.
    pub(super) fn admit(&self, uid: u32) -> Option<Pass> {
        let mut inside = self.lock();
        if inside.count >= MOST {
            return None;
        }
        let own = inside.by_user.entry(uid).or_default();
        if *own >= MOST_OF_ONE {
            return None;
        }
        *own += 1;
        inside.count += 1;
        Some(Pass {
            crowd: self.clone(),
            uid,
        })
    }

    /// Whether a refusal is to be recorded now; if so, how many there were of this user since the last.
    pub(super) fn refused(&self, uid: u32, now: Timestamp) -> Option<u64> {
        let mut inside = self.lock();
        let age = |one: &Refused| now.unix_ms().saturating_sub(one.recorded.unix_ms());
        if let Some(known) = inside.refused.get_mut(&uid)
            && (0..RECORD_EVERY_MS).contains(&age(known))
        {
            known.since += 1;
            return None;
        }
        let since = inside.refused.get(&uid).map_or(0, |known| known.since);
        if inside.refused.len() >= REMEMBERED {
            let old = |one: &Refused| !(0..RECORD_EVERY_MS).contains(&age(one));
            inside.refused.retain(|_, one| !old(one));
        }
        let refused = Refused {
            recorded: now,
            since: 0,
        };
        inside.refused.insert(uid, refused);
        Some(since + 1)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.crowd.lock();
        inside.count = inside.count.saturating_sub(1);
        if let Some(own) = inside.by_user.get_mut(&self.uid) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                inside.by_user.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_does_not_take_the_places_of_others() {
        let crowd = Crowd::default();
        let mut mine: Vec<Pass> = (0..MOST_OF_ONE).map(|_| crowd.admit(1).unwrap()).collect();
        assert!(crowd.admit(1).is_none());
        assert!(crowd.admit(2).is_some());
        mine.pop();
        assert!(crowd.admit(1).is_some(), "a place that was left is free");
        drop(mine);
        let users = u32::try_from(MOST / MOST_OF_ONE).unwrap();
        let all: Vec<Pass> = (0..users)
            .flat_map(|uid| (0..MOST_OF_ONE).map(move |_| uid))
            .map(|uid| crowd.admit(uid).unwrap())
            .collect();
        assert!(crowd.admit(99).is_none(), "all places are taken");
        drop(all);
        assert!(crowd.lock().by_user.is_empty());
    }

    #[test]
    fn refusals_are_recorded_once_a_minute_and_none_is_forgotten() {
        let crowd = Crowd::default();
        let at = Timestamp::from_unix_ms;
        assert_eq!(crowd.refused(1, at(0)), Some(1));
        assert_eq!(crowd.refused(1, at(10)), None);
        assert_eq!(crowd.refused(1, at(20)), None);
        assert_eq!(crowd.refused(2, at(20)), Some(1));
        assert_eq!(crowd.refused(1, at(RECORD_EVERY_MS)), Some(3));
    }
}
