//! The writer: takes everything that waits, and commits it in one transaction.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::core::audit::{Draft, Entry};
use crate::core::time::Timestamp;
use crate::store::database::patiently;
use crate::store::error::{BeginError, StoreError};
use crate::store::log::keeper::{Keeper, News, Task};
use crate::store::log::place::Place;
use crate::store::log::reading::{last, signed};
use crate::store::log::{Answer, Job, Sealed, Start};

/// The largest number of jobs in one transaction.
const BATCH: usize = 1_000;
/// How long what nobody waits for is held back for company: mostly the next call's intent, with
/// which it then shares a transaction.
const COMPANY: Duration = Duration::from_millis(20);
/// How long the writer waits before it tries again to write what it could not.
const RETRY: Duration = Duration::from_secs(1);

/// The one place in the process that writes to the log.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    pub(in crate::store) connection: Connection,
    pub(in crate::store) workspace: String,
    pub(in crate::store) birth: Timestamp,
    pub(in crate::store) place: Place,
}

/// Starts the writer and its keeper, each on a thread of its own.
pub(super) fn start(writer: Writer, keeper: Keeper) -> Result<Sender<Job>, StoreError> {
    let (jobs, queue) = channel();
    let (tasks, kept) = channel();
    let news = Arc::clone(keeper.news());
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        thread.map(drop).map_err(|error| StoreError::Io {
            doing: "start a thread".to_owned(),
            why: error.to_string(),
        })
    };
    let running = Running {
        writer,
        queue,
        tasks,
        news,
        kept: Vec::new(),
        synced: false,
    };
    spawn("secondkey-keeper", Box::new(move || keeper.run(&kept)))?;
    spawn("secondkey-writer", Box::new(move || running.run()))?;
    Ok(jobs)
}

struct Running {
    writer: Writer,
    queue: Receiver<Job>,
    tasks: Sender<Task>,
    news: Arc<News>,
    /// What could not be written and nobody waits for. It goes first.
    kept: Vec<Draft>,
    /// Whether the connection syncs at each commit.
    synced: bool,
}

/// One line of a batch.
enum Item {
    Append(Box<Draft>, Option<Answer<StoreError>>),
    Begin(Box<Start>, Answer<BeginError>),
}

impl Item {
    /// Whether somebody waits until it is written.
    fn is_awaited(&self) -> bool {
        !matches!(self, Self::Append(_, None))
    }
}

/// What ends a batch.
enum End {
    Checkpoint(oneshot::Sender<Result<String, StoreError>>),
    Close(Option<oneshot::Sender<Result<(), StoreError>>>),
    None,
}

/// What became of one line.
type Outcome = Result<Sealed, BeginError>;

impl Running {
    fn run(mut self) {
        loop {
            let (items, end) = self.take();
            let written = self.write(items);
            match (end, written) {
                (End::None, _) => {}
                (End::Checkpoint(answer), Err(error)) => drop(answer.send(Err(error))),
                (End::Checkpoint(answer), Ok(())) => match self.writer.end() {
                    Ok(end) => drop(self.tasks.send(Task::Sign(end, answer))),
                    Err(error) => drop(answer.send(Err(error))),
                },
                (End::Close(answer), written) => {
                    // The last connection to close folds the write-ahead log into the database.
                    drop(self.writer);
                    drop(self.tasks.send(Task::Close(written, answer)));
                    return;
                }
            }
        }
    }

    /// Waits for a job, and takes all others that wait, up to one that has to be answered alone.
    fn take(&mut self) -> (Vec<Item>, End) {
        let mut items: Vec<Item> = std::mem::take(&mut self.kept)
            .into_iter()
            .map(|draft| Item::Append(Box::new(draft), None))
            .collect();
        let mut next = if items.is_empty() {
            self.queue
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            self.queue.recv_timeout(RETRY)
        };
        loop {
            match next {
                Ok(Job::Append(draft, answer)) => items.push(Item::Append(draft, answer)),
                Ok(Job::Begin(start, answer)) => items.push(Item::Begin(start, answer)),
                Ok(Job::Checkpoint(answer)) => return (items, End::Checkpoint(answer)),
                Ok(Job::Close(answer)) => return (items, End::Close(Some(answer))),
                Err(RecvTimeoutError::Disconnected) => return (items, End::Close(None)),
                Err(RecvTimeoutError::Timeout) => return (items, End::None),
            }
            if items.len() >= BATCH {
                return (items, End::None);
            }
            next = if items.iter().any(Item::is_awaited) {
                // If the queue is gone for good, the next `recv` says so again.
                self.queue.try_recv().map_err(|_| RecvTimeoutError::Timeout)
            } else {
                self.queue.recv_timeout(COMPANY)
            };
        }
    }

