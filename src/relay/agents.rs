//! Agents: proven by their key, then asked.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::{Error as Broken, Message, Utf8Bytes};

use crate::broker::fleet::{Connected, Fleet};
use crate::core::audit::{Draft, EventKind};
use crate::core::handshake::{Handshake, Hex32, Side};
use crate::core::ids::AgentId;
use crate::core::refusal::{Code, Refusal};
use crate::core::target::TargetName;
use crate::ids::random;
use crate::relay::address::Peer;
use crate::relay::socket::{Socket as WebSocket, Upgrade, widened};
use crate::relay::{Relay, Workspace};
use crate::store::members::Joined;
use crate::wire::VERSION;
use crate::wire::fleet::{
    Challenge, FromAgent, FromRelay, Hello, LONGEST_OF_AGENT, LONGEST_READY, LONGEST_STRANGER,
    MOST_TARGETS, Proof, Ready, Served,
};
use crate::wire::hello::Spoken;

/// How long a connection may take to prove which agent it is, and to say what it serves.
const HELLO: Duration = Duration::from_secs(10);
/// How long a message may take to be written.
const WRITE: Duration = Duration::from_secs(30);
/// For how long refusals of one address are summed up.
const MINUTE: Duration = Duration::from_mins(1);
/// An agent that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(20);

/// How a connection came to its end.
type Ended = Result<(), Refusal>;

/// Takes an agent's connection.
pub(super) async fn dialed(
    State(relay): State<Arc<Relay>>,
    Extension(Peer(peer)): Extension<Peer>,
    upgrade: Upgrade,
) -> Response {
    let Some(stranger) = relay.strangers.place(peer) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    upgrade.serve(async move |mut socket| {
        let until = Instant::now() + HELLO;
        let late = || malformed("it did not come in time");
        let hello = timeout_at(until, hear_hello(&mut socket)).await;
        let hello = match hello.unwrap_or_else(|_| Err(late())) {
            Ok(hello) => hello,
            Err(refusal) => {
                let first = Arc::clone(relay.hall.first());
                return turn_away((&relay, &first), socket, (peer, refusal)).await;
            }
        };
        let workspace = relay.hall.meant(hello.relay);
        let here = (&*relay, &*workspace);
        let proven = timeout_at(until, prove(&workspace, &mut socket, hello)).await;
        let proven = match proven.unwrap_or_else(|_| Err(late())) {
            Ok(proven) => proven,
            Err(refusal) => return turn_away(here, socket, (peer, refusal)).await,
        };
        stranger.was_an_agents();
        let mut socket = widened(socket).await;
        let learned = learn(&workspace, &mut socket, &proven);
        let learned = timeout_at(until, learned).await;
        match learned.unwrap_or_else(|_| Err(late())) {
            Ok(Some(ready)) => serve(here, (socket, peer), (proven, ready)).await,
            // It has joined, and comes back when it is ready to work.
            Ok(None) => {}
            Err(refusal) => turn_away(here, socket, (peer, refusal)).await,
        }
    })
}

/// An agent that has proven its key.
struct Proven {
    agent: AgentId,
    /// The names of targets that it may serve.
    may_serve: BTreeSet<TargetName>,
    /// Its own key.
    key: Hex32,
    /// The relay's key, as it was proven to it.
    met: Hex32,
}

/// Which agent it is.
async fn prove(
    workspace: &Workspace,
    socket: &mut WebSocket,
    hello: Hello,
) -> Result<Proven, Refusal> {
    let nonce = random().map_err(|_| Refusal::new(Code::Internal, "no randomness"))?;
    let keys = workspace.state.token_keys()?;
    let handshake = Handshake {
        agent: &hello.agent,
        agent_key: hello.key,
        relay_key: keys.signer.public(),
        agent_nonce: hello.nonce,
        relay_nonce: Hex32::new(nonce),
    };
    let challenge = Challenge {
        key: handshake.relay_key,
        nonce: handshake.relay_nonce,
        signature: keys.signer.prove(&handshake),
        follows: if hello.relay == Some(handshake.relay_key) {
            Vec::new()
        } else {
            workspace.state.successions()?.to_vec()
        },
    };
    say(socket, &FromRelay::Challenge(challenge)).await?;
    let Some(FromAgent::Proof(proof)) = hear(socket, LONGEST_STRANGER).await? else {
        return Err(malformed("no proof came"));
    };
    if !handshake.is_signed(Side::Agent, &proof.signature) {
        return Err(unknown());
    }
    let may_serve = admit(workspace, (&hello, &proof), &handshake).await?;
    let met = handshake.relay_key;
    Ok(Proven {
        agent: hello.agent,
        may_serve,
        key: hello.key,
        met,
    })
}

