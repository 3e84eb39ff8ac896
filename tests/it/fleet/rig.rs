//! One relay, one agent with a SQLite shop, and a client.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use secondkey::broker::requests;
use secondkey::clock::SystemClock;
use secondkey::core::approval::Decision;
use secondkey::core::ids::RequestId;
use secondkey::core::request::Status;
use secondkey::store::State;
use secondkey::store::requests::Filter;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::stories::approval::{say, trust};
use crate::stories::database_down::server::newest;
use crate::support::http::{Answer, send};
use crate::support::{binary, shop, variable};

pub(super) const UPDATE: &str = "UPDATE products SET price = $1 WHERE name = $2";

pub(super) struct Fleet {
    pub(super) folder: TempDir,
    pub(super) port: u16,
    /// What the relay is started with besides.
    pub(super) besides: Vec<String>,
    /// What the agent is started with besides.
    pub(super) for_agent: Vec<String>,
    /// The target that the agent serves, where it is not the shop.
    pub(super) target: Option<String>,
    /// The port that the agent dials, where it is not the relay's own.
    pub(super) dials: Option<u16>,
    relay: Option<Running>,
    agent: Option<Running>,
    /// Further agents.
    others: Vec<Running>,
    /// The key of a developer's model.
    pub(super) key: String,
}

