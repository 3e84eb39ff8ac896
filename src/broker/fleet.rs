//! The executors that have dialed in: who serves what, and what they were asked.
//!
//! Nothing that a connection says decides anything here but what becomes of the questions that were
//! put to it. A token is signed once its agent has a free slot, so that waiting does not age it.

mod asking;
mod away;
mod listing;
mod run;
mod slots;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::core::capability::Offer;
use crate::core::handshake::Hex32;
use crate::core::ids::{AgentId, HandleId};
use crate::core::mode::Mode;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::target::Target;
use crate::store::State;
use crate::wire::Answer;
use crate::wire::fleet::{FromRelay, MOST_OFFERS, MOST_TARGETS, Reply, Served};
use away::Away;
use slots::{PATIENCE as FOR_ROOM, Slots};

pub use asking::Room;
pub use away::{Peer, Present, Pulse, Told};
pub use run::Run;

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
    connections: AtomicU64,
    /// Counts the changes of what is offered anywhere.
    changes: watch::Sender<u64>,
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

#[derive(Debug, Default)]
struct Known {
    targets: Vec<Arc<Target>>,
    connected: Option<Arc<Connected>>,
    /// The same through other relays, by their ids.
    away: BTreeMap<String, Arc<Connected>>,
}

impl Known {
    /// Every way to it, its own connection before those through other relays.
    fn ways(&self) -> impl Iterator<Item = &Arc<Connected>> {
        self.connected.iter().chain(self.away.values())
    }

    /// The best of those by which it takes work.
    fn way(&self) -> Option<&Arc<Connected>> {
        self.ways().find(|connected| connected.takes_work())
    }
}

/// One agent that is there.
#[derive(Debug)]
pub struct Connected {
    /// Which of its connections, as the relay counts them that has it.
    connection: u64,
    id: AgentId,
    /// Its public key.
    key: Hex32,
    state: State,
    way: Way,
    /// What it serves, as it says.
    targets: Vec<Arc<Target>>,
    calls: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
    /// Whether it takes nothing new.
    draining: AtomicBool,
    /// How far its clock is before ours, in milliseconds; [`UNHEARD`] before its first beat.
    clock: AtomicI64,
    /// What it offers by name, by target.
    offers: Mutex<BTreeMap<String, Arc<[Arc<Offer>]>>>,
    /// The targets of its that have columns for vectors.
    vectors: Mutex<BTreeSet<String>>,
    /// Counts the changes of what is offered anywhere.
    changes: watch::Sender<u64>,
    /// Fires when it is gone, or has to go.
    pub gone: CancellationToken,
}

/// How an agent is reached.
#[derive(Debug)]
enum Way {
    /// By its own connection to this process.
    Here {
        out: mpsc::Sender<FromRelay>,
        slots: Arc<Slots>,
    },
    /// Through another relay, to which it has dialed in.
    Away(Away),
}

/// Somebody who waits for an answer.
#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer<Reply>>,
    run: Option<Run>,
    /// Fires when it is to end that was asked of another relay.
    cancel: CancellationToken,
}

/// How an agent is that is there.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// Which one it is.
    pub agent: AgentId,
    /// How far its clock is before ours, in milliseconds, if it was heard.
    pub clock_offset_ms: Option<i64>,
    /// How many more orders it takes at once.
    pub free_slots: usize,
}

