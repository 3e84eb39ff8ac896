//! Tasks (the extension `io.modelcontextprotocol/tasks`, SEP-2663): a call that waits for people is
//! answered at once with a task, for clients that declare them.
//!
//! A task is a view of a request, and no record of its own: its id is made of the request's, so it
//! outlives the server, and it is its requester's and nobody else's. Only what a statement answered
//! is kept here, for an hour. Nothing runs that is not asked about: whoever asks how an approved one
//! stands has it begun, and the store lets it begin once.

mod runs;

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, CreateTaskResult, DetailedTask, Task, TaskPayload, TaskStatus};
use serde_json::Value;

use crate::broker::approvals::{self, Page};
use crate::broker::{Caller, requests};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{APPROVED_MS, Request, Status};
use crate::mcp::person::{self, Opens};
use crate::mcp::{Server, call, tools};
pub(super) use runs::Runs;

/// How often a client is asked to look, in milliseconds.
const POLL_MS: u64 = 2_000;
/// How long one look for news takes at most.
const LOOK: Duration = Duration::from_secs(30);
/// What the id of a task has at its end when `request` made it, whose answers have a form of their own.
const OF_REQUEST: &str = ".wait";

/// Which tool's answer a task ends with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// That of `sql_execute`.
    Statement,
    /// That of `request`.
    Collection,
}

/// The call that a task stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Called {
    request: RequestId,
    form: Form,
}

impl Called {
    fn parse(text: &str) -> Option<Self> {
        let (id, form) = match text.strip_suffix(OF_REQUEST) {
            Some(id) => (id, Form::Collection),
            None => (text, Form::Statement),
        };
        let request = id.parse().ok()?;
        Some(Self { request, form })
    }

    fn task_id(&self) -> String {
        let end = match self.form {
            Form::Statement => "",
            Form::Collection => OF_REQUEST,
        };
        format!("{}{end}", self.request)
    }

    fn seen(&self, request: &Request, page: &Page) -> Task {
        let created = request.created();
        // As long as it can be approved and collected, and an hour for its answer.
        let ends = request.asked().document.expires().plus_ms(APPROVED_MS);
        let ttl = ends.unix_ms().saturating_sub(created.unix_ms());
        Task::new(
            self.task_id(),
            TaskStatus::Working,
            created.to_string(),
            request.updated().to_string(),
        )
        .with_status_message(message(request, page))
        .with_ttl_ms(u64::try_from(ttl).unwrap_or_default())
        .with_poll_interval_ms(POLL_MS)
    }
}

/// The answer to a call that waits for people.
pub(super) fn created(form: Form, request: &Request, page: &Page) -> CreateTaskResult {
    let task = Called {
        request: request.id().clone(),
        form,
    };
    CreateTaskResult::new(task.seen(request, page))
}

/// `tasks/get`. Begins what people have approved by now.
pub(super) async fn get(
    server: &Server,
    caller: &Caller,
    opens: Opens,
    id: &str,
) -> Result<DetailedTask, ErrorData> {
    let (task, request) = find(server, caller, id).await?;
    if request.status() == Status::Approved {
        server
            .runs
            .begin(&server.broker, caller, &task.request)
            .await;
    }
    view(server, caller, opens, id).await
}

/// How a request's task stands, without having anything begun.
pub(super) async fn seen(
    server: &Server,
    caller: &Caller,
    request: &RequestId,
) -> Result<DetailedTask, ErrorData> {
    view(server, caller, Opens::Never, request.as_str()).await
}

/// Waits until there is news of a task that is not over, for a while at most.
pub(super) async fn moves(server: &Server, caller: &Caller, id: &str) -> Result<(), ErrorData> {
    let (task, request) = find(server, caller, id).await?;
    if server.runs.goes_on(&task.request) {
        server.runs.over(&task.request, LOOK).await;
        return Ok(());
    }
    let status = request.status();
    let requests = server.broker.state.requests();
    let moved = requests.wait(&task.request, LOOK, |now| now.status() != status);
    let moved = moved.await.map_err(Refusal::from);
    moved.map(drop).map_err(|refusal| fault(&refusal))
}

