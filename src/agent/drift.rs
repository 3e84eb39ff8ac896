//! Whether each capability can keep its contract on the database as it is now. One that cannot is withdrawn
//! with the reason, and comes back by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::agent::Agent;
use crate::capabilities::Capabilities;
use crate::core::capability::{Capability, WhenChanged};
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::Described;
use crate::core::statement::{Effect, Statement};
use crate::core::work::Work;
use crate::exec::Executor;

/// How often the database is looked at.
const USUALLY: Duration = Duration::from_secs(30);
/// How often while something is withdrawn, or after a call has failed.
const SOON: Duration = Duration::from_secs(2);

/// What the database says of a capability's statement.
#[derive(Debug)]
pub struct Looked {
    /// What it can do.
    pub statement: Arc<Statement>,
    /// Its parameters and columns.
    pub described: Described,
}

impl Agent {
    /// Looks after the capabilities for as long as the agent is there. Where there are none, this ends at once.
    pub fn keep_capabilities(self: &Arc<Self>) {
        if self.capabilities.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let asks = |all: &Arc<Capabilities>| all.when_changed() == WhenChanged::Ask;
        if self.capabilities.values().any(asks) {
            let agent = Arc::downgrade(self);
            drop(runtime.spawn(async move {
                while remember_all(&agent, WhenChanged::Ask).await {
                    sleep(SOON).await;
                }
            }));
        }
        let (agent, nudged) = (Arc::downgrade(self), Arc::clone(&self.nudge));
        drop(runtime.spawn(async move {
            while let Some(next) = look_at_all(&agent).await {
                let _early = timeout(next, nudged.notified()).await;
            }
        }));
    }

    /// Looks at every capability of a target, and withdraws those that cannot keep their contract. Gives
    /// the number of those.
    pub async fn look_for_drift(&self, target: &str) -> usize {
        let (Some(all), Some(executor)) = (self.capabilities(target), self.executor(target)) else {
            return 0;
        };
        let before = all.withdrawn();
        let bundle = all.bundle();
        let mut withdrawn = BTreeMap::new();
        for capability in bundle.iter() {
            let name = capability.name.as_str();
            match self.look_at(executor, capability).await {
                Ok(_) => {}
                // That says nothing of the contract.
                Err(refusal) if is_passing(refusal.code) => {
                    withdrawn.extend(before.get(name).map(|why| (name.to_owned(), why.clone())));
                }
                Err(refusal) => {
                    let why = why(&refusal);
                    if before.get(name) != Some(&why) {
                        tracing::warn!(capability = name, "{}: {}", refusal.code, refusal.message);
                    }
                    withdrawn.insert(name.to_owned(), why);
                }
            }
        }
        let count = withdrawn.len();
        if all.bundle().digest() == bundle.digest() {
            all.withdraw(withdrawn);
        }
        count
    }

    /// What the database makes of a capability now, or why it cannot keep its contract.
    pub async fn look_at(
        &self,
        executor: &Executor,
        capability: &Capability,
    ) -> Result<Looked, Refusal> {
        let engine = executor.target().engine;
        let bound = capability.bound(engine)?;
        let parsed = self.parser.parse(engine, &bound.text).await?;
        let work = Work::Sql {
            params: vec![Value::Null; bound.order.len()],
            text: bound.text,
            salt: [0; 16],
        };
        let statement = executor.judge(parsed, &work).await?;
        if statement.effect > capability.effect() {
            return Err(Refusal::new(
                Code::ClassificationMismatch,
                format!("it does more than it declares: it {}", statement.because()),
            ));
        }
        let described = executor.describe(work.text(), statement.effect);
        let described = described.await?;
        // What a change returns is described by no MySQL; it is looked at when it is made.
        let known = statement.effect == Effect::Read || !described.columns.is_empty();
        if known {
            capability
                .holds(&described.columns)
                .map_err(|broken| Refusal::new(Code::ContractBroken, broken.to_string()))?;
        }
        Ok(Looked {
            statement,
            described,
        })
    }
}

async fn look_at_all(agent: &Weak<Agent>) -> Option<Duration> {
    remember_all(agent, WhenChanged::Run).await;
    let agent = agent.upgrade()?;
    let mut next = USUALLY;
    for target in agent.capabilities.keys() {
        if agent.look_for_drift(target).await > 0 {
            next = SOON;
        }
    }
    Some(next)
}

/// Takes note of what has changed, and of what was accepted, where this becomes of it. Whether the agent is still there.
async fn remember_all(agent: &Weak<Agent>, when: WhenChanged) -> bool {
    let Some(agent) = agent.upgrade() else {
        return false;
    };
    let all = agent.capabilities.iter();
    for (target, _) in all.filter(|(_, all)| all.when_changed() == when) {
        if let Err(refusal) = agent.remember_capabilities(target).await {
            tracing::warn!(target, %refusal, "what has changed cannot be looked up");
        }
    }
    true
}

/// Whether a failure passes without anybody changing a table.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::DatabaseUnavailable
            | Code::TimeLimit
            | Code::Cancelled
            | Code::Internal
            | Code::PrivilegedLogin
    )
}

/// The reason, in words that tell nothing of the statement.
fn why(refusal: &Refusal) -> String {
    if refusal.code == Code::ContractBroken {
        refusal.message.clone()
    } else if refusal.code == Code::ClassificationMismatch {
        "it does more on this database than it declares".to_owned()
    } else {
        "its statement does not fit the database's tables as they are now".to_owned()
    }
}
