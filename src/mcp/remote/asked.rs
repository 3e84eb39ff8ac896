//! What a client asks, as far as the bridge has to know it, and what it is answered when the relay does not.

use hyper::body::Bytes;
use rmcp::ErrorData;
use rmcp::model::{RequestId, ServerJsonRpcMessage, ServerResult};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::core::ids;
use crate::core::refusal::Refusal;
use crate::mcp::call::refused;

/// Requests that change nothing however often they are carried out.
const REPEATABLE: &[&str] = &[
    "initialize",
    "server/discover",
    "ping",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
];
/// Where each method has what a header names it by.
const NAMED: &[(&str, &str)] = &[
    ("tools/call", "name"),
    ("prompts/get", "name"),
    ("resources/read", "uri"),
    ("resources/subscribe", "uri"),
    ("resources/unsubscribe", "uri"),
    ("tasks/get", "taskId"),
    ("tasks/update", "taskId"),
    ("tasks/cancel", "taskId"),
];

/// Tools whose answers name the request under which the relay has put them on record.
const RUNS: &[&str] = &["sql_execute", "sql_batch", "vector_search", "vector_upsert"];

/// A request of the client's.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: RequestId,
    pub(super) method: String,
    /// The tool that it calls, if it calls one.
    tool: Option<String>,
    /// Set where it says itself which version it speaks.
    pub(super) modern: Option<Modern>,
    /// As the client wrote it.
    pub(super) line: Bytes,
}

/// What a message of 2026-07-28 or later says of itself.
#[derive(Clone, Debug)]
pub(super) struct Modern {
    pub(super) version: String,
    pub(super) method: String,
    pub(super) name: Option<String>,
}

impl Asked {
    pub(super) fn new(id: RequestId, line: Bytes) -> Self {
        let message: Value = serde_json::from_slice(&line).unwrap_or_default();
        let method = message.get("method").and_then(Value::as_str);
        let method = method.unwrap_or_default().to_owned();
        let params = message.get("params");
        let version = params
            .and_then(|params| params.get("_meta"))
            .and_then(|meta| meta.get("io.modelcontextprotocol/protocolVersion"))
            .and_then(Value::as_str);
        let name = || {
            let (_, key) = NAMED.iter().find(|(named, _)| *named == method)?;
            params?.get(key)?.as_str().map(str::to_owned)
        };
        let modern = version.map(|version| Modern {
            version: version.to_owned(),
            method: method.clone(),
            name: name(),
        });
        let tool = name().filter(|_| method == "tools/call");
        Self {
            id,
            method,
            tool,
            modern,
            line,
        }
    }

    /// Whether it greets, and opens a session.
    pub(super) fn greets(&self) -> bool {
        self.method == "initialize"
    }

    /// Whether it may be sent again although it may have been carried out.
    pub(super) fn is_repeatable(&self) -> bool {
        REPEATABLE.contains(&self.method.as_str())
    }

    /// Whether a message is the answer to this.
    pub(super) fn is_answered_by(&self, message: &str) -> bool {
        #[derive(Deserialize)]
        struct Seen {
            id: Option<RequestId>,
            #[serde(default)]
            method: Option<IgnoredAny>,
        }
        serde_json::from_str::<Seen>(message)
            .is_ok_and(|seen| seen.method.is_none() && seen.id.as_ref() == Some(&self.id))
    }

    /// The request that an answer to this names, where it is the answer of a tool that runs statements. Of other
    /// answers, members of that name can say anything.
    pub(super) fn names(&self, answer: &str) -> Option<ids::RequestId> {
        #[derive(Deserialize)]
        struct Seen {
            result: Called,
        }
        #[derive(Deserialize)]
        struct Called {
            #[serde(rename = "structuredContent")]
            content: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            request: ids::RequestId,
        }
        if !self
            .tool
            .as_deref()
            .is_some_and(|tool| RUNS.contains(&tool))
        {
            return None;
        }
        let seen = serde_json::from_str::<Seen>(answer).ok()?;
        Some(seen.result.content.request)
    }

    /// The answer that it was refused: a result that a model reads, where a tool was called.
    pub(super) fn refused(&self, refusal: &Refusal) -> ServerJsonRpcMessage {
        if self.method == "tools/call" {
            let result = ServerResult::CallToolResult(refused(refusal));
            return ServerJsonRpcMessage::response(result, self.id.clone());
        }
        let said = match &refusal.hint {
            Some(hint) => format!("{}; {hint}", refusal.message),
            None => refusal.message.clone(),
        };
        let error = ErrorData::internal_error(said, Some(json!({ "code": refusal.code })));
        ServerJsonRpcMessage::error(error, Some(self.id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(message: &Value) -> Asked {
        Asked::new(RequestId::Number(1), message.to_string().into())
    }

    #[test]
    fn only_what_changes_nothing_is_sent_again() {
        for (method, again) in [
            ("tools/list", true),
            ("tools/call", false),
            ("tasks/update", false),
            ("dev.example/new", false),
        ] {
            let asked = asked(&json!({"jsonrpc": "2.0", "id": 1, "method": method}));
            assert_eq!(asked.is_repeatable(), again, "{method}");
        }
    }

    #[test]
    fn a_message_of_the_newer_protocol_is_named_in_its_head() {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        let params = json!({"name": "whoami", "_meta": meta});
        let newer = asked(&json!({"id": 1, "method": "tools/call", "params": params}));
        let modern = newer.modern.unwrap();
        assert_eq!(modern.version, "2026-07-28");
        assert_eq!(modern.name.as_deref(), Some("whoami"));
        let older = asked(&json!({"id": 1, "method": "tools/call", "params": {"name": "whoami"}}));
        assert!(older.modern.is_none());
    }

    #[test]
    fn only_tools_that_run_statements_name_requests() {
        let answer = json!({"id": 1, "result": {"structuredContent": {
            "rows": [[{"request": "req_018bcfe5680007070707070707070708"}]],
            "request": "req_018bcfe5680077078707070707070707",
        }}});
        for (tool, names) in [("sql_execute", true), ("get_order", false)] {
            let asked = asked(&json!({"method": "tools/call", "params": {"name": tool}}));
            let named = asked.names(&answer.to_string()).map(String::from);
            let wanted = names.then(|| "req_018bcfe5680077078707070707070707".to_owned());
            assert_eq!(named, wanted, "{tool}");
        }
        let asked = asked(&json!({"method": "tools/call", "params": {"name": "sql_batch"}}));
        assert!(
            asked
                .names(r#"{"id": 1, "result": {"isError": true}}"#)
                .is_none()
        );
    }

    #[test]
    fn an_answer_is_known_by_its_id_and_by_asking_nothing() {
        let asked = asked(&json!({"id": 1, "method": "ping"}));
        assert!(asked.is_answered_by(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
        assert!(!asked.is_answered_by(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
        assert!(!asked.is_answered_by(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#));
        assert!(!asked.is_answered_by("no JSON"));
    }
}
