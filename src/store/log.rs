//! The audit log and the journal as the rest of the program uses them.
//!
//! Everything that waits is appended in one transaction, in the order in which it was handed over, by
//! whoever has the pen: mostly the caller itself, else the writer's thread. The end of the chain is
//! read inside that transaction, because other processes append to the same file. A keeper thread
//! syncs, signs heads and tidies up.

mod past;
pub mod reading;

mod deeds;
mod keeper;
mod place;
mod queue;
mod writer;

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::core::audit::Draft;
use crate::core::ids::{RequestId, TokenId};
use crate::core::request::{Ending, Request};
use crate::core::time::Timestamp;
use crate::core::work::Digest;
use crate::store::database::Database;
use crate::store::error::{BeginError, StoreError};
use crate::store::folder::Folder;
use crate::store::notices::{Leased, Step};
use crate::store::requests::RequestError;

pub use past::{Past, PastEnd};
pub use reading::{Filter, Lines, Record, Report, Select};

pub(super) use deeds::Deed;
pub(super) use keeper::Keeper;
pub(super) use place::Place;
pub(super) use writer::{Door, Writer};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// Its place in the log.
    pub sequence: u64,
    /// Its link.
    pub link: Digest,
}

/// An execution that is about to start.
#[derive(Debug)]
pub struct Start {
    /// The request, which is consumed by this.
    pub request: RequestId,
    /// From when the token is valid: an order older than the journal is refused.
    pub token_not_before: Timestamp,
    /// Whether the record must be on the disk before the work starts: everything above `read`.
    pub synced: bool,
    /// What is about to happen.
    pub intent: Draft,
    /// For a request that has a life of its own: what it was dispatched with. If there is a record
    /// of it in this folder, it must say the same, and moves to running in the same transaction.
    pub dispatched: Option<Dispatched>,
}

/// What a request was dispatched with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dispatched {
    /// The token that orders the run.
    pub token: TokenId,
    /// How long the run may take, in milliseconds.
    pub time_ms: u32,
}

/// The audit log and journal of one state folder.
#[derive(Debug)]
pub struct Log {
    door: Arc<Door>,
    folder: Folder,
    database: Database,
    workspace: String,
}

/// Something for the writer to do, in order.
#[derive(Debug)]
pub(super) enum Job {
    Append(Box<Line>, Option<Answer<StoreError>>),
    Begin(Box<Start>, Answer<BeginError>),
    Deed(
        Box<Deed>,
        Option<oneshot::Sender<Result<Request, RequestError>>>,
    ),
    Post(
        Box<Step>,
        oneshot::Sender<Result<Option<Leased>, StoreError>>,
    ),
    Checkpoint(oneshot::Sender<Result<String, StoreError>>),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// An entry to append, and how that ends a request where it does.
#[derive(Debug)]
pub(super) struct Line {
    draft: Draft,
    ending: Option<(RequestId, Ending)>,
}

impl Job {
    /// Whether it can be written between two steps of whoever brings it: nothing is synced, and
    /// nothing else is asked than to append.
    fn is_quick(&self) -> bool {
        match self {
            Self::Append(..) => true,
            Self::Begin(start, _) => !start.synced,
            Self::Deed(..) | Self::Post(..) | Self::Checkpoint(_) | Self::Close(_) => false,
        }
    }
}

type Answer<E> = oneshot::Sender<Result<Sealed, E>>;

impl Log {
    /// Starts the threads that write to the log.
    pub(super) fn start(
        writer: Writer,
        keeper: Keeper,
        (folder, database): (Folder, Database),
    ) -> Result<Self, StoreError> {
        Ok(Self {
            workspace: writer.workspace.clone(),
            door: writer::start(writer, keeper)?,
            folder,
            database,
        })
    }

    /// Appends, and answers once it is committed.
    pub async fn append(&self, draft: Draft) -> Result<Sealed, StoreError> {
        self.write(draft, None).await
    }

    /// Appends in order without waiting. If it cannot be written it is kept, and every later call
    /// fails until it and all that waits behind it is written.
    ///
    /// For the ends of work whose beginning was awaited: so what is kept stays small.
    pub fn append_soon(&self, draft: Draft) {
        self.write_soon(draft, None);
    }

    /// Appends the outcome of a run, and moves its request to its end in the same transaction.
    pub async fn end(
        &self,
        request: &RequestId,
        ending: Ending,
        outcome: Draft,
    ) -> Result<Sealed, StoreError> {
        self.write(outcome, Some((request.clone(), ending))).await
    }

    /// Like [`Log::end`], without waiting, and kept like [`Log::append_soon`].
    pub fn end_soon(&self, request: &RequestId, ending: Ending, outcome: Draft) {
        self.write_soon(outcome, Some((request.clone(), ending)));
    }

    /// Consumes the request and appends the intent, in one transaction. Work may start after this
    /// and not before.
    pub async fn begin(&self, start: Start) -> Result<Sealed, BeginError> {
        self.ask(|answer| Job::Begin(Box::new(start), answer))
            .await?
    }

    /// Signs a head of the log as it is now, after everything that was handed over before, and keeps
    /// a copy beside the log. The answer is a C2SP signed note.
    pub async fn checkpoint(&self) -> Result<String, StoreError> {
        self.ask(Job::Checkpoint).await?
    }

    /// Whose log this is.
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// For those who have other work for the writer.
    pub(super) fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door)
    }

    /// Writes what waits, signs a head if there is news, and ends. Later calls fail.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.ask(Job::Close).await?
    }

    async fn write(
        &self,
        draft: Draft,
        ending: Option<(RequestId, Ending)>,
    ) -> Result<Sealed, StoreError> {
        let line = Box::new(Line { draft, ending });
        self.ask(|answer| Job::Append(line, Some(answer))).await?
    }

    fn write_soon(&self, draft: Draft, ending: Option<(RequestId, Ending)>) {
        let line = Box::new(Line { draft, ending });
        if self.door.leave(Job::Append(line, None)).is_err() {
            tracing::error!("an audit entry came after the log was closed");
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, StoreError> {
        let (answer, mut answered) = oneshot::channel();
        let job = job(answer);
        if !job.is_quick() || self.database.file().is_none() {
            self.door.hand_over(job)?;
            return answered.await.map_err(|_| StoreError::Closed);
        }
        self.door.leave(job)?;
        // Whoever else is ready brings theirs, and one of us writes for all.
        tokio::task::yield_now().await;
        match answered.try_recv() {
            Ok(answer) => return Ok(answer),
            Err(TryRecvError::Closed) => return Err(StoreError::Closed),
            Err(TryRecvError::Empty) => self.door.write(),
        }
        answered.await.map_err(|_| StoreError::Closed)
    }
}