    /// Writes a batch and answers everybody in it.
    fn write(&mut self, items: Vec<Item>) -> Result<(), StoreError> {
        if items.is_empty() {
            return Ok(());
        }
        match self.commit(&items) {
            Ok(outcomes) => {
                for (item, outcome) in items.into_iter().zip(outcomes) {
                    answer(item, outcome);
                }
                Ok(())
            }
            Err(error) => {
                let mut kept = Vec::new();
                for item in items {
                    if let Item::Append(draft, None) = item {
                        kept.push(*draft);
                    } else {
                        answer(item, Err(error.clone().into()));
                    }
                }
                self.kept = kept;
                Err(error)
            }
        }
    }

    fn commit(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        self.writer.place.check()?;
        let asked = |item: &Item| matches!(item, Item::Begin(start, _) if start.synced);
        let synced = items.iter().any(asked) || self.news.sync_failed();
        let written = patiently(|| {
            if synced != self.synced {
                let level = if synced { "full" } else { "normal" };
                self.writer
                    .connection
                    .pragma_update(None, "synchronous", level)?;
                self.synced = synced;
            }
            self.writer.transact(items)
        });
        let outcomes =
            written.map_err(|error| StoreError::sqlite("write to the audit log", &error))?;
        self.writer.place.remember_wal();
        let mut sealed = outcomes.iter().flatten().map(|sealed| sealed.sequence);
        if let Some(first) = sealed.next() {
            let last = sealed.next_back().unwrap_or(first);
            if self.news.committed(first, last, synced) {
                drop(self.tasks.send(Task::Look));
            }
        }
        Ok(outcomes)
    }
}

fn answer(item: Item, outcome: Outcome) {
    // Whoever asked may have gone away; the entry stands all the same.
    match item {
        Item::Append(_, None) => {}
        Item::Append(_, Some(answer)) => drop(answer.send(outcome.map_err(|error| match error {
            BeginError::Store(error) => error,
            // Only a `begin` consumes a request; an append has nothing that could be used up.
            BeginError::AlreadyUsed | BeginError::OlderThanJournal => StoreError::Closed,
        }))),
        Item::Begin(_, answer) => drop(answer.send(outcome)),
    }
}

impl Writer {
    /// The number and link of the last entry, by whichever process.
    fn end(&self) -> Result<Sealed, StoreError> {
        patiently(|| self.last()).map_err(|error| StoreError::sqlite("read the audit log", &error))
    }

    fn transact(&self, items: &[Item]) -> rusqlite::Result<Vec<Outcome>> {
        let run = |sql: &str| self.connection.prepare_cached(sql)?.execute(()).map(drop);
        run("begin immediate")?;
        let written = self.append_all(items).and_then(|outcomes| {
            run("commit")?;
            Ok(outcomes)
        });
        if written.is_err() && !self.connection.is_autocommit() {
            // Were this to fail as well, the next `begin` fails, and nothing runs.
            drop(run("rollback"));
        }
        written
    }

    fn append_all(&self, items: &[Item]) -> rusqlite::Result<Vec<Outcome>> {
        let mut end = self.last()?;
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            let outcome = match item {
                Item::Append(draft, _) => Ok(self.insert(&mut end, draft)?),
                Item::Begin(start, _) => self.begin(&mut end, start)?,
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    fn begin(&self, end: &mut Sealed, start: &Start) -> rusqlite::Result<Outcome> {
        if start.token_not_before < self.birth {
            return Ok(Err(BeginError::OlderThanJournal));
        }
        let sequence = end.sequence.saturating_add(1);
        let at = start.intent.at.unix_ms();
        let consumed = self.connection.prepare_cached(CONSUME)?.execute((
            start.request.as_str(),
            at,
            signed(sequence),
        ))?;
        if consumed == 0 {
            return Ok(Err(BeginError::AlreadyUsed));
        }
        self.insert(end, &start.intent).map(Ok)
    }

    fn insert(&self, end: &mut Sealed, draft: &Draft) -> rusqlite::Result<Sealed> {
        let sequence = end.sequence.saturating_add(1);
        let entry = Entry::seal(&self.workspace, sequence, &end.link, draft);
        self.connection.prepare_cached(INSERT)?.execute((
            signed(entry.sequence),
            &entry.body,
            entry.leaf.as_bytes(),
            entry.link.as_bytes(),
        ))?;
        *end = Sealed {
            sequence,
            link: entry.link,
        };
        Ok(*end)
    }

    fn last(&self) -> rusqlite::Result<Sealed> {
        last(&self.connection, &self.workspace)
    }
}

const INSERT: &str = "insert into audit (sequence, body, leaf, link) values (?1, ?2, ?3, ?4)";
const CONSUME: &str = "
    insert into journal (request, begun_at, sequence) values (?1, ?2, ?3)
    on conflict (request) do nothing";
