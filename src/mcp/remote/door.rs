//! The relay's `/mcp`, by the transport of the protocol: one message, one request over HTTP, on a connection of its
//! own. An idle one is never used again: whether a request got through on it would be anybody's guess.
//!
//! Source: <https://modelcontextprotocol.io/specification/2025-11-25/basic/transports> and the same page of
//! 2026-07-28, which adds `Mcp-Method` and `Mcp-Name`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::stream::unfold;
use futures::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use sse_stream::SseStream;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::core::refusal::{Code, Refusal};
use crate::mcp::remote::asked::Modern;
use crate::reach::{self, Address, Trusted};

/// Where clients come in at a relay.
const PATH: &str = "/mcp";
/// How long an answer that has begun may be silent. A relay gives a sign of life every 15 seconds.
const SILENCE: Duration = Duration::from_mins(1);
/// The largest answer, and the most that one stream says, in bytes.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A relay, and the key to show it.
pub(super) struct Door {
    address: Address,
    authorization: HeaderValue,
    trusted: OnceCell<Trusted>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What goes into a request's head besides what all have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head<'a> {
    /// The session that it belongs to: its id and the version that was agreed on.
    pub(super) session: Option<(&'a HeaderValue, &'a HeaderValue)>,
    /// What a message of the newer protocol says of itself.
    pub(super) modern: Option<&'a Modern>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nothing was sent.
    Unsent(Refusal),
    /// It may have been sent, and have been carried out.
    Lost,
}

impl Door {
    /// With a key that can be written into a request.
    pub(super) fn new(address: Address, key: &SecretString) -> Result<Self, Refusal> {
        let mut authorization = format!("Bearer {}", key.expose_secret())
            .parse::<HeaderValue>()
            .ok()
            .filter(|_| !key.expose_secret().is_empty())
            .ok_or_else(|| {
                Refusal::new(Code::InvalidArgument, "what is kept there is no API key")
                    .hint("a key is one line that begins with `skey_`; `secondkey relay keys create` makes one")
            })?;
        authorization.set_sensitive(true);
        Ok(Self {
            address,
            authorization,
            trusted: OnceCell::new(),
        })
    }

    /// Sends a message.
    pub(super) async fn post(&self, body: Bytes, head: Head<'_>) -> Result<Answer, Broken> {
        let request = self
            .request(Method::POST, head)
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json");
        self.send(request, body).await
    }

    /// Asks for what the relay says by itself.
    pub(super) async fn listen(&self, head: Head<'_>) -> Result<Answer, Broken> {
        let request = self.request(Method::GET, head);
        let request = request.header(ACCEPT, "text/event-stream");
        self.send(request, Bytes::new()).await
    }

    /// Ends a session.
    pub(super) async fn end(&self, head: Head<'_>) -> Result<Answer, Broken> {
        let request = self.request(Method::DELETE, head);
        self.send(request, Bytes::new()).await
    }

    fn request(&self, method: Method, head: Head<'_>) -> Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(PATH)
            .header(HOST, self.address.host())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(USER_AGENT, concat!("SecondKey/", env!("CARGO_PKG_VERSION")));
        if let Some((id, version)) = head.session {
            request = request
                .header("Mcp-Session-Id", id)
                .header("MCP-Protocol-Version", version);
        }
        if let Some(modern) = head.modern {
            request = request
                .header("MCP-Protocol-Version", &modern.version)
                .header("Mcp-Method", &modern.method);
            if let Some(name) = &modern.name {
                request = request.header("Mcp-Name", in_header(name));
            }
        }
        request
    }

    async fn send(&self, request: Builder, body: Bytes) -> Result<Answer, Broken> {
        let request = request.body(Full::new(body)).map_err(|_| {
            let sentence = "this message cannot be put into a request over HTTP";
            Broken::Unsent(Refusal::new(Code::InvalidArgument, sentence))
        })?;
        let trusted = self.trusted.get_or_try_init(|| self.address.trusted());
        let trusted = trusted.await.map_err(Broken::Unsent)?;
        let line = self.address.connect(trusted).await;
        let line = TokioIo::new(line.map_err(Broken::Unsent)?);
        let unsent = |error: hyper::Error| Broken::Unsent(reach::unreachable(&error.to_string()));
        let (mut sender, connection) = http1::handshake(line).await.map_err(unsent)?;
        let mut running = JoinSet::new();
        running.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the relay ended");
            }
        });
        match sender.try_send_request(request).await {
            Ok(response) => Ok(Answer { response, running }),
            Err(mut failed) => match failed.take_message() {
                // It was handed back whole: no byte of it has left.
                Some(_) => Err(unsent(failed.into_error())),
                None => Err(Broken::Lost),
            },
        }
    }
}

/// A text as the protocol puts it into a header: as it is, or wrapped where a header could not hold it.
fn in_header(text: &str) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if plain && text.trim() == text && !text.starts_with("=?base64?") {
        text.to_owned()
    } else {
        format!("=?base64?{}?=", BASE64_STANDARD.encode(text))
    }
}

/// An answer whose head has come. Dropping it ends the connection, which a relay takes for a cancellation.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response<Incoming>,
    running: JoinSet<()>,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The session that a greeting has opened.
    pub(super) fn session(&self) -> Option<HeaderValue> {
        self.response.headers().get("Mcp-Session-Id").cloned()
    }

    pub(super) fn is_stream(&self) -> bool {
        let kind = self.response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// All of a body that is no stream; `None` where it breaks off or is too long.
    pub(super) async fn whole(self) -> Option<Bytes> {
        let Self { response, running } = self;
        let body = Limited::new(response.into_body(), MOST_BYTES).collect();
        let body = timeout(SILENCE, body).await.ok()?.ok()?;
        drop(running);
        Some(body.to_bytes())
    }

    /// What a stream says, as it comes.
    pub(super) fn events(self) -> Events {
        let chunks: Chunks = Box::pin(chunks(self.response.into_body()));
        Events {
            stream: SseStream::new(StreamBody::new(chunks)),
            _running: self.running,
        }
    }
}

type Chunks = Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>;

/// A body that is not silent for too long, and not too much.
fn chunks(body: Incoming) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    unfold((body, 0), |(mut body, read)| async move {
        let frame = match timeout(SILENCE, body.frame()).await {
            Ok(None) => return None,
            Ok(Some(frame)) => frame.map_err(io::Error::other),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let more = frame.as_ref().ok().and_then(Frame::data_ref);
        let read = read + more.map_or(0, Bytes::len);
        let frame = frame.and_then(|frame| {
            if read > MOST_BYTES {
                Err(io::ErrorKind::FileTooLarge.into())
            } else {
                Ok(frame)
            }
        });
        Some((frame, (body, read)))
    })
}

/// A stream of messages.
pub(super) struct Events {
    stream: SseStream<StreamBody<Chunks>>,
    _running: JoinSet<()>,
}

impl Events {
    /// The next message; `None` at the end, however it came.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            match self.stream.next().await? {
                Ok(event) => {
                    if let Some(data) = event.data.filter(|data| !data.trim().is_empty()) {
                        return Some(data);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a stream of the relay broke");
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_header_holds_is_wrapped() {
        assert_eq!(in_header("sql_execute"), "sql_execute");
        assert_eq!(in_header("für"), "=?base64?ZsO8cg==?=");
        assert_eq!(in_header(" a"), "=?base64?IGE=?=");
        assert_eq!(in_header("a\r\nb"), "=?base64?YQ0KYg==?=");
        assert_eq!(
            in_header("=?base64?YQ==?="),
            "=?base64?PT9iYXNlNjQ/WVE9PT89?="
        );
    }
}