/// What it serves; nothing for one that leaves after it has joined.
async fn learn(
    workspace: &Workspace,
    socket: &mut WebSocket,
    Proven {
        agent, may_serve, ..
    }: &Proven,
) -> Result<Option<Ready>, Refusal> {
    let welcome = FromRelay::Welcome {
        workspace: workspace.state.log().workspace().to_owned(),
    };
    say(socket, &welcome).await?;
    match hear(socket, LONGEST_READY).await? {
        Some(FromAgent::Ready(ready)) if ready.targets.len() <= MOST_TARGETS => {
            check_served(agent, &ready, may_serve)?;
            Ok(Some(ready))
        }
        Some(_) => Err(malformed("it does not say what it serves")),
        None => Ok(None),
    }
}

/// A member by its key, or somebody who becomes one by a join token.
/// Gives the names of targets that it may serve.
async fn admit(
    workspace: &Workspace,
    (hello, proof): (&Hello, &Proof),
    handshake: &Handshake<'_>,
) -> Result<BTreeSet<TargetName>, Refusal> {
    let members = &workspace.members;
    if members.member(&hello.agent).await?.is_none() {
        let join = proof.join.as_ref().ok_or_else(unknown)?;
        let key = members.invited(&join.token).await?.ok_or_else(unknown)?;
        if !handshake.is_signed_by((Side::Joiner, key), &join.signature) {
            return Err(unknown());
        }
        match members.join(&hello.agent, hello.key, &join.token).await? {
            Joined::Yes => {}
            Joined::NoToken | Joined::Taken => return Err(unknown()),
        }
    }
    let member = members.member(&hello.agent).await?;
    member
        .filter(|member| member.key == hello.key && member.revoked_ms.is_none())
        .map(|member| member.may_serve)
        .ok_or_else(unknown)
}

/// What an agent serves is what it was let to, in words that everybody can be shown.
fn check_served(
    agent: &AgentId,
    ready: &Ready,
    may_serve: &BTreeSet<TargetName>,
) -> Result<(), Refusal> {
    let beyond = |served: &&Served| !may_serve.contains(&served.name);
    if let Some(served) = ready.targets.iter().find(beyond) {
        let name = &served.name;
        let sentence = format!("agent {agent} may not serve a target `{name}` here");
        return Err(Refusal::new(Code::Forbidden, sentence).hint(format!(
            "let it with `secondkey relay agents allow {agent} {name}`"
        )));
    }
    if ready.targets.iter().all(Served::is_presentable) {
        Ok(())
    } else {
        Err(malformed(
            "a target's environment or labels are too long, or not plain text",
        ))
    }
}

/// The version that a first message says, whatever else it says.
#[derive(serde::Deserialize)]
struct First {
    hello: Spoken,
}

async fn hear_hello(socket: &mut WebSocket) -> Result<Hello, Refusal> {
    let text = hear_text(socket, LONGEST_STRANGER).await?;
    let text = text.ok_or_else(|| malformed("it did not come"))?;
    let spoken: First = serde_json::from_str(&text).map_err(|_| malformed("it is not one"))?;
    if spoken.hello.secondkey != VERSION {
        let sentence = format!(
            "the hello is of version {}, and this relay speaks version {VERSION}",
            spoken.hello.secondkey
        );
        return Err(Refusal::new(Code::AgentUnavailable, sentence)
            .hint("install the same version of secondkey on both sides"));
    }
    match serde_json::from_str(&text) {
        Ok(FromAgent::Hello(hello)) => Ok(hello),
        Ok(_) | Err(_) => Err(malformed("it is not one")),
    }
}

/// Says why, and puts the first of a minute and an address on record; the others are summed up.
async fn turn_away(
    (relay, workspace): (&Relay, &Workspace),
    mut socket: WebSocket,
    (peer, refusal): (IpAddr, Refusal),
) {
    if let Some(address) = relay.strangers.turned_away(peer, refusal.code) {
        let draft = Draft::new(workspace.state.now(), EventKind::AgentRefused).refusal(&refusal);
        let draft = draft.text("address", &address);
        if let Err(error) = workspace.state.log().append(draft).await {
            tracing::error!(%error, "an agent that was turned away could not be recorded");
        }
    }
    drop(say(&mut socket, &FromRelay::Refused(refusal)).await);
    drop(socket.send(Message::Close(None)).await);
}

/// Puts on record how many were turned away, once a minute and at the end: in the log of the relay's first
/// workspace, since who has proven nothing is of none.
pub(super) async fn sum_up(relay: Arc<Relay>) {
    loop {
        let first = relay.hall.first();
        let ends = timeout(MINUTE, relay.closing.cancelled()).await.is_ok();
        for ((address, code), count) in relay.strangers.further() {
            let draft = Draft::new(first.state.now(), EventKind::AgentRefused).code(code);
            let draft = draft.text("address", &address).number("further", count);
            first.state.log().append_soon(draft);
        }
        if ends {
            return;
        }
    }
}

