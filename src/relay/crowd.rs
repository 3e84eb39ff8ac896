//! How many connections come from one address, so that nobody takes all the places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::notice::Network;
use crate::relay::address::is_in;

/// The connections that are open, by address.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    most: usize,
    /// Proxies speak for many.
    exempt: Arc<[Network]>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Guest(Option<(Crowd, IpAddr)>);

impl Crowd {
    pub(super) fn new(most: usize, exempt: Vec<Network>) -> Self {
        Self {
            most,
            exempt: exempt.into(),
            open: Arc::default(),
        }
    }

    /// One more from an address, unless it has as many as it may.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Guest> {
        let address = address.to_canonical();
        if is_in(address, &self.exempt) {
            return Some(Guest(None));
        }
        let mut open = self.lock();
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Guest(Some((self.clone(), address))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some((crowd, address)) = self.0.take() else {
            return;
        };
        let mut open = crowd.lock();
        if let Some(count) = open.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}
