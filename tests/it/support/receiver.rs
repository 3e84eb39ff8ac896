//! A receiver of webhooks: keeps what it is sent, and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The secret that it shares with the sender.
pub(crate) const SECRET: &str = "whsec_c2Vjb25ka2V5IHRlc3RzIHNlY3JldCBvZiAzMiBieXRlcw==";

/// What it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// How it answers one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With these bytes.
    Text(String),
    /// Never, and without closing.
    Silence,
}

/// Listens on a port of 127.0.0.1 until the test ends.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) port: u16,
    taken: Arc<Mutex<Vec<Message>>>,
}

impl Receiver {
    /// Gives these answers in turn, and `204` after them.
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        Self::listen(replies, None)
    }

    /// The same, behind TLS.
    pub(crate) fn behind_tls(config: ServerConfig) -> Self {
        Self::listen(vec![], Some(Arc::new(config)))
    }

    fn listen(replies: Vec<Reply>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&taken);
        std::thread::spawn(move || {
            let mut replies = VecDeque::from(replies);
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let patience = Some(Duration::from_secs(10));
                stream.set_read_timeout(patience).unwrap();
                let mut stream: Box<dyn Line> = match &tls {
                    None => Box::new(stream),
                    Some(config) => {
                        let session = ServerConnection::new(Arc::clone(config)).unwrap();
                        Box::new(StreamOwned::new(session, stream))
                    }
                };
                // Whoever says nothing, or goes away, has sent nothing.
                let Some(message) = read(&mut stream) else {
                    continue;
                };
                shared.lock().unwrap().push(message);
                match replies.pop_front() {
                    Some(Reply::Silence) => silent.push(stream),
                    Some(Reply::Text(text)) => drop(say(&mut stream, text.as_bytes())),
                    None => drop(say(&mut stream, b"HTTP/1.1 204 No Content\r\n\r\n")),
                }
            }
        });
        Self { port, taken }
    }

    /// All that it was sent so far.
    pub(crate) fn taken(&self) -> Vec<Message> {
        self.taken.lock().unwrap().clone()
    }

    /// Waits until it was sent so many messages.
    pub(crate) async fn wait_for(&self, count: usize, patience: Duration) -> Vec<Message> {
        let deadline = Instant::now() + patience;
        loop {
            let taken = self.taken();
            if taken.len() >= count {
                return taken;
            }
            assert!(Instant::now() < deadline, "{count} wanted: {taken:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A connection of either kind.
trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

fn say(stream: &mut dyn Line, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(text)?;
    stream.flush()
}

fn read(stream: &mut dyn Line) -> Option<Message> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut message = Message {
        head,
        body: String::new(),
    };
    let length = message.header("content-length")?.parse().ok()?;
    reader.take(length).read_to_string(&mut message.body).ok()?;
    Some(message)
}

impl Message {
    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id").expect("an id")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Verifies it as the specification says, by an HMAC (RFC 2104) of the test's own.
    pub(crate) fn verify(&self) {
        let time = self.header("webhook-timestamp").expect("a time");
        let signed = format!("{}.{time}.{}", self.id(), self.body);
        let key = BASE64
            .decode(SECRET.strip_prefix("whsec_").unwrap())
            .unwrap();
        assert!(key.len() <= 64, "a longer key would have to be hashed");
        let padded = |with: u8| {
            let mut block = [with; 64];
            block
                .iter_mut()
                .zip(&key)
                .for_each(|(byte, key)| *byte ^= key);
            block
        };
        let inner = Sha256::new()
            .chain_update(padded(0x36))
            .chain_update(&signed)
            .finalize();
        let outer = Sha256::new()
            .chain_update(padded(0x5c))
            .chain_update(inner)
            .finalize();
        let expected = format!("v1,{}", BASE64.encode(outer));
        assert_eq!(self.header("webhook-signature"), Some(&*expected));
    }
}
