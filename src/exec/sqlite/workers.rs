//! The threads on which SQLite runs. Each reader keeps one connection; changes queue for one
//! thread, as SQLite has one writer at a time anyway.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::core::refusal::{Code, Refusal};
use crate::exec::sqlite::errors;
use crate::exec::sqlite::file::{DatabaseFile, Identity};
use crate::exec::sqlite::open::{self, Layers, Opened};

/// Reads that run at the same time.
const READERS: usize = 4;
/// SQLite's compiler recurses: deeply nested text was seen to need more than the usual 2 MiB.
const STACK_BYTES: usize = 64 * 1024 * 1024;

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

/// The threads that serve one target. They start with the first job and end when this is dropped.
#[derive(Debug)]
pub(super) struct Workers {
    file: Arc<DatabaseFile>,
    trusted: Arc<BTreeSet<String>>,
    readers: Mutex<Option<Sender<Job>>>,
    writer: Mutex<Option<Sender<Job>>>,
}

/// Which queue a job stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lane {
    Read,
    Change,
}

/// What a thread works with.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) file: Arc<DatabaseFile>,
    pub(super) trusted: Arc<BTreeSet<String>>,
    opened: Option<(Identity, Opened)>,
}

impl Workers {
    pub(super) fn new(file: DatabaseFile, trusted: BTreeSet<String>) -> Self {
        Self {
            file: Arc::new(file),
            trusted: Arc::new(trusted),
            readers: Mutex::new(None),
            writer: Mutex::new(None),
        }
    }

    /// Runs a job and waits for what it returns. A caller that goes away before its turn has come
    /// takes the job with it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        job: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.submit(
            lane,
            Box::new(move |desk| {
                if !answer.is_closed() {
                    // A caller that went away meanwhile does not want the answer.
                    let _unwanted = answer.send(job(desk));
                }
            }),
        )?;
        answered.await.map_err(|_| broken())
    }

    /// Puts a job into its queue.
    pub(super) fn submit(&self, lane: Lane, job: Job) -> Result<(), Refusal> {
        let (queue, threads) = match lane {
            Lane::Read => (&self.readers, READERS),
            Lane::Change => (&self.writer, 1),
        };
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match queue.as_ref() {
            Some(sender) => sender,
            None => queue.insert(self.start(lane, threads)?),
        };
        sender.send(job).map_err(|_| broken())
    }

    fn start(&self, lane: Lane, threads: usize) -> Result<Sender<Job>, Refusal> {
        let (sender, jobs) = channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads {
            let jobs = Arc::clone(&jobs);
            let mut desk = Desk {
                file: Arc::clone(&self.file),
                trusted: Arc::clone(&self.trusted),
                opened: None,
            };
            thread::Builder::new()
                .name(format!("sqlite-{lane:?}-{number}").to_ascii_lowercase())
                .stack_size(STACK_BYTES)
                .spawn(move || work_off(&jobs, &mut desk))
                .map_err(|_| broken().hint("the system gives no more threads; try again later"))?;
        }
        Ok(sender)
    }
}

impl Desk {
    /// This thread's connection for reads; opened anew when the file was replaced.
    pub(super) fn reader(&mut self) -> Result<&Opened, Refusal> {
        let now = self.file.identity()?;
        let current = self.opened.take().filter(|(then, _)| *then == now);
        let current = match current {
            Some(current) => current,
            None => (
                now,
                open::for_reads(self.file.path(), &self.trusted, Layers::ALL)
                    .map_err(|error| errors::refusal(&error))?,
            ),
        };
        Ok(&self.opened.insert(current).1)
    }

    /// Drops the connection, so that the next job starts with a new one.
    pub(super) fn forget(&mut self) {
        self.opened = None;
    }
}

fn work_off(jobs: &Mutex<Receiver<Job>>, desk: &mut Desk) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(desk)));
        if outcome.is_err() {
            desk.forget();
        }
    }
}

fn broken() -> Refusal {
    Refusal::new(Code::Internal, "the thread that runs SQLite failed")
}
