//! The room that all spools of one process share, so that no number of large results fills its memory
//! or the disk that temporary files lie on.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of rows that all spools together keep in memory; more goes to their files.
const ALL_MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of rows that all spools together keep at all.
const ALL_BYTES: usize = 1024 * 1024 * 1024;

/// How much is taken of what there is.
#[derive(Debug)]
pub struct Room {
    memory: Share,
    all: Share,
}

/// One limit and how much of it is taken, in bytes.
#[derive(Debug)]
struct Share {
    limit: usize,
    taken: AtomicUsize,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(ALL_MEMORY_BYTES, ALL_BYTES)
    }
}

impl Room {
    /// Room for so many bytes in memory, and so many altogether.
    pub fn of(memory: usize, all: usize) -> Self {
        let share = |limit| Share {
            limit,
            taken: AtomicUsize::new(0),
        };
        Self {
            memory: share(memory),
            all: share(all),
        }
    }

    /// Takes room, or nothing if there is not enough.
    pub(super) fn take(&self, bytes: usize) -> bool {
        self.all.take(bytes)
    }

    /// Takes room in memory, out of what was taken of all; or nothing if there is not enough.
    pub(super) fn take_memory(&self, bytes: usize) -> bool {
        self.memory.take(bytes)
    }

    /// Gives room back: of all, and what of it was in memory.
    pub(super) fn give_back(&self, all: usize, memory: usize) {
        self.all.taken.fetch_sub(all, Ordering::Relaxed);
        self.memory.taken.fetch_sub(memory, Ordering::Relaxed);
    }

    /// Whether so much is taken that the results unused for longest should go.
    pub fn is_scarce(&self) -> bool {
        self.all.taken.load(Ordering::Relaxed) > self.all.limit / 2
    }
}

impl Share {
    fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| Some(taken + bytes).filter(|sum| *sum <= self.limit);
        let order = Ordering::Relaxed;
        self.taken.fetch_update(order, order, more).is_ok()
    }
}
