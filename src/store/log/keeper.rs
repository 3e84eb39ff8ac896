//! The keeper: syncs unsynced commits within a second, signs heads, and folds the write-ahead log
//! back into the database before it grows large. It works beside the writer, so that nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::store::sql::Connection;
use tokio::sync::oneshot;

use crate::core::audit::Head;
use crate::core::time::Clock;
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::folder::Folder;
use crate::store::heads::Heads;
use crate::store::keys;
use crate::store::log::Sealed;
use crate::store::log::reading::last;

/// How long commits may stay unsynced: well within the second that is promised.
const UNSYNCED: Duration = Duration::from_millis(500);
/// How often a head is signed while there is news.
const HEAD_EVERY: Duration = Duration::from_mins(1);
/// After how many entries a head is signed in any case.
const HEAD_ENTRIES: u64 = 1_000;
/// From which size on the write-ahead log is folded back, in bytes.
const LARGE_WAL: u64 = 4 * 1024 * 1024;

/// What the keeper is asked to do.
#[derive(Debug)]
pub(super) enum Task {
    /// Look at the news.
    Look,
    /// Sign a head at this entry.
    Sign(Sealed, oneshot::Sender<Result<String, StoreError>>),
    /// End, after a head if there is news. The writer has closed with this result.
    Close(
        Result<(), StoreError>,
        Option<oneshot::Sender<Result<(), StoreError>>>,
    ),
}

/// What the writer has done since the keeper looked.
#[derive(Debug, Default)]
pub(in crate::store) struct News {
    /// Something was committed and not synced.
    unsynced: AtomicBool,
    /// The last entry that this process committed.
    committed: AtomicU64,
    /// A multiple of [`HEAD_ENTRIES`] was passed.
    head_due: AtomicBool,
    /// A sync in the background has failed, so the writer has to sync by itself until one works.
    sync_failed: AtomicBool,
}

impl News {
    /// Notes a commit of the entries from `first` to `last`; whether the keeper has to be woken.
    pub(super) fn committed(&self, first: u64, last: u64, synced: bool) -> bool {
        self.committed.store(last, Ordering::Release);
        let passed = first.saturating_sub(1) / HEAD_ENTRIES != last / HEAD_ENTRIES;
        if passed {
            self.head_due.store(true, Ordering::Release);
        }
        if synced {
            // A sync covers all that was written to the file before.
            self.sync_failed.store(false, Ordering::Release);
        }
        !self.unsynced.swap(true, Ordering::AcqRel) || passed
    }

    /// Whether the writer has to sync by itself.
    pub(super) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }
}

/// Does what need not be waited for.
#[derive(Debug)]
pub(in crate::store) struct Keeper {
    folder: Folder,
    database: Database,
    workspace: String,
    clock: Arc<dyn Clock>,
    news: Arc<News>,
    /// Opened when it is first needed.
    connection: Option<Connection>,
    /// The newest entry of ours that a head covers.
    covered: u64,
    last_head: Instant,
    unsynced_since: Option<Instant>,
}

impl Keeper {
    pub(in crate::store) fn new(
        (folder, database): (Folder, Database),
        workspace: &str,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            folder,
            database,
            workspace: workspace.to_owned(),
            clock,
            news: Arc::default(),
            connection: None,
            covered: 0,
            last_head: Instant::now(),
            unsynced_since: None,
        }
    }

    pub(super) fn news(&self) -> &Arc<News> {
        &self.news
    }

    pub(super) fn run(mut self, tasks: &Receiver<Task>) {
        loop {
            match self.wait(tasks) {
                Ok(Task::Look) => {
                    self.unsynced_since.get_or_insert_with(Instant::now);
                }
                Ok(Task::Sign(end, answer)) => drop(answer.send(self.sign(end))),
                Ok(Task::Close(written, answer)) => {
                    let closed = written.and_then(|()| self.finish());
                    match answer {
                        Some(answer) => drop(answer.send(closed)),
                        None => complain(closed),
                    }
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.sync_if_due();
            self.sign_if_due();
        }
    }

    /// Waits for a task, or until something is due.
    fn wait(&self, tasks: &Receiver<Task>) -> Result<Task, RecvTimeoutError> {
        let sync_at = self.unsynced_since.map(|since| since + UNSYNCED);
        let head_at = self.has_news().then(|| self.last_head + HEAD_EVERY);
        match [sync_at, head_at].into_iter().flatten().min() {
            Some(due) => tasks.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => tasks.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn has_news(&self) -> bool {
        self.news.committed.load(Ordering::Acquire) > self.covered
    }

    fn sync_if_due(&mut self) {
        if self
            .unsynced_since
            .is_some_and(|since| since.elapsed() >= UNSYNCED)
        {
            self.unsynced_since = None;
            // First the flag, then the sync: what is committed in between is synced twice, not never.
            self.news.unsynced.store(false, Ordering::Release);
            let synced = self.sync();
            if synced.is_err() {
                self.news.sync_failed.store(true, Ordering::Release);
            }
            complain(synced);
            complain(self.fold());
        }
    }

    fn sign_if_due(&mut self) {
        let minute = self.has_news() && self.last_head.elapsed() >= HEAD_EVERY;
        if self.news.head_due.swap(false, Ordering::AcqRel) || minute {
            let signed = self.end().and_then(|end| self.sign(end));
            complain(signed.map(drop));
            // Also after a failure: the next attempt is a minute away, not in a busy loop.
            self.last_head = Instant::now();
        }
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        if self.has_news() {
            let end = self.end()?;
            self.sign(end)?;
        } else {
            self.sync()?;
        }
        Ok(())
    }

    /// Signs a head, keeps it beside the log, and gives it back.
    fn sign(&mut self, end: Sealed) -> Result<String, StoreError> {
        // A head must never promise what a power cut could still take away.
        self.sync()?;
        let key = keys::audit_key(&self.folder)?;
        let head = Head {
            workspace: self.workspace.clone(),
            count: end.sequence,
            link: end.link,
            at: self.clock.now(),
        };
        let note = head.sign(&key);
        Heads::of(&self.folder, &self.database).append(&note)?;
        self.covered = self.covered.max(end.sequence);
        self.last_head = Instant::now();
        Ok(note)
    }

    fn end(&mut self) -> Result<Sealed, StoreError> {
        let workspace = self.workspace.clone();
        let connection = self.connection()?;
        patiently(|| last(connection, &workspace))
            .map_err(|error| StoreError::sql("read the audit log", &error))
    }

    /// Syncs the write-ahead log. It has no file while nothing is in it; then all is in the database.
    fn sync(&self) -> Result<(), StoreError> {
        if self.database.file().is_none() {
            // A server has synced whatever it says is committed.
            return Ok(());
        }
        let path = self.folder.wal();
        match std::fs::File::open(&path).and_then(|wal| wal.sync_data()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("sync", &path, &error))
            }
            _ => Ok(()),
        }
    }

    fn fold(&mut self) -> Result<(), StoreError> {
        let size = self.folder.wal().metadata().map_or(0, |wal| wal.len());
        if size < LARGE_WAL || self.database.file().is_none() {
            return Ok(());
        }
        // PASSIVE waits for nobody; what it leaves, the next time takes.
        self.connection()?
            .query_row("pragma wal_checkpoint(passive)", (), |_| Ok(()))
            .map_err(|error| StoreError::sql("tidy up the state database", &error))
    }

    fn connection(&mut self) -> Result<&Connection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.connect()?,
        };
        Ok(self.connection.insert(connection))
    }
}

fn complain(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the audit log could not be tended");
    }
}