/// A running program, killed at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Fleet {
    /// A relay and an agent that has joined it, both ready. Ada is trusted by both.
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with a relay that is started with this besides.
    pub(super) async fn start_with(besides: &[&str]) -> Self {
        Self::start_at(0, besides).await
    }

    /// The same at a port that was chosen.
    pub(super) async fn start_at(port: u16, besides: &[&str]) -> Self {
        let mut fleet = Self::alone();
        fleet.port = port;
        fleet.besides = besides.iter().map(ToString::to_string).collect();
        for name in ["relay", "agent"] {
            let state = State::open(&fleet.path(name), Arc::new(SystemClock)).unwrap();
            state.install_trust(trust()).await.unwrap();
            state.close().await.unwrap();
        }
        fleet.start_relay();
        fleet.start_agent();
        fleet
    }

    /// A relay that was made and does not run, a shop, and a token to join by.
    pub(super) fn alone() -> Self {
        Self::alone_at(variable("TEST_FLEET_STORE").map(|url| database_at(&url)))
    }

    /// The same, with its tables at this PostgreSQL, where one is named.
    pub(super) fn alone_at(store: Option<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let mut init = vec!["relay", "init"];
        if let Some(url) = store {
            std::fs::write(folder.path().join("store.url"), url).unwrap();
            init.extend(["--store", "file:store.url"]);
        }
        let mut fleet = Self {
            folder,
            port: 0,
            besides: Vec::new(),
            for_agent: Vec::new(),
            target: None,
            dials: None,
            relay: None,
            agent: None,
            others: Vec::new(),
            key: String::new(),
        };
        let made = fleet.run(&init, "relay");
        assert!(made.contains("skey_"), "{made}");
        let token = fleet.run(&["relay", "join-token", "--serves", "shop"], "relay");
        std::fs::write(fleet.path("join"), token).unwrap();
        fleet.key = fleet.issue(&["--for", "ai:ada", "--role", "developer"]);
        std::fs::create_dir(fleet.path("CANARY-credential")).unwrap();
        shop::create(&fleet.shop());
        fleet
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn shop(&self) -> PathBuf {
        self.path("CANARY-credential").join("shop.db")
    }

    pub(super) fn command(&self, arguments: &[&str], state: &str) -> Command {
        let mut command = Command::new(binary());
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{state}.log")));
        command
            .args(arguments)
            .args(["--state", state])
            .env_clear()
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .stderr(log.unwrap());
        command
    }

    /// What a command that goes well says.
    pub(super) fn run(&self, arguments: &[&str], state: &str) -> String {
        let output = self.command(arguments, state).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            self.log(state)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(super) fn log(&self, state: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{state}.log"))).unwrap_or_default()
    }

    /// A new API key.
    pub(super) fn issue(&self, arguments: &[&str]) -> String {
        let create = [&["relay", "keys", "create"], arguments].concat();
        self.run(&create, "relay")
    }

    pub(super) fn start_relay(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        self.begin_relay(&["relay", "--listen", &listen]);
    }

    /// The relay, where its configuration says.
    pub(super) fn start_by_its_file(&mut self) {
        self.begin_relay(&["relay"]);
    }

    fn begin_relay(&mut self, arguments: &[&str]) {
        let mut command = self.command(arguments, "relay");
        command.args(&self.besides);
        let (child, said) = begun(command.stdout(Stdio::piped()));
        self.relay = Some(Running(child));
        let port = said.trim_end_matches("/mcp.").rsplit(':').next().unwrap();
        self.port = port.parse().unwrap_or_else(|_| panic!("{said}"));
    }

    pub(super) fn start_agent(&mut self) {
        self.start_agent_again();
        self.wait_until_ready();
    }

    /// An agent with this file of capabilities and this in its configuration, in the place of the one there is.
    pub(super) fn start_agent_offering(&mut self, capabilities: &str, more: &str) {
        std::fs::write(self.path("capability.yaml"), capabilities).unwrap();
        let config = format!(
            "[targets.shop]\nurl = \"sqlite:{}\"\ncapabilities = \"capability.yaml\"\n{more}",
            self.shop().display()
        );
        self.start_agent_with(&config);
    }

    /// An agent with this configuration, in the place of the one there is.
    pub(super) fn start_agent_with(&mut self, config: &str) {
        self.kill_agent();
        std::fs::write(self.path("agent.toml"), config).unwrap();
        let relay = format!("http://127.0.0.1:{}", self.port);
        let arguments = ["agent", "--relay", &relay, "--config", "agent.toml"];
        let mut command = self.command(&arguments, "agent");
        let (child, _) = begun(command.stdout(Stdio::piped()));
        self.agent = Some(Running(child));
        self.wait_until_ready();
    }

    pub(super) fn start_agent_again(&mut self) {
        self.agent = Some(self.begin_agent("agent", "join", &self.shop()));
    }

    /// One more agent, with a state folder, a token and a shop of its own.
    pub(super) fn start_another(&mut self, state: &str, join: &str, shop: &Path) {
        let another = self.begin_agent(state, join, shop);
        self.others.push(another);
    }

    /// One more agent, with this configuration.
    pub(super) fn start_configured(&mut self, state: &str, join: &str, config: &str) {
        let relay = format!("http://127.0.0.1:{}", self.port);
        let join = format!("file:{join}");
        let arguments = [
            "agent", "--relay", &relay, "--join", &join, "--config", config,
        ];
        let mut command = self.command(&arguments, state);
        let (child, _) = begun(command.stdout(Stdio::piped()));
        self.others.push(Running(child));
    }

    fn begin_agent(&self, state: &str, join: &str, shop: &Path) -> Running {
        let relay = format!("http://127.0.0.1:{}", self.dials.unwrap_or(self.port));
        let shop = format!("shop=sqlite:{}", shop.display());
        let shop = self.target.clone().unwrap_or(shop);
        let join = format!("file:{join}");
        let arguments = [
            "agent",
            "--relay",
            &relay,
            "--join",
            &join,
            "--database-url",
            &shop,
        ];
        let mut command = self.command(&arguments, state);
        command.args(&self.for_agent);
        let (child, _) = begun(command.stdout(Stdio::piped()));
        Running(child)
    }

    /// Kills the relay as the system does when it has no memory left.
    pub(super) fn kill_relay(&mut self) {
        self.relay = None;
    }

    /// Ends the relay as an administrator does, and waits for that.
    pub(super) fn stop_relay(&mut self) {
        let pid = self.relay_pid().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(asked.unwrap().success());
        let mut relay = self.relay.take().unwrap();
        assert!(relay.0.wait().unwrap().success(), "{}", self.log("relay"));
    }

    pub(super) fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// Kills the agent while it is looked at.
    pub(super) fn agent_dies(&self) {
        let pid = self.agent.as_ref().unwrap().0.id().to_string();
        let killed = Command::new("kill").args(["-9", &pid]).status();
        assert!(killed.unwrap().success());
    }

    pub(super) fn relay_pid(&self) -> u32 {
        self.relay.as_ref().unwrap().0.id()
    }

    pub(super) fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(40);
        while self.get("/readyz") != 200 {
            let logs = || [self.log("relay"), self.log("agent")].join("\n");
            assert!(Instant::now() < deadline, "not ready: {}", logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn get(&self, path: &str) -> u16 {
        let host = format!("127.0.0.1:{}", self.port);
        send(self.port, "GET", path, &[("Host", &host)], "").status
    }

    /// Calls a tool with a key, by the newer protocol.
    pub(super) async fn call_with(&self, key: &str, tool: &str, arguments: &Value) -> Answer {
        self.call_as((key, "raw"), tool, arguments).await
    }

    /// The same, of a client that calls itself so.
    pub(super) async fn call_as(
        &self,
        (key, client): (&str, &str),
        tool: &str,
        arguments: &Value,
    ) -> Answer {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": meta(client)},
        });
        self.post(key, ("tools/call", tool), &message).await
    }

    /// Asks anything of the newer protocol; `name` is what is called or read, if anything is.
    pub(super) async fn ask(&self, key: &str, (method, name): (&str, &str), more: Value) -> Answer {
        let mut params = more;
        let mut all = meta("raw");
        if let Some(besides) = params["_meta"].as_object() {
            all.as_object_mut().unwrap().extend(besides.clone());
        }
        params["_meta"] = all;
        let able = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = able;
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.post(key, (method, name), &message).await
    }

    async fn post(&self, key: &str, (method, name): (&str, &str), message: &Value) -> Answer {
        let (port, key, message) = (self.port, key.to_owned(), message.to_string());
        let (method, name) = (method.to_owned(), name.to_owned());
        let asking = spawn_blocking(move || post(port, &key, (&method, &name), &message));
        asking.await.unwrap()
    }

    /// Calls a tool as Ada's model; the result of the call.
    pub(super) async fn call(&self, tool: &str, arguments: &Value) -> Value {
        let key = self.key.clone();
        result(&self.call_with(&key, tool, arguments).await)
    }

    pub(super) async fn sql(&self, sql: &str) -> Value {
        self.call("sql_execute", &json!({ "sql": sql })).await
    }

    /// The relay's state folder, as another process finds it.
    pub(super) fn relay_state(&self) -> State {
        State::open(&self.path("relay"), Arc::new(SystemClock)).unwrap()
    }

    /// The request that waits for people, as soon as there is one.
    pub(super) async fn pending(&self, person: &State) -> RequestId {
        let deadline = Instant::now() + Duration::from_secs(20);
        let filter = Filter {
            statuses: vec![Status::Pending],
            ..Filter::default()
        };
        loop {
            if let [one] = requests::list(person, &filter).unwrap().requests.as_slice() {
                return one.id.clone();
            }
            assert!(Instant::now() < deadline, "{}", self.log("relay"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ada approves the request that waits, at the relay.
    pub(super) async fn approve(&self) -> RequestId {
        let person = self.relay_state();
        let id = self.pending(&person).await;
        say(&person, &id, Decision::Approve).await.unwrap();
        person.close().await.unwrap();
        id
    }

    /// The price of the lamp, read on a connection of its own.
    pub(super) fn price(&self) -> f64 {
        let database = rusqlite::Connection::open(self.shop()).unwrap();
        let price = "SELECT price FROM products WHERE name = 'lamp'";
        database.query_row(price, [], |row| row.get(0)).unwrap()
    }
}

/// What a client says of itself with each request.
fn meta(client: &str) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": client, "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// Calls a tool at a port of this machine, by the newer protocol.
pub(super) fn ask(port: u16, (key, client): (&str, &str), tool: &str, arguments: &Value) -> Answer {
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": meta(client)},
    });
    post(port, key, ("tools/call", tool), &message.to_string())
}

fn post(port: u16, key: &str, (method, name): (&str, &str), message: &str) -> Answer {
    let (host, bearer) = (format!("127.0.0.1:{port}"), format!("Bearer {key}"));
    let headers = [
        ("Host", host.as_str()),
        ("Authorization", &bearer),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", method),
        ("Mcp-Name", name),
    ];
    let named = if name.is_empty() { 6 } else { 7 };
    send(port, "POST", "/mcp", &headers[..named], message)
}

/// Starts a program and reads the first line that it says.
pub(super) fn begun(command: &mut Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    // Whatever else it says is of no interest, and must not end it.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    (child, line.trim().to_owned())
}

/// The result in an answer, from JSON or from an event stream.
pub(super) fn result(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = |line: &str| serde_json::from_str::<Value>(line).ok();
    let lines = answer.body.lines();
    let mut messages =
        lines.filter_map(|line| json(line.strip_prefix("data:").unwrap_or(line).trim()));
    let found = messages.find(|message| message.get("result").is_some());
    found.unwrap_or_else(|| panic!("{answer:?}"))["result"].take()
}

/// What a call that went well gave.
pub(super) fn content(result: &Value) -> &Value {
    assert_ne!(result["isError"], true, "{result}");
    &result["structuredContent"]
}

/// Why a call was refused.
pub(super) fn refusal(result: &Value) -> Value {
    assert_eq!(result["isError"], true, "{result}");
    let text = result["content"][0]["text"].as_str().unwrap();
    serde_json::from_str::<Value>(text).unwrap()["error"].take()
}

/// Runs a program of the system in the folder of a fleet; what it says.
pub(super) fn run_in(fleet: &Fleet, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .current_dir(fleet.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A database of its own at a PostgreSQL, for one relay's tables.
pub(super) fn database_at(url: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("fleet_{}_{number}", std::process::id());
    let made = Command::new(client("psql"))
        .arg(url)
        .args(["-qc", &format!("create database {name}")])
        .status();
    assert!(made.unwrap().success());
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// A program that comes with the newest PostgreSQL here.
pub(super) fn client(name: &str) -> String {
    let folder = newest("/usr/lib/postgresql").unwrap();
    folder.join("bin").join(name).to_str().unwrap().to_owned()
}
