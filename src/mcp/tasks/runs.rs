//! The runs behind tasks: what this process has begun for somebody who asks later, and what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Caller, approvals};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Status;
use crate::mcp::tools;

/// How long whoever has a run begun waits for it: most statements are over by then.
const MOMENT: Duration = Duration::from_millis(500);
/// How long an answer is kept.
const KEPT: Duration = Duration::from_hours(1);
/// Answers that are kept at most; of more, those of the oldest requests go first.
const MOST: usize = 256;

type Answer = Result<Value, Refusal>;

/// The runs of one process. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::mcp) struct Runs(Arc<Mutex<BTreeMap<RequestId, Run>>>);

#[derive(Debug)]
struct Run {
    cancel: CancellationToken,
    begun: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

impl Runs {
    /// Begins an approved request, unless this process has, and waits a moment for its answer.
    pub(super) async fn begin(&self, broker: &Arc<Broker>, caller: &Caller, id: &RequestId) {
        let (done, mut answer) = watch::channel(None);
        let cancel = CancellationToken::new();
        {
            let mut runs = self.lock();
            tidy(&mut runs);
            if runs.contains_key(id) {
                return;
            }
            let run = Run {
                cancel: cancel.clone(),
                begun: Instant::now(),
                answer: answer.clone(),
            };
            runs.insert(id.clone(), run);
        }
        let (runs, broker, caller) = (self.clone(), Arc::clone(broker), caller.clone());
        let id = id.clone();
        tokio::spawn(async move {
            let settled = Box::pin(approvals::settle(&broker, &caller, &id, cancel)).await;
            let answer = settled.and_then(tools::executed);
            if runs_elsewhere(&broker, &caller, &id, &answer).await {
                runs.lock().remove(&id);
            } else {
                done.send_replace(Some(answer));
            }
        });
        drop(tokio::time::timeout(MOMENT, answer.changed()).await);
    }

    /// Whether this process runs it now.
    pub(super) fn goes_on(&self, id: &RequestId) -> bool {
        let runs = self.lock();
        let run = runs.get(id);
        run.is_some_and(|run| run.answer.borrow().is_none() && run.answer.has_changed().is_ok())
    }

    /// Waits for the end of a run of this process, so long at most.
    pub(super) async fn over(&self, id: &RequestId, patience: Duration) {
        let answer = self.lock().get(id).map(|run| run.answer.clone());
        if let Some(mut answer) = answer {
            let over = answer.wait_for(Option::is_some);
            drop(tokio::time::timeout(patience, over).await);
        }
    }

    /// What a run of this process came to.
    pub(super) fn answer(&self, id: &RequestId) -> Option<Answer> {
        let mut runs = self.lock();
        let run = runs.get(id)?;
        let answer = run.answer.borrow().clone();
        if answer.is_none() && run.answer.has_changed().is_err() {
            // It broke off without an answer; the store knows how it stands.
            runs.remove(id);
        }
        answer
    }

    /// Stops a run of this process, if what it does can be stopped.
    pub(super) fn stop(&self, id: &RequestId) {
        if let Some(run) = self.lock().get(id) {
            run.cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RequestId, Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what was kept for long enough. What still runs is not forgotten.
fn tidy(runs: &mut BTreeMap<RequestId, Run>) {
    runs.retain(|_, run| run.answer.borrow().is_none() || run.begun.elapsed() < KEPT);
    while runs.len() >= MOST {
        let over = runs.iter().find(|(_, run)| run.answer.borrow().is_some());
        let Some(id) = over.map(|(id, _)| id.clone()) else {
            return;
        };
        runs.remove(&id);
    }
}

/// Whether a run was refused because another process was faster, whose run it is then.
async fn runs_elsewhere(broker: &Broker, caller: &Caller, id: &RequestId, answer: &Answer) -> bool {
    if !matches!(answer, Err(refusal) if refusal.code == Code::RequestState) {
        return false;
    }
    let request = approvals::own(broker, caller, id).await;
    request.is_ok_and(|request| {
        matches!(
            request.status(),
            Status::Dispatched | Status::Running | Status::Succeeded
        )
    })
}
