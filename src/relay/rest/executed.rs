//! Work that is run at once or waits for people, whichever operation asks for it.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use crate::broker::approvals;
use crate::broker::submit::{Answer, Ask, Submitted, submit};
use crate::core::refusal::{Code, Refusal};
use crate::relay::rest::answer::{Given, Shape, json};
use crate::relay::rest::operation::Call;
use crate::relay::rest::problem::Problem;
use crate::relay::rest::requests::{Shown, is_decided, shown};

/// Says of an answer that the work was run before, under the same idempotency key.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What became of work that was not refused.
pub(super) enum Executed<T> {
    /// It has run, just now or before.
    Ran { answer: T, replayed: bool },
    /// It waits for people.
    Waits(Box<Shown>),
}

impl<T: JsonSchema + Serialize> Given for Executed<T> {
    fn shapes() -> Vec<(StatusCode, Shape, &'static str)> {
        let waits = "It waits for people, as the request that `Location` names";
        vec![
            (StatusCode::OK, Shape::given::<T>(), "It has run"),
            (StatusCode::ACCEPTED, Shape::given::<Shown>(), waits),
        ]
    }

    fn respond(self) -> Result<Response, Problem> {
        let request = match self {
            Self::Ran { answer, replayed } => {
                let mut response = json(StatusCode::OK, &answer)?;
                if replayed {
                    let yes = HeaderValue::from_static("true");
                    response.headers_mut().insert(REPLAYED, yes);
                }
                return Ok(response);
            }
            Self::Waits(request) => request,
        };
        let mut response = json(StatusCode::ACCEPTED, &request)?;
        let location = format!("/v1/requests/{}", request.id);
        let location = location.parse();
        let location =
            location.map_err(|_| Refusal::new(Code::Internal, "the id makes no address"))?;
        response.headers_mut().insert(header::LOCATION, location);
        Ok(response)
    }

    fn waits(&self) -> bool {
        matches!(self, Self::Waits(_))
    }
}

/// Has work run, or people asked. Under the key of a call before it gives what became of that one.
pub(super) async fn executed<T>(
    call: &Call,
    mut ask: Ask,
    written: impl FnOnce(Answer) -> T,
) -> Result<Executed<T>, Problem> {
    let (broker, caller) = (call.broker(), &call.caller);
    ask.key = one_key(ask.key, call.key.clone())?;
    // Boxed: it holds everything that a statement can need.
    let submitted = Box::pin(submit(broker, caller, ask, call.cancel.clone()));
    let answer = match submitted.await? {
        Submitted::Ran(answer) => *answer,
        Submitted::Filed(id) => {
            let request = approvals::own(broker, caller, &id).await?;
            if !(id.is_keyed() && is_decided(&request)) {
                return Ok(Executed::Waits(Box::new(shown(&request))));
            }
            let settled = approvals::settle(broker, caller, &id, call.cancel.clone());
            Box::pin(settled).await?
        }
    };
    let replayed = answer.report.replayed;
    let answer = written(answer);
    Ok(Executed::Ran { answer, replayed })
}

/// The key of a call that may name it in its body and in a header.
fn one_key(body: Option<String>, head: Option<String>) -> Result<Option<String>, Refusal> {
    match (body, head) {
        (Some(body), Some(head)) if body != head => Err(Refusal::new(
            Code::InvalidArgument,
            "`idempotency_key` and the header `Idempotency-Key` name two keys",
        )),
        (body, head) => Ok(head.or(body)),
    }
}
