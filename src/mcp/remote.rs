//! The bridge between a client's pipes and a relay: each line goes as a request over HTTP, and what the relay
//! says comes back as lines, the answers of many requests at a time.
//!
//! A relay that is away, or was started anew, is no more than a wait: a request waits for it, and a session that it
//! does not know any more is opened again with the client's own greeting. What may have been carried out when the
//! connection broke is never sent twice; the client is told that its end is not known.

mod asked;
mod door;
mod session;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use rmcp::model::{
    CancelledNotification, ClientJsonRpcMessage, ClientNotification, JsonRpcMessage,
    JsonRpcNotification, RequestId,
};
use rmcp::transport::stdio_pipes;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::core::ids;
use crate::core::refusal::{Code, Refusal};
use crate::mcp::stdio::flight::Flight;
use crate::mcp::stdio::lines::{Line, Lines};
use crate::mcp::stdio::message::{self, Heard};
use crate::mcp::stdio::outbox::{Outbox, nobody_reads};
use crate::reach::Address;
use asked::Asked;
use door::{Answer, Broken, Door, Head};
use session::Sessions;

/// How long a request waits for a relay that is not there.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long what wants no answer waits for it.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the relay may take to hear that the client leaves.
const FAREWELL: Duration = Duration::from_secs(2);
/// The shortest and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often it is looked whether a client that waits for an answer is still there.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a lost session is opened again for one request.
const RENEWALS: u32 = 3;

/// How a bridge ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The client had nothing more to say, and has all its answers; or it is gone.
    Client,
    /// The relay did not take the key, from the beginning.
    Stranger(Refusal),
}

type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A bridge.
struct Remote {
    door: Door,
    outbox: Outbox<Writer>,
    flight: Flight,
    /// Ends what is under way, without an answer.
    cancels: Mutex<HashMap<RequestId, CancellationToken>>,
    sessions: Sessions,
    /// The relay has taken the key once.
    known: AtomicBool,
    /// The relay did not take the key, and never has.
    stranger: CancellationToken,
    /// Nobody reads what is written.
    gone: CancellationToken,
    /// Takes the requests that answers name.
    answered: UnboundedSender<ids::RequestId>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}

/// Why a request has no answer of the relay's.
enum No {
    /// The relay does not take the key.
    Stranger,
    /// Anything else.
    Refused(Refusal),
}

/// Serves the client of this process until its input ends and all is answered, it is gone, or `closing` fires.
///
/// The requests that answers name go to `answered`.
pub async fn bridge(
    address: Address,
    key: &SecretString,
    answered: UnboundedSender<ids::RequestId>,
    closing: CancellationToken,
) -> Result<Ended, Refusal> {
    let (reader, writer) = stdio_pipes();
    let remote = Arc::new(Remote {
        door: Door::new(address, key)?,
        outbox: Outbox::new(Box::new(writer)),
        flight: Flight::default(),
        cancels: Mutex::default(),
        sessions: Sessions::default(),
        known: AtomicBool::new(false),
        stranger: CancellationToken::new(),
        gone: CancellationToken::new(),
        answered,
    });
    let ended = tokio::select! {
        () = Arc::clone(&remote).converse(reader) => Ended::Client,
        () = remote.abandoned() => Ended::Client,
        () = remote.stranger.cancelled() => Ended::Stranger(stranger()),
        () = closing.cancelled() => Ended::Client,
    };
    // A request that was refused last may have been the last one of all.
    let ended = if remote.stranger.is_cancelled() {
        Ended::Stranger(stranger())
    } else {
        ended
    };
    for (_, cancel) in remote.cancels().drain() {
        cancel.cancel();
    }
    drop(timeout(FAREWELL, remote.end_session()).await);
    Ok(ended)
}

impl Remote {
    /// Takes line by line until there are no more, and everything is answered.
    async fn converse(self: Arc<Self>, input: impl AsyncRead + Unpin) {
        let mut lines = Lines::new(input);
        loop {
            self.flight.room().await;
            let (heard, line) = match lines.next().await {
                Ok(Line::Whole(line)) => {
                    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
                    (message::hear(line), Bytes::copy_from_slice(line))
                }
                Ok(Line::TooLong) => (message::too_long(), Bytes::new()),
                Ok(Line::End) => break,
                Err(error) => {
                    tracing::warn!(%error, "standard input cannot be read");
                    break;
                }
            };
            match heard {
                Heard::Message(message) => self.take(*message, line).await,
                Heard::Nothing => {}
                Heard::Bad(answer) => self.say(answer.as_ref()).await,
            }
        }
        self.flight.idle().await;
    }

