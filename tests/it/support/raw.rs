//! JSON-RPC by hand over a running program's pipes: for texts that no client would send, and for
//! both generations of the protocol.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
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
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    era: Era,
    name: String,
    capabilities: Value,
    last_id: u64,
    /// What the server said of itself.
    pub(crate) server: Value,
}

impl Raw {
    /// Starts it and introduces the client.
    pub(crate) async fn start(program: &Program, era: Era) -> Self {
        Self::start_as("raw", program, era).await
    }

    /// Starts it and introduces the client by this name.
    pub(crate) async fn start_as(name: &str, program: &Program, era: Era) -> Self {
        Self::start_named(name, json!({}), program, era).await
    }

    /// Starts it and introduces a client that can do this.
    pub(crate) async fn start_able(capabilities: Value, program: &Program, era: Era) -> Self {
        Self::start_named("raw", capabilities, program, era).await
    }

    /// Starts it and introduces a client of this name that can do this.
    pub(crate) async fn start_named(
        name: &str,
        capabilities: Value,
        program: &Program,
        era: Era,
    ) -> Self {
        let mut raw = Self::connect(program, era);
        name.clone_into(&mut raw.name);
        raw.capabilities = capabilities;
        raw.server = raw.introduce().await;
        raw
    }

    /// Starts it and says nothing.
    pub(crate) fn connect(program: &Program, era: Era) -> Self {
        Self::over(program.command(), era)
    }

    /// Starts a command that speaks MCP, introduces the client by this name, and knows it as that.
    pub(crate) async fn start_over(name: &str, command: Command, era: Era) -> Self {
        let mut raw = Self::over(command, era);
        name.clone_into(&mut raw.name);
        raw.server = raw.introduce().await;
        raw
    }

    /// Starts a command that speaks MCP, and says nothing.
    pub(crate) fn over(mut command: Command, era: Era) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            stdin,
            lines,
            era,
            name: "raw".to_owned(),
            capabilities: json!({}),
            last_id: 0,
            server: Value::Null,
        }
    }

    /// Greets, as the era wants it.
    pub(crate) async fn introduce(&mut self) -> Value {
        match self.era {
            Era::Legacy => {
                let hello = json!({
                    "protocolVersion": "2025-11-25", "capabilities": self.capabilities,
                    "clientInfo": {"name": self.name, "version": "1"},
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
        let id = self.ask(method, params).await;
        self.answer_to(id).await
    }

    /// Asks without waiting for the answer, and gives the id.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> u64 {
        let (id, line) = self.request_line(method, params);
        self.send(line.as_bytes()).await;
        id
    }

    /// A request as a line, and its id.
    pub(crate) fn request_line(&mut self, method: &str, mut params: Value) -> (u64, String) {
        let id = self.next_id();
        for (key, value) in self
            .meta()
            .iter()
            .flat_map(|meta| meta.as_object().unwrap())
        {
            params["_meta"][key] = value.clone();
        }
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        (id, line.to_string())
    }

    /// Calls a tool without waiting for the answer, and gives the id.
    pub(crate) async fn call_soon(&mut self, tool: &str, arguments: &Value) -> u64 {
        let params = json!({"name": tool, "arguments": arguments});
        self.ask("tools/call", params).await
    }

    /// Writes bytes as they are, and reads meanwhile until the answer to `last` has come.
    pub(crate) async fn pour(&mut self, bytes: &[u8], last: u64) -> Vec<Value> {
        let Self { stdin, lines, .. } = self;
        let stdin = stdin.as_mut().unwrap();
        let write = async {
            stdin.write_all(bytes).await.unwrap();
            stdin.flush().await.unwrap();
        };
        let read = async {
            let mut messages: Vec<Value> = Vec::new();
            while messages.last().is_none_or(|message| message["id"] != last) {
                let line = timeout(PATIENCE, lines.next_line()).await;
                let line = line.expect("an answer in time").unwrap();
                messages.push(serde_json::from_str(&line.expect("the server goes on")).unwrap());
            }
            messages
        };
        tokio::join!(write, read).1
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
        let stdin = self.stdin.as_mut().expect("the input is open");
        stdin.write_all(line).await.unwrap();
        stdin.write_all(b"\n").await.unwrap();
        stdin.flush().await.unwrap();
    }

    /// The next message of any kind; `None` at the end of the output.
    pub(crate) async fn message(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("an answer in time").unwrap()?;
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}")))
    }

    /// Closes its input and goes on reading.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Closes its input and waits for its end.
    pub(crate) async fn finish(mut self) -> ExitStatus {
        self.end_input();
        let end = timeout(PATIENCE, self.child.wait()).await;
        end.expect("an end in time").unwrap()
    }

    /// Closes both pipes at once, as the system does when it kills a client.
    pub(crate) fn vanish(self) -> Child {
        self.child
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Kills the server.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The answer to `id`. An error about a line that could not be read has no id and counts too.
    pub(crate) async fn answer_to(&mut self, id: u64) -> Value {
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
                "io.modelcontextprotocol/clientInfo": {"name": self.name, "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            })
        })
    }
}

/// Whether an answer to a tool call says no, in either of the two ways.
pub(crate) fn is_refusal(answer: &Value) -> bool {
    answer.get("error").is_some() || answer["result"]["isError"] == true
}