async fn view(
    server: &Server,
    caller: &Caller,
    opens: Opens,
    id: &str,
) -> Result<DetailedTask, ErrorData> {
    let (task, request) = find(server, caller, id).await?;
    // In this order: a run of ours has its answer later than the store has its end.
    let goes_on = server.runs.goes_on(&task.request);
    let answer = server.runs.answer(&task.request);
    let payload = match (answer, request.status()) {
        (None, _) if goes_on => TaskPayload::Working,
        (_, Status::Cancelled) => TaskPayload::Cancelled,
        (Some(answer), _) => completed(task.form, &request, answer)?,
        (None, Status::Pending) if opens != Opens::Never && !server.offers.has(&task.request) => {
            TaskPayload::InputRequired {
                input_requests: person::questions(&request, &server.broker.page),
            }
        }
        (
            None,
            Status::Submitted
            | Status::Measuring
            | Status::Pending
            | Status::Approved
            | Status::Dispatched
            | Status::Running,
        ) => TaskPayload::Working,
        (
            None,
            Status::Denied
            | Status::Succeeded
            | Status::Failed
            | Status::Rejected
            | Status::Expired
            | Status::Unknown,
        ) => completed(
            task.form,
            &request,
            Err(approvals::standing(&request, &server.broker.page)),
        )?,
    };
    Ok(DetailedTask::new(
        task.seen(&request, &server.broker.page),
        payload,
    ))
}

/// `tasks/update`: a client says what came of opening the page. Whatever it says decides nothing.
pub(super) async fn update(server: &Server, caller: &Caller, id: &str) -> Result<(), ErrorData> {
    let (task, _) = find(server, caller, id).await?;
    server.offers.note(&task.request);
    Ok(())
}

/// `tasks/cancel`: takes the request back while nobody runs it, stops a read that runs, and leaves
/// alone what changes something and has begun.
pub(super) async fn cancel(server: &Server, caller: &Caller, id: &str) -> Result<(), ErrorData> {
    let (task, _) = find(server, caller, id).await?;
    let cancelled = requests::cancel(&server.broker.state, &task.request, &caller.principal);
    match cancelled.await {
        Ok(_) => {}
        Err(refusal) if refusal.code == Code::RequestState => server.runs.stop(&task.request),
        Err(refusal) => return Err(fault(&refusal)),
    }
    Ok(())
}

/// The task of this id, if it is this caller's.
async fn find(server: &Server, caller: &Caller, id: &str) -> Result<(Called, Request), ErrorData> {
    let unknown = || ErrorData::invalid_params("there is no task of this id of yours", None);
    let task = Called::parse(id).ok_or_else(unknown)?;
    match approvals::own(&server.broker, caller, &task.request).await {
        Ok(request) => Ok((task, request)),
        Err(refusal) if refusal.code == Code::UnknownRequest => Err(unknown()),
        Err(refusal) => Err(fault(&refusal)),
    }
}

/// The answer as the call would have given it.
fn completed(
    form: Form,
    request: &Request,
    answer: Result<Value, Refusal>,
) -> Result<TaskPayload, ErrorData> {
    let answer = match form {
        Form::Statement => answer,
        Form::Collection => answer.and_then(|result| tools::collected(request, result)),
    };
    let result: CallToolResult = answer.map_or_else(|no| call::refused(&no), call::answered);
    match serde_json::to_value(result) {
        Ok(Value::Object(result)) => Ok(TaskPayload::Completed { result }),
        Ok(_) | Err(_) => Err(ErrorData::internal_error("the answer is no JSON", None)),
    }
}

/// What a person may be shown of how it stands.
fn message(request: &Request, page: &Page) -> String {
    match request.status() {
        Status::Pending => {
            let asked = request.asked();
            let needs = approvals::needs(&asked.requirements);
            let page = page.of(&asked.id);
            format!("waits for {needs}: {page}")
        }
        status @ (Status::Submitted
        | Status::Denied
        | Status::Measuring
        | Status::Approved
        | Status::Dispatched
        | Status::Running
        | Status::Succeeded
        | Status::Failed
        | Status::Cancelled
        | Status::Rejected
        | Status::Expired
        | Status::Unknown) => format!("the request is {status}"),
    }
}

pub(super) fn fault(refusal: &Refusal) -> ErrorData {
    ErrorData::internal_error(refusal.message.clone(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_after_its_request_and_its_answer() {
        let request = RequestId::new(1_700_000_000_000, [7; 10]);
        for form in [Form::Statement, Form::Collection] {
            let task = Called {
                request: request.clone(),
                form,
            };
            assert_eq!(Called::parse(&task.task_id()), Some(task));
        }
        for wrong in ["", "req_", ".wait", "req_1", "task_1"] {
            assert_eq!(Called::parse(wrong), None, "{wrong}");
        }
        let other = format!("{request}.run");
        assert_eq!(Called::parse(&other), None);
    }
}
