//! The identity provider: its public keys, kept as long as they are fresh, and who its tokens speak for.
//!
//! Keys are found by OpenID Connect Discovery 1.0, or where the configuration says. They are fetched again when
//! they are ten minutes old, and for a key that is not known, but never twice within a minute: whoever makes up
//! names of keys makes nobody fetch. Keys that cannot be renewed count for an hour.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, ETAG, HOST, HeaderValue, IF_NONE_MATCH, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use url::{Position, Url};

use crate::core::oidc::{self, Bearer, Head, KeySet, Rejected, Settings};
use crate::core::refusal::Refusal;
use crate::core::time::Timestamp;
use crate::reach::{Address, Reach};

/// How old keys may be before they are fetched again.
const FRESH: Duration = Duration::from_mins(10);
/// How old keys may be and still count.
const OLDEST: Duration = Duration::from_hours(1);
/// The least time between two fetches.
const PAUSE: Duration = Duration::from_mins(1);
/// How long one fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const MOST_BYTES: usize = 256 * 1024;

/// An identity provider whose tokens count.
#[derive(Debug)]
pub struct Issuer {
    settings: Settings,
    /// Where its keys are, unless its own description says so.
    keys_at: Option<Url>,
    reach: Reach,
    kept: Mutex<Kept>,
}

/// What is known of its keys.
#[derive(Debug, Default)]
struct Kept {
    keys: Arc<KeySet>,
    tag: Option<HeaderValue>,
    at: Option<Url>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

/// Why nobody is known by a token.
#[derive(Debug)]
pub(super) enum Unknown {
    /// It does not count.
    Rejected(Rejected),
    /// The issuer's keys are not to be had.
    NoKeys,
}

/// What of an issuer's description is read (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

impl Issuer {
    /// With what its claims mean, where its keys are, and how it may be reached.
    pub fn new(settings: Settings, keys_at: Option<Url>, reach: Reach) -> Self {
        Self {
            settings,
            keys_at,
            reach,
            kept: Mutex::default(),
        }
    }

    /// What its claims mean.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who a token speaks for.
    pub(super) async fn bearer(&self, token: &str, now: Timestamp) -> Result<Bearer, Unknown> {
        let head = Head::read(token).map_err(Unknown::Rejected)?;
        let keys = self.keys(&head.key).await.ok_or(Unknown::NoKeys)?;
        oidc::verify(token, &keys, &self.settings, now).map_err(Unknown::Rejected)
    }

    /// Its keys, as fresh as a key of this name needs them; nothing where they are not to be had.
    async fn keys(&self, name: &str) -> Option<Arc<KeySet>> {
        // Whoever comes meanwhile waits for the one fetch.
        let mut kept = self.kept.lock().await;
        let younger = |than: Duration, since: Option<Instant>| {
            since.is_some_and(|since| since.elapsed() < than)
        };
        let enough = kept.keys.has(name) && younger(FRESH, kept.fetched);
        if !enough && !younger(PAUSE, kept.tried) {
            kept.tried = Some(Instant::now());
            let fetched = timeout(PATIENCE, self.fetch(&mut kept)).await;
            if let Err(why) = fetched.unwrap_or_else(|_| Err("it did not answer in time".into())) {
                tracing::warn!(issuer = %self.settings.issuer, %why, "its keys cannot be fetched");
            }
        }
        younger(OLDEST, kept.fetched).then(|| Arc::clone(&kept.keys))
    }

    async fn fetch(&self, kept: &mut Kept) -> Result<(), String> {
        let at = match self.keys_at.as_ref().or(kept.at.as_ref()) {
            Some(at) => at.clone(),
            None => self.find().await?,
        };
        kept.at = Some(at.clone());
        match self.get(&at, kept.tag.as_ref()).await? {
            Fetched::Same => {}
            Fetched::New(body, tag) => {
                kept.keys = Arc::new(KeySet::read(&body).ok_or("its keys cannot be read")?);
                kept.tag = tag;
            }
        }
        kept.fetched = Some(Instant::now());
        Ok(())
    }

    /// Where its own description says that the keys are.
    async fn find(&self) -> Result<Url, String> {
        let issuer = self.settings.issuer.trim_end_matches('/');
        let at = format!("{issuer}/.well-known/openid-configuration");
        let at = Url::parse(&at).map_err(|error| error.to_string())?;
        let Fetched::New(body, _) = self.get(&at, None).await? else {
            return Err("it has no description".to_owned());
        };
        let described: Description =
            serde_json::from_slice(&body).map_err(|_| "its description cannot be read")?;
        if described.issuer != self.settings.issuer {
            return Err("its description is of another issuer".to_owned());
        }
        Url::parse(&described.jwks_uri).map_err(|error| error.to_string())
    }

    /// Fetches one thing. Nothing that an answer says leads elsewhere.
    async fn get(&self, at: &Url, tag: Option<&HeaderValue>) -> Result<Fetched, String> {
        let said = |refusal: Refusal| refusal.message;
        let address = Address::parse(&at[..Position::BeforePath], self.reach.clone());
        let address = address.map_err(said)?;
        let trusted = address.trusted().await.map_err(said)?;
        let line = TokioIo::new(address.connect(&trusted).await.map_err(said)?);
        let broken = |error: hyper::Error| error.to_string();
        let (mut sender, connection) = http1::handshake(line).await.map_err(broken)?;
        let mut running = JoinSet::new();
        running.spawn(connection);
        let mut request = Request::builder()
            .uri(&at[Position::BeforePath..Position::AfterQuery])
            .header(HOST, address.host())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("SecondKey/", env!("CARGO_PKG_VERSION")));
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(broken)?;
        match response.status() {
            StatusCode::OK => {
                let tag = response.headers().get(ETAG).cloned();
                let body = Limited::new(response.into_body(), MOST_BYTES)
                    .collect()
                    .await;
                let body = body.map_err(|error| error.to_string())?;
                Ok(Fetched::New(body.to_bytes(), tag))
            }
            StatusCode::NOT_MODIFIED if tag.is_some() => Ok(Fetched::Same),
            status => Err(format!("it answered {status}")),
        }
    }
}

/// What a fetch brought.
enum Fetched {
    New(Bytes, Option<HeaderValue>),
    Same,
}
