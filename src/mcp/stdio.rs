//! The pipe to one client, be it standard input and output or a socket: a JSON-RPC message on each line.
//!
//! Whatever arrives gets an answer, or is ignored because the protocol says so: no line is too
//! long, too deep or too broken for that. At the end of input what was asked before is still
//! answered; a client that is gone altogether is noticed, so that its reads can be stopped.

pub(super) mod flight;
pub(super) mod lines;
pub(super) mod message;
pub(super) mod outbox;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CancelledNotification, ClientJsonRpcMessage, ClientNotification, JsonRpcMessage,
    JsonRpcNotification, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::{Transport, stdio_pipes};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;

use crate::mcp::experimental;

use flight::Flight;
use lines::{Line, Lines};
use message::Heard;
use outbox::Outbox;

/// How often it is looked whether a client that waits for an answer is still there.
const LOOK_EVERY: Duration = Duration::from_millis(200);

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Where lines come from and go to. Clones share it.
#[derive(Clone)]
pub(super) struct Pipe {
    inner: Arc<Inner>,
}

struct Inner {
    input: Mutex<Input>,
    outbox: Outbox<Writer>,
    /// Whether nobody reads the other end any more.
    gone: Box<dyn Fn() -> bool + Send + Sync>,
    flight: Flight,
}

struct Input {
    lines: Lines<Reader>,
    /// An answer of our own lies in the outbox.
    owes: bool,
    ended: bool,
}

impl Pipe {
    /// Those of this process.
    pub(super) fn open() -> Self {
        let (reader, writer) = stdio_pipes();
        Self::between(reader, writer, || outbox::nobody_reads(io::stdout()))
    }

    /// Any others. `gone` says whether nobody reads what is written.
    pub(super) fn between(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        gone: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                input: Mutex::new(Input {
                    lines: Lines::new(Box::new(reader)),
                    owes: false,
                    ended: false,
                }),
                outbox: Outbox::new(Box::new(writer)),
                gone: Box::new(gone),
                flight: Flight::default(),
            }),
        }
    }

    /// Ends when nobody reads the answers any more although some are owed.
    pub(super) async fn abandoned(&self) {
        loop {
            self.inner.flight.busy().await;
            tokio::time::sleep(LOOK_EVERY).await;
            if (self.inner.gone)() {
                return;
            }
        }
    }
}

impl Inner {
    /// The next message that is more than noise; `None` at the end of input, once everything that
    /// was asked before is answered. May be dropped and called again at any point.
    async fn next(&self) -> Option<ClientJsonRpcMessage> {
        let mut input = self.input.lock().await;
        loop {
            if input.owes {
                self.outbox.flush().await.ok()?;
                input.owes = false;
            }
            if input.ended {
                self.flight.idle().await;
                return None;
            }
            self.flight.room().await;
            let heard = match input.lines.next().await {
                Ok(Line::Whole(line)) => message::hear(line),
                Ok(Line::TooLong) => message::too_long(),
                Ok(Line::End) => {
                    input.ended = true;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "standard input cannot be read");
                    input.ended = true;
                    continue;
                }
            };
            match heard.and_then(|message| self.admit(message)) {
                Heard::Message(message) => return Some(*message),
                Heard::Nothing => {}
                Heard::Bad(answer) => {
                    self.outbox.push(answer.as_ref());
                    input.owes = true;
                }
            }
        }
    }

    /// Notes what will be answered.
    fn admit(&self, message: Box<ClientJsonRpcMessage>) -> Heard {
        match message.as_ref() {
            JsonRpcMessage::Request(request) => {
                if !self.flight.begin(&request.id) {
                    return message::id_in_use();
                }
            }
            JsonRpcMessage::Notification(JsonRpcNotification {
                notification:
                    ClientNotification::CancelledNotification(CancelledNotification { params, .. }),
                ..
            }) => {
                // A cancelled request gets no answer.
                if let Some(id) = &params.request_id {
                    self.flight.end(id);
                }
            }
            JsonRpcMessage::Notification(_)
            | JsonRpcMessage::Response(_)
            | JsonRpcMessage::Error(_) => {}
        }
        Heard::Message(message)
    }
}

impl Transport<RoleServer> for Pipe {
    type Error = io::Error;

    fn send(
        &mut self,
        item: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        async move {
            match experimental::declared(&item) {
                Some(greeting) => inner.outbox.push(&greeting),
                None => inner.outbox.push(&item),
            }
            let flushed = inner.outbox.flush().await;
            if let Some(id) = answered(&item) {
                inner.flight.end(id);
            }
            flushed
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.inner.next().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.inner.outbox.flush().await
    }
}

/// The request that a message answers.
fn answered(message: &ServerJsonRpcMessage) -> Option<&RequestId> {
    match message {
        JsonRpcMessage::Response(response) => Some(&response.id),
        JsonRpcMessage::Error(error) => error.id.as_ref(),
        JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
    }
}
