//! One connection after its handshake, to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::agent::can_have_vectors;
use crate::core::capability::Offer;
use crate::core::refusal::{Code, Refusal};
use crate::dial::answer::Halt;
use crate::dial::connect::Socket;
use crate::dial::greet::{strange, text};
use crate::dial::{Dialer, SLOTS, answer, reports};
use crate::wire::fleet::{FromAgent, FromRelay, Ready, Served};

/// How often a sign of life is given.
const BEAT: Duration = Duration::from_secs(5);
/// A relay that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a message may take to be written.
const WRITE: Duration = Duration::from_secs(30);
/// How long what is under way gets to end when the agent does.
const DRAIN: Duration = Duration::from_secs(30);

struct Session<'a> {
    dialer: &'a Arc<Dialer>,
    out: mpsc::Sender<FromAgent>,
    calls: HashMap<u64, Halt>,
    tasks: JoinSet<u64>,
    heard: Instant,
}

/// Serves a relay until the connection ends, or everything is finished after `closing` has fired.
pub(super) async fn run(
    dialer: &Arc<Dialer>,
    socket: Socket,
    closing: &CancellationToken,
) -> Result<(), Refusal> {
    let (out, outgoing) = mpsc::channel(64);
    let mut session = Session {
        dialer,
        out,
        calls: HashMap::new(),
        tasks: JoinSet::new(),
        heard: Instant::now(),
    };
    let ended = session.serve(socket, outgoing, closing).await;
    // Nobody can be told any more: reads end, and what is above goes on to its own end.
    for halt in session.calls.values() {
        halt.cancel.cancel();
    }
    session.tasks.detach_all();
    ended
}

impl Session<'_> {
    async fn serve(
        &mut self,
        socket: Socket,
        mut outgoing: mpsc::Receiver<FromAgent>,
        closing: &CancellationToken,
    ) -> Result<(), Refusal> {
        let (mut sink, mut stream) = socket.split();
        let mut first = vec![self.ready()];
        first.extend(reports::unsaid(&self.dialer.state).await?);
        for message in first {
            write(&mut sink, &message).await?;
        }
        let mut changes = self.offered();
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leave_at: Option<Instant> = None;
        loop {
            if leave_at.is_some() && self.tasks.is_empty() && outgoing.is_empty() {
                drop(timeout(WRITE, sink.close()).await);
                return Ok(());
            }
            tokio::select! {
                Some(message) = outgoing.recv() => write(&mut sink, &message).await?,
                heard = stream.next() => {
                    let heard = heard.ok_or_else(lost)?.map_err(|_| lost())?;
                    self.heard = Instant::now();
                    match heard {
                        Message::Text(text) => {
                            let said = serde_json::from_str(&text).map_err(|_| strange())?;
                            self.hear(said).await?;
                        }
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                        Message::Binary(_) => return Err(strange()),
                        Message::Close(_) => return Err(lost()),
                    }
                }
                Some(done) = self.tasks.join_next() => {
                    if let Ok(call) = done {
                        self.calls.remove(&call);
                    }
                }
                Ok(()) = changes.changed() => self.offer(&mut sink).await?,
                _ = beats.tick() => {
                    if self.heard.elapsed() > SILENCE {
                        return Err(lost());
                    }
                    let sent_ms = self.dialer.state.now().unix_ms();
                    write(&mut sink, &FromAgent::Beat { sent_ms }).await?;
                }
                () = closing.cancelled(), if leave_at.is_none() => {
                    leave_at = Some(Instant::now() + DRAIN);
                    write(&mut sink, &FromAgent::Draining).await?;
                }
                () = sleep_until(leave_at.unwrap_or_else(Instant::now)), if leave_at.is_some() => {
                    return Ok(());
                }
            }
        }
    }

    /// The changes of what is offered. What is offered now is news, too.
    fn offered(&self) -> watch::Receiver<u64> {
        let mut changes = self.dialer.agent.changes();
        changes.mark_changed();
        changes
    }

    /// Says what each target offers by name.
    async fn offer(&self, sink: &mut (impl futures::Sink<Message> + Unpin)) -> Result<(), Refusal> {
        let agent = &self.dialer.agent;
        for target in agent.targets() {
            let name = target.name.as_str();
            if agent.capabilities(name).is_some() || can_have_vectors(target) {
                let offers = agent.offers(name);
                let offers = offers.iter().map(|offer| Offer::clone(offer)).collect();
                let said = FromAgent::Offers {
                    target: target.name.clone(),
                    offers,
                    vectors: agent.has_vectors(name),
                };
                write(sink, &said).await?;
            }
        }
        Ok(())
    }

    fn ready(&self) -> FromAgent {
        FromAgent::Ready(Ready {
            targets: self.dialer.agent.targets().map(Served::from).collect(),
            slots: SLOTS,
        })
    }

    async fn hear(&mut self, said: FromRelay) -> Result<(), Refusal> {
        match said {
            FromRelay::Ask { call, question } => {
                let halt = Halt::default();
                self.calls.insert(call, halt.clone());
                let (dialer, out) = (Arc::clone(self.dialer), self.out.clone());
                self.tasks.spawn(async move {
                    answer::answer(&dialer, (call, *question), &out, halt).await;
                    call
                });
            }
            FromRelay::Cancel { call, stop } => {
                if let Some(halt) = self.calls.get(&call) {
                    halt.cancel.cancel();
                    if stop {
                        halt.stop.cancel();
                    }
                }
            }
            FromRelay::Beaten { sent_ms, now_ms } => {
                let now = self.dialer.state.now().unix_ms();
                self.dialer.clocks.compare((sent_ms, now_ms, now));
            }
            FromRelay::Recorded { request } => {
                let state = self.dialer.state.clone();
                tokio::spawn(async move { reports::said(&state, &request).await });
            }
            // Before the next message, which may be an order by that key.
            FromRelay::Follows { chain } => self.dialer.state.follow_relay(&chain).await?,
            FromRelay::Refused(refusal) => return Err(refusal),
            FromRelay::Challenge(_) | FromRelay::Welcome { .. } => return Err(strange()),
        }
        Ok(())
    }
}

async fn write(
    sink: &mut (impl futures::Sink<Message> + Unpin),
    message: &FromAgent,
) -> Result<(), Refusal> {
    let sent = timeout(WRITE, sink.send(text(message)?)).await;
    sent.map_err(|_| lost())?.map_err(|_| lost())
}

fn lost() -> Refusal {
    Refusal::new(
        Code::AgentUnavailable,
        "the connection to the relay was lost",
    )
    .hint("it is made again")
}