    async fn take(self: &Arc<Self>, message: ClientJsonRpcMessage, line: Bytes) {
        match message {
            JsonRpcMessage::Request(request) => {
                let asked = Asked::new(request.id, line);
                if !self.flight.begin(&asked.id) {
                    if let Heard::Bad(answer) = message::id_in_use() {
                        self.say(answer.as_ref()).await;
                    }
                    return;
                }
                let cancel = CancellationToken::new();
                self.cancels().insert(asked.id.clone(), cancel.clone());
                // What comes after a greeting needs the session that it opens.
                let greets = asked.greets();
                let asking = Arc::clone(self).ask(asked, cancel);
                if greets {
                    asking.await;
                } else {
                    tokio::spawn(asking);
                }
            }
            JsonRpcMessage::Notification(JsonRpcNotification {
                notification: ClientNotification::CancelledNotification(cancelled),
                ..
            }) => self.cancel(&cancelled, line),
            JsonRpcMessage::Notification(JsonRpcNotification {
                notification: ClientNotification::InitializedNotification(_),
                ..
            }) => {
                self.tell(line).await;
                self.listen();
            }
            JsonRpcMessage::Notification(_)
            | JsonRpcMessage::Response(_)
            | JsonRpcMessage::Error(_) => self.tell(line).await,
        }
    }

    /// A cancelled request gets no answer. A session is told; elsewhere the end of the connection says it.
    fn cancel(self: &Arc<Self>, cancelled: &CancelledNotification, line: Bytes) {
        let Some(id) = &cancelled.params.request_id else {
            return;
        };
        let cancel = self.cancels().remove(id);
        self.flight.end(id);
        let remote = Arc::clone(self);
        tokio::spawn(async move {
            remote.tell(line).await;
            if let Some(cancel) = cancel {
                cancel.cancel();
            }
        });
    }

    /// Has a request answered, by the relay or for want of one.
    async fn ask(self: Arc<Self>, asked: Asked, cancel: CancellationToken) {
        let answer = tokio::select! {
            answer = self.answer(&asked) => answer,
            () = cancel.cancelled() => return,
        };
        if cancel.is_cancelled() {
            return;
        }
        match answer {
            Ok(line) => {
                if let Some(request) = asked.names(&line) {
                    // Nobody may want to know.
                    drop(self.answered.send(request));
                }
                self.pass(line).await;
            }
            Err(No::Refused(refusal)) => self.say(&asked.refused(&refusal)).await,
            Err(No::Stranger) => {
                self.say(&asked.refused(&stranger())).await;
                if self.known.load(Ordering::Relaxed) {
                    tracing::error!("{}", stranger().message);
                } else {
                    self.stranger.cancel();
                }
            }
        }
        self.cancels().remove(&asked.id);
        self.flight.end(&asked.id);
    }

    /// The answer to a request. What comes before it is passed on.
    async fn answer(self: &Arc<Self>, asked: &Asked) -> Result<String, No> {
        let mut wait = Wait::new(PATIENCE);
        let mut renewals = 0;
        loop {
            let bound = asked.modern.is_none() && !asked.greets();
            let session = self.sessions.current().filter(|_| bound);
            let head = Head {
                session: session.as_ref().map(session::Session::head),
                modern: asked.modern.as_ref(),
            };
            let sent = self.door.post(asked.line.clone(), head).await;
            let answer = match self.looked_at(sent)? {
                Ok(answer) => answer,
                Err(Broken::Unsent(refusal)) => {
                    wait.pause(refusal).await?;
                    continue;
                }
                Err(Broken::Lost) => {
                    wait.again(asked).await?;
                    continue;
                }
            };
            let (status, opened) = (answer.status(), answer.session());
            if let Some(session) = &session
                && status == StatusCode::NOT_FOUND
                && renewals < RENEWALS
            {
                renewals += 1;
                self.renew(session.number, &mut wait).await?;
                continue;
            }
            match self.response(answer, asked, true).await {
                Some(line) => {
                    if asked.greets() && status.is_success() {
                        self.sessions.open(asked, opened, &line);
                    }
                    return Ok(line);
                }
                None if status.is_success() || status.is_server_error() => {
                    wait.again(asked).await?;
                }
                None => return Err(No::Refused(strange(status))),
            }
        }
    }

