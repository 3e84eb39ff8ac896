//! One operation: what it is called, who may, what it takes and gives, and what it does.

use std::fmt;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::broker::{ADMIN, Broker, Caller};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::relay::Workspace;
use crate::relay::rest::answer::{Given, Shape};
use crate::relay::rest::body::{Taken, query};
use crate::relay::rest::problem::Problem;

/// Who may call an operation at all. What becomes of the work is for the policies to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum May {
    /// Whoever looks after the relay.
    Administer,
    /// Whoever is known.
    Come,
    /// Whoever may reach a database, if only to read.
    Read,
    /// The same, where a target takes free SQL.
    RunSql,
    /// The same, where there is something to be called by name.
    CallByName,
    /// The same, where there are vectors to search.
    SearchVectors,
    /// The same, where there are tables of them that this caller may write to.
    PutVectors,
}

impl May {
    /// Whether somebody may.
    pub(super) fn allows(self, caller: &Caller) -> bool {
        let Some(rights) = &caller.rights else {
            return false;
        };
        match self {
            Self::Administer => rights.roles.contains(ADMIN),
            Self::Come => true,
            Self::Read
            | Self::RunSql
            | Self::CallByName
            | Self::SearchVectors
            | Self::PutVectors => rights.ceiling().is_some(),
        }
    }
}

/// One call: who makes it, and what it may use.
pub(super) struct Call {
    pub(super) workspace: Arc<Workspace>,
    pub(super) caller: Caller,
    /// Fires when the caller is gone, or their key is.
    pub(super) cancel: CancellationToken,
    /// What stands in the path's places, by name.
    pub(super) path: Vec<(String, String)>,
    /// Its idempotency key, where the operation takes one.
    pub(super) key: Option<String>,
}

impl Call {
    /// The deciding part.
    pub(super) fn broker(&self) -> &Broker {
        self.workspace.clients.broker()
    }

    /// What stands in one place of the path.
    pub(super) fn named(&self, place: &str) -> &str {
        let found = self.path.iter().find(|(name, _)| name == place);
        found.map_or("", |(_, text)| text)
    }

    /// The request that the path names.
    pub(super) fn request(&self) -> Result<RequestId, Problem> {
        let parsed = self.named("id").parse::<RequestId>();
        parsed.map_err(|error| {
            let refusal = Refusal::new(Code::UnknownRequest, format!("the id is {error}"));
            refusal.hint("GET /v1/requests lists yours").into()
        })
    }
}

/// Reads what blocks.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let read = spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err(Refusal::new(Code::Internal, "the state could not be read")))
}

/// What came of a call that went well.
pub(super) struct Outcome {
    pub(super) response: Response,
    /// Whether the work waits for people.
    pub(super) waits: bool,
}

type Run = dyn Fn(Call, &str, &[u8]) -> BoxFuture<'static, Result<Outcome, Problem>> + Send + Sync;

/// One operation.
pub(in crate::relay) struct Operation {
    pub(super) method: Method,
    /// With `{names}` for its places, as both the router and the description write them.
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) may: May,
    pub(super) query: Shape,
    pub(super) body: Option<Shape>,
    pub(super) answers: Vec<(StatusCode, Shape, &'static str)>,
    /// Whether the header `Idempotency-Key` is read.
    pub(super) keyed: bool,
    run: Box<Run>,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Operation {
    /// With what it does, whose types say everything else.
    pub(super) fn new<Q, B, A, F>(
        (method, path): (Method, &'static str),
        (id, summary): (&'static str, &'static str),
        may: May,
        does: impl Fn(Call, Q, B) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        B: Taken,
        A: Given,
        F: Future<Output = Result<A, Problem>> + Send + 'static,
    {
        let run = move |call: Call, asked: &str, body: &[u8]| {
            let read = query::<Q>(asked).and_then(|asked| Ok((asked, B::read(body)?)));
            let does = does.clone();
            async move {
                let (asked, body) = read?;
                let answer = does(call, asked, body).await?;
                Ok(Outcome {
                    waits: answer.waits(),
                    response: answer.respond()?,
                })
            }
            .boxed()
        };
        Self {
            method,
            path,
            id,
            summary,
            may,
            query: Shape::taken::<Q>(),
            body: B::shape(),
            answers: A::shapes(),
            keyed: false,
            run: Box::new(run),
        }
    }

    /// The same, run once under the idempotency key that a call names.
    pub(super) fn keyed(mut self) -> Self {
        self.keyed = true;
        self
    }

    /// Does it.
    pub(super) fn run(
        &self,
        call: Call,
        query: &str,
        body: &[u8],
    ) -> BoxFuture<'static, Result<Outcome, Problem>> {
        (self.run)(call, query, body)
    }
}
