//! COMBINES: core decides, store remembers, an agent runs.

pub mod approvals;
pub mod break_glass;
pub mod catalogue;
pub mod collect;
pub mod explain;
pub mod health;
pub mod requests;
pub mod reviews;
pub mod submit;
pub mod turns;
pub mod votes;

use std::sync::Arc;
use std::time::Duration;

use crate::agent::Agent;
use crate::core::audit::{Draft, EventKind};
use crate::core::policy::Principals;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::review::Settings;
use crate::core::target::Target;
use crate::core::time::Clock;
use crate::exec::ParsePool;
use crate::ids::Ids;
use crate::policies::Policies;
use crate::store::State;
pub use turns::Turns;

/// The deciding part: in local mode inside `secondkey mcp`.
#[derive(Debug)]
pub struct Broker {
    /// The targets that can be named, in the order of the configuration.
    pub targets: Vec<Target>,
    /// Where work is run. Only bytes go there.
    pub agent: Arc<Agent>,
    /// The keys that orders are signed with, and the audit log.
    pub state: State,
    /// Where statements are parsed.
    pub parser: Arc<ParsePool>,
    /// New ids.
    pub ids: Ids,
    /// The workspace's policy.
    pub policies: Arc<Policies>,
    /// The roles and groups of those who ask.
    pub principals: Arc<Principals>,
    /// What becomes of what the review rules find.
    pub review: Settings,
    /// How long a call waits for a person.
    pub approval_wait: Duration,
    /// Who may have a statement under way.
    pub turns: Turns,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Who calls, as far as this process can know.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who acts.
    pub principal: Principal,
}

impl Broker {
    /// The target of a call: the one named, or the only one there is.
    pub fn target(&self, name: Option<&str>) -> Result<&Target, Refusal> {
        match (name, self.targets.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(Refusal::new(
                Code::UnknownTarget,
                "there are several targets; say which one",
            )
            .hint(format!("set `target` to one of: {}", self.target_names()))),
            (Some(name), targets) => targets
                .iter()
                .find(|target| target.name.as_str() == name)
                .ok_or_else(|| {
                    Refusal::new(Code::UnknownTarget, "there is no target of this name")
                        .hint(format!("set `target` to one of: {}", self.target_names()))
                }),
        }
    }

    fn target_names(&self) -> String {
        let names: Vec<&str> = self.targets.iter().map(|t| t.name.as_str()).collect();
        names.join(", ")
    }

    fn draft(&self, kind: EventKind, caller: &Caller) -> Draft {
        Draft::new(self.clock.now(), kind).by(&caller.principal)
    }

    /// Writes a refusal that the broker made itself.
    async fn record_refusal(&self, draft: Draft, refusal: &Refusal) -> Result<(), Refusal> {
        self.state.log().append(draft.refusal(refusal)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
