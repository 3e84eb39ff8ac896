//! The writer: takes everything that waits, and commits it in one transaction.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use crate::store::sql::{self, Connection};
use tokio::sync::oneshot;

use crate::core::audit::{Draft, Entry};
use crate::core::checks::Checks;
use crate::core::request::Request;
use crate::core::time::{Clock, Timestamp};
use crate::store::database::{Patience, be_patient, patiently};
use crate::store::error::{BeginError, StoreError};
use crate::store::log::deeds::{Deed, Done};
use crate::store::log::keeper::{Keeper, News, Task};
use crate::store::log::place::Place;
use crate::store::log::queue::Queue;
use crate::store::log::reading::{last, signed};
use crate::store::log::{Answer, Job, Line, Sealed, Start};
use crate::store::notices::{Leased, Step};
use crate::store::reports;
use crate::store::requests::RequestError;
use crate::store::requests::row;

/// The largest number of jobs in one transaction.
const BATCH: usize = 1_000;
/// How long the writer waits before it tries again to write what it could not.
const RETRY: Duration = Duration::from_secs(1);

/// The one place in the process that writes to the log.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    pub(in crate::store) connection: Connection,
    pub(in crate::store) workspace: String,
    pub(in crate::store) birth: Timestamp,
    pub(in crate::store) place: Place,
    pub(in crate::store) clock: Arc<dyn Clock>,
    /// What is checked of each record that is read.
    pub(in crate::store) records: Checks<&'static str>,
}

/// The way in for everybody who has something to be written. When the last one is gone, what waits
/// is written, and the threads end.
#[derive(Debug)]
pub(in crate::store) struct Door {
    desk: Arc<Desk>,
}

/// The queue, and the pen that writes what is in it.
#[derive(Debug)]
struct Desk {
    queue: Queue,
    /// Gone after the end.
    pen: Mutex<Option<Pen>>,
}

impl Door {
    /// Puts a job into the queue, to be written by [`Door::write`], along with another, or soon.
    pub(super) fn leave(&self, job: Job) -> Result<(), StoreError> {
        self.desk.queue.push(job)
    }

    /// Puts a job into the queue, for the thread to do at once.
    pub(in crate::store) fn hand_over(&self, job: Job) -> Result<(), StoreError> {
        self.desk.queue.push(job)?;
        self.desk.queue.call();
        Ok(())
    }

