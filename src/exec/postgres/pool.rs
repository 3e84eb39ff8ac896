//! At most eight connections to one target, opened when needed and used again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::session::Session;
use crate::core::refusal::{Code, Refusal};
use crate::pg::Address;

/// Connections to one target at a time.
const CONNECTIONS: usize = 8;
/// How long a statement waits for a free connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// The connections to one target.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) address: Address,
    idle: Mutex<Vec<Session>>,
    free: Arc<Semaphore>,
}

/// A connection on loan. Dropped without [`Loan::give_back`], its connection is closed.
#[derive(Debug)]
pub(super) struct Loan {
    pub(super) session: Session,
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    /// A pool without connections.
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            idle: Mutex::default(),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// A connection for one piece of work.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Loan, Refusal> {
        let place = timeout(PATIENCE, Arc::clone(&self.free).acquire_owned())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| {
                Refusal::new(
                    Code::DatabaseUnavailable,
                    "all connections to this target have been busy for 30 s",
                )
                .hint("try again in a moment")
            })?;
        loop {
            let idle = self.lock().pop();
            let session = match idle {
                Some(session) if session.is_open() => session,
                Some(_closed) => continue,
                None => Session::open(&self.address).await?,
            };
            return Ok(Loan {
                session,
                pool: Arc::clone(self),
                _place: place,
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loan {
    /// Returns a connection that is known to be clean.
    pub(super) fn give_back(self) {
        if self.session.is_open() {
            self.pool.lock().push(self.session);
        }
    }

    /// The connection itself, which will not come back.
    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// The pool it is from.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}
