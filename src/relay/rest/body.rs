//! What a request brings: its body and its query, read as the types of its operation.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::core::refusal::{Code, Refusal};
use crate::mcp::MESSAGE_BYTES;
use crate::mcp::tools::without_value;
use crate::relay::rest::answer::Shape;
use crate::relay::rest::problem::{Fault, Problem};

/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// All of a body, or why it is not here.
pub(in crate::relay) async fn whole(body: Body) -> Result<Bytes, Problem> {
    match timeout(PATIENCE, to_bytes(body, MESSAGE_BYTES)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Problem::of(
            Fault::BodyTooLarge,
            format!("the message is longer than {MESSAGE_BYTES} bytes, or broke off"),
        )),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            let sentence = format!("the message did not come within {seconds} seconds");
            Err(Problem::of(Fault::BodyTimeout, sentence))
        }
    }
}

/// What an operation takes as its body.
pub(super) trait Taken: Sized + Send + 'static {
    /// What it looks like; nothing where there is none.
    fn shape() -> Option<Shape>;
    /// Reads it.
    fn read(body: &[u8]) -> Result<Self, Problem>;
}

/// No body. One that comes all the same is not looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoBody;

impl Taken for NoBody {
    fn shape() -> Option<Shape> {
        None
    }

    fn read(_: &[u8]) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// JSON (RFC 8259).
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Taken for Json<T> {
    fn shape() -> Option<Shape> {
        Some(Shape::taken::<T>())
    }

    fn read(body: &[u8]) -> Result<Self, Problem> {
        let failed = |error: serde_json::Error| match error.classify() {
            serde_json::error::Category::Data => unfit("body", &error.to_string()),
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => Problem::of(
                Fault::MalformedJson,
                format!(
                    "the body is no JSON at line {}, column {}",
                    error.line(),
                    error.column()
                ),
            ),
        };
        serde_json::from_slice(body).map(Self).map_err(failed)
    }
}

/// No query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

/// Reads a query (`application/x-www-form-urlencoded`, WHATWG URL).
pub(super) fn query<Q: DeserializeOwned>(text: &str) -> Result<Q, Problem> {
    serde_urlencoded::from_str(text).map_err(|error| unfit("query", &error.to_string()))
}

fn unfit(what: &str, error: &str) -> Problem {
    let sentence = format!("the {what} does not fit: {}", without_value(error));
    Refusal::new(Code::InvalidArgument, sentence)
        .hint("/openapi.json says what fits")
        .into()
}
