//! People's calls to a relay, from their own machine: one call, one request over HTTPS, with an API key of theirs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::cli::{Failure, login};
use crate::config::{self, Surroundings};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::reach::{self, Address, Reach, Trusted};
use crate::wire::Answer;
use crate::wire::people::{Call, LONGEST_ANSWER, Reply};

/// Where people come in at a relay.
const PATH: &str = "/people";
/// How long a call may take: longer than the longest wait.
const PATIENCE: Duration = Duration::from_mins(1);
/// The variable that stands for `--relay`.
const VARIABLE: &str = "SECONDKEY_RELAY";
/// The variable with an API key.
const KEY_VARIABLE: &str = "SECONDKEY_API_KEY";

/// Which relay a command is about.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct AwayArgs {
    /// A team's relay, such as `https://relay.example.com`; `SECONDKEY_RELAY` does the same
    #[arg(long, global = true, value_name = "URL")]
    relay: Option<String>,
    /// Where your API key is kept: `env:NAME`, `file:PATH` or `keyring:SERVICE/NAME` [default:
    /// `SECONDKEY_API_KEY`, else what `secondkey login` has kept]
    #[arg(long, global = true, value_name = "REFERENCE")]
    relay_key: Option<String>,
    /// Trust the certificates of this PEM file too
    #[arg(long, global = true, value_name = "FILE")]
    relay_ca: Option<PathBuf>,
    /// Speak without TLS even to an address that is neither this machine's nor private
    #[arg(long, global = true)]
    allow_insecure: bool,
}

impl AwayArgs {
    /// The relay that is meant, by the flag, else by the variable unless other flags say where to work.
    pub(super) fn relay(&self, around: &Surroundings, local: bool) -> Option<String> {
        let named = || around.environment.text(VARIABLE).filter(|_| !local);
        self.relay.clone().or_else(named)
    }

    /// The way there, with a key to show.
    pub(super) fn errand(&self, relay: &str, around: &Surroundings) -> Result<Errand, Failure> {
        let kept = login::kept(relay, around)?;
        let authority = kept.as_ref().and_then(|kept| kept.authority.clone());
        let key = match (&self.relay_key, around.environment.text(KEY_VARIABLE), kept) {
            (Some(reference), ..) => {
                config::secret_of(reference, around).map_err(Failure::Misused)?
            }
            (None, Some(key), _) => SecretString::from(key),
            (None, None, Some(kept)) => kept.key,
            (None, None, None) => {
                let sentence = format!("there is no API key for {relay}");
                return Err(Failure::Misused(
                    Refusal::new(Code::InvalidArgument, sentence).hint(
                        "run `secondkey login --relay URL --relay-key REFERENCE` once, or set `SECONDKEY_API_KEY`",
                    ),
                ));
            }
        };
        self.errand_with(relay, &key, authority)
    }

    /// The same with this key, and with these certificates unless others are named.
    pub(super) fn errand_with(
        &self,
        relay: &str,
        key: &SecretString,
        authority: Option<PathBuf>,
    ) -> Result<Errand, Failure> {
        let reach = Reach {
            allow_insecure: self.allow_insecure,
            authority: self.relay_ca.clone().or(authority),
        };
        let address = Address::parse(relay, reach).map_err(Failure::Misused)?;
        Errand::new(address, key).map_err(Failure::Misused)
    }

    /// The certificates to trust besides, where they are named.
    pub(super) fn authority(&self) -> Option<PathBuf> {
        self.relay_ca.clone()
    }

    /// Where the key is, where that is said.
    pub(super) fn key(&self) -> String {
        let named = self.relay_key.clone();
        named.unwrap_or_else(|| format!("env:{KEY_VARIABLE}"))
    }
}

/// The way to a relay.
pub(super) struct Errand {
    address: Address,
    authorization: HeaderValue,
    trusted: OnceCell<Trusted>,
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Errand {
    /// With a key that can be written into a request.
    pub(super) fn new(address: Address, key: &SecretString) -> Result<Self, Refusal> {
        let mut authorization = format!("Bearer {}", key.expose_secret())
            .parse::<HeaderValue>()
            .map_err(|_| {
                Refusal::new(Code::InvalidArgument, "what is kept there is no API key")
                    .hint("a key is one line that begins with `skey_`")
            })?;
        authorization.set_sensitive(true);
        Ok(Self {
            address,
            authorization,
            trusted: OnceCell::new(),
        })
    }

    /// The name and port under which the relay is reached.
    pub(super) fn host(&self) -> &str {
        self.address.host()
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, call: &Call) -> Result<Reply, Refusal> {
        let body = serde_json::to_vec(call)
            .map_err(|_| Refusal::new(Code::Internal, "a call cannot be written"))?;
        let answer: Answer<Reply> = self.send((Method::POST, PATH), body).await?;
        answer.into()
    }

    /// A link that lets a browser in at the relay's page, on this request's if there is one.
    pub(super) async fn page_link(&self, request: Option<RequestId>) -> Result<String, Refusal> {
        let Reply::Link(url) = self.ask(&Call::PageLink { request }).await? else {
            return Err(strange());
        };
        Ok(url)
    }

    /// Reads something of the REST interface.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        self.send((Method::GET, path), Vec::new()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        what: (Method, &str),
        body: Vec<u8>,
    ) -> Result<T, Refusal> {
        let sent = timeout(PATIENCE, self.sent(what, body)).await;
        let body = sent.unwrap_or_else(|_| Err(reach::unreachable("no answer within a minute")))?;
        serde_json::from_slice(&body).map_err(|_| strange())
    }

    async fn sent(&self, (method, path): (Method, &str), body: Vec<u8>) -> Result<Bytes, Refusal> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.host())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(USER_AGENT, concat!("SecondKey/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| Refusal::new(Code::Internal, "a call cannot be sent"))?;
        let trusted = self.trusted.get_or_try_init(|| self.address.trusted());
        let line = TokioIo::new(self.address.connect(trusted.await?).await?);
        let broken = |error: hyper::Error| reach::unreachable(&error.to_string());
        let (mut sender, connection) = http1::handshake(line).await.map_err(broken)?;
        let running = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect();
        let body = body.await;
        running.abort();
        let body = body
            .map_err(|error| reach::unreachable(&error.to_string()))?
            .to_bytes();
        if status != StatusCode::OK {
            return Err(refused(status, &body));
        }
        Ok(body)
    }
}

/// What a relay says to whom it does not serve, in its own words where there are any.
fn refused(status: StatusCode, body: &[u8]) -> Refusal {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
        #[serde(default)]
        code: Option<Code>,
        #[serde(default)]
        hint: Option<String>,
    }
    if status == StatusCode::UNAUTHORIZED {
        return Refusal::new(Code::Forbidden, "the relay does not take this API key")
            .hint("it may be revoked or expired; `secondkey relay keys create --for human:NAME` makes one");
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => {
            let refusal = Refusal::new(problem.code.unwrap_or(Code::LimitReached), problem.detail);
            match problem.hint {
                Some(hint) => refusal.hint(hint),
                None => refusal,
            }
        }
        Err(_) => reach::unreachable(&format!("it answers with {status}")),
    }
}

fn strange() -> Refusal {
    Refusal::new(
        Code::AgentUnavailable,
        "the relay answers something else than was asked",
    )
    .hint("install the same version of secondkey on both sides")
}
