//! Room for orders at one agent, shared fairly: whoever has fewest under way comes first, and neither one
//! principal nor one target takes all of it, however slow their work is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::target::TargetName;

/// The longest wait for room.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The room of one agent.
#[derive(Debug)]
pub(super) struct Slots {
    patience: Duration,
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    free: usize,
    /// The most that one principal has at the same time.
    of_principal: usize,
    /// The most that one target has at the same time.
    of_target: usize,
    taken: BTreeMap<Share, usize>,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

/// Whose share of the room something counts to.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Share {
    Principal(String),
    Target(TargetName),
}

#[derive(Debug)]
struct Waiting {
    shares: [Share; 2],
    granted: oneshot::Sender<()>,
}

/// Room for one order, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    shares: [Share; 2],
}

impl Slots {
    /// So many, for so many targets, of which three quarters are for any one principal, and for any one
    /// target where there are others. Nobody waits longer than `patience`.
    pub(super) fn new(slots: usize, targets: usize, patience: Duration) -> Self {
        let part = slots.saturating_sub(slots / 4).max(1);
        Self {
            patience,
            inside: Mutex::new(Inside {
                free: slots,
                of_principal: part,
                of_target: if targets > 1 { part } else { slots },
                taken: BTreeMap::new(),
                waiting: Vec::new(),
            }),
        }
    }

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.lock().free
    }

    /// Waits for one, as long as patience lasts. All clients of one holder of keys count as one.
    pub(super) async fn take(
        self: Arc<Self>,
        (principal, target): (&Principal, &TargetName),
    ) -> Result<Slot, Refusal> {
        let shares = [
            Share::Principal(principal.os_user().to_owned()),
            Share::Target(target.clone()),
        ];
        let (granted, turn) = oneshot::channel();
        let mut place = Place {
            slots: Arc::clone(&self),
            shares: shares.clone(),
            turn,
        };
        {
            let mut inside = self.lock();
            let shares = shares.clone();
            inside.waiting.push(Waiting { shares, granted });
            inside.grant();
        }
        match timeout(self.patience, &mut place.turn).await {
            Ok(Ok(())) => Ok(Slot {
                slots: self,
                shares,
            }),
            Ok(Err(_)) | Err(_) => Err(self.busy()),
        }
    }

    fn busy(&self) -> Refusal {
        let sentence = format!(
            "the agent was busy with other work for {} seconds",
            self.patience.as_secs()
        );
        Refusal::new(Code::Busy, sentence)
            .hint("nothing was run; try again in a moment, with less at the same time")
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait, until it is dropped. A turn that came when nobody waited any more goes on
/// to the next.
struct Place {
    slots: Arc<Slots>,
    shares: [Share; 2],
    turn: oneshot::Receiver<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turn.close();
        let mut inside = self.slots.lock();
        if self.turn.try_recv().is_ok() {
            inside.give_back(&self.shares);
        }
        inside
            .waiting
            .retain(|waiting| !waiting.granted.is_closed());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().give_back(&self.shares);
    }
}

impl Inside {
    fn give_back(&mut self, shares: &[Share; 2]) {
        self.free = self.free.saturating_add(1);
        for share in shares {
            if let Some(count) = self.taken.get_mut(share) {
                *count = count.saturating_sub(1);
            }
        }
        self.taken.retain(|_, count| *count > 0);
        self.grant();
    }

    /// Gives what is free to those who have fewest, and among them to who came first.
    fn grant(&mut self) {
        while self.free > 0 {
            let waiting = self.waiting.iter().enumerate();
            let may = waiting.filter(|(_, one)| {
                one.shares
                    .iter()
                    .all(|share| self.has(share) < self.most(share))
            });
            let next = may.min_by_key(|(_, one)| one.shares.clone().map(|share| self.has(&share)));
            let Some((index, _)) = next else { return };
            let next = self.waiting.remove(index);
            // Whoever has left meanwhile takes nothing.
            if next.granted.send(()).is_ok() {
                self.free -= 1;
                for share in next.shares {
                    *self.taken.entry(share).or_default() += 1;
                }
            }
        }
    }

    fn most(&self, share: &Share) -> usize {
        match share {
            Share::Principal(_) => self.of_principal,
            Share::Target(_) => self.of_target,
        }
    }

    fn has(&self, share: &Share) -> usize {
        self.taken.get(share).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::core::principal::PrincipalKind;

    fn take(slots: &Arc<Slots>, who: &str, target: &str) -> Option<Slot> {
        let principal = Principal::new(PrincipalKind::Ai, who);
        let target = target.parse().unwrap();
        let taking = Arc::clone(slots).take((&principal, &target));
        taking.now_or_never().transpose().unwrap()
    }

    #[tokio::test]
    async fn neither_a_principal_nor_a_target_takes_all() {
        let slots = Arc::new(Slots::new(8, 2, PATIENCE));
        let ada: Vec<_> = (0..8)
            .map_while(|_| take(&slots, "ada/x", "shop"))
            .collect();
        assert_eq!(ada.len(), 6);
        assert!(
            take(&slots, "ada/y", "other").is_none(),
            "another client of hers"
        );
        assert!(
            take(&slots, "bo/x", "shop").is_none(),
            "the target has its share"
        );
        let bo = take(&slots, "bo/x", "other").unwrap();
        drop(ada);
        drop(bo);
        assert_eq!(slots.free(), 8);
        assert_eq!(slots.lock().taken.len(), 0);
        assert_eq!(slots.lock().waiting.len(), 0);
    }

    #[tokio::test]
    async fn whoever_has_fewest_comes_first_and_nobody_waits_without_end() {
        let slots = Arc::new(Slots::new(2, 1, Duration::from_millis(300)));
        let (ada, bo) = (principal("ada/x"), principal("bo/x"));
        let (shop, other) = ("shop".parse().unwrap(), "other".parse().unwrap());
        let first = take(&slots, "ada/x", "shop").unwrap();
        let second = take(&slots, "cy/x", "other").unwrap();
        let ada = Arc::clone(&slots).take((&ada, &shop));
        let bo = Arc::clone(&slots).take((&bo, &other));
        tokio::pin!(ada, bo);
        assert!(ada.as_mut().now_or_never().is_none());
        assert!(bo.as_mut().now_or_never().is_none());
        drop(second);
        assert!(ada.as_mut().now_or_never().is_none(), "she has one");
        let bo = bo.await.unwrap();
        assert_eq!(ada.await.unwrap_err().code, Code::Busy);
        drop((first, bo));
        assert_eq!(slots.free(), 2);
    }

    fn principal(name: &str) -> Principal {
        Principal::new(PrincipalKind::Ai, name)
    }
}
