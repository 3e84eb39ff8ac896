//! Clients that speak stdio, over `secondkey mcp --relay`.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::rig::{Fleet, UPDATE, content, refusal, result};
use crate::support::binary;
use crate::support::http::send;
use crate::support::raw::{Era, Raw};

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];
const COUNT: &str = "SELECT count(*) FROM orders";

/// The command that a client starts.
fn bridge(fleet: &Fleet, key: &str) -> Command {
    let log = File::options()
        .create(true)
        .append(true)
        .open(fleet.path("bridge.log"));
    let mut command = Command::new(binary());
    command
        .args(["mcp", "--log", "trace", "--relay"])
        .arg(format!("http://127.0.0.1:{}", fleet.port))
        .env_clear()
        .env("HOME", fleet.folder.path())
        .env("SECONDKEY_API_KEY", key)
        .current_dir(fleet.folder.path())
        .stderr(log.unwrap())
        .kill_on_drop(true);
    command
}

async fn start(fleet: &Fleet, era: Era) -> Raw {
    Raw::start_over("raw", bridge(fleet, &fleet.key), era).await
}

async fn sql(client: &mut Raw, sql: &str) -> Value {
    let mut answer = client.call("sql_execute", &json!({ "sql": sql })).await;
    answer["result"].take()
}