    /// Writes what waits, if that takes microseconds; else has the thread do it. Blocks for as long
    /// as that: for another process less than a millisecond, and never for a sync.
    pub(super) fn write(&self) {
        if !self.desk.write_here() {
            self.desk.queue.call();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.desk.queue.abandon();
    }
}

impl Desk {
    /// Whether nothing is left to be done.
    fn write_here(&self) -> bool {
        let mut pen = match self.pen.try_lock() {
            Ok(pen) => pen,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        match pen.as_mut() {
            None => true,
            Some(pen) if pen.is_clear() => {
                let Some(jobs) = self.queue.take_few() else {
                    return false;
                };
                pen.write_here(jobs)
            }
            Some(_) => false,
        }
    }

    /// The thread.
    fn run(&self) {
        loop {
            let more = self.queue.wait();
            let mut held = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(pen) = held.as_mut() else { return };
            let Some((written, answer)) = pen.work_off(&self.queue, more) else {
                continue;
            };
            let tasks = pen.tasks.clone();
            // The last connection to close folds the write-ahead log into the database.
            *held = None;
            drop(held);
            self.queue.close();
            drop(tasks.send(Task::Close(written, answer)));
            return;
        }
    }
}

/// Starts the writer and its keeper, each on a thread of its own.
pub(super) fn start(writer: Writer, keeper: Keeper) -> Result<Arc<Door>, StoreError> {
    let (tasks, kept) = channel();
    let news = Arc::clone(keeper.news());
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        thread.map(drop).map_err(|error| StoreError::Io {
            doing: "start a thread".to_owned(),
            why: error.to_string(),
        })
    };
    let pen = Pen {
        writer,
        tasks,
        news,
        kept: Vec::new(),
        stalled: Vec::new(),
        synced: false,
        patience: Patience::Long,
        waits: Patience::Long,
    };
    let desk = Arc::new(Desk {
        queue: Queue::default(),
        pen: Mutex::new(Some(pen)),
    });
    let door = Arc::new(Door {
        desk: Arc::clone(&desk),
    });
    spawn("secondkey-keeper", Box::new(move || keeper.run(&kept)))?;
    spawn("secondkey-writer", Box::new(move || desk.run()))?;
    Ok(door)
}

/// What writes. One hand at a time holds it.
#[derive(Debug)]
struct Pen {
    writer: Writer,
    tasks: Sender<Task>,
    news: Arc<News>,
    /// What could not be written and nobody waits for. It goes first.
    kept: Vec<Line>,
    /// What another process was in the way of. It goes next.
    stalled: Vec<Item>,
    /// Whether the connection syncs at each commit.
    synced: bool,
    /// How long it may wait for other processes.
    patience: Patience,
    /// How long the connection does.
    waits: Patience,
}

/// One part of a batch.
#[derive(Debug)]
enum Item {
    Append(Box<Line>, Option<Answer<StoreError>>),
    Begin(Box<Start>, Answer<BeginError>),
    Post(Box<Step>, PostAnswer),
    /// The deed is taken out when it is done: what decides can be asked only once.
    Deed(Option<Box<Deed>>, Option<DeedAnswer>),
}

type PostAnswer = oneshot::Sender<Result<Option<Leased>, StoreError>>;
type DeedAnswer = oneshot::Sender<Result<Request, RequestError>>;

/// What ends a batch.
enum End {
    Checkpoint(oneshot::Sender<Result<String, StoreError>>),
    Close(oneshot::Sender<Result<(), StoreError>>),
    None,
}

/// What the end was, and whoever asked for it.
type Closing = (
    Result<(), StoreError>,
    Option<oneshot::Sender<Result<(), StoreError>>>,
);

/// What became of one part.
enum Outcome {
    Sealed(Result<Sealed, BeginError>),
    Done(Box<Done>),
    Posted(Result<Option<Leased>, StoreError>),
}

/// What became of a batch: of each part, and which entries were written for all of them.
struct Written {
    outcomes: Vec<Outcome>,
    before: u64,
    last: u64,
}

impl Pen {
    /// Whether nothing has to go before what is in the queue, and nothing has to be synced.
    fn is_clear(&self) -> bool {
        self.kept.is_empty() && self.stalled.is_empty() && !self.news.sync_failed()
    }

    /// Writes a few quick jobs without waiting for anybody; whether that worked out, well or badly.
    fn write_here(&mut self, jobs: VecDeque<Job>) -> bool {
        let mut items = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job {
                Job::Append(line, answer) => items.push(Item::Append(line, answer)),
                Job::Begin(start, answer) => items.push(Item::Begin(start, answer)),
                // None of these is quick.
                Job::Deed(..) | Job::Post(..) | Job::Checkpoint(_) | Job::Close(_) => {}
            }
        }
        self.patience = Patience::Brief;
        drop(self.write(items));
        self.kept.is_empty() && self.stalled.is_empty()
    }

    /// Writes all that waits, up to the end; gives whoever is to be told of it.
    fn work_off(&mut self, queue: &Queue, more: bool) -> Option<Closing> {
        loop {
            let (items, end) = self.take(queue);
            let nothing = items.is_empty();
            self.patience = Patience::Long;
            let written = self.write(items);
            if !self.kept.is_empty() {
                queue.retry_after(RETRY);
            }
            match (end, written) {
                (End::None, written) if nothing || written.is_err() => {
                    return (!more).then_some((written, None));
                }
                (End::None, Ok(()) | Err(_)) => {}
                (End::Checkpoint(answer), Err(error)) => drop(answer.send(Err(error))),
                (End::Checkpoint(answer), Ok(())) => match self.writer.end() {
                    Ok(end) => drop(self.tasks.send(Task::Sign(end, answer))),
                    Err(error) => drop(answer.send(Err(error))),
                },
                (End::Close(answer), written) => return Some((written, Some(answer))),
            }
        }
    }

