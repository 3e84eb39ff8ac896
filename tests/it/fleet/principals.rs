//! The life of those who act at a relay, and from where they may.

use std::time::{Duration, Instant};

use secondkey::core::approval::Decision;
use serde_json::json;

use super::rig::{Fleet, UPDATE, content, refusal, result};
use crate::stories::approval::say;
use crate::support::http::{Answer, send};

/// Counts for long.
const SLOW: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000000) SELECT count(*) FROM n";
/// A change that takes long, and then makes everything cheap.
const SLOW_CHANGE: &str = "UPDATE products SET price = 1 WHERE (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000000) SELECT count(*) FROM n) > 0";

/// Waits until the log of a state folder says so.
async fn logged(fleet: &Fleet, state: &str, kind: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let log = fleet.run(&["audit", "list", "--json", "--kind", kind], state);
        if !log.is_empty() {
            return log;
        }
        assert!(Instant::now() < deadline, "{kind}: {}", fleet.log(state));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn problem(answer: &Answer) -> serde_json::Value {
    let json = answer.body.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(json.unwrap_or_default()).unwrap_or_else(|_| panic!("{answer:?}"))
}

#[tokio::test]
async fn whoever_is_suspended_is_refused_and_their_read_ends() {
    let fleet = Fleet::start().await;
    let slow = json!({"sql": SLOW, "timeout_ms": 30_000});
    let running = fleet.call_with(&fleet.key, "sql_execute", &slow);
    let suspending = async {
        logged(&fleet, "agent", "execution.started").await;
        fleet.run(&["relay", "principals", "suspend", "ai:ada"], "relay");
        logged(&fleet, "agent", "execution.cancelled").await;
        logged(&fleet, "relay", "execution.cancelled").await;
    };
    let (cut_off, ()) = tokio::join!(running, suspending);
    assert!(
        cut_off.status != 200 || !cut_off.body.contains("rows"),
        "{cut_off:?}"
    );
    let read = json!({"sql": "SELECT 1"});
    let refused = fleet.call_with(&fleet.key, "sql_execute", &read).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(problem(&refused)["code"], "principal_suspended");
    logged(&fleet, "relay", "api_key.refused").await;
    // Nobody makes them a new key meanwhile, and others are not touched.
    let create = [
        "relay",
        "keys",
        "create",
        "--for",
        "ai:ada",
        "--role",
        "developer",
    ];
    assert!(
        !fleet
            .command(&create, "relay")
            .output()
            .unwrap()
            .status
            .success()
    );
    let other = fleet.issue(&["--for", "ai:bo", "--role", "developer"]);
    assert_eq!(
        content(&result(
            &fleet.call_with(&other, "sql_execute", &read).await
        ))["rows"],
        json!([[1]])
    );
    let list = fleet.run(&["relay", "principals", "list"], "relay");
    assert!(
        list.lines()
            .any(|line| line.starts_with("ai:ada ") && line.contains("suspended")),
        "{list}"
    );

    fleet.run(&["relay", "principals", "resume", "ai:ada"], "relay");
    assert_eq!(content(&fleet.sql("SELECT 1").await)["rows"], json!([[1]]));
    fleet.run(&["relay", "principals", "retire", "ai:ada"], "relay");
    assert_eq!(
        fleet
            .call_with(&fleet.key, "sql_execute", &read)
            .await
            .status,
        401
    );
    let resume = ["relay", "principals", "resume", "ai:ada"];
    assert!(
        !fleet
            .command(&resume, "relay")
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[tokio::test]
async fn a_change_of_somebody_who_is_suspended_is_stopped_and_nothing_of_it_is_made() {
    let fleet = Fleet::start().await;
    let wanted = json!({"sql": SLOW_CHANGE, "timeout_ms": 30_000});
    let running = fleet.call_with(&fleet.key, "sql_execute", &wanted);
    let suspending = async {
        let state = fleet.relay_state();
        let id = fleet.pending(&state).await;
        say(&state, &id, Decision::Approve).await.unwrap();
        logged(&fleet, "agent", "execution.started").await;
        fleet.run(&["relay", "principals", "suspend", "ai:ada"], "relay");
        logged(&fleet, "agent", "execution.cancelled").await;
        logged(&fleet, "relay", "execution.cancelled").await;
        let ended = state.requests().get(&id).unwrap();
        assert_eq!(ended.status().as_str(), "cancelled");
        state.close().await.unwrap();
    };
    tokio::join!(running, suspending);
    assert!((fleet.price() - 20.0).abs() < 1e-9);
}

#[tokio::test]
async fn an_admin_neither_runs_nor_decides_by_being_one() {
    let fleet = Fleet::start().await;
    let admin = fleet.issue(&["--for", "human:root", "--role", "admin"]);
    let change = json!({"sql": UPDATE, "params": [9.5, "lamp"]});
    let state = fleet.relay_state();
    let id = tokio::select! {
        answer = fleet.call("sql_execute", &change) => panic!("{answer:?}"),
        id = fleet.pending(&state) => id,
    };
    state.close().await.unwrap();
    let refused = result(&fleet.call_with(&admin, "sql_execute", &change).await);
    assert_eq!(refusal(&refused)["code"], "forbidden");
    // Nor do they learn how another's request stands; a signer of the trust file does.
    let args = json!({"id": id.as_str()});
    let refused = result(&fleet.call_with(&admin, "approval_decide", &args).await);
    assert_eq!(refusal(&refused)["code"], "unknown_request");
    let signer = fleet.issue(&["--for", "human:ada", "--role", "developer"]);
    let seen = result(&fleet.call_with(&signer, "approval_decide", &args).await);
    assert_eq!(content(&seen)["status"], "pending");
    assert!((fleet.price() - 20.0).abs() < 1e-9);
}

fn ask_from(fleet: &Fleet, key: &str, forwarded: Option<&str>) -> Answer {
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }},
    });
    let (host, bearer) = (format!("127.0.0.1:{}", fleet.port), format!("Bearer {key}"));
    let mut headers = vec![
        ("Host", host.as_str()),
        ("Authorization", &bearer),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/list"),
    ];
    headers.extend(forwarded.map(|text| ("X-Forwarded-For", text)));
    send(fleet.port, "POST", "/mcp", &headers, &message.to_string())
}

