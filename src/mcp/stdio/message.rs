//! From a line to a message, or to the answer that a line without one deserves (JSON-RPC 2.0,
//! section 5.1). Nothing of a bad line is repeated: it can hold values.

use rmcp::model::{
    ClientJsonRpcMessage, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};
use serde_json::{Map, Value};

use crate::mcp::MESSAGE_BYTES;

/// What a line says.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message.
    Message(Box<ClientJsonRpcMessage>),
    /// Nothing that wants an answer.
    Nothing,
    /// No message; this is the answer.
    Bad(Box<ServerJsonRpcMessage>),
}

impl Heard {
    /// Looks closer at a message.
    pub(super) fn and_then(self, look: impl FnOnce(Box<ClientJsonRpcMessage>) -> Self) -> Self {
        match self {
            Self::Message(message) => look(message),
            Self::Nothing | Self::Bad(_) => self,
        }
    }
}

/// Understands a line.
pub(super) fn hear(line: &[u8]) -> Heard {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    if line.trim_ascii().is_empty() {
        return Heard::Nothing;
    }
    match serde_json::from_slice::<ClientJsonRpcMessage>(line) {
        Ok(JsonRpcMessage::Notification(_)) if names_an_id(line) => Heard::Bad(bad_id(
            "a request's id must be a string or a whole number of 64 bits",
        )),
        Ok(message) => Heard::Message(Box::new(message)),
        Err(_) => diagnose(line),
    }
}

/// The answer to a line that is longer than a message may be.
pub(super) fn too_long() -> Box<ServerJsonRpcMessage> {
    let mib = MESSAGE_BYTES / 1024 / 1024;
    let message = format!("the message is longer than {mib} MiB and was not read");
    error(ErrorData::invalid_request(message, None), None)
}

fn diagnose(line: &[u8]) -> Heard {
    let unreadable = |why| Heard::Bad(error(ErrorData::parse_error(why, None), None));
    let Ok(text) = std::str::from_utf8(line) else {
        return unreadable("the message is not UTF-8 text");
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => misshapen(&fields),
        Ok(Value::Array(_)) => Heard::Bad(invalid(
            "this protocol has no batches; send one message on each line",
            None,
        )),
        Ok(_) => Heard::Bad(invalid("a message is a JSON object", None)),
        Err(_) => unreadable("the message is not JSON, or nested too deeply"),
    }
}

/// What to say to an object that is no message.
fn misshapen(fields: &Map<String, Value>) -> Heard {
    let asks = fields.contains_key("method");
    if asks && !fields.contains_key("id") || fields.contains_key("result") {
        // A notification, or the answer to a question that was never asked.
        return Heard::Nothing;
    }
    if fields.contains_key("error") {
        return Heard::Nothing;
    }
    let id = fields.get("id").and_then(request_id);
    let answer = match (asks, id) {
        (true, Some(id)) => {
            let wrong = "the parameters of this request are not of the form that it wants";
            error(ErrorData::invalid_params(wrong, None), Some(id))
        }
        (true, None) => bad_id("a request's id must be a string or a whole number of 64 bits"),
        (false, id) => invalid("a request names its method", id),
    };
    Heard::Bad(answer)
}

fn request_id(value: &Value) -> Option<RequestId> {
    match value {
        Value::String(text) => Some(RequestId::String(text.as_str().into())),
        Value::Number(number) => number.as_i64().map(RequestId::Number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// An id of the wrong kind makes a request look like a notification.
fn names_an_id(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|message| message.get("id").is_some())
}

fn bad_id(why: &'static str) -> Box<ServerJsonRpcMessage> {
    invalid(why, None)
}

fn invalid(why: &'static str, id: Option<RequestId>) -> Box<ServerJsonRpcMessage> {
    error(ErrorData::invalid_request(why, None), id)
}

fn error(error: ErrorData, id: Option<RequestId>) -> Box<ServerJsonRpcMessage> {
    Box::new(ServerJsonRpcMessage::error(error, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &[u8]) -> Option<(i32, Option<RequestId>)> {
        match hear(line) {
            Heard::Bad(bad) => match *bad {
                JsonRpcMessage::Error(error) => Some((error.error.code.0, error.id)),
                JsonRpcMessage::Request(_)
                | JsonRpcMessage::Response(_)
                | JsonRpcMessage::Notification(_) => panic!("no error"),
            },
            Heard::Message(_) | Heard::Nothing => None,
        }
    }

    #[test]
    fn every_bad_line_has_its_answer() {
        let id = || Some(RequestId::Number(7));
        let deep = "[".repeat(100_000);
        type Answer = (i32, Option<RequestId>);
        let cases: [(&[u8], Answer); _] = [
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
                (-32602, id()),
            ),
            (b"{\"id\":7,\"method\":\"ping\"}", (-32602, id())),
            (
                b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":5}",
                (-32602, id()),
            ),
        ];
        for (line, expected) in &cases {
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
