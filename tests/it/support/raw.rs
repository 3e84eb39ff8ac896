//! JSON-RPC by hand over a running program's pipes: for texts that no client would send, and for
//! both generations of the protocol.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::program::Program;

/// A generation of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Era {
    /// `initialize` first, 2025-11-25.
    Legacy,
    /// `server/discover`, and `_meta` in every request, 2026-07-28.
    Modern,
}

/// The longest that any answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running `secondkey mcp` with its pipes.
pub(crate) struct Raw {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    era: Era,
    last_id: u64,
    /// What the server said of itself.
    pub(crate) server: Value,
}

impl Raw {
    /// Starts it and introduces the client.
    pub(crate) async fn start(program: &Program, era: Era) -> Self {
        let mut command = program.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut raw = Self {
            child,
            stdin,
            lines,
            era,
            last_id: 0,
            server: Value::Null,
        };
        raw.server = raw.introduce().await;
        raw
    }

    async fn introduce(&mut self) -> Value {
        match self.era {
            Era::Legacy => {
                let hello = json!({
                    "protocolVersion": "2025-11-25", "capabilities": {},
                    "clientInfo": {"name": "raw", "version": "1"},
                });
                let answer = self.request("initialize", hello).await;
                let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
                self.send(ready.to_string().as_bytes()).await;
                answer
            }
            Era::Modern => self.request("server/discover", json!({})).await,
        }
    }

    /// Asks, and waits for the answer: the whole JSON-RPC message.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id();
        let mut params = params;
        if let Some(meta) = self.meta() {
            params["_meta"] = meta;
        }
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(line.to_string().as_bytes()).await;
        self.answer_to(id).await
    }

    /// Calls a tool with arguments that are already JSON text, well-formed or not.
    pub(crate) async fn call_text(&mut self, tool: &str, arguments: &[u8]) -> Value {
        let id = self.next_id();
        let meta = self
            .meta()
            .map_or(String::new(), |meta| format!("\"_meta\":{meta},"));
        let head = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{{meta}\"name\":\"{tool}\",\"arguments\":"
        );
        let line = [head.as_bytes(), arguments, b"}}"].concat();
        self.send(&line).await;
        self.answer_to(id).await
    }

    /// Calls a tool.
    pub(crate) async fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.call_text(tool, arguments.to_string().as_bytes()).await
    }

    /// Sends one line as it is.
    pub(crate) async fn send(&mut self, line: &[u8]) {
        self.stdin.write_all(line).await.unwrap();
        self.stdin.write_all(b"\n").await.unwrap();
        self.stdin.flush().await.unwrap();
    }

    /// The next message of any kind; `None` at the end of the output.
    pub(crate) async fn message(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("an answer in time").unwrap()?;
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}")))
    }

    /// Closes its input and waits for its end.
    pub(crate) async fn finish(mut self) -> ExitStatus {
        drop(self.stdin);
        let end = timeout(PATIENCE, self.child.wait()).await;
        end.expect("an end in time").unwrap()
    }

    /// The answer to `id`. An error about a line that could not be read has no id and counts too.
    async fn answer_to(&mut self, id: u64) -> Value {
        loop {
            let message = self.message().await.expect("the server goes on");
            let unreadable = message["id"].is_null() && message.get("error").is_some();
            if message["id"] == id || unreadable {
                return message;
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn meta(&self) -> Option<Value> {
        (self.era == Era::Modern).then(|| {
            json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            })
        })
    }
}

/// Whether an answer to a tool call says no, in either of the two ways.
pub(crate) fn is_refusal(answer: &Value) -> bool {
    answer.get("error").is_some() || answer["result"]["isError"] == true
}
