//! The parse pool: threads with stacks big enough for the deepest statement the limits allow,
//! and a memory of what was parsed lately.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::core::approval::Document;
use crate::core::engine::Engine;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::{self, STACK_BYTES, Statement, batch};
use crate::core::work::Work;

/// Threads in the pool.
const THREADS: usize = 2;
/// Jobs that wait before callers are refused.
const QUEUE: usize = 64;
/// Statements remembered.
const REMEMBERED: usize = 512;
/// Statements longer than this are not remembered, so that the memory stays under 8 MiB of text.
const REMEMBERED_BYTES: usize = 8 * 1024;

type Job = Box<dyn FnOnce() + Send>;
type Parsed = Result<Arc<Statement>, Refusal>;

/// Threads for work on SQL text that needs a big stack. Made once, by `boot`.
#[derive(Debug)]
pub struct ParsePool {
    jobs: SyncSender<Job>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    parsed: HashMap<(Engine, String), Parsed>,
    order: VecDeque<(Engine, String)>,
}

impl ParsePool {
    /// Starts the threads. They end when the pool is dropped.
    pub fn start() -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("parse-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || work_off(&queue))?;
        }
        Ok(Self {
            jobs,
            memory: Mutex::default(),
        })
    }

    /// Parses a statement, or remembers having done so.
    pub async fn parse(&self, engine: Engine, sql: &str) -> Parsed {
        let key = (engine, sql.to_owned());
        if let Some(known) = self.lock().parsed.get(&key) {
            return known.clone();
        }
        let text = sql.to_owned();
        let parsed = self
            .run(move || statement::parse(engine, &text).map(Arc::new))
            .await?;
        if sql.len() <= REMEMBERED_BYTES {
            self.lock().remember(key, parsed.clone());
        }
        parsed
    }

    /// Parses each statement of work; of a batch as one that stands for all of them.
    pub async fn parse_work(&self, engine: Engine, work: &Work) -> Parsed {
        match work {
            Work::Sql { .. } | Work::Capability { .. } => self.parse(engine, work.text()).await,
            Work::Batch { statements, .. } => {
                self.parse_batch(engine, statements.iter().map(String::as_str))
                    .await
            }
        }
    }

    /// Parses what a document asks for, as [`ParsePool::parse_work`] parses the work.
    pub async fn parse_document(&self, engine: Engine, document: &Document) -> Parsed {
        if document.parts.is_empty() {
            return self.parse(engine, &document.statement).await;
        }
        self.parse_batch(engine, document.texts().into_iter()).await
    }

    async fn parse_batch<'a>(
        &self,
        engine: Engine,
        texts: impl Iterator<Item = &'a str> + Send,
    ) -> Parsed {
        let mut parts = Vec::new();
        for (at, text) in texts.enumerate() {
            let parsed = self.parse(engine, text).await;
            let parsed = parsed.map_err(|refusal| batch::in_statement(at, refusal))?;
            parts.push(Statement::clone(&parsed));
        }
        batch::compose(parts).map(Arc::new)
    }

    /// Runs `job` on a thread with a big stack. A panic in it becomes a refusal.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // A caller that went away does not want the answer.
            let _unwanted = answer.send(job());
        });
        if self.jobs.try_send(job).is_err() {
            return Err(
                Refusal::new(Code::Internal, "too many statements wait to be parsed")
                    .hint("try again in a moment"),
            );
        }
        answered.await.map_err(|_| {
            tracing::error!("a statement made the parser panic");
            Refusal::new(
                Code::Internal,
                "SecondKey broke while it read the statement",
            )
            .hint("write it more simply, or in several statements")
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn remember(&mut self, key: (Engine, String), parsed: Parsed) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.parsed.remove(&oldest);
        }
        if self.parsed.insert(key.clone(), parsed).is_none() {
            self.order.push_back(key);
        }
    }
}

fn work_off(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The sender of the answer is dropped by the panic, which is how the caller learns.
        let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_refusal_and_the_pool_goes_on() {
        let pool = ParsePool::start().unwrap();
        for _ in 0..4 {
            assert!(
                pool.run(|| assert!(std::hint::black_box(false)))
                    .await
                    .is_err()
            );
        }
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }
}
