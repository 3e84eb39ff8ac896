//! `request`: what waits for people, seen from the side of whoever asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::broker::{approvals, requests};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Request, Status};
use crate::mcp::tools::Context;
use crate::mcp::tools::sql_execute::{self, AnyValue};

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
    /// What it answered, as `sql_execute` would have
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

pub(super) async fn call(args: Args, context: Context<'_>) -> Result<Output, Refusal> {
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
    match args.action {
        Action::List => list(&context).await,
        Action::Show => Ok(alone(line(&own(&context, &id()?).await?), None)),
        Action::Wait => wait(&id()?, context).await,
        Action::Cancel => {
            let request = own(&context, &id()?).await?;
            let by = &context.caller.principal;
            let cancelled = requests::cancel(&context.broker.state, request.id(), by).await?;
            Ok(alone(line(&cancelled), None))
        }
    }
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

async fn wait(id: &RequestId, context: Context<'_>) -> Result<Output, Refusal> {
    own(&context, id).await?;
    let Context {
        broker,
        caller,
        cancel,
        ..
    } = context;
    let answer = Box::pin(approvals::settle(broker, caller, id, cancel)).await?;
    let state = broker.state.clone();
    let wanted = id.clone();
    let request = blocking(move || Ok(state.requests().get(&wanted)?)).await?;
    let result = super::to_json(&sql_execute::Output::from(answer))?;
    Ok(alone(line(&request), Some(result)))
}

/// A request of this caller's; of anybody else's there is none.
async fn own(context: &Context<'_>, id: &RequestId) -> Result<Request, Refusal> {
    let state = context.broker.state.clone();
    let wanted = id.clone();
    let request = blocking(move || Ok(state.requests().get(&wanted)?)).await?;
    if request.asked().requester == context.caller.principal {
        Ok(request)
    } else {
        Err(approvals::unknown(id))
    }
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
