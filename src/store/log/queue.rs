//! The queue in front of the writer. Most jobs are written by whoever brings them, because handing a
//! few microseconds of work to another thread and waiting for it takes longer than the work; the
//! writer's own thread takes what must be synced, what comes in crowds, and what nobody waits for.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::error::StoreError;
use crate::store::log::Job;

/// How long what nobody waits for may lie: mostly the next call's intent comes sooner, and takes it
/// along in its own transaction.
const COMPANY: Duration = Duration::from_millis(20);
/// After how many looks without anything new the thread sleeps until it is called.
const QUIET_LOOKS: u32 = 50;
/// From how many waiting jobs on one transaction for all of them is worth a thread's waking.
const CROWD: usize = 4;

/// The jobs that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// How many jobs there ever were.
    seen: u64,
    /// The thread looks by itself no more.
    asleep: bool,
    /// The thread is wanted now.
    urgent: bool,
    /// When the thread has to try again what could not be written.
    retry: Option<Instant>,
    open: Open,
}

/// Whether more can come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Open {
    #[default]
    Yes,
    /// Nobody is left to bring anything.
    Abandoned,
    /// Nothing is taken any more.
    No,
}

impl Queue {
    /// Puts a job at the end. The thread sees to it within [`COMPANY`], unless somebody else does, or
    /// it is called.
    pub(super) fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.open == Open::No {
            return Err(StoreError::Closed);
        }
        waiting.jobs.push_back(job);
        waiting.seen = waiting.seen.wrapping_add(1);
        if waiting.asleep {
            self.bell.notify_one();
        }
        Ok(())
    }

    /// Wakes the thread.
    pub(super) fn call(&self) {
        self.lock().urgent = true;
        self.bell.notify_one();
    }

    /// Takes all that waits, if it is little and all of it can be written here and now.
    pub(super) fn take_few(&self) -> Option<VecDeque<Job>> {
        let mut waiting = self.lock();
        let few = waiting.jobs.len() < CROWD && waiting.jobs.iter().all(Job::is_quick);
        few.then(|| std::mem::take(&mut waiting.jobs))
    }

    /// Takes the first job.
    pub(super) fn pop(&self) -> Option<Job> {
        self.lock().jobs.pop_front()
    }

    /// For the thread: waits until there is something to do. Whether anything can still come.
    pub(super) fn wait(&self) -> bool {
        let mut waiting = self.lock();
        let (mut looks, mut seen) = (0, waiting.seen);
        loop {
            let late = waiting.retry.is_some_and(|at| at <= Instant::now());
            if waiting.urgent || waiting.open != Open::Yes || late {
                waiting.urgent = false;
                waiting.retry = None;
                return waiting.open == Open::Yes;
            }
            if looks < QUIET_LOOKS || waiting.retry.is_some() {
                let (woken, timeout) = self
                    .bell
                    .wait_timeout(waiting, COMPANY)
                    .unwrap_or_else(PoisonError::into_inner);
                waiting = woken;
                if timeout.timed_out() && !waiting.jobs.is_empty() && waiting.retry.is_none() {
                    return true;
                }
                looks = if waiting.seen == seen { looks + 1 } else { 0 };
                seen = waiting.seen;
            } else {
                waiting.asleep = true;
                waiting = self
                    .bell
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                waiting.asleep = false;
                looks = 0;
            }
        }
    }

    /// Has the thread try again after a while.
    pub(super) fn retry_after(&self, pause: Duration) {
        self.lock().retry = Some(Instant::now() + pause);
    }

    /// Says that nobody can bring anything any more.
    pub(super) fn abandon(&self) {
        let mut waiting = self.lock();
        if waiting.open == Open::Yes {
            waiting.open = Open::Abandoned;
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// Takes nothing more, and drops what is left; whoever waits for it learns that by the drop.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.open = Open::No;
        let left = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
