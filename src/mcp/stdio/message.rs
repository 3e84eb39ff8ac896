//! From a line to a message, or to the answer that a line without one deserves (JSON-RPC 2.0,
//! section 5.1). Nothing of a bad line is repeated: it can hold values.

use std::borrow::Cow;

use rmcp::model::{
    ClientJsonRpcMessage, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};
use serde_json::{Map, Value};

use crate::mcp::{MESSAGE_BYTES, experimental};

/// What a line says.
#[derive(Debug)]
pub(in crate::mcp) enum Heard {
    /// A message.
    Message(Box<ClientJsonRpcMessage>),
    /// Nothing that wants an answer.
    Nothing,
    /// No message; this is the answer.
    Bad(Box<ServerJsonRpcMessage>),
}

impl Heard {
    /// Looks closer at a message.
    pub(in crate::mcp) fn and_then(
        self,
        look: impl FnOnce(Box<ClientJsonRpcMessage>) -> Self,
    ) -> Self {
        match self {
            Self::Message(message) => look(message),
            Self::Nothing | Self::Bad(_) => self,
        }
    }
}

/// Understands a line.
pub(in crate::mcp) fn hear(line: &[u8]) -> Heard {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    if line.trim_ascii().is_empty() {
        return Heard::Nothing;
    }
    match serde_json::from_slice::<ClientJsonRpcMessage>(line) {
        // With an id of the wrong kind a request looks like a notification.
        Ok(JsonRpcMessage::Notification(_)) if names_an_id(line) => invalid(WRONG_ID, None),
        Ok(message) => Heard::Message(Box::new(experimental::set_aside(message, line).0)),
        Err(_) => diagnose(line),
    }
}

/// The answer to a line that is longer than a message may be.
pub(in crate::mcp) fn too_long() -> Heard {
    let mib = MESSAGE_BYTES / 1024 / 1024;
    invalid(
        format!("the message is longer than {mib} MiB and was not read"),
        None,
    )
}

/// The answer to a request whose id belongs to another one. Without the id, which is the other's.
pub(in crate::mcp) fn id_in_use() -> Heard {
    invalid("a request with this id has not been answered yet", None)
}

const WRONG_ID: &str = "a request's id must be a string or a whole number of 64 bits";

fn diagnose(line: &[u8]) -> Heard {
    let unreadable = |why| bad(ErrorData::parse_error(why, None), None);
    let Ok(text) = std::str::from_utf8(line) else {
        return unreadable("the message is not UTF-8 text");
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => misshapen(&fields),
        Ok(Value::Array(_)) => invalid(
            "this protocol has no batches; send one message on each line",
            None,
        ),
        Ok(_) => invalid("a message is a JSON object", None),
        Err(_) => unreadable("the message is not JSON, or nested too deeply"),
    }
}

/// What to say to an object that is no message.
fn misshapen(fields: &Map<String, Value>) -> Heard {
    let has = |name| fields.contains_key(name);
    if has("method") && !has("id") || has("result") || has("error") {
        // A notification, or the answer to a question that was never asked.
        return Heard::Nothing;
    }
    let id = fields.get("id").and_then(request_id);
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return invalid("a message has the field `jsonrpc` with the value `2.0`", id);
    }
    if fields.get("method").and_then(Value::as_str).is_none() {
        return invalid("a request names its method", id);
    }
    if id.is_none() {
        return invalid(WRONG_ID, None);
    }
    let wrong = "the parameters of this request are not of the form that it wants";
    bad(ErrorData::invalid_params(wrong, None), id)
}

fn request_id(value: &Value) -> Option<RequestId> {
    match value {
        Value::String(text) => Some(RequestId::String(text.as_str().into())),
        Value::Number(number) => number.as_i64().map(RequestId::Number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn names_an_id(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|message| message.get("id").is_some())
}

fn invalid(why: impl Into<Cow<'static, str>>, id: Option<RequestId>) -> Heard {
    bad(ErrorData::invalid_request(why, None), id)
}

fn bad(error: ErrorData, id: Option<RequestId>) -> Heard {
    Heard::Bad(Box::new(ServerJsonRpcMessage::error(error, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = (i32, Option<RequestId>);

    fn answer(line: &[u8]) -> Option<Answer> {
        match hear(line) {
            Heard::Bad(answer) => {
                let answer = serde_json::to_value(*answer).unwrap();
                let code = i32::try_from(answer["error"]["code"].as_i64().unwrap()).unwrap();
                Some((code, answer.get("id").and_then(request_id)))
            }
            Heard::Message(_) | Heard::Nothing => None,
        }
    }

    #[test]
    fn every_bad_line_has_its_answer() {
        let id = || Some(RequestId::Number(7));
        let deep = "[".repeat(100_000);
        let cases: &[(&[u8], Answer)] = &[
            (b"{", (-32700, None)),
            (b"hello", (-32700, None)),
            (b"{\"jsonrpc\":\"2.0\",\"id\":7,\"meth", (-32700, None)),
            (b"{\"a\":\"\xff\"}", (-32700, None)),
            (deep.as_bytes(), (-32700, None)),
            (
                b"{\"jsonrpc\":\"2.0\",\"id\":1e999,\"method\":\"ping\"}",
                (-32700, None),
            ),
            (b"[]", (-32600, None)),
            (
                b"[{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}]",
                (-32600, None),
            ),
            (b"7", (-32600, None)),
            (b"{}", (-32600, None)),
            (b"{\"jsonrpc\":\"2.0\",\"id\":7}", (-32600, id())),
            (
                b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}",
                (-32600, None),
            ),
            (
                b"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}",
                (-32600, None),
            ),
            (
                b"{\"jsonrpc\":\"2.0\",\"id\":99999999999999999999,\"method\":\"ping\"}",
                (-32600, None),
            ),
            (
                b"{\"jsonrpc\":\"2.0\",\"id\":[7],\"method\":\"ping\"}",
                (-32600, None),
            ),
            (
                b"{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"ping\"}",
                (-32600, id()),
            ),
            (b"{\"id\":7,\"method\":\"ping\"}", (-32600, id())),
            (
                b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":5}",
                (-32600, id()),
            ),
        ];
        for (line, expected) in cases {
            let line_text = String::from_utf8_lossy(line.get(..80).unwrap_or(line));
            assert_eq!(answer(line).as_ref(), Some(expected), "{line_text}");
        }
    }

    #[test]
    fn what_needs_no_answer_gets_none() {
        for line in [
            "",
            "  \t ",
            "\u{feff}",
            r#"{"jsonrpc":"2.0","method":"notifications/unheard-of"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":7}"#,
            r#"{"jsonrpc":"2.0","id":{},"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":"no"}"#,
        ] {
            assert_eq!(answer(line.as_bytes()), None, "{line}");
        }
    }
}
