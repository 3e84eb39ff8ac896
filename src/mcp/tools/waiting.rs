//! A call that waits for people, in the best way that its client knows.

use crate::broker::approvals;
use crate::broker::submit::Answer;
use crate::core::refusal::Refusal;
use crate::core::request::{Request, Status};
use crate::mcp::person::{self, Met, Opens};
use crate::mcp::tools::Context;

/// What a call that may have to wait came to.
#[derive(Debug)]
pub(super) enum Waited {
    /// People agreed, and this is its answer.
    Ran(Box<Answer>),
    /// The client is to open the page first, and to call again.
    Opens(Box<Request>),
    /// The client asks after it as a task.
    Task(Box<Request>),
}

/// Waits for people's decision on a request of this caller's, and runs it once it is approved.
///
/// Its page is opened at the client that can do that: once, however often somebody waits.
pub(super) async fn wait(context: &Context<'_>, request: Request) -> Result<Waited, Refusal> {
    let Context {
        broker,
        caller,
        abilities,
        offers,
        ..
    } = context;
    let id = request.id().clone();
    let settled = Box::pin(approvals::settle(
        broker,
        caller,
        &id,
        context.cancel.clone(),
    ));
    if request.status() != Status::Pending {
        return settled.await.map(|answer| Waited::Ran(Box::new(answer)));
    }
    if abilities.tasks {
        return Ok(Waited::Task(Box::new(request)));
    }
    if context.resumed.is_some() || abilities.opens == Opens::Never || !offers.note(&id) {
        return settled.await.map(|answer| Waited::Ran(Box::new(answer)));
    }
    if abilities.opens == Opens::Answered {
        return Ok(Waited::Opens(Box::new(request)));
    }
    tokio::pin!(settled);
    match person::ask_while(
        context.protocol,
        (&request, &context.broker.page),
        settled.as_mut(),
    )
    .await
    {
        Met::Over(answer) => answer.map(|answer| Waited::Ran(Box::new(answer))),
        // Opened or not: somebody else may look at it too.
        Met::Answer { .. } => settled.await.map(|answer| Waited::Ran(Box::new(answer))),
    }
}
