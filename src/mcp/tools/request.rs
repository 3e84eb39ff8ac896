//! `request`: what waits for people, seen from the side of whoever asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::broker::approvals::{self, own};
use crate::broker::requests;
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Request, Status};
use crate::mcp::tasks::Form;
use crate::mcp::tools::sql_execute::AnyValue;
use crate::mcp::tools::waiting::{Waited, wait};
use crate::mcp::tools::{Context, Reply};

/// Requests in one answer.
const LISTED: usize = 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    action: Action,
    #[serde(default)]
    #[schemars(with = "String")]
    id: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Action {
    Cancel,
    List,
    Show,
    Wait,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Output {
    #[schemars(with = "Vec<AnyValue>")]
    requests: Vec<Line>,
    /// What it answered
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AnyValue", default)]
    result: Option<Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct Line {
    id: String,
    status: &'static str,
    target: String,
    effect: &'static str,
    /// Without its literals
    statement: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<String>,
}

pub(super) async fn call(args: Args, context: Context<'_>) -> Result<Reply, Refusal> {
    let id = || {
        let id = args.id.as_deref().ok_or_else(|| {
            Refusal::new(
                Code::InvalidArgument,
                "this action needs the request's `id`",
            )
            .hint("`list` shows your requests with their ids")
        })?;
        id.parse::<RequestId>().map_err(|error| {
            Refusal::new(Code::InvalidArgument, format!("the id is {error}"))
                .hint("`list` shows your requests with their ids")
        })
    };
    let line = match args.action {
        Action::List => return Reply::done(&list(&context).await?),
        Action::Show => line(&own(context.broker, context.caller, &id()?).await?),
        Action::Wait => return collect(&id()?, &context).await,
        Action::Cancel => {
            let request = own(context.broker, context.caller, &id()?).await?;
            let by = &context.caller.principal;
            line(&requests::cancel(&context.broker.state, request.id(), by).await?)
        }
    };
    Reply::done(&alone(line, None))
}

async fn list(context: &Context<'_>) -> Result<Output, Refusal> {
    let state = context.broker.state.clone();
    let requester = context.caller.principal.clone();
    let page = blocking(move || requests::of(&state, &requester, LISTED)).await?;
    let lines = page.requests.into_iter().map(|summary| Line {
        id: summary.id.into(),
        status: summary.state.status().as_str(),
        target: summary.target,
        effect: summary.effect.as_str(),
        statement: summary.statement,
        needs: None,
    });
    Ok(Output {
        requests: lines.collect(),
        result: None,
    })
}

async fn collect(id: &RequestId, context: &Context<'_>) -> Result<Reply, Refusal> {
    if context.resumed.as_ref().is_some_and(|other| other != id) {
        let message = "this is not the request that the call was made again for";
        return Err(Refusal::new(Code::InvalidArgument, message)
            .hint("make the call again exactly as it was, or anew without `requestState`"));
    }
    let request = own(context.broker, context.caller, id).await?;
    match wait(context, request).await? {
        Waited::Ran(answer) => {
            let result = super::executed(*answer)?;
            let request = own(context.broker, context.caller, id).await?;
            Reply::done(&collected(&request, result))
        }
        Waited::Opens(request) => Ok(Reply::Opens(request)),
        Waited::Task(request) => Ok(Reply::Task(request, Form::Collection)),
    }
}

/// The answer of `wait`: the request, and what its statement answered.
pub(super) fn collected(request: &Request, result: Value) -> Output {
    alone(line(request), Some(result))
}

fn alone(line: Line, result: Option<Value>) -> Output {
    Output {
        requests: vec![line],
        result,
    }
}

fn line(request: &Request) -> Line {
    let asked = request.asked();
    let waits = request.status() == Status::Pending;
    Line {
        id: asked.id.as_str().to_owned(),
        status: request.status().as_str(),
        target: asked.target.clone(),
        effect: asked.effect.as_str(),
        statement: asked.statement.clone(),
        needs: waits.then(|| approvals::needs(&asked.requirements)),
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let broken = |_| Refusal::new(Code::Internal, "the requests could not be read");
    tokio::task::spawn_blocking(read).await.map_err(broken)?
}
