//! `/v1/requests`: work that waits for people, or did.

use std::time::Duration;

use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::broker::{approvals, requests};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Request, Status};
use crate::mcp::tools::executed;
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::{NoBody, NoQuery};
use crate::relay::rest::operation::{Call, May, Operation, blocking};
use crate::relay::rest::problem::Problem;
use crate::store::requests::{Filter, Summary};

/// The longest that somebody waits for a decision, in seconds.
const LONGEST_WAIT: u64 = 45;
/// The most requests on one page.
const LONGEST_LIST: usize = 500;

/// One request.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Request")]
pub(super) struct Shown {
    pub(super) id: String,
    /// Such as `pending`, `approved`, `succeeded`.
    status: &'static str,
    /// Who asked.
    requester: String,
    target: String,
    environment: String,
    /// The worst that it can do.
    effect: &'static str,
    /// The statement's verb.
    kind: String,
    /// The statement without its literals and comments.
    statement: String,
    /// When it was asked, unix milliseconds.
    created_ms: i64,
    /// When its last change was recorded, unix milliseconds.
    updated_ms: i64,
    /// Whose signatures it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    needs: Option<String>,
}

/// One page of requests, the newest first.
#[derive(Debug, JsonSchema, Serialize)]
struct Requests {
    requests: Vec<Shown>,
    /// The `before` of the next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    next: Option<String>,
}

/// A request that has run, and what it answered.
#[derive(Debug, JsonSchema, Serialize)]
struct Collected {
    request: Shown,
    /// As it is answered to whoever did not have to wait: a `Result`, or what a capability answers.
    #[schemars(with = "serde_json::Map<String, Value>")]
    result: Value,
}

/// Which requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only those that stand so, such as `pending`.
    #[serde(default)]
    #[schemars(with = "String")]
    status: Option<String>,
    /// Only those for this target.
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    /// Only those older than this one: the `next` of the page before.
    #[serde(default)]
    #[schemars(with = "String")]
    before: Option<String>,
    /// At most so many.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 500))]
    limit: Option<u32>,
}

/// Whether to wait.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Waiting {
    /// Seconds to wait for people to decide; at most 45.
    #[serde(default)]
    #[schemars(range(max = 45))]
    wait: u64,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, "/v1/requests"),
            (
                "requests",
                "The caller's requests; everybody's for people who sign",
            ),
            May::Come,
            list,
        ),
        Operation::new(
            (Method::GET, "/v1/requests/{id}"),
            (
                "request",
                "One request, once it is decided or the time is over",
            ),
            May::Come,
            show,
        ),
        Operation::new(
            (Method::POST, "/v1/requests/{id}/collect"),
            (
                "requestCollect",
                "Run an approved request and have its answer",
            ),
            May::Read,
            collect,
        ),
        Operation::new(
            (Method::POST, "/v1/requests/{id}/cancel"),
            ("requestCancel", "Take a request back that was not run yet"),
            May::Come,
            cancel,
        ),
    ]
}

async fn list(call: Call, wanted: Wanted, _: NoBody) -> Result<Done<Requests>, Problem> {
    let unfit = |what: &str, why: &dyn std::fmt::Display| {
        Refusal::new(Code::InvalidArgument, format!("`{what}` is {why}"))
    };
    let status = wanted.status.as_deref().map(str::parse::<Status>);
    let status = status
        .transpose()
        .map_err(|error| unfit("status", &error))?;
    let before = wanted.before.as_deref().map(str::parse::<RequestId>);
    let before = before
        .transpose()
        .map_err(|error| unfit("before", &error))?;
    let limit = wanted.limit.map_or(50, |limit| limit as usize);
    if !(1..=LONGEST_LIST).contains(&limit) {
        let sentence = format!("`limit` is not between 1 and {LONGEST_LIST}");
        return Err(Refusal::new(Code::InvalidArgument, sentence).into());
    }
    let state = call.broker().state.clone();
    let who = call.caller.principal.clone();
    let page = blocking(move || {
        let everybodys = requests::signs(&state, &who)?;
        let filter = Filter {
            statuses: status.into_iter().collect(),
            requester: (!everybodys).then_some(who),
            target: wanted.target,
            before,
            limit,
            ..Filter::default()
        };
        requests::list(&state, &filter)
    });
    let page = page.await?;
    Ok(Done(Requests {
        requests: page.requests.into_iter().map(summary).collect(),
        next: page.next.map(String::from),
    }))
}