    /// Takes what waits, up to a job that has to be answered alone.
    fn take(&mut self, queue: &Queue) -> (Vec<Item>, End) {
        let mut items: Vec<Item> = std::mem::take(&mut self.kept)
            .into_iter()
            .map(|line| Item::Append(Box::new(line), None))
            .collect();
        items.append(&mut self.stalled);
        while items.len() < BATCH {
            match queue.pop() {
                Some(Job::Append(line, answer)) => items.push(Item::Append(line, answer)),
                Some(Job::Begin(start, answer)) => items.push(Item::Begin(start, answer)),
                Some(Job::Deed(deed, answer)) => items.push(Item::Deed(Some(deed), answer)),
                Some(Job::Post(step, answer)) => items.push(Item::Post(step, answer)),
                Some(Job::Checkpoint(answer)) => return (items, End::Checkpoint(answer)),
                Some(Job::Close(answer)) => return (items, End::Close(answer)),
                None => break,
            }
        }
        (items, End::None)
    }

    /// Writes a batch and answers everybody in it.
    fn write(&mut self, mut items: Vec<Item>) -> Result<(), StoreError> {
        if items.is_empty() {
            return Ok(());
        }
        match self.commit(&mut items) {
            Err(StoreError::Busy) if self.patience == Patience::Brief => {
                self.stalled = items;
                Ok(())
            }
            Ok(outcomes) => {
                for (item, outcome) in items.into_iter().zip(outcomes) {
                    answer(item, outcome);
                }
                Ok(())
            }
            Err(error) => {
                let mut kept = Vec::new();
                for item in items {
                    if let Item::Append(line, None) = item {
                        kept.push(*line);
                    } else {
                        fail(item, error.clone());
                    }
                }
                self.kept = kept;
                Err(error)
            }
        }
    }

    fn commit(&mut self, items: &mut [Item]) -> Result<Vec<Outcome>, StoreError> {
        self.writer.place.check()?;
        let asked = |item: &Item| matches!(item, Item::Begin(start, _) if start.synced);
        let synced = items.iter().any(asked) || self.news.sync_failed();
        let failed = |error: &sql::Error| StoreError::sql("write to the audit log", error);
        if self.waits != self.patience {
            be_patient(&self.writer.connection, self.patience).map_err(|error| failed(&error))?;
            self.waits = self.patience;
        }
        let mut begin = || {
            if synced != self.synced {
                let level = if synced { "full" } else { "normal" };
                if let Some(file) = self.writer.connection.file() {
                    file.pragma_update(None, "synchronous", level)?;
                }
                self.synced = synced;
            }
            self.writer.connection.begin()
        };
        // Once this has worked nobody else can be in the way, so that nothing is tried twice.
        match self.patience {
            Patience::Brief => begin(),
            Patience::Long => patiently(begin),
        }
        .map_err(|error| failed(&error))?;
        let written = self
            .writer
            .transact(items)
            .map_err(|error| failed(&error))?;
        self.writer.place.remember_wal();
        if written.last > written.before {
            let first = written.before.saturating_add(1);
            if self.news.committed(first, written.last, synced) {
                drop(self.tasks.send(Task::Look));
            }
        }
        Ok(written.outcomes)
    }
}

/// Whoever asked may have gone away; what was written stands all the same.
fn answer(item: Item, outcome: Outcome) {
    match (item, outcome) {
        (Item::Append(_, Some(answer)), Outcome::Sealed(sealed)) => {
            drop(answer.send(sealed.map_err(|error| match error {
                BeginError::Store(error) => error,
                // Only a `begin` consumes a request; an append has nothing that could be used up.
                BeginError::AlreadyUsed
                | BeginError::NotDispatched(_)
                | BeginError::OlderThanJournal => StoreError::Closed,
            })));
        }
        (Item::Begin(_, answer), Outcome::Sealed(sealed)) => drop(answer.send(sealed)),
        (Item::Deed(_, Some(answer)), Outcome::Done(done)) => {
            // A sweep has no request to give, and nobody waits for it.
            let done = done.and_then(|request| request.ok_or(StoreError::Closed.into()));
            drop(answer.send(done));
        }
        (Item::Post(_, answer), Outcome::Posted(posted)) => drop(answer.send(posted)),
        (Item::Append(..) | Item::Begin(..) | Item::Deed(..) | Item::Post(..), _) => {}
    }
}

