//! Those who dial `/agent` and have not proven a key yet: how many there may be, of one address and of all,
//! and what the audit log says of those who are turned away.
//!
//! One address is an IPv4 address, or the 64 bits of an IPv6 address that name a network. Addresses from
//! which agents have come have places of their own, so that strangers cannot keep agents out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::core::refusal::Code;

/// Places of one address.
const OF_ONE: usize = 16;
/// Places of all addresses together.
const OF_ALL: usize = 64;
/// Further places of addresses from which agents have come.
const OF_AGENTS: usize = 64;
/// Addresses that are remembered: those from which agents have come, and those turned away in a minute.
const MOST: usize = 1_024;

/// Whoever has not proven anything yet.
#[derive(Debug)]
pub(super) struct Strangers {
    all: Arc<Semaphore>,
    agents: Arc<Semaphore>,
    inside: Mutex<Inside>,
    /// How many were turned away, for want of a place or because nobody knows them.
    pub(super) no_place: AtomicU64,
    pub(super) refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Inside {
    here: BTreeMap<String, usize>,
    agents_came_from: BTreeSet<String>,
    turned_away: HashMap<(String, Code), u64>,
}

/// The place of one of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    strangers: Arc<Strangers>,
    address: String,
    #[expect(dead_code, reason = "held for its drop")]
    of_all: OwnedSemaphorePermit,
}

/// Refusals that are still to be put on record: of whom, why, and how many.
pub(super) type Further = Vec<((String, Code), u64)>;

impl Strangers {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(OF_ALL)),
            agents: Arc::new(Semaphore::new(OF_AGENTS)),
            inside: Mutex::default(),
            no_place: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// A place for somebody, if there is one.
    pub(super) fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut inside = self.lock();
        let here = inside.here.get(&address).copied().unwrap_or(0);
        let known = inside.agents_came_from.contains(&address);
        let of_all = Some(&self.all).filter(|_| here < OF_ONE);
        let of_all = of_all.and_then(|all| Arc::clone(all).try_acquire_owned().ok());
        let kept = || Arc::clone(&self.agents).try_acquire_owned().ok();
        let Some(of_all) = of_all.or_else(|| known.then(kept).flatten()) else {
            self.no_place.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        inside.here.insert(address.clone(), here.saturating_add(1));
        Some(Place {
            strangers: Arc::clone(self),
            address,
            of_all,
        })
    }

    /// Somebody was turned away; whether this goes on record at once. Further ones of the same address in the
    /// same minute are counted, and are told by [`Strangers::further`].
    pub(super) fn turned_away(&self, address: IpAddr, code: Code) -> Option<String> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut inside = self.lock();
        let mut key = (network(address), code);
        if inside.turned_away.len() >= MOST && !inside.turned_away.contains_key(&key) {
            "others".clone_into(&mut key.0);
        }
        if let Some(count) = inside.turned_away.get_mut(&key) {
            *count = count.saturating_add(1);
            return None;
        }
        let address = key.0.clone();
        inside.turned_away.insert(key, 0);
        Some(address)
    }

    /// Those that were turned away since this was called last, and are not on record. Called once a minute.
    pub(super) fn further(&self) -> Further {
        let counted = std::mem::take(&mut self.lock().turned_away);
        counted
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whoever has it is an agent after all. Its address has places of its own from now on.
    pub(super) fn was_an_agents(self) {
        let mut inside = self.strangers.lock();
        if inside.agents_came_from.len() < MOST {
            inside.agents_came_from.insert(self.address.clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.strangers.lock();
        if let Some(here) = inside.here.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                inside.here.remove(&self.address);
            }
        }
    }
}

fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(last).unwrap()])
    }

    #[test]
    fn strangers_of_one_address_do_not_keep_others_out_nor_all_of_them_an_agent() {
        let strangers = Strangers::new();
        let agent = address(200);
        strangers.place(agent).unwrap().was_an_agents();
        let place = |last: usize| strangers.place(address(last));
        let one: Vec<_> = (0..100).map_while(|_| place(1)).collect();
        assert_eq!(one.len(), OF_ONE);
        let all: Vec<_> = (2..100).map_while(place).collect();
        assert_eq!(all.len(), OF_ALL - OF_ONE);
        assert!(place(150).is_none());
        assert!(strangers.place(agent).is_some());
        drop((one, all));
        assert!(place(150).is_some());
        assert!(strangers.lock().here.is_empty());
    }

    #[test]
    fn a_minute_of_refusals_is_one_count_for_each_address() {
        let strangers = Strangers::new();
        let away = |last: usize| strangers.turned_away(address(last), Code::Forbidden);
        assert_eq!(away(1).as_deref(), Some("10.0.0.1"));
        assert_eq!((1..1_000).filter_map(|_| away(1)).count(), 0);
        assert!(away(2).is_some());
        let of_one = (("10.0.0.1".to_owned(), Code::Forbidden), 999);
        assert_eq!(strangers.further(), [of_one]);
        assert_eq!(strangers.further(), []);
        assert!(away(1).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let networks =
            ["2001:db8::1", "2001:db8::ffff:2"].map(|text| network(text.parse().unwrap()));
        assert_eq!(networks[0], networks[1]);
        assert_ne!(networks[0], network("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1");
    }
}