/// What the relay itself lists.
async fn listed(fleet: &Fleet, era: Era) -> Value {
    let (port, bearer) = (fleet.port, format!("Bearer {}", fleet.key));
    spawn_blocking(move || {
        let host = format!("127.0.0.1:{port}");
        let ask = |more: &[(&str, &str)], message: Value| {
            let headers = [
                ("Host", host.as_str()),
                ("Authorization", &bearer),
                ("Content-Type", "application/json"),
                ("Accept", "application/json, text/event-stream"),
            ];
            send(port, "POST", "/mcp", &[&headers, more].concat(), &message.to_string())
        };
        let list = |params| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params});
        if era == Era::Modern {
            let head = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/list")];
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            return result(&ask(&head, list(json!({ "_meta": meta }))));
        }
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"},
        }});
        let opened = ask(&[], hello);
        let session = opened.header("mcp-session-id").unwrap().to_owned();
        let head = [("MCP-Protocol-Version", "2025-11-25"), ("Mcp-Session-Id", session.as_str())];
        ask(&head, json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        result(&ask(&head, list(json!({}))))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_client_finds_the_same_tools_and_a_change_runs_once_on_its_signature() {
    let fleet = Fleet::start().await;
    for (era, price) in ERAS.into_iter().zip([15.5, 16.5]) {
        let mut client = start(&fleet, era).await;
        let tools = client.request("tools/list", json!({})).await;
        let own = listed(&fleet, era).await;
        assert_eq!(tools["result"], own, "{era:?}");
        assert!(own["tools"].as_array().unwrap().len() > 5, "{own}");
        let read = sql(&mut client, COUNT).await;
        assert_eq!(content(&read)["rows"], json!([[2]]), "{era:?}");
        let who = client.call("whoami", &json!({})).await;
        let who = content(&who["result"]);
        assert_eq!(who["principal"], "ai:ada/raw", "{who}");
        assert_eq!((&who["mode"], who.get("level")), (&json!("fleet"), None));

        let change = json!({"sql": UPDATE, "params": [price, "lamp"]});
        let change = client.call_soon("sql_execute", &change).await;
        let person = fleet.relay_state();
        fleet.pending(&person).await;
        person.close().await.unwrap();
        // Others do not wait behind it.
        let read = client
            .call_soon("sql_execute", &json!({ "sql": COUNT }))
            .await;
        assert_eq!(
            content(&client.answer_to(read).await["result"])["rows"],
            json!([[2]])
        );
        assert!(
            (fleet.price() - price).abs() > 0.5,
            "not before the signature"
        );
        fleet.approve().await;
        let answer = client.answer_to(change).await;
        assert_eq!(content(&answer["result"])["affected"], 1, "{answer}");
        assert!((fleet.price() - price).abs() < 1e-9);

        let command = std::fs::read(format!("/proc/{}/cmdline", client.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&command).contains("skey_"));
        // What was asked before the end of input is answered.
        let last = client
            .call_soon("sql_execute", &json!({ "sql": COUNT }))
            .await;
        client.end_input();
        assert_eq!(
            content(&client.answer_to(last).await["result"])["rows"],
            json!([[2]])
        );
        assert_eq!(client.finish().await.code(), Some(0), "{era:?}");
    }
    let log = fleet.log("bridge");
    let secret = fleet.key.rsplit('_').next().unwrap();
    assert!(!log.contains(secret), "the key is in the log");
}

#[tokio::test]
async fn a_relay_that_was_started_anew_is_no_more_than_a_wait() {
    let mut fleet = Fleet::start().await;
    let mut older = start(&fleet, Era::Legacy).await;
    let mut newer = start(&fleet, Era::Modern).await;
    for client in [&mut older, &mut newer] {
        assert_eq!(content(&sql(client, COUNT).await)["rows"], json!([[2]]));
    }
    fleet.kill_relay();
    // Asked while there is no relay.
    let asked = json!({ "sql": COUNT });
    let ids = [
        older.call_soon("sql_execute", &asked).await,
        newer.call_soon("sql_execute", &asked).await,
    ];
    tokio::time::sleep(Duration::from_millis(500)).await;
    fleet.start_relay();
    fleet.wait_until_ready();
    for (client, id) in [&mut older, &mut newer].into_iter().zip(ids) {
        let answer = client.answer_to(id).await;
        assert_eq!(content(&answer["result"])["rows"], json!([[2]]), "{answer}");
    }
    fleet.kill_relay();
    fleet.start_relay();
    fleet.wait_until_ready();
    // Asked after it.
    for client in [&mut older, &mut newer] {
        assert_eq!(content(&sql(client, COUNT).await)["rows"], json!([[2]]));
    }
    for client in [older, newer] {
        assert_eq!(client.finish().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_call_whose_relay_is_killed_is_not_sent_again_and_says_so() {
    let mut fleet = Fleet::start().await;
    let insert = json!({"sql": "INSERT INTO orders (product_id, placed) VALUES (2, '2026-03-01')"});
    for (era, rows) in ERAS.into_iter().zip([3, 4]) {
        let mut client = start(&fleet, era).await;
        let change = client.call_soon("sql_execute", &insert).await;
        let person = fleet.relay_state();
        let id = fleet.pending(&person).await;
        person.close().await.unwrap();
        fleet.kill_relay();
        let answer = client.answer_to(change).await;
        assert_eq!(
            refusal(&answer["result"])["code"],
            "outcome_unknown",
            "{answer}"
        );
        fleet.start_relay();
        fleet.wait_until_ready();
        // Exactly one request was filed, and it is collected by the client that asked for it.
        assert_eq!(fleet.approve().await, id);
        let wait = json!({"action": "wait", "id": id.as_str()});
        let collected = client.call("request", &wait).await;
        assert_ne!(collected["result"]["isError"], true, "{collected}");
        let count = sql(&mut client, COUNT).await;
        assert_eq!(content(&count)["rows"], json!([[rows]]), "{era:?}");
        assert_eq!(client.finish().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_cancelled_read_is_stopped_at_the_database() {
    let fleet = Fleet::start().await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) SELECT count(*) FROM n";
    let stopped = || {
        let log = fleet.run(&["audit", "list", "-n", "100", "--json"], "agent");
        log.matches("\"cancelled\"").count()
    };
    for era in ERAS {
        let before = stopped();
        let mut client = start(&fleet, era).await;
        let read = client
            .call_soon("sql_execute", &json!({ "sql": endless }))
            .await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": read}});
        client.send(cancel.to_string().as_bytes()).await;
        let deadline = Instant::now() + Duration::from_secs(8);
        while stopped() == before {
            assert!(Instant::now() < deadline, "{era:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // The cancelled one is never answered, others are.
        let next = client
            .call_soon("sql_execute", &json!({ "sql": COUNT }))
            .await;
        let message = client.message().await.unwrap();
        assert_eq!(message["id"], next, "{message}");
        assert_eq!(client.finish().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_key_that_does_not_count_is_said_in_one_sentence() {
    let fleet = Fleet::start().await;
    let (head, last) = fleet.key.split_at(fleet.key.len() - 1);
    let wrong = format!("{head}{}", if last == "0" { "1" } else { "0" });
    for era in ERAS {
        let mut client = Raw::over(bridge(&fleet, &wrong), era);
        let method = if era == Era::Legacy {
            "initialize"
        } else {
            "server/discover"
        };
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"},
        });
        let refused = client.request(method, hello).await;
        let said = refused["error"]["message"].as_str().unwrap();
        assert!(said.contains("does not take this API key"), "{refused}");
        assert_eq!(client.finish().await.code(), Some(5), "{era:?}");
    }
    let log = fleet.log("bridge");
    assert!(
        log.contains("the relay does not take this API key"),
        "{log}"
    );
    assert!(!log.contains(wrong.rsplit('_').next().unwrap()));

    // One that is ended while it is used.
    let mut older = start(&fleet, Era::Legacy).await;
    let mut newer = start(&fleet, Era::Modern).await;
    for client in [&mut older, &mut newer] {
        assert_eq!(content(&sql(client, COUNT).await)["rows"], json!([[2]]));
    }
    let id = fleet.key.split('_').nth(1).unwrap();
    fleet.run(&["relay", "keys", "revoke", id], "relay");
    for mut client in [older, newer] {
        let refused = sql(&mut client, COUNT).await;
        assert_eq!(refusal(&refused)["code"], "forbidden", "{refused}");
        assert_eq!(client.finish().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_key_belongs_on_no_command_line_and_a_relay_beside_nothing_else() {
    let fleet = Fleet::alone();
    let inline = format!("--relay-key={}", fleet.key);
    for more in [
        [inline.as_str()].as_slice(),
        &["--relay-key", "env:NOT_SET"],
        &["--agent", "unix:/nowhere"],
        &["--http", "127.0.0.1:0"],
        &["--database-url", "sqlite:shop.db"],
        &["--state", "relay"],
        &["--config", "secondkey.toml"],
    ] {
        let output = bridge(&fleet, &fleet.key)
            .args(more)
            .stderr(std::process::Stdio::piped())
            .output();
        let output = output.await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(!said.contains(&fleet.key), "the key is quoted");
    }
}

/// A relay that asks the client something by itself, and keeps what it hears.
async fn asking(
    State(heard): State<Arc<Mutex<Vec<Value>>>>,
    method: Method,
    head: HeaderMap,
    body: String,
) -> Response {
    let message: Value = serde_json::from_str(&body).unwrap_or_default();
    if method == Method::POST && message["method"] == "initialize" {
        let said = json!({"jsonrpc": "2.0", "id": message["id"], "result": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "asking", "version": "1"},
        }});
        let head = [
            ("Mcp-Session-Id", "one"),
            ("content-type", "application/json"),
        ];
        return (head, said.to_string()).into_response();
    }
    assert_eq!(head["mcp-session-id"], "one");
    assert_eq!(head["mcp-protocol-version"], "2025-11-25");
    assert_eq!(head["authorization"], "Bearer skey_x");
    if method == Method::GET {
        let said = "data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":\"q\",\"method\":\"ping\"}\n\n";
        return ([("content-type", "text/event-stream")], said).into_response();
    }
    heard.lock().await.push(if method == Method::DELETE {
        json!("left")
    } else {
        message
    });
    StatusCode::ACCEPTED.into_response()
}

#[tokio::test]
async fn what_a_relay_asks_by_itself_reaches_the_client_and_its_answer_the_relay() {
    let heard = Arc::<Mutex<Vec<Value>>>::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut fleet = Fleet::alone();
    fleet.port = listener.local_addr().unwrap().port();
    let app = axum::Router::new()
        .route("/mcp", any(asking))
        .with_state(Arc::clone(&heard));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = Raw::start_over("raw", bridge(&fleet, "skey_x"), Era::Legacy).await;
    let asked = client.message().await.unwrap();
    assert_eq!(
        asked,
        json!({"jsonrpc": "2.0", "id": "q", "method": "ping"})
    );
    let answer = json!({"jsonrpc": "2.0", "id": "q", "result": {}});
    client.send(answer.to_string().as_bytes()).await;
    assert_eq!(client.finish().await.code(), Some(0));
    let heard = heard.lock().await;
    assert_eq!(heard[0]["method"], "notifications/initialized");
    assert!(heard.contains(&answer), "{heard:?}");
    assert_eq!(heard.last(), Some(&json!("left")));
}
