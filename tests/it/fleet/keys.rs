//! API keys: who gets in, as whom, and for how long.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::rig::{Fleet, content, refusal, result};

#[tokio::test]
async fn only_a_key_that_counts_gets_in() {
    let fleet = Fleet::start().await;
    let read = json!({"sql": "SELECT 1"});
    let (head, last) = fleet.key.split_at(fleet.key.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    let join = std::fs::read_to_string(fleet.path("join")).unwrap();
    for wrong in [
        "",
        "skey_",
        "x",
        &format!("{head}{other}"),
        &format!("{}0", fleet.key),
        join.trim(),
    ] {
        let answer = fleet.call_with(wrong, "sql_execute", &read).await;
        assert_eq!(answer.status, 401, "{wrong}: {answer:?}");
    }
    let brief = fleet.issue(&[
        "--for",
        "ai:cy",
        "--role",
        "developer",
        "--expires-in",
        "1ms",
    ]);
    assert_eq!(
        fleet.call_with(&brief, "sql_execute", &read).await.status,
        401
    );
    let answer = fleet.call_with(&fleet.key, "sql_execute", &read).await;
    assert_eq!(content(&result(&answer))["rows"], json!([[1]]));
    // No secret is kept anywhere.
    let secret = fleet.key.rsplit('_').next().unwrap();
    let kept = std::fs::read(fleet.path("relay/members.db")).unwrap();
    assert!(!kept.windows(64).any(|window| window == secret.as_bytes()));
}

#[tokio::test]
async fn a_role_is_a_ceiling() {
    let fleet = Fleet::start().await;
    let write = json!({"sql": "DELETE FROM orders"});
    let readonly = fleet.issue(&["--for", "ai:bo", "--role", "readonly"]);
    let answer = result(&fleet.call_with(&readonly, "sql_execute", &write).await);
    assert_eq!(refusal(&answer)["code"], "forbidden");
    let read = json!({"sql": "SELECT count(*) FROM orders"});
    let answer = result(&fleet.call_with(&readonly, "sql_execute", &read).await);
    assert_eq!(content(&answer)["rows"], json!([[2]]));
    let admin = fleet.issue(&["--for", "human:ada", "--role", "admin"]);
    let answer = result(&fleet.call_with(&admin, "sql_execute", &read).await);
    assert_eq!(refusal(&answer)["code"], "forbidden");
    let tables = result(&fleet.call_with(&admin, "list_tables", &json!({})).await);
    assert_eq!(refusal(&tables)["code"], "forbidden");
}

#[tokio::test]
async fn a_revoked_key_is_out_within_a_second_and_so_are_its_sessions() {
    let fleet = Fleet::start().await;
    // A session of the older protocol, with a stream that stays open.
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"},
    }});
    let (host, bearer) = (
        format!("127.0.0.1:{}", fleet.port),
        format!("Bearer {}", fleet.key),
    );
    let headers = [
        ("Host", host.as_str()),
        ("Authorization", &bearer),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    let opened =
        crate::support::http::send(fleet.port, "POST", "/mcp", &headers, &hello.to_string());
    let session = opened
        .header("mcp-session-id")
        .expect("a session")
        .to_owned();
    let mut stream = TcpStream::connect(&host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    write!(
        stream,
        "GET /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-11-25\r\n\r\n"
    )
    .unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");

    let id = fleet.key.split('_').nth(1).unwrap();
    fleet.run(&["relay", "keys", "revoke", id], "relay");
    let revoked = Instant::now();
    let answer = fleet
        .call_with(&fleet.key, "sql_execute", &json!({"sql": "SELECT 1"}))
        .await;
    assert_eq!(answer.status, 401);
    let mut rest = Vec::new();
    // The end of a body in chunks (RFC 9112, section 7.1); the connection itself may be used again.
    while !rest.ends_with(b"0\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the stream ends");
        rest.extend(byte);
    }
    assert!(
        revoked.elapsed() < Duration::from_secs(1),
        "{:?}",
        revoked.elapsed()
    );
    let list = fleet.run(&["relay", "keys", "list"], "relay");
    assert!(
        list.lines()
            .any(|line| line.starts_with(id) && line.ends_with("no")),
        "{list}"
    );
}

#[tokio::test]
async fn a_rotated_key_overlaps_with_the_new_one() {
    let fleet = Fleet::start().await;
    let id = fleet.key.split('_').nth(1).unwrap();
    let new = fleet.run(
        &["relay", "keys", "rotate", id, "--overlap", "1500ms"],
        "relay",
    );
    let read = json!({"sql": "SELECT 1"});
    for key in [&fleet.key, &new] {
        assert_eq!(fleet.call_with(key, "sql_execute", &read).await.status, 200);
    }
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert_eq!(
        fleet
            .call_with(&fleet.key, "sql_execute", &read)
            .await
            .status,
        401
    );
    assert_eq!(
        fleet.call_with(&new, "sql_execute", &read).await.status,
        200
    );
}

#[test]
fn nothing_is_served_in_the_clear_to_others_unless_that_is_asked_for() {
    let fleet = Fleet::alone();
    let mut command = std::process::Command::new(crate::support::binary());
    let relay = ["relay", "--listen", "0.0.0.0:0", "--state", "relay"];
    let refused = command
        .args(relay)
        .current_dir(fleet.folder.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("there is no TLS"), "{said}");
}
