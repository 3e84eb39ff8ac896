//! The handshake: each side proves its key before anything else is said.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::core::handshake::{Handshake, Hex32, Side, join_key};
use crate::core::refusal::{Code, Refusal};
use crate::core::succession::{Succession, heir};
use crate::dial::connect::{Reached, Socket, Way};
use crate::ids::random;
use crate::reach::Address;
use crate::store::State;
use crate::wire::fleet::{Challenge, FromAgent, FromRelay, Hello, Join, Proof};

/// How long the relay may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Joins a relay by a join token, and pins its key. What the relay is has to be what the token says.
pub async fn join(state: &State, address: &Address, token: &SecretString) -> Result<(), Refusal> {
    let (expected, id, secret) = parts(token.expose_secret()).ok_or_else(|| {
        Refusal::new(Code::InvalidArgument, "this is not a join token")
            .hint("make one with `secondkey relay join-token`")
    })?;
    let with = (expected, Some((id, secret)));
    let (mut socket, met) = shaken(state, address, with).await?;
    let workspace = met.workspace.parse().map_err(|_| strange())?;
    state.pin_relay(expected, &workspace).await?;
    state.follow_relay(&met.follows).await?;
    // The relay notices.
    drop(socket.close(None).await);
    Ok(())
}

/// The relay's key, the id and the secret of `sjoin_<id>_<secret>.<the relay's public key>`.
fn parts(token: &str) -> Option<(Hex32, &str, &str)> {
    let (token, key) = token.rsplit_once('.')?;
    let (id, secret) = token.strip_prefix("sjoin_")?.split_once('_')?;
    let key = Hex32::try_from(key.to_owned()).ok()?;
    Some((key, id, secret))
}

/// Connects to the relay that was joined.
pub(super) async fn meet(state: &State, address: &Address) -> Result<Socket, Refusal> {
    let pinned = state.pinned_relay()?.ok_or_else(|| {
        Refusal::new(Code::InvalidArgument, "this agent has joined no relay")
            .hint("start it once with `--join`, and a token of `secondkey relay join-token`")
    })?;
    let (socket, Met { workspace, follows }) = shaken(state, address, (pinned, None)).await?;
    let expected = state.served_workspace()?;
    if workspace == expected {
        state.follow_relay(&follows).await?;
        Ok(socket)
    } else {
        let sentence = format!(
            "the relay serves the workspace `{workspace}`, and this agent is of `{expected}`"
        );
        Err(Refusal::new(Code::Forbidden, sentence))
    }
}

/// A connection on which both sides know each other. Where a network lets nobody through by WebSocket, it is carried by
/// long polls.
async fn shaken(
    state: &State,
    address: &Address,
    with: (Hex32, Option<(&str, &str)>),
) -> Result<(Socket, Met), Refusal> {
    let through = async |reached: Reached<'_>, way| {
        let mut socket = reached.socket(way).await?;
        let met = shake(state, &mut socket, with).await?;
        Ok::<_, Refusal>((socket, met))
    };
    // Whoever does not answer at all does not take polls either.
    let reached = Reached::at(address).await?;
    let refusal = match through(reached, Way::Line).await {
        Err(refusal) if refusal.code == Code::AgentUnavailable => refusal,
        shaken => return shaken,
    };
    tracing::info!(relay = %address, %refusal, "no WebSocket gets through; long polls are tried");
    let reached = Reached::at(address).await?;
    through(reached, Way::Polls).await.map_err(|_| refusal)
}

/// A relay that has proven its key.
struct Met {
    /// The workspace that it says it is.
    workspace: String,
    /// How its key follows the one that was expected.
    follows: Vec<Succession>,
}

async fn shake(
    state: &State,
    socket: &mut Socket,
    (expected, token): (Hex32, Option<(&str, &str)>),
) -> Result<Met, Refusal> {
    let key = state.dial_key()?;
    let nonce = random().map_err(|_| Refusal::new(Code::Internal, "no randomness"))?;
    let nonce = Hex32::new(nonce);
    let agent = state.agent();
    let agent_key = Hex32::of_key(&key.verifying_key());
    say(
        socket,
        &FromAgent::Hello(Hello::new(agent.clone(), agent_key, nonce, expected)),
    )
    .await?;
    let Challenge {
        key: relay_key,
        nonce: relay_nonce,
        signature,
        follows,
    } = match hear(socket).await? {
        FromRelay::Challenge(challenge) => challenge,
        said @ (FromRelay::Refused(_)
        | FromRelay::Welcome { .. }
        | FromRelay::Ask { .. }
        | FromRelay::Cancel { .. }
        | FromRelay::Beaten { .. }
        | FromRelay::Follows { .. }
        | FromRelay::Recorded { .. }) => return Err(refused(said)),
    };
    let handshake = Handshake {
        agent,
        agent_key,
        relay_key,
        agent_nonce: nonce,
        relay_nonce,
    };
    let known = relay_key == expected || heir(&follows, expected) == Some(relay_key);
    if !known || !handshake.is_signed(Side::Relay, &signature) {
        return Err(Refusal::new(
            Code::TokenRefused,
            "whoever answers there is not the relay that this agent knows",
        )
        .hint("check the address; a relay with other keys has to be joined again"));
    }
    let proof = Proof {
        signature: handshake.sign(Side::Agent, &key),
        join: token.map(|(id, secret)| Join {
            token: id.to_owned(),
            signature: handshake.sign(Side::Joiner, &join_key(secret)),
        }),
    };
    say(socket, &FromAgent::Proof(proof)).await?;
    match hear(socket).await? {
        FromRelay::Welcome { workspace } => Ok(Met { workspace, follows }),
        said @ (FromRelay::Refused(_)
        | FromRelay::Challenge(_)
        | FromRelay::Ask { .. }
        | FromRelay::Cancel { .. }
        | FromRelay::Beaten { .. }
        | FromRelay::Follows { .. }
        | FromRelay::Recorded { .. }) => Err(refused(said)),
    }
}

/// Why what was hoped for did not come.
fn refused(said: FromRelay) -> Refusal {
    if let FromRelay::Refused(refusal) = said {
        refusal
    } else {
        strange()
    }
}

/// Says one thing.
pub(super) fn text(what: &impl Serialize) -> Result<Message, Refusal> {
    let text = serde_json::to_string(what);
    let text = text.map_err(|_| Refusal::new(Code::Internal, "a message cannot be written"))?;
    Ok(Message::text(text))
}

async fn say(socket: &mut Socket, what: &FromAgent) -> Result<(), Refusal> {
    let message = text(what)?;
    match timeout(ANSWER, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(ended()),
    }
}

async fn hear(socket: &mut Socket) -> Result<FromRelay, Refusal> {
    loop {
        let heard = timeout(ANSWER, socket.next()).await.map_err(|_| ended())?;
        match heard.ok_or_else(ended)?.map_err(|_| ended())? {
            Message::Text(text) => return serde_json::from_str(&text).map_err(|_| strange()),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) | Message::Close(_) | Message::Frame(_) => return Err(ended()),
        }
    }
}

fn ended() -> Refusal {
    Refusal::new(
        Code::AgentUnavailable,
        "the relay has closed the connection",
    )
    .hint("see the relay's log")
}

/// What is heard is no message of this version.
pub(super) fn strange() -> Refusal {
    Refusal::new(
        Code::AgentUnavailable,
        "the relay does not speak as a relay of this version does",
    )
    .hint("install the same version of secondkey on both sides")
}
