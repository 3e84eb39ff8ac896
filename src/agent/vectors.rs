//! Which targets have columns for vectors. It is asked of each database that can have them when the agent
//! begins, after each change of its tables through here, and now and then, since others change tables, too.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::agent::Agent;
use crate::core::target::Target;
use crate::core::vector::Dialect;

/// How often the databases are asked.
const USUALLY: Duration = Duration::from_mins(5);
/// How often while one of them does not answer.
const SOON: Duration = Duration::from_secs(30);

/// What is known of the targets.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    with: Mutex<BTreeSet<String>>,
    /// Has them asked soon.
    nudge: Notify,
}

impl Vectors {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.with.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tables have changed.
    pub(super) fn look_again(&self) {
        self.nudge.notify_one();
    }
}

/// Whether a target can have columns for vectors that anybody may name.
pub fn can_have_vectors(target: &Target) -> bool {
    Dialect::of(target.engine).is_some() && !target.only_capabilities
}

impl Agent {
    /// Whether a target has columns for vectors, as far as is known.
    pub fn has_vectors(&self, target: &str) -> bool {
        self.vectors.lock().contains(target)
    }

    /// Looks for columns of vectors for as long as the agent is there. Where no target can have them, this ends at once.
    pub fn keep_vectors(self: &Arc<Self>) {
        if !self.targets().any(can_have_vectors) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (agent, vectors) = (Arc::downgrade(self), Arc::clone(&self.vectors));
        drop(runtime.spawn(async move {
            while let Some(next) = look(&agent).await {
                let _early = timeout(next, vectors.nudge.notified()).await;
            }
        }));
    }
}

async fn look(agent: &Weak<Agent>) -> Option<Duration> {
    let agent = agent.upgrade()?;
    let mut next = USUALLY;
    for (name, executor) in &agent.executors {
        if !can_have_vectors(executor.target()) {
            continue;
        }
        let Ok(there) = executor.has_vectors().await else {
            next = SOON;
            continue;
        };
        let mut with = agent.vectors.lock();
        let is_news = if there {
            with.insert(name.clone())
        } else {
            with.remove(name)
        };
        drop(with);
        if is_news {
            agent.changes.send_modify(|count| *count += 1);
        }
    }
    Some(next)
}