impl Fleet {
    /// With the agents that are known from before and what they served then.
    pub fn new(state: State, known: impl IntoIterator<Item = (AgentId, Vec<Served>)>) -> Self {
        let known = known.into_iter().map(|(agent, served)| {
            let targets = served.into_iter().map(Target::from).map(Arc::new);
            let known = Known {
                targets: targets.collect(),
                connected: None,
                away: BTreeMap::new(),
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
            connections: AtomicU64::new(1),
            changes: watch::Sender::new(0),
        }
    }

    /// Takes in an agent that has proven who it is; what is to be written to it comes out of the
    /// receiver. An older connection of the same agent is told to go.
    ///
    /// Refused where another agent serves a target of the same name that is not the same database.
    pub fn connect(
        &self,
        (id, key): (&AgentId, Hex32),
        (served, slots): (Vec<Served>, u32),
    ) -> Result<(Arc<Connected>, mpsc::Receiver<FromRelay>), Refusal> {
        let (out, written) = mpsc::channel(WAITING);
        let targets: Vec<_> = served.into_iter().map(Target::from).map(Arc::new).collect();
        let slots = slots.clamp(1, MOST_SLOTS) as usize;
        let connected = Arc::new(Connected {
            connection: self.connections.fetch_add(1, Ordering::Relaxed),
            id: id.clone(),
            key,
            state: self.state.clone(),
            way: Way::Here {
                out,
                slots: Arc::new(Slots::new(slots, targets.len(), FOR_ROOM)),
            },
            targets: targets.clone(),
            calls: Mutex::default(),
            next: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            clock: AtomicI64::new(UNHEARD),
            offers: Mutex::default(),
            vectors: Mutex::default(),
            changes: self.changes.clone(),
            gone: CancellationToken::new(),
        });
        let mut inside = self.lock();
        for target in &targets {
            inside.check_same(id, target)?;
        }
        let known = inside.agents.entry(id.clone()).or_default();
        known.targets = targets;
        if let Some(before) = known.connected.replace(Arc::clone(&connected)) {
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
        self.changes.send_modify(|count| *count += 1);
        connected.lose_all().await;
    }

    /// How it is set up: alone, or beside others on one store.
    pub(super) fn mode(&self) -> Mode {
        match self.state.replicas() {
            None => Mode::Fleet,
            Some(_) => Mode::Cluster,
        }
    }

    /// What the agents that are there offer on a target; the first of them speaks for all.
    pub fn offers(&self, target: &Target) -> Arc<[Arc<Offer>]> {
        let found = self.find(target, None);
        found.map(|agent| agent.offers(target)).unwrap_or_default()
    }

    /// Whether a target has columns for vectors, as an agent says that is there.
    pub fn has_vectors(&self, target: &Target) -> bool {
        let found = self.find(target, None);
        found.is_some_and(|agent| agent.has_vectors(target))
    }

    /// Fires at each change of what is offered.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Gives an agent that is leaving nothing new.
    pub fn leave(connected: &Connected) {
        connected.draining.store(true, Ordering::Relaxed);
    }

    /// Forgets an agent that was put out, and everything that it served.
    pub fn forget(&self, id: &AgentId) {
        let mut inside = self.lock();
        if let Some(known) = inside.agents.remove(id) {
            known.ways().for_each(|connected| connected.gone.cancel());
            inside.list();
        }
    }

    /// Stops whatever runs for a principal and for all of their clients.
    pub fn stop_work_of(&self, principal: &Principal) {
        let inside = self.lock();
        for known in inside.agents.values() {
            if let Some(connected) = &known.connected {
                connected.stop_work_of(principal);
            }
        }
    }

    /// Forgets all of them.
    pub fn forget_all(&self) {
        let mut inside = self.lock();
        for (_, known) in std::mem::take(&mut inside.agents) {
            known.ways().for_each(|connected| connected.gone.cancel());
        }
        inside.list();
    }

    /// The agents that are there, here or at another relay.
    pub fn here(&self) -> Vec<AgentId> {
        let inside = self.lock();
        let here = inside
            .agents
            .iter()
            .filter(|(_, known)| known.way().is_some());
        here.map(|(id, _)| id.clone()).collect()
    }

    /// How the agents are that are there.
    pub fn vitals(&self) -> Vec<Vitals> {
        let inside = self.lock();
        let here = inside.agents.iter();
        let here = here.filter_map(|(id, known)| Some((id, known.ways().next()?)));
        here.map(|(id, connected)| {
            let clock = connected.clock.load(Ordering::Relaxed);
            Vitals {
                agent: id.clone(),
                clock_offset_ms: Some(clock).filter(|clock| *clock != UNHEARD),
                free_slots: connected.free(),
            }
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
        let here = serving.filter_map(|(_, known)| known.way());
        here.max_by_key(|connected| connected.free())
            .map(Arc::clone)
    }

    /// Remembers where the rows behind a handle are, for every relay of the store.
    pub(super) async fn keep_handle(&self, handle: &HandleId, agent: &AgentId) {
        if let Err(error) = self.state.handles().keep(handle, agent).await {
            // The rows are there, and this process knows where.
            tracing::warn!(%error, "where the rows behind a handle are could not be kept");
        }
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
    pub(super) async fn keeper(&self, handle: &HandleId) -> Option<Arc<Connected>> {
        let known = self.lock().handles.of.get(handle).cloned();
        let agent = match known {
            Some(agent) => agent,
            None => self.state.handles().keeper(handle).await.ok()??,
        };
        let inside = self.lock();
        inside.agents.get(&agent)?.way().map(Arc::clone)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected {
    /// How many more orders it takes at once, as far as is known here.
    fn free(&self) -> usize {
        match &self.way {
            Way::Here { slots, .. } => slots.free(),
            Way::Away(away) => away.free(),
        }
    }

    fn takes_work(&self) -> bool {
        !self.gone.is_cancelled() && !self.draining.load(Ordering::Relaxed)
    }

    /// What it offers on a target.
    pub fn offers(&self, target: &Target) -> Arc<[Arc<Offer>]> {
        let offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers
            .get(target.name.as_str())
            .cloned()
            .unwrap_or_default()
    }

    fn has_vectors(&self, target: &Target) -> bool {
        let with = self.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        with.contains(target.name.as_str())
    }

    /// Keeps whether a target that it serves has columns for vectors.
    pub(super) fn vectors_are(&self, target: &str, there: bool) {
        let mut with = self.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        if !there {
            with.remove(target);
        } else if self.targets.iter().any(|one| one.name.as_str() == target) {
            with.insert(target.to_owned());
        }
    }

    /// Keeps what it offers on a target. What others say of theirs, or it says of another target, is left out,
    /// and more than anybody can use.
    pub(super) fn offers_are(&self, target: &str, mut new: Vec<Offer>) {
        new.retain(|offer| {
            let said = &offer.said;
            offer.vouched.key == self.key && said.agent == self.id && said.target == target
        });
        new.truncate(MOST_OFFERS);
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers.insert(target.to_owned(), new.into_iter().map(Arc::new).collect());
        while offers.len() > MOST_TARGETS {
            offers.pop_last();
        }
        drop(offers);
        self.changes.send_modify(|count| *count += 1);
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
        self.targets = listing::together(all);
    }
}
