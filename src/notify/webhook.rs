//! The outbound webhook: one signed POST, and what came back.

use std::fmt;
use std::time::Duration;

use futures::future::{Either, select};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use url::{Position, Url};

use crate::core::notice::{Answer, Event, Format, Notice, Reach, SigningSecret};
use crate::core::time::Timestamp;
use crate::notify::connect::{self, Line};

/// How long an attempt may take, from the look-up to the head of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head of an answer that is read, in bytes. Of the body nothing is read.
const HEAD_BYTES: usize = 16 * 1024;

/// A receiver, and how to write to it.
pub struct Webhook {
    url: SecretString,
    secret: Option<SigningSecret>,
    format: Format,
    reach: Reach,
    events: Vec<Event>,
    host: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.host)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// What became of an attempt. None of it quotes the receiver, or more of its address than its host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// What it means.
    pub answer: Answer,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// Why there was none, in a few words.
    pub why: Option<String>,
}

impl Sent {
    fn failed(why: impl fmt::Display) -> Self {
        Self {
            answer: Answer::Failed { wait_ms: None },
            status: None,
            why: Some(why.to_string()),
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.why) {
            (Some(status), _) => write!(f, "HTTP {status}"),
            (None, Some(why)) => f.write_str(why),
            (None, None) => f.write_str("no answer"),
        }
    }
}

impl Webhook {
    /// A receiver; `None` where the address is not one.
    pub fn new(
        url: SecretString,
        (format, secret): (Format, Option<SigningSecret>),
        reach: Reach,
        events: Vec<Event>,
    ) -> Option<Self> {
        let parsed = Url::parse(url.expose_secret()).ok()?;
        let host = parsed.host_str()?.to_owned();
        Some(Self {
            url,
            secret,
            format,
            reach,
            events,
            host,
        })
    }

    /// The receiver's host: all of its address that is ever shown.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What it wants to be told of.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What makes this destination another than the next.
    pub fn identity(&self) -> Vec<u8> {
        let mut identity = format!("{:?} ", self.format).into_bytes();
        identity.extend_from_slice(self.url.expose_secret().as_bytes());
        identity
    }

    /// Whether there is an address that may be sent to. Sends nothing.
    pub async fn look_up(&self) -> Result<usize, String> {
        let url = Url::parse(self.url.expose_secret()).map_err(|error| error.to_string())?;
        let found = connect::addresses(&url, &self.reach);
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(Ok(addresses)) => Ok(addresses.len()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the name of the host was not looked up in time".to_owned()),
        }
    }

    /// Sends a message once. Takes ten seconds at most.
    pub async fn send(&self, notice: &Notice, now: Timestamp) -> Sent {
        match tokio::time::timeout(PATIENCE, self.attempt(notice, now)).await {
            Ok(sent) => sent,
            Err(_) => Sent::failed("no answer in time"),
        }
    }

    async fn attempt(&self, notice: &Notice, now: Timestamp) -> Sent {
        let Ok(url) = Url::parse(self.url.expose_secret()) else {
            return Sent::failed("the address cannot be read");
        };
        let Some(request) = self.request(&url, notice, now) else {
            return Sent::failed("the address cannot be written into a request");
        };
        let line = match connect::addresses(&url, &self.reach).await {
            Ok(addresses) => connect::connect(&url, &addresses).await,
            Err(error) => Err(error),
        };
        let answered = match line {
            Err(error) => return Sent::failed(error),
            Ok(Line::Plain(line)) => exchange(line, request).await,
            Ok(Line::Tls(line)) => exchange(*line, request).await,
        };
        match answered {
            Err(_) => Sent::failed("the connection ended without an answer in HTTP"),
            Ok(answer) => {
                let status = answer.status().as_u16();
                let after = answer.headers().get(RETRY_AFTER);
                let after = after.and_then(|value| value.to_str().ok());
                Sent {
                    answer: Answer::read(status, after, now),
                    status: Some(status),
                    why: None,
                }
            }
        }
    }

    fn request(&self, url: &Url, notice: &Notice, now: Timestamp) -> Option<Request<Full<Bytes>>> {
        let body = notice.body(self.format);
        let seconds = now.unix_seconds();
        let mut request = Request::post(&url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("SecondKey/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", seconds);
        if let Some(secret) = &self.secret {
            request = request.header("webhook-signature", secret.sign(&notice.id, seconds, &body));
        }
        request.body(Full::new(Bytes::from(body))).ok()
    }
}

/// One request and the head of its answer; then the connection is dropped, whatever else would come.
async fn exchange(
    line: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<()>> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(line)).await?;
    let answer = std::pin::pin!(sender.send_request(request));
    match select(answer, connection).await {
        Either::Left((answer, _)) => answer,
        // The connection may have ended with the answer in hand.
        Either::Right((_, answer)) => answer.await,
    }
    .map(|answer| answer.map(drop))
}

#[cfg(test)]
mod tests;
