//! From a request over HTTP to an operation and back. Every call passes here, and there is no other way in.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::core::refusal::{Code, Refusal};
use crate::mcp::call::{guarded, longest};
use crate::relay::clients::Client;
use crate::relay::known::{Shown, known};
use crate::relay::rest::body::whole;
use crate::relay::rest::operation::{Call, May, Operation, Outcome};
use crate::relay::rest::problem::{Fault, Problem};
use crate::relay::rest::{key, openapi, operations};
use crate::relay::{Relay, Workspace};

type Places = Result<RawPathParams, RawPathParamsRejection>;

/// Everything below `/v1`, and `/openapi.json`.
pub(in crate::relay) fn router() -> Router<Arc<Relay>> {
    let all: Arc<[Operation]> = operations().into();
    let mut paths = BTreeMap::<&str, Vec<usize>>::new();
    for (number, operation) in all.iter().enumerate() {
        paths.entry(operation.path).or_default().push(number);
    }
    let mut router = Router::new();
    for (path, numbers) in paths {
        let (all, numbers): (_, Arc<[usize]>) = (Arc::clone(&all), numbers.into());
        let answer = move |State(relay): State<Arc<Relay>>, places: Places, request: Request| {
            let (all, numbers) = (Arc::clone(&all), Arc::clone(&numbers));
            async move {
                let here = numbers.iter().filter_map(|number| all.get(*number));
                let here: Vec<&Operation> = here.collect();
                answer(&relay, &here, places, request).await
            }
        };
        router = router.route(path, any(answer));
    }
    let described = move |State(relay): State<Arc<Relay>>, request: Request| {
        let all = Arc::clone(&all);
        let shown = Shown::by(&request, &relay);
        let method = request.method().clone();
        async move { openapi::answer(&relay, &all, (&method, &shown)).await }
    };
    router
        .route("/openapi.json", any(described))
        .route("/v1", any(nothing))
        .route("/v1/", any(nothing))
        .route("/v1/{*rest}", any(nothing))
}

async fn nothing() -> Problem {
    Problem::of(Fault::NotFound, "there is nothing at this path").hint("see /openapi.json")
}

/// Answers a request for one path.
async fn answer(
    relay: &Arc<Relay>,
    here: &[&Operation],
    places: Places,
    request: Request,
) -> Response {
    let of_method = here.iter().find(|one| one.method == *request.method());
    let Some(operation) = of_method else {
        return wrong_method(here.iter().map(|one| one.method.as_str())).into_response();
    };
    let (workspace, client) = match known(relay, &Shown::by(&request, relay)).await {
        Ok(known) => known,
        Err(problem) => return problem.into_response(),
    };
    if let Err((limit, refused)) = client.meter.admit() {
        workspace.clients.turned_away().count(limit);
        return *refused;
    }
    let outcome = called(&workspace, operation, &client, (places, request)).await;
    workspace.clients.tally().count(match &outcome {
        Ok(Outcome { waits: true, .. }) => "waits",
        Ok(_) => "ok",
        Err(problem) => problem.code(),
    });
    let response = match outcome {
        Ok(outcome) => outcome.response,
        Err(problem) => problem.into_response(),
    };
    client.meter.counted(response)
}

/// The problem of a method that is not there, with those that are.
pub(in crate::relay) fn wrong_method<'a>(methods: impl Iterator<Item = &'a str>) -> Problem {
    let methods = methods.collect::<Vec<_>>().join(", ");
    let sentence = format!("here there is {methods}");
    Problem::of(Fault::MethodNotAllowed, sentence).with(header::ALLOW, &methods)
}

async fn called(
    workspace: &Arc<Workspace>,
    operation: &Operation,
    client: &Client,
    (places, request): (Places, Request),
) -> Result<Outcome, Problem> {
    let places = places.map_err(|_| Problem::of(Fault::NotFound, "the path is no UTF-8"))?;
    let broker = workspace.clients.broker();
    if !operation.may.allows(&client.caller) {
        let refusal = forbidden(operation.may);
        broker.refuse(&client.caller, &refusal).await?;
        return Err(refusal.into());
    }
    let (head, body) = request.into_parts();
    let body = match &operation.body {
        None => None,
        Some(_) if is_json(&head.headers) => Some(whole(body).await?),
        Some(_) => {
            let sentence = "the body has to be `application/json`";
            return Err(Problem::of(Fault::UnsupportedMediaType, sentence));
        }
    };
    let cancel = CancellationToken::new();
    // Whatever ends this call early, even being dropped, cancels the read behind it.
    let unanswered = cancel.clone().drop_guard();
    let call = Call {
        workspace: Arc::clone(workspace),
        caller: client.caller.clone(),
        cancel: cancel.clone(),
        path: owned(&places),
        key: if operation.keyed {
            key::named(&head.headers)?
        } else {
            None
        },
    };
    let query = head.uri.query().unwrap_or_default();
    let run = operation.run(call, query, body.as_deref().unwrap_or_default());
    let answer = guarded(operation.id, longest(broker), run.map(Ok));
    let outcome = tokio::select! {
        outcome = answer => outcome?,
        () = client.keyed.ended() => {
            return Err(Problem::of(Fault::Unauthenticated, "the key was ended meanwhile"));
        }
    };
    // A call that was answered leaves the read alone: it goes on into the spool.
    drop(unanswered.disarm());
    outcome
}

fn owned(places: &RawPathParams) -> Vec<(String, String)> {
    let places = places.iter();
    places
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

fn forbidden(may: May) -> Refusal {
    let sentence = match may {
        May::Administer => "this is for keys with the role `admin`",
        May::Come
        | May::Read
        | May::RunSql
        | May::CallByName
        | May::SearchVectors
        | May::PutVectors => "your key looks after the relay, and reaches no database",
    };
    Refusal::new(Code::Forbidden, sentence)
        .hint("a person gives out keys with `secondkey relay keys create`")
}

/// Whether the body is JSON by its own word (RFC 9110, section 8.3).
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}
