//! A line to another relay: one connection for everything that is asked there, made when it is first needed and
//! again when it was lost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::broker::fleet::{Peer, Run};
use crate::core::ids::AgentId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::target::TargetName;
use crate::ids::random;
use crate::relay::peers::tls::Identity;
use crate::wire::Answer;
use crate::wire::fleet::{LONGEST_OF_AGENT, Question, Reply};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a connection is tried whether it still is one, and how long that may take.
pub(super) const PING: Duration = Duration::from_secs(2);
/// How much of one answer may be on its way before it is read, in bytes.
pub(super) const WINDOW: u32 = 1024 * 1024;

/// A line to another relay.
pub(super) struct Line {
    address: String,
    identity: Identity,
    sender: Mutex<Option<SendRequest<Body>>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Room that is wanted at an agent.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct RoomWanted {
    pub(super) principal: Principal,
    pub(super) target: TargetName,
}

/// A question to an agent.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Asked {
    /// Made for it, to name it by.
    pub(super) id: String,
    pub(super) question: Question,
    pub(super) run: Option<Run>,
}

impl Line {
    /// To the relay at this address.
    pub(super) fn new(address: String, identity: Identity) -> Self {
        Self {
            address,
            identity,
            sender: Mutex::new(None),
        }
    }

    /// Something that surely was not asked.
    fn unreached(&self, why: &str) -> Refusal {
        let sentence = format!("the relay at {} cannot be reached: {why}", self.address);
        Refusal::new(Code::AgentUnavailable, sentence)
            .hint("make the call again; the agent comes back by itself")
    }

    async fn sender(&self) -> Result<SendRequest<Body>, Refusal> {
        let mut kept = self.sender.lock().await;
        if let Some(sender) = kept.as_mut()
            && sender.ready().await.is_ok()
        {
            return Ok(sender.clone());
        }
        let made = timeout(CONNECT, self.connect()).await;
        let made = made.unwrap_or_else(|_| Err(self.unreached("it did not answer in time")))?;
        Ok(kept.insert(made).clone())
    }

    async fn connect(&self) -> Result<SendRequest<Body>, Refusal> {
        let failed = |error: &dyn fmt::Display| self.unreached(&error.to_string());
        let stream = TcpStream::connect(&self.address).await;
        let stream = stream.map_err(|error| failed(&error.kind()))?;
        drop(stream.set_nodelay(true));
        let name = ServerName::try_from("relay").map_err(|error| failed(&error))?;
        let connector = TlsConnector::from(Arc::clone(&self.identity.client));
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| failed(&error))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW.saturating_mul(8))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        tokio::spawn(connection.map(drop));
        Ok(sender)
    }

    /// Asks for something. The inner error is about something that may have been done.
    pub(super) async fn send(
        &self,
        (method, path): (Method, String),
        body: &impl Serialize,
    ) -> Result<Result<Response<Incoming>, hyper::Error>, Refusal> {
        let body = serde_json::to_vec(body);
        let body = body.map_err(|_| Refusal::new(Code::Internal, "a message cannot be written"))?;
        let request = Request::builder()
            .method(method)
            .uri(format!("https://relay{path}"))
            .body(Body::from(body));
        let request =
            request.map_err(|_| Refusal::new(Code::Internal, "a message cannot be written"))?;
        let mut sender = self.sender().await?;
        Ok(sender.send_request(request).await)
    }

    /// Asks for an answer that is all there is to it. Nothing where it was lost.
    async fn call(&self, path: String, body: &impl Serialize) -> Option<Answer<Reply>> {
        let response = match self.send((Method::POST, path), body).await {
            Ok(response) => response.ok()?,
            Err(refusal) => return Some(Answer::Refused(refusal)),
        };
        if response.status() != StatusCode::OK {
            return None;
        }
        let body = Limited::new(response.into_body(), LONGEST_OF_AGENT)
            .collect()
            .await;
        serde_json::from_slice(&body.ok()?.to_bytes()).ok()
    }
}

/// The agents of one workspace at another relay.
#[derive(Debug)]
pub(super) struct Neighbor {
    pub(super) line: Arc<Line>,
    pub(super) workspace: String,
}

impl Neighbor {
    fn path(&self, what: &str, agent: &AgentId) -> String {
        format!("/{what}/{}/{agent}", self.workspace)
    }
}

impl Peer for Neighbor {
    fn slot<'a>(
        &'a self,
        agent: &'a AgentId,
        (principal, target): (&'a Principal, &'a TargetName),
    ) -> BoxFuture<'a, Result<Box<dyn Send + Sync>, Refusal>> {
        Box::pin(async move {
            let wanted = RoomWanted {
                principal: principal.clone(),
                target: target.clone(),
            };
            let place = (Method::POST, self.path("room", agent));
            let response = self.line.send(place, &wanted).await?;
            let lost = |_| self.line.unreached("the connection was lost");
            let response = response.map_err(lost)?;
            if response.status() == StatusCode::OK {
                // Open for as long as the room is held.
                return Ok(Box::new(std::sync::Mutex::new(response.into_body())) as _);
            }
            let body = Limited::new(response.into_body(), LONGEST_OF_AGENT)
                .collect()
                .await;
            let body = body.map_err(|_| self.line.unreached("the connection was lost"))?;
            let refusal: Result<Refusal, _> = serde_json::from_slice(&body.to_bytes());
            Err(refusal.unwrap_or_else(|_| self.line.unreached("it answered strangely")))
        })
    }

    fn ask<'a>(
        &'a self,
        agent: &'a AgentId,
        (question, run): (Question, Option<Run>),
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Option<Answer<Reply>>> {
        Box::pin(async move {
            let Ok(id) = random::<16>() else {
                let refusal = Refusal::new(Code::Internal, "no randomness");
                return Some(Answer::Refused(refusal));
            };
            let asked = Asked {
                id: hex::encode(id),
                question,
                run,
            };
            let call = self.line.call(self.path("ask", agent), &asked);
            tokio::pin!(call);
            tokio::select! {
                answer = &mut call => return answer,
                () = cancel.cancelled() => {}
            }
            let path = format!("/cancel/{}", asked.id);
            // Where this is lost, so is the call.
            drop(self.line.send((Method::POST, path), &()).await);
            call.await
        })
    }
}
