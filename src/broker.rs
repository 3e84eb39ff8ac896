//! COMBINES: core decides, store remembers, an agent runs.

pub mod acceptances;
pub mod approvals;
pub mod break_glass;
pub mod capability;
pub mod catalogue;
pub mod collect;
pub mod explain;
pub mod fleet;
pub mod health;
pub mod holders;
pub mod link;
pub mod people;
mod repeat;
pub mod requests;
pub mod reviews;
pub mod statements;
pub mod submit;
pub mod turns;
pub mod vectors;
pub mod votes;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::core::audit::{Draft, EventKind};
use crate::core::policy::{Principals, Standing};
use crate::core::principal::Principal;
use crate::core::quota::Allowance;
use crate::core::refusal::{Code, Refusal};
use crate::core::review::Settings;
use crate::core::statement::Effect;
use crate::core::target::Target;
use crate::core::time::Clock;
use crate::exec::ParsePool;
use crate::ids::Ids;
use crate::policies::Policies;
use crate::store::State;
use approvals::Page;
pub use link::{Lane, Link};
pub use turns::Turns;

pub use crate::store::Sessions;

/// The deciding part: in local mode inside `secondkey mcp`.
#[derive(Debug)]
pub struct Broker {
    /// Where work is run, and the targets that can be named. Only bytes go there.
    pub link: Link,
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
    /// How capabilities are listed as tools.
    pub capability_tools: CapabilityTools,
    /// Where people decide.
    pub page: Page,
    /// How long a call waits for a person.
    pub approval_wait: Duration,
    /// Who may have a statement under way.
    pub turns: Turns,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// How capabilities are listed as tools.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CapabilityTools {
    /// Each is a tool as long as there are few; of more, those that fit, and two that reach the rest.
    #[default]
    Auto,
    /// Each is a tool, however many there are.
    Each,
    /// None is; two tools reach them all.
    Call,
}

/// Who calls, as far as this process can know.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who acts.
    pub principal: Principal,
    /// What the key allows that they came with; nothing where nobody needs a key.
    pub rights: Option<Rights>,
}

/// What an API key allows.
#[derive(Clone, Debug)]
pub struct Rights {
    /// The roles of its holder, which the policies see too.
    pub roles: BTreeSet<String>,
    allowance: Allowance,
    running: Arc<Semaphore>,
    /// Why nothing of it counts any more, once it does not.
    ended: Arc<OnceLock<Refusal>>,
}

/// The role that runs what the policies allow.
pub const DEVELOPER: &str = "developer";
/// The role that reads, whatever the policies allow.
pub const READONLY: &str = "readonly";
/// The role that looks after a relay. It runs nothing.
pub const ADMIN: &str = "admin";

impl Rights {
    /// Those of a key. Clones share what is under way.
    pub fn new(roles: BTreeSet<String>, allowance: Allowance) -> Self {
        Self {
            roles,
            allowance,
            running: Arc::new(Semaphore::new(allowance.at_once as usize)),
            ended: Arc::default(),
        }
    }

    /// Has nothing new begun with it, for this reason. Clones know at once.
    pub fn end(&self, why: Refusal) {
        drop(self.ended.set(why));
    }

    /// Room for one more statement under way. Nobody waits for it: whoever asks for more at the same time
    /// than they may is told so.
    fn room(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.running).try_acquire_owned();
        room.map_err(|_| {
            let most = self.allowance.at_once;
            let sentence =
                format!("{most} statements of your key are under way, and it may have no more");
            Refusal::new(Code::LimitReached, sentence)
                .hint("wait until one of them has ended, then try again")
        })
    }

    /// The worst effect that its holder may ask for; nothing where they may not ask at all. A role of
    /// somebody's own making is for the policies to know: alone it reads.
    pub fn ceiling(&self) -> Option<Effect> {
        if self.roles.contains(DEVELOPER) {
            Some(Effect::Admin)
        } else if self.roles.iter().any(|role| role != ADMIN) {
            Some(Effect::Read)
        } else {
            None
        }
    }
}

impl Caller {
    /// Somebody who needs no key.
    pub fn of(principal: Principal) -> Self {
        Self {
            principal,
            rights: None,
        }
    }

    /// Refuses whoever's key was ended, or who was suspended, since they came.
    fn still_counts(&self) -> Result<(), Refusal> {
        let rights = self.rights.as_ref();
        let ended = rights.and_then(|rights| rights.ended.get());
        ended.cloned().map_or(Ok(()), Err)
    }

    /// Refuses an effect that the key does not allow.
    fn may(&self, effect: Effect) -> Result<(), Refusal> {
        self.still_counts()?;
        let Some(rights) = &self.rights else {
            return Ok(());
        };
        let sentence = match rights.ceiling() {
            Some(most) if effect <= most => return Ok(()),
            Some(_) => format!("your key reads, and this would have effect `{effect}`"),
            None => "your key looks after the relay, and reaches no database".to_owned(),
        };
        Err(Refusal::new(Code::Forbidden, sentence)
            .hint("a person gives out keys with `secondkey relay keys create`"))
    }
}

impl Broker {
    /// How the sessions of clients began, for those that go on at another process.
    pub fn sessions(&self) -> Sessions {
        self.state.sessions()
    }

    /// The target of a call: the one named, or the only one there is.
    pub fn target(&self, name: Option<&str>) -> Result<Arc<Target>, Refusal> {
        let targets = self.link.targets();
        let refused = |sentence: &str| {
            let names: Vec<&str> = targets.iter().map(|t| t.name.as_str()).collect();
            let names = names.join(", ");
            Refusal::new(Code::UnknownTarget, sentence)
                .hint(format!("set `target` to one of: {names}"))
        };
        match (name, &targets[..]) {
            (None, [only]) => Ok(Arc::clone(only)),
            (None, _) => Err(refused("there are several targets; say which one")),
            (Some(name), targets) => targets
                .iter()
                .find(|target| target.name.as_str() == name)
                .map(Arc::clone)
                .ok_or_else(|| refused("there is no target of this name")),
        }
    }

    /// The roles and groups of a caller: the configuration's, and those of their key.
    pub fn standing(&self, caller: &Caller) -> Standing {
        let mut standing = self.principals.of(&caller.principal);
        if let Some(rights) = &caller.rights {
            standing.roles.extend(rights.roles.iter().cloned());
        }
        standing
    }

    /// Records that a face has refused a caller something.
    pub async fn refuse(&self, caller: &Caller, refusal: &Refusal) -> Result<(), Refusal> {
        let refused = self.draft(EventKind::RequestRefused, caller);
        self.record_refusal(refused, refusal).await
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
