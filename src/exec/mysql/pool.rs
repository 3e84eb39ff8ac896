//! Up to eight connections for reads, opened when they are needed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnectOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::core::refusal::{Code, Refusal};
use crate::exec::mysql::session::{Mode, Session};

/// Connections at most.
const CONNECTIONS: usize = 8;
/// How long a caller waits for one of them.
const WAIT: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is not trusted to be there still.
const IDLE: Duration = Duration::from_mins(4);

/// The connections of one target.
#[derive(Debug)]
pub(super) struct Pool {
    options: MySqlConnectOptions,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<(Instant, Session)>>,
}

/// A connection on loan. Dropped without [`Lease::give_back`], it is closed.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) session: Session,
    /// Whether it was opened for this loan.
    pub(super) fresh: bool,
    _slot: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(options: MySqlConnectOptions) -> Self {
        Self {
            options,
            slots: Arc::new(Semaphore::new(CONNECTIONS)),
            idle: Mutex::default(),
        }
    }

    /// How to connect.
    pub(super) fn options(&self) -> &MySqlConnectOptions {
        &self.options
    }

    /// A connection: one that is idle, or a new one. With `fresh`, always a new one.
    pub(super) async fn take(&self, fresh: bool) -> Result<Lease, Refusal> {
        let slot = tokio::time::timeout(WAIT, Arc::clone(&self.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else {
            return Err(Refusal::new(
                Code::DatabaseUnavailable,
                format!("all {CONNECTIONS} connections to the database are busy"),
            )
            .hint("try again in a moment"));
        };
        if !fresh && let Some(session) = self.idle() {
            return Ok(Lease {
                session,
                fresh: false,
                _slot: slot,
            });
        }
        Ok(Lease {
            session: Session::open(&self.options, Mode::Read).await?,
            fresh: true,
            _slot: slot,
        })
    }

    fn idle(&self) -> Option<Session> {
        let mut idle = self.lock();
        idle.retain(|(since, _)| since.elapsed() < IDLE);
        idle.pop().map(|(_, session)| session)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Session)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Returns the connection, once the transaction on it was ended and the next begun.
    pub(super) async fn give_back(mut self, pool: &Pool) {
        if self.session.rewind().await.is_ok() {
            pool.lock().push((Instant::now(), self.session));
        }
    }
}
