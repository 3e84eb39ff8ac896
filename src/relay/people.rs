//! What people's commands ask a relay from another machine: the calls of `wire/people.rs`, one in each request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use crate::broker::people::{self, Person};
use crate::core::principal::PrincipalKind;
use crate::core::refusal::{Code, Refusal};
use crate::relay::clients::Client;
use crate::relay::known::{Shown, known};
use crate::relay::page;
use crate::relay::rest::body::whole;
use crate::relay::{Relay, Workspace};
use crate::wire::Answer;
use crate::wire::people::{Call, Reply};

/// Answers a call of a person's command.
pub(super) async fn answer(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    let (workspace, client) = match known(&relay, &Shown::by(&request, &relay)).await {
        Ok(known) => known,
        Err(problem) => return problem.into_response(),
    };
    if let Err((limit, refused)) = client.meter.admit() {
        workspace.clients.turned_away().count(limit);
        return *refused;
    }
    let response = match whole(request.into_body()).await {
        Ok(body) => {
            let answer = answered(&workspace, &client, &body).await;
            let answer = serde_json::to_vec(&Answer::from(answer)).unwrap_or_default();
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (kind, answer).into_response()
        }
        Err(problem) => problem.into_response(),
    };
    client.meter.counted(response)
}

async fn answered(
    workspace: &Arc<Workspace>,
    client: &Client,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let principal = &client.caller.principal;
    if principal.kind() != PrincipalKind::Human {
        let sentence = format!("`{principal}` is no person, and this is for people");
        return Err(Refusal::new(Code::Forbidden, sentence)
            .hint("use an API key that was made for `human:` and your name"));
    }
    let call: Call = serde_json::from_slice(body).map_err(|_| {
        Refusal::new(Code::InvalidArgument, "this is not a call of this version")
            .hint("install the same version of secondkey on both sides")
    })?;
    if let Call::PageLink { request } = call {
        return page::link(workspace, client, request).await;
    }
    let person = Person {
        user: principal.name().to_owned(),
        named: false,
    };
    people::answer(&workspace.broker, &person, call).await
}
