//! FACE: an agent's own connection to the relay that it has joined. It dials out, and nobody dials it.
//!
//! It believes the relay nothing. The relay proves the key that was pinned when this agent joined; each
//! order is a token of that key, verified by the agent like any other, judged by its own policy and held
//! against its own trust file. What the relay asks without a token is what anybody may ask who is let in:
//! names and types out of a catalogue, whether a database answers, and rows for whom they were read.

mod answer;
mod clocks;
mod connect;
mod greet;
mod polls;
mod reports;
mod session;

pub use greet::join;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::ids::random;
use crate::reach::Address;
use crate::store::State;
use clocks::Clocks;

/// Orders that run at the same time.
pub const SLOTS: u32 = 32;
/// Other questions that are answered at the same time.
const QUESTIONS: usize = 64;
/// The shortest and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A connection that held so long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(30);

/// An agent that dials a relay.
#[derive(Debug)]
pub struct Dialer {
    agent: Arc<Agent>,
    state: State,
    address: Address,
    slots: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    clocks: Clocks,
}

impl Dialer {
    /// Makes an agent that has joined a relay ready to dial it.
    pub fn new(agent: Arc<Agent>, state: State, address: Address) -> Self {
        Self {
            agent,
            state,
            address,
            slots: Arc::new(Semaphore::new(SLOTS as usize)),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            clocks: Clocks::default(),
        }
    }
}

/// Stays connected until `closing` fires; then finishes what is under way, and leaves.
pub async fn keep(dialer: Arc<Dialer>, closing: CancellationToken) {
    if let Err(refusal) = reports::own_up(&dialer.state).await {
        tracing::error!(%refusal, "runs that a process before this one left behind cannot be recorded");
    }
    let mut pause = PAUSES.0;
    while !closing.is_cancelled() {
        let began = Instant::now();
        let ended = tokio::select! {
            met = greet::meet(&dialer.state, &dialer.address) => match met {
                Ok(socket) => {
                    tracing::info!(relay = %dialer.address, "connected");
                    session::run(&dialer, socket, &closing).await
                }
                Err(refusal) => Err(refusal),
            },
            () = closing.cancelled() => return,
        };
        match ended {
            Ok(()) if closing.is_cancelled() => return,
            Ok(()) => tracing::warn!(relay = %dialer.address, "the connection has ended"),
            Err(refusal) => tracing::warn!(relay = %dialer.address, %refusal, "no connection"),
        }
        pause = if began.elapsed() >= GOOD {
            PAUSES.0
        } else {
            pause.saturating_mul(2).min(PAUSES.1)
        };
        tokio::select! {
            () = sleep(jittered(pause)) => {}
            () = closing.cancelled() => {}
        }
    }
}

/// Between half and the whole of a pause, so that many agents do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let [byte] = random::<1>().unwrap_or([255]);
    pause.mul_f64(0.5 + f64::from(byte) / 510.0)
}
