//! What is answered to requests that were set aside.

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, CustomRequest, DetailedTask, ErrorCode, ErrorData,
    ListToolsResult, ProtocolVersion, ServerResult, Task, TaskPayload, TaskStatus,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler as _};
use serde::Deserialize;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::broker::{Caller, approvals, requests};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::mcp::experimental::aside;
use crate::mcp::experimental::kept::{KEPT, Over};
use crate::mcp::person::Opens;
use crate::mcp::tools::{Reply, Tool};
use crate::mcp::{Server, call, experimental, tasks};

/// Which task an answer belongs to, in its `_meta`.
const RELATED: &str = "io.modelcontextprotocol/related-task";
/// Tasks in one answer to `tasks/list`.
const LISTED: usize = 50;
/// The longest that `tasks/result` waits, for whoever asks once and goes away.
const LONGEST_WAIT: Duration = Duration::from_hours(26);
/// How long a cancelled read may take to end.
const MOMENT: Duration = Duration::from_secs(2);

/// Answers a request under a name of ours, or one that the library knows no more.
pub(in crate::mcp) async fn answer(
    server: &Server,
    request: CustomRequest,
    context: RequestContext<RoleServer>,
) -> Result<Value, ErrorData> {
    let unknown = || ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method.clone(), None);
    let version = context.protocol_version();
    let newer = version
        .as_ref()
        .is_none_or(|version| *version >= ProtocolVersion::V_2026_07_28);
    if newer {
        return Err(unknown());
    }
    let declared = context.client_capabilities().unwrap_or_default();
    let extension = declared.supports_tasks();
    let knows_these = !extension && version == Some(ProtocolVersion::V_2025_11_25);
    let params = request.params.clone().unwrap_or_else(|| json!({}));
    match (request.method.as_str(), knows_these) {
        (aside::LIST_TOOLS, _) => {
            let says_so = experimental::declared_by(&declared);
            tools(server, context, knows_these && says_so).await
        }
        (aside::CALL, true) => called(server, params, context).await,
        // Who knows no tasks, or others, asks for none by this.
        (aside::CALL, false) => {
            let request = parse::<CallToolRequestParams>(params)?;
            older(&ServerResult::from(
                server.call_tool(request, context).await?,
            ))
        }
        (aside::GET | aside::CANCEL | "tasks/result" | "tasks/list", true) => {
            let caller = server.caller(&context);
            tasks_of(server, &caller, &request.method, params, &context).await
        }
        (aside::GET, false) if extension => older(&server.get_task(parse(params)?, context).await?),
        (aside::CANCEL, false) if extension => {
            server.cancel_task(parse(params)?, context).await?;
            Ok(json!({}))
        }
        (aside::GET | aside::CANCEL, false) => {
            let tasks = ClientCapabilities::builder().enable_tasks().build();
            Err(ErrorData::missing_required_client_capability(tasks))
        }
        _ => Err(unknown()),
    }
}

/// The tools, and that a statement can be called as a task. That is said to clients which declared
/// tasks themselves: for any other the list costs what it may.
async fn tools(
    server: &Server,
    context: RequestContext<RoleServer>,
    knows_tasks: bool,
) -> Result<Value, ErrorData> {
    let list: ListToolsResult = server.list_tools(None, context).await?;
    let waits = list
        .tools
        .iter()
        .any(|tool| tool.name == Tool::Request.name());
    let mut list = older(&list)?;
    let tools = list.get_mut("tools").and_then(Value::as_array_mut);
    let tools = tools.into_iter().flatten();
    for tool in tools.filter_map(Value::as_object_mut) {
        let is_it = tool
            .get("name")
            .is_some_and(|name| name == Tool::SqlExecute.name());
        // Where nobody can be asked, nothing waits.
        if knows_tasks && waits && is_it {
            tool.insert("execution".into(), json!({"taskSupport": "optional"}));
        }
    }
    Ok(list)
}

#[derive(Deserialize)]
struct AskedAs {
    #[serde(rename = "task")]
    _task: Wanted,
    #[serde(flatten)]
    call: CallToolRequestParams,
}

/// What a client wants of a task. How long it is kept is ours to say.
#[derive(Deserialize)]
struct Wanted {
    #[serde(default, rename = "ttl")]
    _ttl: Option<f64>,
}

