//! Turns: how many statements are under way at the same time. Who waits for people has none, so that
//! any number of those keeps nobody else from working.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::core::refusal::{Code, Refusal};

/// Statements under way at the same time; more wait for their turn.
const STATEMENTS: usize = 64;

/// The turns of one process.
#[derive(Debug)]
pub struct Turns(Semaphore);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(#[expect(dead_code, reason = "held for its drop")] SemaphorePermit<'a>);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(STATEMENTS))
    }
}

impl Turns {
    /// Waits for a turn, for as long as the caller does.
    pub(super) async fn take(&self, cancel: &CancellationToken) -> Result<Turn<'_>, Refusal> {
        let gone = || {
            Refusal::new(
                Code::Cancelled,
                "the call was cancelled before its turn came",
            )
        };
        tokio::select! {
            turn = self.0.acquire() => turn.map(Turn).map_err(|_| gone()),
            () = cancel.cancelled() => Err(gone()),
        }
    }
}