/// Tells whoever waits that nothing of the batch was written.
fn fail(item: Item, error: StoreError) {
    match item {
        Item::Append(_, None) | Item::Deed(_, None) => {}
        Item::Append(_, Some(answer)) => drop(answer.send(Err(error))),
        Item::Begin(_, answer) => drop(answer.send(Err(error.into()))),
        Item::Post(_, answer) => drop(answer.send(Err(error))),
        Item::Deed(_, Some(answer)) => drop(answer.send(Err(error.into()))),
    }
}

impl Writer {
    /// The number and link of the last entry, by whichever process.
    fn end(&self) -> Result<Sealed, StoreError> {
        patiently(|| self.last()).map_err(|error| StoreError::sql("read the audit log", &error))
    }

    /// Writes all and commits. The transaction was begun; it is over after this, one way or the other.
    fn transact(&self, items: &mut [Item]) -> sql::Result<Written> {
        let written = self.write_all(items).and_then(|written| {
            self.connection.commit()?;
            Ok(written)
        });
        if written.is_err() && self.connection.is_inside() {
            // Were this to fail as well, the next `begin` fails, and nothing runs.
            drop(self.connection.roll_back());
        }
        written
    }

    fn write_all(&self, items: &mut [Item]) -> sql::Result<Written> {
        let mut end = self.last()?;
        let before = end.sequence;
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            let outcome = match item {
                Item::Append(line, _) => Outcome::Sealed(Ok(self.append(&mut end, line)?)),
                Item::Begin(start, _) => Outcome::Sealed(self.begin(&mut end, start)?),
                Item::Post(step, _) => Outcome::Posted(self.post(&mut end, step)?),
                Item::Deed(deed, _) => Outcome::Done(Box::new(match deed.take() {
                    Some(deed) => self.perform(&mut end, *deed)?,
                    None => Ok(None),
                })),
            };
            outcomes.push(outcome);
        }
        Ok(Written {
            outcomes,
            before,
            last: end.sequence,
        })
    }

    fn append(&self, end: &mut Sealed, line: &Line) -> sql::Result<Sealed> {
        match &line.ending {
            None => self.insert(end, &line.draft),
            Some(ending) => self.finish(end, ending, &line.draft),
        }
    }

    fn begin(&self, end: &mut Sealed, start: &Start) -> sql::Result<Result<Sealed, BeginError>> {
        if start.token_not_before < self.birth {
            return Ok(Err(BeginError::OlderThanJournal));
        }
        let change = match &start.dispatched {
            None => None,
            Some(dispatched) => match self.follow(start, dispatched)? {
                Ok(change) => change,
                Err(error) => return Ok(Err(error)),
            },
        };
        let sequence = end.sequence.saturating_add(1);
        let at = start.intent.at.unix_ms();
        let consumed = self
            .connection
            .execute(CONSUME, (start.request.as_str(), at, signed(sequence)))?;
        if consumed == 0 {
            return Ok(Err(BeginError::AlreadyUsed));
        }
        match change {
            None => {
                if let Some(dispatched) = &start.dispatched {
                    reports::begin(&self.connection, (&start.request, &dispatched.token))?;
                }
                self.insert(end, &start.intent).map(Ok)
            }
            Some(change) => {
                // The record was read in this transaction: it is still what it was.
                row::update(&self.connection, &change, self.clock.now())?;
                self.record(end, &change).map(Ok)
            }
        }
    }

    pub(super) fn insert(&self, end: &mut Sealed, draft: &Draft) -> sql::Result<Sealed> {
        let sequence = end.sequence.saturating_add(1);
        let entry = Entry::seal(&self.workspace, sequence, &end.link, draft);
        self.connection.execute(
            INSERT,
            (
                signed(entry.sequence),
                &entry.body,
                entry.leaf.as_bytes(),
                entry.link.as_bytes(),
            ),
        )?;
        *end = Sealed {
            sequence,
            link: entry.link,
        };
        Ok(*end)
    }

    fn last(&self) -> sql::Result<Sealed> {
        last(&self.connection, &self.workspace)
    }
}

const INSERT: &str = "insert into audit (sequence, body, leaf, link) values (?1, ?2, ?3, ?4)";
const CONSUME: &str = "
    insert into journal (request, begun_at, sequence) values (?1, ?2, ?3)
    on conflict (request) do nothing";
