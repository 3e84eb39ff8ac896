//! Numbers for a monitor, without a word about whom or what they count.

use std::net::TcpListener;

use serde_json::json;

use super::rig::{Fleet, UPDATE, content, refusal, result};
use crate::support::http::{Answer, send};

pub(super) fn scrape(port: u16) -> Answer {
    send(port, "GET", "/metrics", &[("Host", "monitor")], "")
}

/// The value of a line that begins like this.
pub(super) fn number(answer: &Answer, name: &str) -> Option<f64> {
    let line = answer.body.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn the_numbers_follow_what_happens_and_name_nobody() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut fleet = Fleet::start_with(&["--metrics", &format!("127.0.0.1:{port}")]).await;
    let before = scrape(port);
    assert_eq!(
        before.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(number(&before, "secondkey_agents_connected"), Some(1.0));
    assert_eq!(number(&before, "secondkey_requests_waiting"), Some(0.0));
    assert_eq!(number(&before, "secondkey_sessions_open"), Some(0.0));
    let version = format!(
        "secondkey_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    assert!(
        before.body.lines().any(|line| line == version),
        "{before:?}"
    );

    content(&fleet.sql("SELECT name FROM products").await);
    let refused = fleet.sql("SELECT CANARY FROM products").await;
    let code = refusal(&refused)["code"].as_str().unwrap().to_owned();
    let rare = fleet.issue(&["--for", "ai:bo", "--role", "developer", "--per-minute", "1"]);
    content(&result(&fleet.call_with(&rare, "whoami", &json!({})).await));
    assert_eq!(
        fleet.call_with(&rare, "whoami", &json!({})).await.status,
        429
    );
    let state = fleet.relay_state();
    let wanted = json!({"sql": UPDATE, "params": [9.5, "CANARY"]});
    tokio::select! {
        answer = fleet.call("sql_execute", &wanted) => panic!("{answer:?}"),
        _ = fleet.pending(&state) => {}
    }
    state.close().await.unwrap();
    // An agent says what its clock shows every five seconds.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let after = scrape(port);
    let ok = number(&after, "secondkey_calls_total{outcome=\"ok\"}").unwrap();
    assert!((ok - 2.0).abs() < 1e-9, "{after:?}");
    let failed = format!("secondkey_calls_total{{outcome=\"{code}\"}}");
    assert_eq!(number(&after, &failed), Some(1.0), "{after:?}");
    let limited = "secondkey_rate_limited_total{limit=\"requests\"}";
    assert_eq!(number(&after, limited), Some(1.0), "{after:?}");
    assert_eq!(number(&after, "secondkey_requests_waiting"), Some(1.0));
    let offset = number(&after, "secondkey_agent_clock_offset_seconds{agent=");
    assert!(offset.unwrap().abs() < 2.0, "{after:?}");
    let free = number(&after, "secondkey_agent_slots_free{agent=");
    assert_eq!(free, Some(32.0), "{after:?}");
    for name in ["CANARY", "ai:", "ada", "shop", "products", "price", "skey"] {
        assert!(!after.body.contains(name), "{name}: {after:?}");
    }
    // Nothing else is there, and the numbers are not at the door for clients.
    assert_eq!(
        send(port, "POST", "/mcp", &[("Host", "monitor")], "").status,
        404
    );
    assert_eq!(fleet.get("/metrics"), 404);
    fleet.kill_agent();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while number(&scrape(port), "secondkey_agents_connected") != Some(0.0) {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn numbers_are_for_this_machine_unless_others_are_asked_for() {
    let fleet = Fleet::alone();
    let mut command = std::process::Command::new(crate::support::binary());
    let relay = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "0.0.0.0:0",
        "--state",
        "relay",
    ];
    let refused = command
        .args(relay)
        .current_dir(fleet.folder.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("--metrics-on-the-network"), "{said}");
}
