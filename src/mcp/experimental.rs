//! The experimental tasks of 2025-11-25, for clients that know no others: a call of `sql_execute` with
//! `params.task` is answered with a task, and its answer is fetched with `tasks/result`.
//!
//! The protocol's library knows these tasks no more, and would drop what is said of them. Requests that
//! speak of them are therefore set aside under names of our own before it reads them, and what the
//! greeting says of them is added behind it. A task is the same view of a request as in
//! [`tasks`](super::tasks); only the words differ.
//!
//! Source: <https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks>.

mod kept;
mod serve;

use rmcp::model::{
    ClientCapabilities, ClientJsonRpcMessage, ClientRequest, CustomRequest, GetExtensions as _,
    GetMeta as _, InitializeRequest, JsonRpcMessage, ProtocolVersion, ServerJsonRpcMessage,
    ServerResult,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

pub(super) use kept::Kept;
pub(super) use serve::answer;

/// How it is kept that a client declared these tasks, among what it declared as experimental.
const DECLARED: &str = "dev.secondkey/tasks";

/// What a request is called while it is set aside.
mod aside {
    pub(super) const CALL: &str = "dev.secondkey/tools/call";
    pub(super) const LIST_TOOLS: &str = "dev.secondkey/tools/list";
    pub(super) const GET: &str = "dev.secondkey/tasks/get";
    pub(super) const CANCEL: &str = "dev.secondkey/tasks/cancel";
}

/// A message as the library is to see it, and whether it differs from what was `written`.
pub(super) fn set_aside(
    mut message: ClientJsonRpcMessage,
    written: &[u8],
) -> (ClientJsonRpcMessage, bool) {
    let changed = match &mut message {
        JsonRpcMessage::Request(request) => {
            let asked = &mut request.request;
            if let ClientRequest::InitializeRequest(greeting) = asked {
                noted(greeting, written)
            } else {
                aside_request(asked, written)
                    .map(|aside| *asked = ClientRequest::CustomRequest(aside))
                    .is_some()
            }
        }
        JsonRpcMessage::Notification(_)
        | JsonRpcMessage::Response(_)
        | JsonRpcMessage::Error(_) => false,
    };
    (message, changed)
}

/// Keeps what a client declares with its greeting, where the library lets it stand.
fn noted(greeting: &mut InitializeRequest, written: &[u8]) -> bool {
    let declared = declares_tasks(written);
    if declared {
        let experimental = &mut greeting.params.capabilities.experimental;
        let experimental = experimental.get_or_insert_default();
        experimental.insert(DECLARED.to_owned(), Map::new());
    }
    declared
}

fn aside_request(request: &ClientRequest, written: &[u8]) -> Option<CustomRequest> {
    // Newer requests say which version they speak, each of them.
    if request.get_meta().protocol_version().is_some() {
        return None;
    }
    let method = if matches!(request, ClientRequest::CallToolRequest(_)) {
        asks_for_a_task(written).then_some(aside::CALL)
    } else if matches!(request, ClientRequest::ListToolsRequest(_)) {
        Some(aside::LIST_TOOLS)
    } else if matches!(request, ClientRequest::GetTaskRequest(_)) {
        Some(aside::GET)
    } else {
        matches!(request, ClientRequest::CancelTaskRequest(_)).then_some(aside::CANCEL)
    }?;
    let mut params = serde_json::from_slice::<Params>(written).ok()?.params;
    if let Some(params) = params.as_mut().and_then(Value::as_object_mut) {
        // It travels beside the parameters.
        params.remove("_meta");
    }
    let mut aside = CustomRequest::new(method, params);
    aside.extensions = request.extensions().clone();
    Some(aside)
}

#[derive(Deserialize)]
struct Params {
    params: Option<Value>,
}

/// Whether a client says with its greeting that it knows these tasks.
pub(super) fn declared_by(client: &ClientCapabilities) -> bool {
    let experimental = client.experimental.as_ref();
    experimental.is_some_and(|experimental| experimental.contains_key(DECLARED))
}

fn declares_tasks(written: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Looked {
        params: Greeting,
    }
    #[derive(Deserialize)]
    struct Greeting {
        capabilities: Declared,
    }
    #[derive(Deserialize)]
    struct Declared {
        #[serde(default)]
        tasks: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Looked>(written)
        .is_ok_and(|looked| looked.params.capabilities.tasks.is_some())
}

fn asks_for_a_task(written: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Looked {
        params: Task,
    }
    #[derive(Deserialize)]
    struct Task {
        #[serde(default)]
        task: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Looked>(written).is_ok_and(|looked| looked.params.task.is_some())
}

/// Whether a message is a greeting, whose answer has something to be added.
pub(super) fn greets(message: &ClientJsonRpcMessage) -> bool {
    matches!(message, JsonRpcMessage::Request(request)
        if matches!(request.request, ClientRequest::InitializeRequest(_)))
}

/// An answer to a greeting with what it says of tasks; `None` for anything else.
pub(super) fn declared(message: &ServerJsonRpcMessage) -> Option<Value> {
    match message {
        JsonRpcMessage::Response(response)
            if matches!(response.result, ServerResult::InitializeResult(_)) =>
        {
            let mut message = serde_json::to_value(message).ok()?;
            declare(&mut message).then_some(message)
        }
        JsonRpcMessage::Response(_)
        | JsonRpcMessage::Request(_)
        | JsonRpcMessage::Notification(_)
        | JsonRpcMessage::Error(_) => None,
    }
}

/// The same in the text of an event stream.
pub(super) fn declared_in_events(events: &str) -> String {
    let line = |line: &str| {
        let message = line.trim_end().strip_prefix("data:");
        let message = message.and_then(|data| serde_json::from_str::<Value>(data).ok());
        let amended = message.and_then(|mut message| declare(&mut message).then_some(message));
        amended.map_or_else(|| line.to_owned(), |message| format!("data: {message}\n"))
    };
    events.split_inclusive('\n').map(line).collect()
}

/// Adds what is offered, where a greeting is answered with the version that knows it.
fn declare(message: &mut Value) -> bool {
    let Some(result) = message.get_mut("result") else {
        return false;
    };
    let version = result.get("protocolVersion").and_then(Value::as_str);
    if version != Some(ProtocolVersion::V_2025_11_25.as_str()) {
        return false;
    }
    let capabilities = result.get_mut("capabilities");
    let Some(capabilities) = capabilities.and_then(Value::as_object_mut) else {
        return false;
    };
    let offered = json!({"cancel": {}, "list": {}, "requests": {"tools": {"call": {}}}});
    capabilities.insert("tasks".to_owned(), offered);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aside(message: &Value) -> Option<Value> {
        let written = message.to_string();
        let read = serde_json::from_str(&written).unwrap();
        let (message, changed) = set_aside(read, written.as_bytes());
        changed.then(|| serde_json::to_value(message).unwrap())
    }

    fn call(params: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
    }

    #[test]
    fn only_what_speaks_of_older_tasks_is_set_aside_and_keeps_all_it_says() {
        let meta = json!({"progressToken": "p"});
        let asked =
            json!({"name": "x", "arguments": {"task": 1}, "task": {"ttl": 5}, "_meta": meta});
        let found = aside(&call(&asked)).unwrap();
        assert_eq!(found["method"], aside::CALL);
        assert_eq!(found["params"], asked, "{found}");
        let newer = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        for params in [
            json!({"name": "task", "arguments": {"task": {}}}),
            json!({"name": "x", "task": null}),
            json!({"name": "x", "task": {}, "_meta": newer}),
        ] {
            assert_eq!(aside(&call(&params)), None, "{params}");
        }
        for capabilities in [json!({"tasks": {}}), json!({})] {
            let client = json!({"name": "x", "version": "1"});
            let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client});
            let message =
                json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
            let found = aside(&message);
            assert_eq!(found.is_some(), capabilities["tasks"].is_object());
            if let Some(found) = found {
                let declared = found["params"]["capabilities"].clone();
                assert!(
                    declared_by(&serde_json::from_value(declared).unwrap()),
                    "{found}"
                );
            }
        }
        for (method, expected) in [
            ("tasks/get", Some(aside::GET)),
            ("tasks/cancel", Some(aside::CANCEL)),
            ("tasks/update", None),
            ("tasks/result", None),
            ("ping", None),
        ] {
            let params = json!({"taskId": "t", "inputResponses": {}});
            let message = json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params});
            let found = aside(&message);
            let found = found
                .as_ref()
                .map(|found| found["method"].as_str().unwrap());
            assert_eq!(found, expected, "{method}");
        }
    }

    #[test]
    fn the_answer_to_a_greeting_is_amended_in_events_and_nothing_else_is() {
        let answer = |version| {
            let result = json!({"protocolVersion": version, "capabilities": {"tools": {}}});
            json!({"jsonrpc": "2.0", "id": 1, "result": result})
        };
        let events = format!("id: 1\ndata: {}\n\n: keep\n", answer("2025-11-25"));
        let amended = declared_in_events(&events);
        assert!(amended.starts_with("id: 1\ndata: {") && amended.ends_with("}\n\n: keep\n"));
        let data = amended
            .lines()
            .nth(1)
            .unwrap()
            .strip_prefix("data: ")
            .unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        let capabilities = &data["result"]["capabilities"];
        assert!(capabilities["tasks"]["requests"]["tools"]["call"].is_object());
        assert!(capabilities["tools"].is_object());
        for other in [
            format!("data: {}\n\n", answer("2025-06-18")),
            "data:\n\n".to_owned(),
            "no stream".to_owned(),
            String::new(),
        ] {
            assert_eq!(declared_in_events(&other), other);
        }
    }
}
