//! The HTTP door: who gets in, and how it closes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{ENDLESS, World, count};

/// `secondkey mcp --http`, running.
struct Door {
    world: World,
    child: Child,
    host: String,
    token: String,
}

impl Door {
    async fn open() -> Self {
        let world = World::new("[\"read\"]", &["--http", "127.0.0.1:0"]);
        let mut command = world.program.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.next_line().await.unwrap().unwrap();
        let header = lines.next_line().await.unwrap().unwrap();
        let host = url
            .strip_prefix("http://")
            .unwrap()
            .strip_suffix("/mcp")
            .unwrap();
        let token = header.strip_prefix("Authorization: Bearer ").unwrap();
        let (host, token) = (host.to_owned(), token.to_owned());
        Self {
            world,
            child,
            host,
            token,
        }
    }

    /// A request with the right token, host and no origin, unless `headers` say otherwise.
    fn request(&self, method: &str, headers: &[(&str, &str)], body: &str) -> String {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![
            ("Host", self.host.as_str()),
            ("Authorization", &bearer),
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
            ("Connection", "close"),
        ];
        for (name, value) in headers {
            all.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            all.push((name, value));
        }
        let mut text = format!("{method} /mcp HTTP/1.1\r\n");
        for (name, value) in all.iter().filter(|(_, value)| !value.is_empty()) {
            text = format!("{text}{name}: {value}\r\n");
        }
        text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.host).await.unwrap()
    }

    async fn send(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.connect().await;
        let request = self.request(method, headers, body);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await;
        read.expect("an answer in time").unwrap();
        Answer(answer)
    }

    async fn status(&self, method: &str, headers: &[(&str, &str)]) -> u16 {
        self.send(method, headers, &hello()).await.status()
    }

    /// Opens a session of the older protocol.
    async fn session(&self) -> String {
        let answer = self.send("POST", &[], &hello()).await;
        assert_eq!(answer.status(), 200, "{}", answer.0);
        answer.header("mcp-session-id").unwrap()
    }

    async fn terminate(mut self) -> World {
        let pid = self.child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .arg(pid)
                .status()
                .await
                .unwrap()
                .success()
        );
        let end = timeout(Duration::from_secs(20), self.child.wait()).await;
        let end = end.expect("an end in time").unwrap();
        assert!(end.success(), "{}", self.world.program.log());
        self.world
    }
}

struct Answer(String);

impl Answer {
    fn status(&self) -> u16 {
        self.0.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<String> {
        let head = self.0.split("\r\n\r\n").next().unwrap();
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.to_owned())
    }

    /// The messages, from JSON or from an event stream.
    fn messages(&self) -> Vec<Value> {
        let json = |line: &str| serde_json::from_str(line).ok();
        self.0
            .lines()
            .filter_map(|line| json(line.strip_prefix("data:").unwrap_or(line).trim()))
            .filter(Value::is_object)
            .collect()
    }
}

fn hello() -> String {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        },
    })
    .to_string()
}

fn call(sql: &str, timeout_ms: u64) -> Value {
    json!({
        "jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": {
            "name": "sql_execute", "arguments": {"sql": sql, "timeout_ms": timeout_ms},
            "_meta": {"progressToken": "t"},
        },
    })
}

fn modern(mut message: Value) -> String {
    let meta = &mut message["params"]["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "raw", "version": "1"});
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    message.to_string()
}

const MODERN: [(&str, &str); 3] = [
    ("MCP-Protocol-Version", "2026-07-28"),
    ("Mcp-Method", "tools/call"),
    ("Mcp-Name", "sql_execute"),
];

#[tokio::test]
async fn only_who_shows_the_token_gets_in() {
    let door = Door::open().await;
    let (_, short) = door.token.split_at(1);
    let longer = format!("Bearer {}0", door.token);
    let wrong = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        &format!("Bearer {short}"),
        &longer,
        &format!("Basic {}", door.token),
        &door.token,
    ];
    for shown in wrong {
        for method in ["POST", "GET", "DELETE"] {
            let answer = door
                .send(method, &[("Authorization", shown)], &hello())
                .await;
            assert_eq!(answer.status(), 401, "{method} {shown}: {}", answer.0);
            assert!(answer.header("www-authenticate").is_some());
            assert!(answer.header("mcp-session-id").is_none());
        }
    }
    // The scheme's name may be written in any case (RFC 9110, section 11.1).
    let lower = format!("bearer {}", door.token);
    assert_eq!(door.status("POST", &[("Authorization", &lower)]).await, 200);
    assert_eq!(door.status("POST", &[]).await, 200);
}

#[tokio::test]
async fn a_page_in_a_browser_does_not_get_in() {
    let door = Door::open().await;
    let port = door.host.rsplit(':').next().unwrap();
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "127.0.0.1.evil.example",
    ] {
        assert_eq!(door.status("POST", &[("Host", host)]).await, 403, "{host}");
    }
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        &format!("https://127.0.0.1:{port}"),
        "http://127.0.0.1:1",
    ] {
        assert_eq!(
            door.status("POST", &[("Origin", origin)]).await,
            403,
            "{origin}"
        );
    }
    let own = format!("http://localhost:{port}");
    assert_eq!(door.status("POST", &[("Origin", &own)]).await, 200);
}

