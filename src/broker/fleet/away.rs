//! Agents that have dialed in to another relay of the same store: what is known of them here, and how they are
//! asked through that relay.
//!
//! The relay to which an agent has dialed in keeps the record of what runs there, and gives it room. Whoever asks
//! through it decides and signs, as for an agent of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::broker::fleet::asking::QUESTION;
use crate::broker::fleet::{Connected, Fleet, Run, UNHEARD, Way};
use crate::core::capability::Offer;
use crate::core::handshake::Hex32;
use crate::core::ids::AgentId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::target::{Target, TargetName};
use crate::wire::Answer;
use crate::wire::fleet::{Question, Reply, Served};

/// Another relay of the same store, to which agents have dialed in.
pub trait Peer: fmt::Debug + Send + Sync {
    /// Waits for room at an agent of theirs, which is given back with what this gives.
    fn slot<'a>(
        &'a self,
        agent: &'a AgentId,
        whose: (&'a Principal, &'a TargetName),
    ) -> BoxFuture<'a, Result<Box<dyn Send + Sync>, Refusal>>;

    /// Has an agent of theirs asked. Nothing where the answer was lost: what was asked may have been done. A refusal
    /// where it surely was not asked. Fires `cancel`, the agent is told that nobody waits.
    fn ask<'a>(
        &'a self,
        agent: &'a AgentId,
        asks: (Question, Option<Run>),
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Option<Answer<Reply>>>;
}

/// An agent that is at another relay.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) peer: Arc<dyn Peer>,
    free: AtomicUsize,
}

impl Away {
    pub(super) fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }
}

/// What a relay tells others of its agents: all of them first, and then what has changed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// One is there, and this is what it serves.
    Here(Box<Present>),
    /// How one is that is there.
    Pulse(Pulse),
    /// One is there no more.
    Gone(AgentId),
}

/// An agent that is there.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Present {
    /// Which one.
    pub agent: AgentId,
    /// Its public key.
    pub key: Hex32,
    /// Made for its connection: another one is another number.
    pub connection: u64,
    /// What it serves.
    pub targets: Vec<Served>,
    /// What it offers by name, by target.
    pub offers: BTreeMap<TargetName, Vec<Offer>>,
    /// The targets of its that have columns for vectors.
    pub vectors: BTreeSet<String>,
}

/// How an agent is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pulse {
    /// Which one.
    pub agent: AgentId,
    /// How many more orders it takes at once.
    pub free: usize,
    /// Whether it takes nothing new.
    pub draining: bool,
    /// How far its clock is before ours, in milliseconds, if it was heard.
    pub clock_ms: Option<i64>,
}

impl Fleet {
    /// The agents that have dialed in to this process, for other relays.
    pub fn own(&self) -> Vec<(Present, Pulse)> {
        let inside = self.lock();
        let here = inside.agents.values();
        let here = here.filter_map(|known| known.connected.as_ref());
        here.filter(|connected| !connected.gone.is_cancelled())
            .map(|connected| (connected.present(), connected.pulse()))
            .collect()
    }

    /// Takes in what another relay tells of its agents.
    pub fn told(&self, from: &str, peer: &Arc<dyn Peer>, told: Told) {
        match told {
            Told::Here(present) => self.is_there(from, peer, &present),
            Told::Pulse(pulse) => {
                if let Some(connected) = self.through(from, &pulse.agent) {
                    connected.beats(&pulse);
                }
            }
            Told::Gone(agent) => self.is_gone(from, &agent),
        }
    }

    /// Another relay is not heard of any more: neither are its agents.
    pub fn lose_peer(&self, from: &str) {
        let agents: Vec<AgentId> = self.lock().agents.keys().cloned().collect();
        for agent in agents {
            self.is_gone(from, &agent);
        }
    }

    fn through(&self, from: &str, agent: &AgentId) -> Option<Arc<Connected>> {
        self.lock().agents.get(agent)?.away.get(from).cloned()
    }

    fn is_there(&self, from: &str, peer: &Arc<dyn Peer>, present: &Present) {
        let known = self.through(from, &present.agent);
        let same = known.filter(|known| known.connection == present.connection);
        let connected = match same {
            Some(same) => same,
            None => match self.connect_away(from, peer, present) {
                Ok(connected) => connected,
                Err(refusal) => {
                    let agent = &present.agent;
                    return tracing::warn!(%agent, %refusal, "an agent of another relay is not used");
                }
            },
        };
        for target in &present.targets {
            let name = target.name.as_str();
            let offers = present.offers.get(&target.name);
            connected.vectors_are(name, present.vectors.contains(name));
            connected.offers_are(name, offers.cloned().unwrap_or_default());
        }
        self.news.notify_waiters();
    }

