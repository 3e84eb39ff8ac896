//! The one choke point of every tool call: time limit, heartbeat, panic guard.
//!
//! Policy and audit are the broker's and the agent's, who do not run without them.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock,
    ProgressNotificationParam,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};
use tokio::time::{Instant, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Caller};
use crate::core::limits::Limits;
use crate::core::refusal::{Code, Refusal};
use crate::mcp::person::{self, Abilities};
use crate::mcp::tools::{Context, Reply, capability};
use crate::mcp::{Called, Server, tasks};

/// The first sign of life, before a client loses patience with a silent HTTP answer.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(5);
/// Further signs of life.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What a call may take beyond the longest statement. The engines stop statements; this stops calls.
const GRACE: Duration = Duration::from_secs(30);

/// The longest that a call may take: the longest statement, and people who are waited for.
pub fn longest(broker: &Broker) -> Duration {
    Duration::from_millis(u64::from(Limits::MAX.time_ms)) + broker.approval_wait + GRACE
}

/// Makes a call. Refusals are results that the model reads; only an unknown tool is a fault.
pub(super) async fn call(
    server: &Server,
    caller: &Caller,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    Ok(
        match reply(server, caller, request, context, false).await? {
            Ok(Reply::Done(answer)) => answered(answer).into(),
            Ok(Reply::Opens(request)) => {
                person::input_required(&request, &server.broker.page).into()
            }
            Ok(Reply::Task(request, form)) => {
                tasks::created(form, &request, &server.broker.page).into()
            }
            Err(refusal) => refused(&refusal).into(),
        },
    )
}

/// Makes a call, whose client takes a task for an answer if it has declared so or wants one of `this`.
pub(super) async fn reply(
    server: &Server,
    caller: &Caller,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
    this: bool,
) -> Result<Result<Reply, Refusal>, ErrorData> {
    let tool = server.named(&request.name).ok_or_else(|| {
        ErrorData::invalid_params(format!("unknown tool: {}", request.name), None)
    })?;
    let cancel = CancellationToken::new();
    // Whatever ends this call early, even being dropped, cancels the read behind it. A call that
    // was answered leaves the read alone: it goes on into the spool.
    let unanswered = cancel.clone().drop_guard();
    let mut abilities = server.abilities(&context);
    abilities.tasks |= this;
    let asked = (tool, request, abilities);
    let answer = answer(server, caller, asked, (&context, cancel.clone()));
    tokio::pin!(answer);
    let mut beats = interval_at(Instant::now() + FIRST_HEARTBEAT, HEARTBEAT);
    let started = Instant::now();
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer,
            () = context.ct.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
            _ = beats.tick() => heartbeat(&context, started.elapsed()).await,
        }
    };
    drop(unanswered.disarm());
    server.tally.count(match &answer {
        Ok(Reply::Done(_)) => "ok",
        Ok(Reply::Opens(_) | Reply::Task(..)) => "waits",
        Err(refusal) => refusal.code.as_str(),
    });
    Ok(answer)
}

async fn answer(
    server: &Server,
    caller: &Caller,
    (tool, request, abilities): (Called, CallToolRequestParams, Abilities),
    (protocol, cancel): (&RequestContext<RoleServer>, CancellationToken),
) -> Result<Reply, Refusal> {
    let resumed = request.request_state.as_deref().map(person::resumes);
    let context = Context {
        broker: &server.broker,
        caller,
        level: server.level,
        cancel,
        protocol,
        abilities,
        offers: &server.offers,
        resumed: resumed.transpose()?,
        responses: request.input_responses.as_ref(),
    };
    let longest = longest(&server.broker);
    let arguments = request.arguments.unwrap_or_default();
    match tool {
        Called::Own(tool) => {
            let call = tool.call(arguments, context);
            guarded(tool.name(), longest, Box::pin(call)).await
        }
        Called::Capability(one) => {
            let call = capability::call(&one, arguments, context);
            guarded("capability", longest, Box::pin(call)).await
        }
    }
}

/// Waits for a call, but not for ever, and not at the price of the whole server.
pub async fn guarded<T>(
    tool: &'static str,
    longest: Duration,
    call: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    match timeout(longest, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            tracing::error!(tool, "a tool call panicked");
            Err(Refusal::new(
                Code::Internal,
                "this call broke inside SecondKey; others go on",
            )
            .hint("the details are in the server's log on stderr"))
        }
        Err(_) => Err(Refusal::new(
            Code::OutcomeUnknown,
            "the call took longer than any statement may, and what became of it is not known",
        )
        .hint("look at the data before you run a change again; `secondkey audit` has its end")),
    }
}

/// Answers what is no tool call, with the same guard and patience.
pub(super) async fn guard<T>(
    what: &'static str,
    answer: impl Future<Output = Result<T, ErrorData>>,
) -> Result<T, ErrorData> {
    match guarded(what, GRACE, answer.map(Ok)).await {
        Ok(answer) => answer,
        Err(refusal) => Err(ErrorData::internal_error(refusal.message, None)),
    }
}

async fn heartbeat(context: &RequestContext<RoleServer>, elapsed: Duration) {
    let Some(token) = context.meta.get_progress_token() else {
        return;
    };
    let seconds = elapsed.as_secs();
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of one call stay far below 2^52"
    )]
    let progress = ProgressNotificationParam::new(token, seconds as f64)
        .with_message(format!("still running after {seconds} s"));
    if context.peer.notify_progress(progress).await.is_err() {
        tracing::debug!("the client no longer takes progress");
    }
}

/// The answer twice, as the protocol asks: for programs, and as text for clients that know no
/// structured content.
pub(super) fn answered(answer: Value) -> CallToolResult {
    // What `CallToolResult::structured` does through a formatter, piece by piece.
    let text = serde_json::to_string(&answer).unwrap_or_default();
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(answer);
    result
}

/// A refusal is text alone: an output schema speaks of answers, and a model reads text.
pub(super) fn refused(refusal: &Refusal) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(
        json!({ "error": refusal }).to_string(),
    )])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_and_the_next_call_goes_on() {
        let broken = guarded("sql_execute", GRACE, async {
            tokio::task::yield_now().await;
            assert!(std::hint::black_box(false), "CANARY-panic");
            Ok(1)
        });
        let refusal = broken.await.unwrap_err();
        assert_eq!(refusal.code, Code::Internal);
        assert!(!format!("{refusal:?}").contains("CANARY"), "{refusal:?}");
        assert_eq!(guarded("sql_execute", GRACE, async { Ok(2) }).await, Ok(2));
    }

    #[tokio::test]
    async fn a_call_that_never_ends_is_ended() {
        let endless = std::future::pending::<Result<(), Refusal>>();
        let refusal = guarded("health", Duration::from_millis(5), endless).await;
        assert_eq!(refusal.unwrap_err().code, Code::OutcomeUnknown);
    }
}