/// `tools/call` with `task`. What waits for people is a task that goes on; anything else is over by
/// the time of this answer, and its own is fetched like any other.
async fn called(
    server: &Server,
    params: Value,
    context: RequestContext<RoleServer>,
) -> Result<Value, ErrorData> {
    let AskedAs { call, .. } = parse(params)?;
    let runs = [Tool::SqlExecute, Tool::CapabilityCall];
    if Tool::named(&call.name).is_some_and(|tool| !runs.contains(&tool)) {
        let message = format!("`{}` is not called as a task", call.name);
        return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None));
    }
    let caller = server.caller(&context);
    let reply = call::reply(server, &caller, call, context, true).await?;
    let now = server.broker.clock.now();
    let (id, result) = match reply {
        Ok(Reply::Task(request, form)) => {
            let made = tasks::created(form, &request, &server.broker.page);
            return Ok(json!({"task": seen(&made.task, "working", None)}));
        }
        Ok(Reply::Done(answer)) => {
            let id = answer.get("request").and_then(Value::as_str);
            (id.and_then(|id| id.parse().ok()), call::answered(answer))
        }
        Ok(Reply::Opens(request)) => {
            let id = request.id().clone();
            (
                Some(id),
                call::refused(&approvals::standing(&request, &server.broker.page)),
            )
        }
        Err(refusal) => (None, call::refused(&refusal)),
    };
    let id = id.unwrap_or_else(|| server.broker.ids.request());
    let Value::Object(result) = older(&result)? else {
        return Err(ErrorData::internal_error("the answer is no JSON", None));
    };
    let over = Over {
        owner: caller.principal,
        at: now,
        result,
    };
    let task = seen(&over.task(&id), "working", None);
    server.kept.put(id, over);
    Ok(json!({ "task": task }))
}