    fn connect_away(
        &self,
        from: &str,
        peer: &Arc<dyn Peer>,
        present: &Present,
    ) -> Result<Arc<Connected>, Refusal> {
        let id = &present.agent;
        let targets = present.targets.iter().cloned().map(Target::from);
        let targets: Vec<_> = targets.map(Arc::new).collect();
        let way = Way::Away(Away {
            peer: Arc::clone(peer),
            free: AtomicUsize::new(1),
        });
        let connected = Arc::new(Connected {
            connection: present.connection,
            id: id.clone(),
            key: present.key,
            state: self.state.clone(),
            way,
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
        // What it has said to this process itself is newer, or as new.
        if known.connected.is_none() {
            known.targets = targets;
        }
        let before = known.away.insert(from.to_owned(), Arc::clone(&connected));
        inside.list();
        drop(inside);
        if let Some(before) = before {
            before.is_lost();
        }
        Ok(connected)
    }

    fn is_gone(&self, from: &str, agent: &AgentId) {
        let lost = {
            let mut inside = self.lock();
            let known = inside.agents.get_mut(agent);
            known.and_then(|known| known.away.remove(from))
        };
        if let Some(lost) = lost {
            lost.is_lost();
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Asks an agent of this process for another relay. Nothing where the answer was lost.
    pub async fn ask_for_peer(
        &self,
        agent: &AgentId,
        (question, run): (Question, Option<Run>),
        cancel: CancellationToken,
    ) -> Option<Answer<Reply>> {
        let connected = match self.own_agent(agent) {
            Ok(connected) => connected,
            Err(refusal) => return Some(Answer::Refused(refusal)),
        };
        let patience = run.as_ref().map_or(QUESTION, Run::patience);
        let mut asked = match connected.ask(question, run).await {
            Ok(asked) => asked,
            Err(refusal) => return Some(Answer::Refused(refusal)),
        };
        let until = Instant::now() + patience;
        let answer = tokio::select! {
            answer = timeout_at(until, &mut asked.answer) => answer,
            () = cancel.cancelled() => {
                connected.say_cancel(asked.call, false);
                timeout_at(until, &mut asked.answer).await
            }
        };
        answer.ok()?.ok()
    }

    /// An agent that has dialed in to this process and takes work.
    pub fn own_agent(&self, agent: &AgentId) -> Result<Arc<Connected>, Refusal> {
        let inside = self.lock();
        let known = inside.agents.get(agent);
        let own = known.and_then(|known| known.connected.as_ref());
        let own = own.filter(|connected| connected.takes_work());
        own.cloned().ok_or_else(|| {
            let sentence = format!("agent {agent} is not connected here any more");
            Refusal::new(Code::AgentUnavailable, sentence)
                .hint("make the call again; the agent comes back by itself")
        })
    }
}

impl Connected {
    fn present(&self) -> Present {
        let offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let offered = offers.iter().filter_map(|(target, offers)| {
            let offers = offers.iter().map(|offer| (**offer).clone());
            Some((target.parse().ok()?, offers.collect()))
        });
        let vectors = self.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        Present {
            agent: self.id.clone(),
            key: self.key,
            connection: self.connection,
            targets: self
                .targets
                .iter()
                .map(|one| Served::from(&**one))
                .collect(),
            offers: offered.collect(),
            vectors: vectors.clone(),
        }
    }

    fn pulse(&self) -> Pulse {
        let clock = self.clock.load(Ordering::Relaxed);
        Pulse {
            agent: self.id.clone(),
            free: self.free(),
            draining: self.draining.load(Ordering::Relaxed),
            clock_ms: Some(clock).filter(|clock| *clock != UNHEARD),
        }
    }

    fn beats(&self, pulse: &Pulse) {
        if let Way::Away(away) = &self.way {
            away.free.store(pulse.free, Ordering::Relaxed);
        }
        self.draining.store(pulse.draining, Ordering::Relaxed);
        self.clock_is(pulse.clock_ms.unwrap_or(UNHEARD));
    }

    /// Whoever waits for an answer through the other relay learns that there is none. What is under way there is
    /// for that relay to keep, or for the agent to say again.
    fn is_lost(&self) {
        self.gone.cancel();
        self.calls().clear();
    }

    /// Puts a question through the other relay.
    pub(super) fn ask_away(
        self: &Arc<Self>,
        away: &Away,
        call: u64,
        asks: (Question, Option<Run>),
        cancel: CancellationToken,
    ) {
        let (this, peer) = (Arc::clone(self), Arc::clone(&away.peer));
        tokio::spawn(async move {
            let answer = peer.ask(&this.id, asks, cancel).await;
            let waiting = this.calls().remove(&call);
            if let (Some(waiting), Some(answer)) = (waiting, answer) {
                // Whoever asked may have left.
                drop(waiting.answer.send(answer));
            }
        });
    }

    /// Has what a call runs end, if it may: a read.
    pub(super) fn cancel(&self, call: u64) {
        self.say_cancel(call, false);
        if let (Way::Away(_), Some(waiting)) = (&self.way, self.calls().get(&call)) {
            waiting.cancel.cancel();
        }
    }
}
