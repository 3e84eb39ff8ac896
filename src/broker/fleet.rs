//! The executors that have dialed in: who serves what, and what they were asked.
//!
//! Nothing that a connection says decides anything here but what becomes of the questions that were
//! put to it. A token is signed once its agent has a free slot, so that waiting does not age it.

mod asking;
mod run;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::core::ids::{AgentId, HandleId};
use crate::core::refusal::{Code, Refusal};
use crate::core::target::Target;
use crate::store::State;
use crate::wire::Answer;
use crate::wire::fleet::{FromRelay, Reply, Served};
use run::Run;

/// How long a call waits for an agent that is known and not there: it may be on its way back.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages that wait to be written to one agent.
const WAITING: usize = 256;
/// The most orders that one agent runs at the same time, whatever it says.
const MOST_SLOTS: u32 = 1_024;
/// Page handles that are remembered; the oldest is forgotten first.
const HANDLES: usize = 4_096;

/// No clock is so far off.
const UNHEARD: i64 = i64::MIN;

/// The executors of one relay.
#[derive(Debug)]
pub struct Fleet {
    state: State,
    inside: Mutex<Inside>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    agents: BTreeMap<AgentId, Known>,
    /// Of all agents, by name.
    targets: Arc<[Arc<Target>]>,
    handles: Handles,
}

#[derive(Debug, Default)]
struct Handles {
    of: HashMap<HandleId, AgentId>,
    order: VecDeque<HandleId>,
}

#[derive(Debug)]
struct Known {
    targets: Vec<Arc<Target>>,
    connected: Option<Arc<Connected>>,
}

/// One agent that is there.
#[derive(Debug)]
pub struct Connected {
    id: AgentId,
    state: State,
    out: mpsc::Sender<FromRelay>,
    slots: Arc<Semaphore>,
    calls: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
    /// Whether it takes nothing new.
    draining: AtomicBool,
    /// How far its clock is before ours, in milliseconds; [`UNHEARD`] before its first beat.
    clock: AtomicI64,
    /// Fires when it is gone, or has to go.
    pub gone: CancellationToken,
}

/// Somebody who waits for an answer.
#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer<Reply>>,
    run: Option<Run>,
}

impl Fleet {
    /// With the agents that are known from before and what they served then.
    pub fn new(state: State, known: impl IntoIterator<Item = (AgentId, Vec<Served>)>) -> Self {
        let known = known.into_iter().map(|(agent, served)| {
            let targets = served.into_iter().map(Target::from).map(Arc::new);
            let known = Known {
                targets: targets.collect(),
                connected: None,
            };
            (agent, known)
        });
        let mut inside = Inside {
            agents: known.collect(),
            ..Inside::default()
        };
        inside.list();
        Self {
            state,
            inside: Mutex::new(inside),
            news: Notify::new(),
        }
    }

    /// Takes in an agent that has proven who it is; what is to be written to it comes out of the
    /// receiver. An older connection of the same agent is told to go.
    ///
    /// Refused where another agent serves a target of the same name that is not the same database.
    pub fn connect(
        &self,
        id: &AgentId,
        (served, slots): (Vec<Served>, u32),
    ) -> Result<(Arc<Connected>, mpsc::Receiver<FromRelay>), Refusal> {
        let (out, written) = mpsc::channel(WAITING);
        let targets: Vec<_> = served.into_iter().map(Target::from).map(Arc::new).collect();
        let slots = slots.clamp(1, MOST_SLOTS) as usize;
        let connected = Arc::new(Connected {
            id: id.clone(),
            state: self.state.clone(),
            out,
            slots: Arc::new(Semaphore::new(slots)),
            calls: Mutex::default(),
            next: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            clock: AtomicI64::new(UNHEARD),
            gone: CancellationToken::new(),
        });
        let mut inside = self.lock();
        for target in &targets {
            inside.check_same(id, target)?;
        }
        let known = Known {
            targets,
            connected: Some(Arc::clone(&connected)),
        };
        if let Some(Known {
            connected: Some(before),
            ..
        }) = inside.agents.insert(id.clone(), known)
        {
            before.gone.cancel();
        }
        inside.list();
        drop(inside);
        self.news.notify_waiters();
        Ok((connected, written))
    }

    /// Forgets a connection that has ended. What it was asked is answered as far as that is known.
    pub async fn disconnect(&self, connected: &Arc<Connected>) {
        if let Some(known) = self.lock().agents.get_mut(&connected.id) {
            known.connected.take_if(|now| Arc::ptr_eq(now, connected));
        }
        connected.gone.cancel();
        connected.lose_all().await;
    }

    /// Gives an agent that is leaving nothing new.
    pub fn leave(connected: &Connected) {
        connected.draining.store(true, Ordering::Relaxed);
    }

