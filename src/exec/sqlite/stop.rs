//! When a run has to end early, and the way its events take.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use crate::core::refusal::{Code, Refusal};
use crate::exec::Event;
use crate::exec::sqlite::{errors, open};

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS: i32 = 2_000;
/// How often one statement has the file recovered before it gives up: more writers than this do
/// not die while it waits.
const RECOVERIES: usize = 20;

/// The limits of one run in time.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    deadline: Instant,
    time_ms: u32,
    cancel: CancellationToken,
    /// For a read: its reader, whose leaving ends it.
    events: Option<mpsc::WeakSender<Event>>,
}

impl Stop {
    /// Counts from now.
    pub(super) fn after(time_ms: u32, cancel: CancellationToken) -> Self {
        Self {
            deadline: Instant::now() + Duration::from_millis(time_ms.into()),
            time_ms,
            cancel,
            events: None,
        }
    }

    /// Ends the run also when nobody reads its events any more.
    pub(super) fn or_unread(mut self, events: &mpsc::Sender<Event>) -> Self {
        self.events = Some(events.downgrade());
        self
    }

    /// Why the run has to end, if it has to.
    pub(super) fn why(&self) -> Option<Refusal> {
        if self.cancel.is_cancelled() {
            return Some(cancelled());
        }
        if Instant::now() >= self.deadline {
            return Some(self.time_limit());
        }
        let events = self.events.as_ref().and_then(mpsc::WeakSender::upgrade);
        events.filter(mpsc::Sender::is_closed).map(|_| cancelled())
    }

    /// Has SQLite look at the limits while it works.
    pub(super) fn watch(&self, connection: &Connection) -> rusqlite::Result<()> {
        let stop = self.clone();
        connection.progress_handler(STEPS, Some(move || stop.why().is_some()))
    }

    /// Tries again while something is in the way that passes, until the run has to end.
    pub(super) fn patiently<T>(
        &self,
        connection: &Connection,
        mut attempt: impl FnMut() -> rusqlite::Result<T>,
    ) -> Result<T, Refusal> {
        let mut obstacles = Obstacles::on(connection);
        loop {
            match attempt() {
                Err(error) if obstacles.pass(&error) => {
                    if let Some(why) = self.why() {
                        return Err(why);
                    }
                }
                other => return other.map_err(|error| self.refusal(&error)),
            }
        }
    }

    /// What an error in compiling means: the reason for stopping, if that was it.
    pub(super) fn refusal(&self, error: &rusqlite::Error) -> Refusal {
        self.stopped(error)
            .unwrap_or_else(|| errors::refusal(error))
    }

    /// The same for an error in running, whose message can hold pieces of values.
    pub(super) fn failed(&self, error: &rusqlite::Error) -> Refusal {
        self.stopped(error)
            .unwrap_or_else(|| errors::while_running(error))
    }

    fn stopped(&self, error: &rusqlite::Error) -> Option<Refusal> {
        errors::is_interrupt(error).then(|| self.why().unwrap_or_else(cancelled))
    }

    /// Sends an event and waits for room until the run has to end. Without a reader it is an error.
    pub(super) fn send(
        &self,
        runtime: &Handle,
        events: &mpsc::Sender<Event>,
        event: Event,
    ) -> Result<(), Refusal> {
        let event = match events.try_send(event) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(cancelled()),
            Err(TrySendError::Full(event)) => event,
        };
        runtime.block_on(async {
            tokio::select! {
                biased;
                sent = events.send(event) => sent.map_err(|_| cancelled()),
                () = self.cancel.cancelled() => Err(cancelled()),
                () = tokio::time::sleep_until(self.deadline.into()) => Err(self.time_limit()),
            }
        })
    }

    fn time_limit(&self) -> Refusal {
        Refusal::new(
            Code::TimeLimit,
            format!(
                "the statement was stopped at its time limit of {} ms",
                self.time_ms
            ),
        )
        .hint("narrow it with a WHERE or LIMIT, check its EXPLAIN QUERY PLAN, or ask for more time")
    }
}

/// What can be in the way of a statement and pass: another process's lock, and what a process that
/// died while it wrote has left behind.
#[derive(Debug)]
pub(super) struct Obstacles<'c> {
    connection: &'c Connection,
    recoveries: usize,
}

impl<'c> Obstacles<'c> {
    pub(super) fn on(connection: &'c Connection) -> Self {
        Self {
            connection,
            recoveries: 0,
        }
    }

    /// Whether the attempt that failed so is worth another.
    pub(super) fn pass(&mut self, error: &rusqlite::Error) -> bool {
        if !errors::needs_recovery(error) {
            return errors::is_busy(error);
        }
        self.recoveries += 1;
        let path = self.connection.path().map(Path::new);
        self.recoveries <= RECOVERIES
            && path.is_some_and(|path| match open::recover(path) {
                Ok(()) => true,
                Err(error) => errors::is_busy(&error),
            })
    }
}

pub(super) fn cancelled() -> Refusal {
    Refusal::new(Code::Cancelled, "the statement was cancelled")
}
