//! New ids, from the time and from randomness that was taken from the operating system once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use crate::core::ids::{AgentId, HandleId, RequestId, TokenId};
use crate::core::time::Clock;

/// Makes ids that nobody can guess and that never repeat.
///
/// The random part is SHA-256 over a secret seed and a counter: no system call, and so no failure,
/// when an id is needed. Clones share the counter.
#[derive(Clone)]
pub struct Ids {
    seed: [u8; 32],
    made: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl Ids {
    /// Takes the seed from the operating system.
    pub fn new(clock: Arc<dyn Clock>) -> io::Result<Self> {
        Ok(Self::from_seed(random()?, clock))
    }

    /// Uses a seed that is known, so that a test gets the same ids each time.
    pub fn from_seed(seed: [u8; 32], clock: Arc<dyn Clock>) -> Self {
        Self {
            seed,
            made: Arc::new(AtomicU64::new(0)),
            clock,
        }
    }

    /// An id for a request.
    pub fn request(&self) -> RequestId {
        RequestId::new(self.unix_ms(), self.ten_bytes())
    }

    /// An id for an execution token.
    pub fn token(&self) -> TokenId {
        TokenId::new(self.unix_ms(), self.ten_bytes())
    }

    /// An id for an executor.
    pub fn agent(&self) -> AgentId {
        AgentId::new(self.unix_ms(), self.ten_bytes())
    }

    /// A page handle.
    pub fn handle(&self) -> HandleId {
        HandleId::new(self.unix_ms(), self.ten_bytes())
    }

    fn unix_ms(&self) -> u64 {
        u64::try_from(self.clock.now().unix_ms()).unwrap_or_default()
    }

    fn ten_bytes(&self) -> [u8; 10] {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let hash = Sha256::new()
            .chain_update(self.seed)
            .chain_update(number.to_be_bytes())
            .finalize();
        let mut bytes = [0; 10];
        for (byte, random) in bytes.iter_mut().zip(hash) {
            *byte = random;
        }
        bytes
    }
}

/// Random bytes from the operating system: the one place that asks it.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ids").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn ids_do_not_repeat_within_or_between_processes() {
        let makers = [
            Ids::new(Arc::new(SystemClock)).unwrap(),
            Ids::new(Arc::new(SystemClock)).unwrap(),
        ];
        let ids: BTreeSet<_> = makers
            .iter()
            .flat_map(|ids| (0..1000).map(|_| ids.request()))
            .collect();
        assert_eq!(ids.len(), 2000);
    }

    #[test]
    fn a_known_seed_gives_known_randomness() {
        let make = || Ids::from_seed([7; 32], Arc::new(SystemClock)).ten_bytes();
        assert_eq!(make(), make());
    }
}