/// Serves one agent, to the end of its connection.
async fn serve(
    (relay, workspace): (&Relay, &Workspace),
    (mut socket, peer): (WebSocket, IpAddr),
    (
        Proven {
            agent, key, met, ..
        },
        ready,
    ): (Proven, Ready),
) {
    let served = serde_json::to_string(&ready.targets).unwrap_or_default();
    let draft = Draft::new(workspace.state.now(), EventKind::AgentConnected).agent(&agent);
    let draft = draft.number("targets", ready.targets.len() as u64);
    let connected = match workspace
        .fleet
        .connect((&agent, key), (ready.targets, ready.slots))
    {
        Ok(connected) => connected,
        Err(refusal) => return turn_away((relay, workspace), socket, (peer, refusal)).await,
    };
    let (connected, outgoing) = connected;
    let ended = match workspace.state.log().append(draft).await {
        Ok(_) => match workspace.members.seen(&agent, served).await {
            Ok(()) => talk(workspace, (&mut socket, met), (&connected, outgoing)).await,
            Err(refusal) => Err(refusal),
        },
        Err(error) => Err(error.into()),
    };
    workspace.fleet.disconnect(&connected).await;
    let draft = Draft::new(workspace.state.now(), EventKind::AgentDisconnected).agent(&agent);
    workspace.state.log().append_soon(match &ended {
        Ok(()) => draft,
        Err(refusal) => draft.refusal(refusal),
    });
    match ended {
        Ok(()) => tracing::info!(%agent, "an agent has left"),
        Err(refusal) => tracing::warn!(%agent, %refusal, "an agent is gone"),
    }
}

async fn talk(
    workspace: &Workspace,
    (socket, mut key): (&mut WebSocket, Hex32),
    (connected, mut outgoing): (&Arc<Connected>, mpsc::Receiver<FromRelay>),
) -> Ended {
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => {
                    follow(workspace, socket, &mut key).await?;
                    say(socket, &message).await?;
                }
                None => return Ok(()),
            },
            message = hear(socket, LONGEST_OF_AGENT) => {
                heard = Instant::now();
                match message? {
                    None => return Ok(()),
                    Some(FromAgent::Beat { sent_ms }) => {
                        let now_ms = workspace.state.now().unix_ms();
                        connected.clock_is(sent_ms.saturating_sub(now_ms));
                        say(socket, &FromRelay::Beaten { sent_ms, now_ms }).await?;
                    }
                    Some(FromAgent::Draining) => Fleet::leave(connected),
                    Some(said) => connected.hear(said).await?,
                }
            }
            () = sleep_until(heard + SILENCE) => {
                return Err(malformed("nothing came for 20 seconds"));
            }
            () = connected.gone.cancelled() => return Ok(()),
        }
    }
}

/// Says that orders are signed by another key now, where they are: before the first of them.
async fn follow(workspace: &Workspace, socket: &mut WebSocket, key: &mut Hex32) -> Ended {
    let now = workspace.state.token_keys()?.signer.public();
    if now != *key {
        let chain = workspace.state.successions()?.to_vec();
        say(socket, &FromRelay::Follows { chain }).await?;
        *key = now;
    }
    Ok(())
}

async fn say(socket: &mut WebSocket, what: &FromRelay) -> Result<(), Refusal> {
    let text = serde_json::to_string(what);
    let text = text.map_err(|_| Refusal::new(Code::Internal, "a message cannot be written"))?;
    match timeout(WRITE, socket.send(Message::text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(malformed("it does not take what is said to it")),
    }
}

/// The next message; nothing at the end.
async fn hear(socket: &mut WebSocket, longest: usize) -> Result<Option<FromAgent>, Refusal> {
    let Some(text) = hear_text(socket, longest).await? else {
        return Ok(None);
    };
    let said = serde_json::from_str(&text);
    said.map(Some)
        .map_err(|_| malformed("it is not of this version"))
}

async fn hear_text(socket: &mut WebSocket, longest: usize) -> Result<Option<Utf8Bytes>, Refusal> {
    loop {
        match socket.next().await {
            Some(Err(Broken::Capacity(_))) => {
                return Err(malformed("it is too long, or not text"));
            }
            None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(None),
            Some(Ok(Message::Text(text))) if text.len() <= longest => return Ok(Some(text)),
            Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                return Err(malformed("it is too long, or not text"));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
        }
    }
}

fn malformed(why: &str) -> Refusal {
    let sentence = format!("the agent's message cannot be taken: {why}");
    Refusal::new(Code::InvalidArgument, sentence)
        .hint("install the same version of secondkey on both sides")
}

/// Says the same to a stranger, to one that was put out and to one with a wrong token.
fn unknown() -> Refusal {
    Refusal::new(Code::Forbidden, "this relay does not know the agent")
        .hint("join with a new token of `secondkey relay join-token`, from a state folder that has joined no relay")
}
