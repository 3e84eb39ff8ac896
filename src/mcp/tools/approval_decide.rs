//! `approval_decide`: opens a request's page for the person who calls. It decides nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::broker::approvals::{self, Page};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Request, Status};
use crate::mcp::person::{self, Met, Opens};
use crate::mcp::tools::{Context, Reply};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    id: String,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Output {
    request: String,
    status: &'static str,
    /// Whose signatures it waits for
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", default)]
    needs: Option<String>,
    /// Where it is decided
    page: String,
}

pub(super) async fn call(args: Args, context: Context<'_>) -> Result<Reply, Refusal> {
    let id = args.id.parse::<RequestId>().map_err(|error| {
        Refusal::new(Code::InvalidArgument, format!("the id is {error}"))
            .hint("it is in the answer that waits, and on the page")
    })?;
    let request = approvals::to_decide(context.broker, context.caller, &id).await?;
    if request.status() != Status::Pending {
        return Reply::done(&Output::new(&request, &context.broker.page));
    }
    let request = match context.abilities.opens {
        Opens::Answered if context.resumed.is_none() => return Ok(Reply::Opens(Box::new(request))),
        Opens::Answered if person::says_opened(context.responses) => decided(&context, &id).await?,
        // There is nothing to wait for: it cannot be opened, or they did not want to.
        Opens::Never | Opens::Answered => request,
        Opens::Asked => {
            let waiting = decided(&context, &id);
            tokio::pin!(waiting);
            let asked = (&request, &context.broker.page);
            match person::ask_while(context.protocol, asked, waiting.as_mut()).await {
                Met::Over(request) => request?,
                Met::Answer { opened: true } => waiting.await?,
                Met::Answer { opened: false } => request,
            }
        }
    };
    Reply::done(&Output::new(&request, &context.broker.page))
}

/// The request once it is decided, or as it is when patience ends.
async fn decided(context: &Context<'_>, id: &RequestId) -> Result<Request, Refusal> {
    let requests = context.broker.state.requests();
    let decided = requests.wait(id, context.broker.approval_wait, |request| {
        request.status() != Status::Pending
    });
    tokio::select! {
        request = decided => Ok(request?),
        () = context.cancel.cancelled() => {
            let message = format!("the call was cancelled; request {id} waits on");
            Err(Refusal::new(Code::Cancelled, message))
        }
    }
}

impl Output {
    fn new(request: &Request, page: &Page) -> Self {
        let waits = request.status() == Status::Pending;
        Self {
            request: request.id().as_str().to_owned(),
            status: request.status().as_str(),
            needs: waits.then(|| approvals::needs(&request.asked().requirements)),
            page: page.of(request.id()),
        }
    }
}