#[tokio::test]
async fn a_session_is_not_for_those_without_the_token() {
    let door = Door::open().await;
    let session = door.session().await;
    let with = [
        ("Mcp-Session-Id", session.as_str()),
        ("MCP-Protocol-Version", "2025-11-25"),
    ];
    let mut without = with.to_vec();
    without.push(("Authorization", "Bearer wrong"));
    for method in ["GET", "DELETE", "POST"] {
        assert_eq!(door.status(method, &without).await, 401, "{method}");
    }
    // It is still there, and hears its owner.
    let read = call("SELECT 7", 1_000).to_string();
    let answer = door.send("POST", &with, &read).await;
    let messages = answer.messages();
    let last = messages.last().unwrap();
    assert_eq!(
        last["result"]["structuredContent"]["rows"],
        json!([[7]]),
        "{}",
        answer.0
    );
    let gone = door.send("DELETE", &with, "").await.status();
    assert!((200..300).contains(&gone), "{gone}");
    assert_eq!(door.send("POST", &with, &read).await.status(), 404);
    let unknown = [("Mcp-Session-Id", "made up")];
    assert_eq!(door.send("POST", &unknown, &read).await.status(), 404);
}

#[tokio::test]
async fn only_this_machine_is_served() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let world = World::new("[\"read\"]", &["--http", address]);
        let mut command = world.program.command();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let status = timeout(Duration::from_secs(20), command.status()).await;
        assert_eq!(status.unwrap().unwrap().code(), Some(1), "{address}");
        let said = world.program.log();
        assert!(said.contains("loopback"), "{address}: {said}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let door = Door::open().await;
    let mut stream = door.connect().await;
    let request = door.request("POST", &[], "");
    let large = request.replace("Content-Length: 0", "Content-Length: 104857600");
    stream.write_all(large.as_bytes()).await.unwrap();
    // What is written after the answer may find the connection closed.
    let _closed = stream.write_all(&vec![b' '; 8 * 1024 * 1024]).await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 413", "{}", String::from_utf8_lossy(&head));
    assert_eq!(door.status("POST", &[]).await, 200);
}

#[tokio::test]
async fn a_long_call_shows_that_it_lives() {
    let door = Door::open().await;
    let session = door.session().await;
    let with = [
        ("Mcp-Session-Id", session.as_str()),
        ("MCP-Protocol-Version", "2025-11-25"),
    ];
    let slow = call(ENDLESS, 5_500);
    let (slow_text, modern_text) = (slow.to_string(), modern(slow));
    let (older, newer) = tokio::join!(
        door.send("POST", &with, &slow_text),
        door.send("POST", &MODERN, &modern_text),
    );
    for answer in [older, newer] {
        let messages = answer.messages();
        let progress = messages
            .iter()
            .filter(|m| m["method"] == "notifications/progress");
        assert_eq!(progress.count(), 1, "{}", answer.0);
        let last = messages.last().unwrap();
        assert_eq!(super::refusal(last)["code"], "time_limit", "{}", answer.0);
    }
}

#[tokio::test]
async fn a_closed_connection_ends_the_read_of_the_newer_protocol() {
    let door = Door::open().await;
    let mut stream = door.connect().await;
    let request = door.request("POST", &MODERN, &modern(call(ENDLESS, 30_000)));
    stream.write_all(request.as_bytes()).await.unwrap();
    door.world.wait_for("execution.started").await;
    let left = Instant::now();
    drop(stream);
    door.world.wait_for("execution.cancelled").await;
    assert!(
        left.elapsed() < Duration::from_secs(2),
        "{:?}",
        left.elapsed()
    );
    door.terminate().await.verify().await;
}

#[tokio::test]
async fn it_closes_in_good_order_whatever_is_under_way() {
    let door = Door::open().await;
    let session = door.session().await;
    let with = [
        ("Mcp-Session-Id", session.as_str()),
        ("MCP-Protocol-Version", "2025-11-25"),
    ];
    let mut idle = door.connect().await;
    let listen = door.request("GET", &with, "");
    idle.write_all(listen.as_bytes()).await.unwrap();
    let mut busy = door.connect().await;
    let slow = door.request("POST", &with, &call(ENDLESS, 60_000).to_string());
    busy.write_all(slow.as_bytes()).await.unwrap();
    let _silent = door.connect().await;
    door.world.wait_for("execution.started").await;
    let asked = Instant::now();
    let world = door.terminate().await;
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "{:?}",
        asked.elapsed()
    );
    let entries = world.audit();
    assert_eq!(count(&entries, "execution.cancelled"), 1, "{entries:#?}");
    assert_eq!(count(&entries, "server.stopped"), 1);
    world.verify().await;
}