#[tokio::test]
async fn a_key_is_taken_from_its_own_addresses_alone() {
    let fleet = Fleet::start().await;
    let far = fleet.issue(&[
        "--for",
        "ai:bo",
        "--role",
        "developer",
        "--from",
        "203.0.113.0/24",
    ]);
    let near = ["--from", "127.0.0.0/8", "--from", "::1"];
    let near = fleet.issue(&[&["--for", "ai:cy", "--role", "developer"][..], &near].concat());
    assert_eq!(ask_from(&fleet, &near, None).status, 200);
    // Who is no trusted proxy speaks for nobody.
    for said in [None, Some("203.0.113.9")] {
        let refused = ask_from(&fleet, &far, said);
        assert_eq!(refused.status, 403, "{refused:?}");
        assert_eq!(problem(&refused)["code"], "forbidden");
    }
    let log = logged(&fleet, "relay", "api_key.refused").await;
    assert!(
        log.contains("127.0.0.1") && log.lines().count() == 1,
        "{log}"
    );
    let allow = [
        "relay",
        "workspaces",
        "allow-from",
        "local",
        "--from",
        "192.0.2.0/24",
    ];
    fleet.run(&allow, "relay");
    assert_eq!(ask_from(&fleet, &near, None).status, 403);
    assert_eq!(ask_from(&fleet, &fleet.key, None).status, 403);
    fleet.run(&["relay", "workspaces", "allow-from", "local"], "relay");
    assert_eq!(ask_from(&fleet, &fleet.key, None).status, 200);
    logged(&fleet, "relay", "addresses.allowed").await;
}

#[tokio::test]
async fn a_trusted_proxy_says_where_a_client_is() {
    let fleet = Fleet::start_with(&["--trusted-proxy", "127.0.0.1"]).await;
    let far = fleet.issue(&[
        "--for",
        "ai:bo",
        "--role",
        "developer",
        "--from",
        "203.0.113.0/24",
    ]);
    assert_eq!(ask_from(&fleet, &far, Some("203.0.113.9")).status, 200);
    // What the client wrote itself stands first, and is nobody's word.
    for forged in ["203.0.113.9, 198.51.100.7", "203.0.113.9, nonsense", ""] {
        assert_eq!(ask_from(&fleet, &far, Some(forged)).status, 403, "{forged}");
    }
    assert_eq!(ask_from(&fleet, &far, None).status, 403);
}

#[tokio::test]
async fn sessions_and_connections_are_bounded() {
    let fleet = Fleet::start_with(&["--connections-per-address", "8"]).await;
    let host = format!("127.0.0.1:{}", fleet.port);
    let bearer = format!("Bearer {}", fleet.key);
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"},
    }});
    let open = || {
        let headers = [
            ("Host", host.as_str()),
            ("Authorization", &bearer),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        send(fleet.port, "POST", "/mcp", &headers, &hello.to_string())
    };
    for _ in 0..64 {
        assert_eq!(open().status, 200);
    }
    let refused = open();
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(problem(&refused)["violated-policies"], json!(["sessions"]));
    assert_eq!(refused.header("retry-after"), Some("60"));

    // Connections from before may still be on their way out when the first of these come in.
    let mut held = Vec::new();
    let refused = loop {
        held.push(std::net::TcpStream::connect(("127.0.0.1", fleet.port)).unwrap());
        let answer = send(fleet.port, "GET", "/healthz", &[("Host", &host)], "");
        if answer.status != 200 {
            break answer;
        }
        assert!(held.len() < 32, "{answer:?}");
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    while fleet.get("/healthz") != 200 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_key_is_for_somebody_whose_name_is_plain() {
    let fleet = Fleet::alone();
    let long = format!("ai:{}", "a".repeat(65));
    for odd in [
        "ai:a b",
        "ai:",
        "human:ada\u{202e}",
        "ai:-x",
        "human:a,b",
        "ai:a/b",
        "ai:\u{430}da",
        &long,
    ] {
        let create = [
            "relay",
            "keys",
            "create",
            "--for",
            odd,
            "--role",
            "developer",
        ];
        assert_eq!(
            fleet
                .command(&create, "relay")
                .output()
                .unwrap()
                .status
                .code(),
            Some(2),
            "{odd}"
        );
    }
    fleet.issue(&["--for", "human:ada@example.com", "--role", "developer"]);
}

#[tokio::test]
async fn an_open_file_with_a_join_token_is_complained_of() {
    let fleet = Fleet::start().await;
    assert!(
        fleet.log("agent").contains("can be read by other users"),
        "{}",
        fleet.log("agent")
    );
}