    /// Forgets an agent that was put out, and everything that it served.
    pub fn forget(&self, id: &AgentId) {
        let mut inside = self.lock();
        if let Some(known) = inside.agents.remove(id) {
            if let Some(connected) = known.connected {
                connected.gone.cancel();
            }
            inside.list();
        }
    }

    /// The agents that are there.
    pub fn here(&self) -> Vec<AgentId> {
        let inside = self.lock();
        let here = inside
            .agents
            .iter()
            .filter(|(_, known)| known.connected.as_ref().is_some_and(|now| now.takes_work()));
        here.map(|(id, _)| id.clone()).collect()
    }

    /// The agents that are there, and how far each one's clock is before ours, in milliseconds, if it was heard.
    pub fn clocks(&self) -> Vec<(AgentId, Option<i64>)> {
        let inside = self.lock();
        let here = inside.agents.iter();
        let here = here.filter_map(|(id, known)| Some((id, known.connected.as_ref()?)));
        here.map(|(id, connected)| {
            let clock = connected.clock.load(Ordering::Relaxed);
            (id.clone(), Some(clock).filter(|clock| *clock != UNHEARD))
        })
        .collect()
    }

    /// The targets of all agents, there or not.
    pub fn targets(&self) -> Arc<[Arc<Target>]> {
        Arc::clone(&self.lock().targets)
    }

    /// An agent for a target: the one that a signed document names, else the one with most room. One that
    /// is known and not there is waited for, a little.
    pub async fn agent_for(
        &self,
        target: &Target,
        named: Option<&AgentId>,
    ) -> Result<Arc<Connected>, Refusal> {
        let until = Instant::now() + PATIENCE;
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // From here on nobody comes unnoticed.
            news.as_mut().enable();
            if let Some(found) = self.find(target, named) {
                return Ok(found);
            }
            if timeout_at(until, news).await.is_err() {
                let sentence = format!("the agent of `{}` is not connected", target.name);
                return Err(Refusal::new(Code::AgentUnavailable, sentence)
                    .hint("try again in a minute; if that does not help, tell the person"));
            }
        }
    }

    fn find(&self, target: &Target, named: Option<&AgentId>) -> Option<Arc<Connected>> {
        let inside = self.lock();
        let serving = inside.agents.iter().filter(|(id, known)| {
            named.is_none_or(|named| named == *id)
                && known.targets.iter().any(|one| one.name == target.name)
        });
        let here = serving.filter_map(|(_, known)| known.connected.as_ref());
        let here = here.filter(|connected| connected.takes_work());
        here.max_by_key(|connected| connected.slots.available_permits())
            .map(Arc::clone)
    }

    /// Remembers where the rows behind a handle are.
    pub(super) fn keep_handle(&self, handle: &HandleId, agent: &AgentId) {
        let mut inside = self.lock();
        let handles = &mut inside.handles;
        if handles.of.insert(handle.clone(), agent.clone()).is_none() {
            handles.order.push_back(handle.clone());
        }
        if handles.order.len() > HANDLES
            && let Some(oldest) = handles.order.pop_front()
        {
            handles.of.remove(&oldest);
        }
    }

    /// The agent that keeps the rows behind a handle, if it is there.
    pub(super) fn keeper(&self, handle: &HandleId) -> Option<Arc<Connected>> {
        let inside = self.lock();
        let agent = inside.handles.of.get(handle)?;
        inside.agents.get(agent)?.connected.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected {
    fn takes_work(&self) -> bool {
        !self.gone.is_cancelled() && !self.draining.load(Ordering::Relaxed)
    }

    /// Keeps how far its clock is before ours, in milliseconds.
    pub fn clock_is(&self, before_ms: i64) {
        self.clock.store(before_ms, Ordering::Relaxed);
    }
}

impl Inside {
    /// A name means one database in one environment, whoever serves it.
    fn check_same(&self, id: &AgentId, target: &Target) -> Result<(), Refusal> {
        let others = self.agents.iter().filter(|(other, _)| *other != id);
        let mut others = others.flat_map(|(_, known)| &known.targets);
        let differs = others.any(|other| {
            other.name == target.name
                && (other.engine != target.engine || other.environment != target.environment)
        });
        if !differs {
            return Ok(());
        }
        let sentence = format!(
            "another agent serves a target `{}` that is of another engine or environment",
            target.name
        );
        Err(Refusal::new(Code::InvalidArgument, sentence).hint("give one of the two another name"))
    }

    fn list(&mut self) {
        let all = self.agents.values().flat_map(|known| &known.targets);
        let by_name: BTreeMap<_, _> = all.map(|target| (target.name.clone(), target)).collect();
        self.targets = by_name.into_values().map(Arc::clone).collect();
    }
}
