//! The state folder on its bad days: killed processes, torn files, full disks, meddling hands.

mod disk;
mod keys;
mod processes;
mod requests;
mod tampering;
mod torn;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use secondkey::core::audit::{Draft, EventKind};
use secondkey::core::ids::RequestId;
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::time::{Clock, Timestamp};
use secondkey::store::{Start, State};

const NOW: i64 = 1_700_000_000_000;

/// A clock that a test sets.
#[derive(Debug)]
struct TestClock(AtomicI64);

impl TestClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOW)))
    }

    fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed))
    }
}

fn open(folder: &Path) -> State {
    State::open(folder, TestClock::new()).unwrap()
}

/// A connection of the test's own to the database.
fn raw(folder: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(folder.join("state.db")).unwrap()
}

/// The request of a process and a number in it.
fn request(process: u8, number: u32) -> RequestId {
    let [a, b, c, d] = number.to_be_bytes();
    RequestId::new(1_700_000_000_000, [process, a, b, c, d, 0, 0, 0, 0, 0])
}

fn draft(kind: EventKind, request: &RequestId) -> Draft {
    Draft::new(Timestamp::from_unix_ms(NOW), kind)
        .by(&Principal::new(PrincipalKind::Ai, "ada/test"))
        .request(request)
        .target("shop")
        .rows(7)
}

fn start(request: &RequestId, synced: bool) -> Start {
    Start {
        request: request.clone(),
        token_not_before: Timestamp::from_unix_ms(NOW),
        synced,
        intent: draft(EventKind::ExecutionStarted, request),
        dispatched: None,
    }
}