    /// What the head of an answer says: whether the key is taken, and the relay can be asked now.
    fn looked_at(&self, sent: Result<Answer, Broken>) -> Result<Result<Answer, Broken>, No> {
        let Ok(answer) = sent else {
            return Ok(sent);
        };
        match answer.status() {
            StatusCode::UNAUTHORIZED => Err(No::Stranger),
            // Said before anything is looked at.
            StatusCode::SERVICE_UNAVAILABLE => {
                let away = strange(StatusCode::SERVICE_UNAVAILABLE);
                Ok(Err(Broken::Unsent(away)))
            }
            _ => {
                self.known.store(true, Ordering::Relaxed);
                Ok(Ok(answer))
            }
        }
    }

    /// The response in an answer; `None` where there is none. What else is in it is passed on if `aloud`.
    async fn response(&self, answer: Answer, asked: &Asked, aloud: bool) -> Option<String> {
        if !answer.is_stream() {
            let body = answer.whole().await?;
            let body = String::from_utf8(body.to_vec()).ok()?;
            return asked.is_answered_by(&body).then_some(body);
        }
        let mut events = answer.events();
        while let Some(message) = events.next().await {
            if asked.is_answered_by(&message) {
                return Some(message);
            }
            if aloud {
                self.pass(message).await;
            }
        }
        None
    }

    /// Passes on what wants no answer. It belongs to a session; without one nobody waits for it.
    async fn tell(&self, line: Bytes) {
        let Some(session) = self.sessions.current() else {
            return;
        };
        let mut wait = Wait::new(SHORT_PATIENCE);
        let head = Head {
            session: Some(session.head()),
            modern: None,
        };
        while let Err(Broken::Unsent(refusal)) = self.door.post(line.clone(), head).await {
            if wait.pause(refusal).await.is_err() {
                tracing::warn!("a notification did not reach the relay");
                return;
            }
        }
    }

    /// Passes on a message of the relay's, on one line.
    async fn pass(&self, message: String) {
        // Between the parts of JSON alone can there be a line's end.
        let line = message.replace(['\n', '\r'], " ");
        if let Ok(line) = RawValue::from_string(line) {
            self.say(&line).await;
        } else {
            tracing::warn!("the relay said something that is not JSON");
        }
    }

    async fn say(&self, message: &impl Serialize) {
        self.outbox.push(message);
        if let Err(error) = self.outbox.flush().await {
            tracing::debug!(%error, "nobody reads the answers");
            self.gone.cancel();
        }
    }

    /// Ends when nobody reads the answers any more although some are owed.
    async fn abandoned(&self) {
        loop {
            self.flight.busy().await;
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = self.gone.cancelled() => return,
            }
            if nobody_reads(io::stdout()) {
                return;
            }
        }
    }

    fn cancels(&self) -> MutexGuard<'_, HashMap<RequestId, CancellationToken>> {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long something may still wait, and how long the next pause is.
struct Wait {
    until: Instant,
    pause: Duration,
}

impl Wait {
    fn new(patience: Duration) -> Self {
        Self {
            until: Instant::now() + patience,
            pause: PAUSES.0,
        }
    }

    /// Waits a little, unless it is too late, or waiting would help nothing.
    async fn pause(&mut self, refusal: Refusal) -> Result<(), No> {
        if refusal.code != Code::AgentUnavailable || Instant::now() + self.pause > self.until {
            return Err(No::Refused(refusal));
        }
        tracing::info!(%refusal, "waiting for the relay");
        sleep(self.pause).await;
        self.pause = self.pause.saturating_mul(2).min(PAUSES.1);
        Ok(())
    }

    /// The same after a request was sent whose answer did not come.
    async fn again(&mut self, asked: &Asked) -> Result<(), No> {
        if asked.is_repeatable() {
            self.pause(lost()).await
        } else {
            Err(No::Refused(unknown()))
        }
    }
}

fn stranger() -> Refusal {
    Refusal::new(Code::Forbidden, "the relay does not take this API key")
        .hint("ask whoever runs the relay for a new one; a change that ran when a key was ended goes on to its end")
}

fn strange(status: StatusCode) -> Refusal {
    let sentence = format!("the relay answered HTTP {}", status.as_u16());
    Refusal::new(Code::AgentUnavailable, sentence)
        .hint("nothing was carried out; check that the address is that of a relay, and try again")
}

fn lost() -> Refusal {
    let sentence = "the connection to the relay broke before the answer came";
    Refusal::new(Code::AgentUnavailable, sentence).hint("try again")
}

fn unknown() -> Refusal {
    let sentence =
        "the connection to the relay broke after this was sent, and what became of it is not known";
    Refusal::new(Code::OutcomeUnknown, sentence).hint(
        "it was not sent again; look at the data before you run a change again, and let the tool `request` list what waits",
    )
}