async fn show(call: Call, waiting: Waiting, _: NoBody) -> Result<Done<Shown>, Problem> {
    let id = call.request()?;
    if waiting.wait > LONGEST_WAIT {
        let sentence = format!("`wait` is more than {LONGEST_WAIT} seconds");
        return Err(Refusal::new(Code::InvalidArgument, sentence).into());
    }
    let found = visible(&call, &id).await?;
    if waiting.wait == 0 || is_decided(&found) {
        return Ok(Done(shown(&found)));
    }
    let patience = Duration::from_secs(waiting.wait);
    let state = &call.broker().state;
    let request = state.requests().wait(&id, patience, is_decided).await;
    Ok(Done(shown(&request.map_err(Refusal::from)?)))
}

async fn collect(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Collected>, Problem> {
    let (broker, caller) = (call.broker(), &call.caller);
    let id = call.request()?;
    let request = approvals::own(broker, caller, &id).await?;
    // Nobody waits here: `GET` with `wait` does.
    if !is_decided(&request) {
        return Err(approvals::standing(&request, &broker.page).into());
    }
    let settled = approvals::settle(broker, caller, &id, call.cancel.clone());
    let answer = Box::pin(settled).await?;
    let request = approvals::own(broker, caller, &id).await?;
    Ok(Done(Collected {
        request: shown(&request),
        result: executed(answer)?,
    }))
}

async fn cancel(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Shown>, Problem> {
    let (broker, caller) = (call.broker(), &call.caller);
    let request = approvals::own(broker, caller, &call.request()?).await?;
    let by = &caller.principal;
    let request = requests::cancel(&broker.state, request.id(), by).await?;
    Ok(Done(shown(&request)))
}

pub(super) fn is_decided(request: &Request) -> bool {
    let status = request.status();
    !matches!(
        status,
        Status::Submitted | Status::Measuring | Status::Pending
    )
}

/// A request that this caller may see: their own, or anybody's for people whose signatures count. Any other is
/// not there.
pub(super) async fn visible(call: &Call, id: &RequestId) -> Result<Request, Problem> {
    let (state, who, id) = (
        call.broker().state.clone(),
        call.caller.principal.clone(),
        id.clone(),
    );
    let found = blocking(move || {
        let request = state.requests().get(&id)?;
        if request.asked().requester == who || requests::signs(&state, &who)? {
            Ok(request)
        } else {
            Err(approvals::unknown(&id))
        }
    });
    Ok(found.await?)
}

pub(super) fn shown(request: &Request) -> Shown {
    let asked = request.asked();
    let waits = request.status() == Status::Pending;
    Shown {
        id: asked.id.as_str().to_owned(),
        status: request.status().as_str(),
        requester: asked.requester.to_string(),
        target: asked.target.clone(),
        environment: asked.environment.clone(),
        effect: asked.effect.as_str(),
        kind: asked.kind.clone(),
        statement: asked.statement.clone(),
        created_ms: request.created().unix_ms(),
        updated_ms: request.updated().unix_ms(),
        needs: waits.then(|| approvals::needs(&asked.requirements)),
    }
}

fn summary(summary: Summary) -> Shown {
    Shown {
        id: summary.id.into(),
        status: summary.state.status().as_str(),
        requester: summary.requester.to_string(),
        target: summary.target,
        environment: summary.environment,
        effect: summary.effect.as_str(),
        kind: summary.kind,
        statement: summary.statement,
        created_ms: summary.created.unix_ms(),
        updated_ms: summary.updated.unix_ms(),
        needs: None,
    }
}