impl Over {
    fn task(&self, id: &RequestId) -> Task {
        let at = self.at.to_string();
        let ttl = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
        Task::new(id.as_str(), TaskStatus::Working, at.clone(), at).with_ttl_ms(ttl)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    task_id: String,
}

async fn tasks_of(
    server: &Server,
    caller: &Caller,
    method: &str,
    params: Value,
    context: &RequestContext<RoleServer>,
) -> Result<Value, ErrorData> {
    if method == "tasks/list" {
        let list = list(server, caller);
        return Box::pin(call::guard("tasks/list", list)).await;
    }
    let Named { task_id } = parse(params)?;
    let kept = task_id.parse().ok();
    let kept = kept.and_then(|id| Some((server.kept.of(&caller.principal, &id)?, id)));
    match (method, kept) {
        ("tasks/result", Some((over, _))) => Ok(fetched(over.result, &task_id)),
        ("tasks/result", None) => {
            let result = result(server, caller, &task_id);
            let result = call::guarded("tasks/result", LONGEST_WAIT, async { Ok(result.await) });
            tokio::select! {
                result = Box::pin(result) => result.map_err(|no| tasks::fault(&no))?,
                () = context.ct.cancelled() => Err(ErrorData::internal_error("cancelled", None)),
            }
        }
        (aside::CANCEL, Some(_)) => Err(over_already()),
        (aside::CANCEL, None) => {
            let cancel = cancel(server, caller, &task_id);
            Box::pin(call::guard("tasks/cancel", cancel)).await
        }
        (_, Some((over, id))) => Ok(ended(&over.task(&id), &over.result)),
        (_, None) => {
            let get = tasks::get(server, caller, Opens::Never, &task_id);
            let task = Box::pin(call::guard("tasks/get", get)).await?;
            Ok(stands(&task))
        }
    }
}

/// `tasks/result`: the answer, as soon as there is one.
async fn result(server: &Server, caller: &Caller, id: &str) -> Result<Value, ErrorData> {
    loop {
        let task = tasks::get(server, caller, Opens::Never, id).await?;
        if let TaskPayload::Completed { result } = task.payload {
            return Ok(fetched(result, id));
        }
        if is_over(&task) {
            let message = "the task was cancelled: it has no answer";
            return Err(ErrorData::invalid_params(message, None));
        }
        tasks::moves(server, caller, id).await?;
    }
}

/// `tasks/cancel`. What changes something and has begun is not cancelled, and the answer says so.
async fn cancel(server: &Server, caller: &Caller, id: &str) -> Result<Value, ErrorData> {
    let get = || tasks::get(server, caller, Opens::Never, id);
    if is_over(&get().await?) {
        return Err(over_already());
    }
    tasks::cancel(server, caller, id).await?;
    let mut task = get().await?;
    if !is_over(&task) {
        drop(tokio::time::timeout(MOMENT, tasks::moves(server, caller, id)).await);
        task = get().await?;
    }
    if is_over(&task) {
        return Ok(stands(&task));
    }
    let message =
        "it has begun and goes on to its end: what changes something is not stopped halfway";
    Err(ErrorData::invalid_params(message, None))
}

/// `tasks/list`: the newest, without having anything begun.
async fn list(server: &Server, caller: &Caller) -> Result<Value, ErrorData> {
    let kept = server.kept.all_of(&caller.principal);
    let kept = kept
        .iter()
        .map(|(id, over)| (id.clone(), ended(&over.task(id), &over.result)));
    let mut found: Vec<(RequestId, Value)> = kept.collect();
    let (state, requester) = (server.broker.state.clone(), caller.principal.clone());
    let page = tokio::task::spawn_blocking(move || requests::of(&state, &requester, LISTED));
    let page = page.await.map_err(|_| tasks::fault(&unreadable()))?;
    for summary in page.map_err(|no| tasks::fault(&no))?.requests {
        let task = tasks::seen(server, caller, &summary.id).await?;
        found.push((summary.id, stands(&task)));
    }
    // Ids begin with the time.
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    found.dedup_by(|(one, _), (other, _)| one == other);
    let found: Vec<Value> = found
        .into_iter()
        .map(|(_, task)| task)
        .take(LISTED)
        .collect();
    Ok(json!({ "tasks": found }))
}

fn unreadable() -> Refusal {
    Refusal::new(Code::Internal, "the requests could not be read")
}

fn over_already() -> ErrorData {
    ErrorData::invalid_params("the task is over: there is nothing left to cancel", None)
}

fn is_over(task: &DetailedTask) -> bool {
    matches!(
        task.payload,
        TaskPayload::Completed { .. } | TaskPayload::Failed { .. } | TaskPayload::Cancelled
    )
}

/// How a task stands, in the older words.
fn stands(task: &DetailedTask) -> Value {
    if let TaskPayload::Completed { result } = &task.payload {
        return ended(&task.task, result);
    }
    let status = if matches!(task.payload, TaskPayload::Cancelled) {
        "cancelled"
    } else if is_over(task) {
        "failed"
    } else {
        "working"
    };
    seen(&task.task, status, None)
}

/// A task whose call was answered: one that was refused has failed, and says why.
fn ended(task: &Task, result: &Map<String, Value>) -> Value {
    if result.get("isError") != Some(&Value::Bool(true)) {
        return seen(task, "completed", None);
    }
    let text = result
        .get("content")
        .and_then(|content| content.pointer("/0/text"));
    let refusal = text
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let why = refusal
        .as_ref()
        .and_then(|refusal| refusal.pointer("/error/message"));
    seen(task, "failed", why.and_then(Value::as_str))
}

fn seen(task: &Task, status: &str, message: Option<&str>) -> Value {
    let mut seen = Map::new();
    let mut say = |name: &str, value: Value| seen.insert(name.to_owned(), value);
    say("taskId", json!(task.task_id));
    say("status", json!(status));
    say("createdAt", json!(task.created_at));
    say("lastUpdatedAt", json!(task.last_updated_at));
    say("ttl", json!(task.ttl_ms));
    if let Some(message) = message.or(task.status_message.as_deref()) {
        say("statusMessage", json!(message));
    }
    if let Some(interval) = task.poll_interval_ms {
        say("pollInterval", json!(interval));
    }
    Value::Object(seen)
}

/// An answer that names its task.
fn fetched(mut result: Map<String, Value>, id: &str) -> Value {
    result.remove("resultType");
    let meta = result.entry("_meta").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert(RELATED.to_owned(), json!({ "taskId": id }));
    }
    Value::Object(result)
}

/// A result without what only newer clients know.
fn older(result: &impl Serialize) -> Result<Value, ErrorData> {
    let broken = |_| ErrorData::internal_error("the answer is no JSON", None);
    let mut result = serde_json::to_value(result).map_err(broken)?;
    if let Some(fields) = result.as_object_mut() {
        fields.remove("resultType");
    }
    Ok(result)
}

fn parse<P: serde::de::DeserializeOwned>(params: Value) -> Result<P, ErrorData> {
    // Without the library's words: they can quote a value.
    let wrong = "the parameters of this request are not of the form that it wants";
    serde_json::from_value(params).map_err(|_| ErrorData::invalid_params(wrong, None))
}
