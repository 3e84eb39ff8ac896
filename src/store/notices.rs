//! Messages that wait to be sent to people outside of this program.
//!
//! A message is queued in the transaction of what it tells of, for each destination that some process
//! has spoken for. Any process that knows the destination sends it: it takes a lease, tries, and
//! settles the lease together with the audit entry about the attempt. Whoever dies in between leaves a
//! lease that lapses, and another sends the message again under the same id: at least once.

pub(in crate::store) mod table;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::sql::Connection;
use tokio::sync::oneshot;

use crate::core::audit::Draft;
use crate::core::ids::RequestId;
use crate::core::notice::Event;
use crate::core::time::{Clock, Timestamp};
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::log::{Door, Job};

/// How long a lease lasts, in milliseconds: longer than any attempt takes.
pub const LEASE_MS: i64 = 15_000;
/// How long messages are queued for a destination that no process has spoken for, in milliseconds:
/// three days. Then it and all that waits for it are forgotten.
pub const SPOKEN_FOR_MS: i64 = 3 * 24 * 60 * 60 * 1_000;

/// The queue of one state folder. Clones share it.
#[derive(Clone)]
pub struct Notices {
    inner: Arc<Inner>,
}

struct Inner {
    door: Arc<Door>,
    database: Database,
    clock: Arc<dyn Clock>,
    /// Opened when it is first needed.
    reading: Mutex<Option<Connection>>,
}

/// A message that is this process's to send until its lease lapses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leased {
    /// The id of the message.
    pub id: String,
    /// Where it goes.
    pub destination: String,
    /// What it tells of.
    pub event: Event,
    /// The request that it is about.
    pub request: RequestId,
    /// When it happened.
    pub at: Timestamp,
    /// Until when the request waits then, if it does.
    pub until: Option<Timestamp>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    lease: String,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settled {
    /// It is over: delivered, or given up.
    Over,
    /// It is tried again, from then on.
    Again(Timestamp),
    /// Nothing goes to this destination any more until somebody speaks for it again.
    Stop,
}

/// Something for the writer to do to the queue.
#[derive(Debug)]
pub(in crate::store) enum Step {
    Lease {
        destination: String,
        lease: String,
    },
    Settle {
        leased: Box<Leased>,
        settled: Settled,
        draft: Option<Box<Draft>>,
    },
    SpeakFor {
        destination: String,
        events: Vec<Event>,
    },
}

impl Step {
    /// What belongs into the log with it.
    pub(in crate::store) fn draft(&self) -> Option<&Draft> {
        match self {
            Self::Settle { draft, .. } => draft.as_deref(),
            Self::Lease { .. } | Self::SpeakFor { .. } => None,
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices")
            .field("database", &self.inner.database)
            .finish_non_exhaustive()
    }
}

impl Notices {
    pub(in crate::store) fn new(
        door: Arc<Door>,
        database: Database,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                door,
                database,
                clock,
                reading: Mutex::new(None),
            }),
        }
    }

    /// From now on, and for three days, messages about these events are queued for this destination.
    pub async fn speak_for(
        &self,
        destination: &str,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), StoreError> {
        let step = Step::SpeakFor {
            destination: destination.to_owned(),
            events: events.into_iter().collect(),
        };
        self.perform(step).await.map(drop)
    }

    /// Whether something may be waiting. Blocks, briefly; from async code, call it through
    /// `spawn_blocking`.
    pub fn waiting(&self, destination: &str) -> Result<bool, StoreError> {
        let mut reading = self
            .inner
            .reading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connection = match reading.take() {
            Some(connection) => connection,
            None => self.inner.database.connect_to_read()?,
        };
        let now = self.inner.clock.now();
        let waiting = patiently(|| table::waiting(&connection, destination, now))
            .map_err(|error| StoreError::sql("read the messages that wait", &error))?;
        *reading = Some(connection);
        Ok(waiting)
    }

    /// Takes the message that has been due longest, if there is one that nobody else is sending.
    /// `lease` is random.
    pub async fn lease(
        &self,
        destination: &str,
        lease: String,
    ) -> Result<Option<Leased>, StoreError> {
        let destination = destination.to_owned();
        self.perform(Step::Lease { destination, lease }).await
    }

    /// Says what became of an attempt, with its entry for the log. If the lease has lapsed and somebody
    /// else has taken the message, only a delivery still counts.
    pub async fn settle(
        &self,
        leased: Leased,
        settled: Settled,
        draft: Option<Draft>,
    ) -> Result<(), StoreError> {
        let step = Step::Settle {
            leased: Box::new(leased),
            settled,
            draft: draft.map(Box::new),
        };
        self.perform(step).await.map(drop)
    }

    async fn perform(&self, step: Step) -> Result<Option<Leased>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.inner
            .door
            .hand_over(Job::Post(Box::new(step), answer))?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

#[cfg(test)]
mod tests;
