//! Long polling, where a network cuts every WebSocket: the bytes of the same connection, carried by plain requests. One
//! waits for what the relay sends; another carries what is sent to it. Anything that goes wrong with either ends the
//! connection, as the loss of a WebSocket would.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, LOCATION, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{
    AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::core::refusal::Refusal;
use crate::reach::{self, Address, Trusted};
use crate::wire::polls::{MOST_BYTES, PATH, WAIT};

/// How much is read of what is sent before it is carried, in bytes.
const BUFFER: usize = 64 * 1024;
/// How long an answer may take beyond what it may wait.
const ANSWER: Duration = Duration::from_secs(30);

/// Opens a connection that is carried by polls.
pub(super) async fn open(address: &Address, trusted: &Trusted) -> Result<DuplexStream, Refusal> {
    let mut up = Carrier::connect(address, trusted).await?;
    let opened = up.ask(Method::POST, PATH, Bytes::new());
    let opened = reach::step("no relay answers there", opened).await?;
    let path = opened.location.filter(|path| path.starts_with(PATH));
    let (StatusCode::CREATED, Some(path)) = (opened.status, path) else {
        return Err(reach::unreachable("it takes no long polls"));
    };
    let mut down = Carrier::connect(address, trusted).await?;
    let (near, far) = duplex(BUFFER);
    let (out, into) = split(far);
    let ended = CancellationToken::new();
    let (ends, to) = (ended.clone(), path.clone());
    tokio::spawn(async move {
        let carried = tokio::select! {
            carried = carry(&mut up, &to, out) => carried,
            () = ends.cancelled() => Ok(()),
        };
        told("out", carried);
        ends.cancel();
        // The relay would notice by itself.
        drop(up.ask(Method::DELETE, &to, Bytes::new()).await);
    });
    tokio::spawn(async move {
        let fetched = tokio::select! {
            fetched = fetch(&mut down, &path, into) => fetched,
            () = ended.cancelled() => Ok(()),
        };
        told("in", fetched);
        ended.cancel();
    });
    Ok(near)
}

fn told(way: &str, ended: io::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, way, "polls have ended");
    }
}

/// Carries what is sent, until it is over.
async fn carry(up: &mut Carrier, path: &str, mut out: ReadHalf<DuplexStream>) -> io::Result<()> {
    let mut bytes = vec![0; BUFFER];
    loop {
        let length = out.read(&mut bytes).await?;
        let Some(sent @ [_, ..]) = bytes.get(..length) else {
            return Ok(());
        };
        let sent = up.ask(Method::POST, path, Bytes::copy_from_slice(sent));
        if sent.await?.status != StatusCode::NO_CONTENT {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
}

/// Fetches what the relay sends, until it is over.
async fn fetch(
    down: &mut Carrier,
    path: &str,
    mut into: WriteHalf<DuplexStream>,
) -> io::Result<()> {
    loop {
        let answer = down.ask(Method::GET, path, Bytes::new()).await?;
        match answer.status {
            StatusCode::OK => into.write_all(&answer.body).await?,
            StatusCode::NO_CONTENT => {}
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// A connection for requests, one after another.
struct Carrier {
    host: String,
    sender: SendRequest<Full<Bytes>>,
}

/// What came back.
struct Answer {
    status: StatusCode,
    location: Option<String>,
    body: Bytes,
}

impl Carrier {
    async fn connect(address: &Address, trusted: &Trusted) -> Result<Self, Refusal> {
        let line = TokioIo::new(address.connect(trusted).await?);
        let agreed = async { http1::handshake(line).await.map_err(io::Error::other) };
        let (sender, connection) = reach::step("no relay answers there", agreed).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            host: address.host().to_owned(),
            sender,
        })
    }

    async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> io::Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(USER_AGENT, concat!("SecondKey/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let asked = async {
            self.sender.ready().await.map_err(io::Error::other)?;
            let answer = self.sender.send_request(request).await;
            let answer = answer.map_err(io::Error::other)?;
            let status = answer.status();
            let location = answer.headers().get(LOCATION);
            let location = location.and_then(|it| it.to_str().ok()).map(str::to_owned);
            let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
            Ok(Answer {
                status,
                location,
                body: body.map_err(io::Error::other)?.to_bytes(),
            })
        };
        let asked = timeout(WAIT + ANSWER, asked).await;
        asked.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}
