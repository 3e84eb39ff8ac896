//! One key's slow work does not keep another's from an agent.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::metrics::{number, scrape};
use super::rig::{Fleet, content, refusal, result};
use crate::support::shop;

const SLOW: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

#[tokio::test(flavor = "multi_thread")]
async fn slow_reads_of_one_key_leave_room_for_another() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    let mut fleet = Fleet::start_with(&["--metrics", &format!("127.0.0.1:{port}")]).await;
    // A second target beside the one that is kept busy.
    fleet.kill_agent();
    let list = fleet.run(&["relay", "agents", "list"], "relay");
    let agent = list.lines().nth(1).unwrap().split(' ').next().unwrap();
    fleet.run(&["relay", "agents", "allow", agent, "other"], "relay");
    let other = fleet.path("other.db");
    shop::create(&other);
    let url = format!("other=sqlite:{}", other.display());
    fleet.for_agent = vec!["--database-url".to_owned(), url];
    fleet.start_agent();
    let bo = fleet.issue(&["--for", "ai:bo", "--role", "developer"]);

    let fleet = std::sync::Arc::new(fleet);
    let mut slow = JoinSet::new();
    for _ in 0..64 {
        let fleet = std::sync::Arc::clone(&fleet);
        slow.spawn(async move {
            let slow = json!({"sql": SLOW, "target": "shop", "timeout_ms": 30_000});
            fleet.call("sql_execute", &slow).await
        });
    }
    // Until all that there is for her is taken: three quarters of 32.
    let free = || number(&scrape(port), "secondkey_agent_slots_free{agent=");
    while free() != Some(8.0) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let read = json!({"sql": "SELECT count(*) FROM products", "target": "other"});
    let quick = result(&fleet.call_with(&bo, "sql_execute", &read).await);
    assert_eq!(content(&quick)["rows"], json!([[3]]));
    // It came beside those that had room, not after them: none of them has ended.
    let mut codes = Vec::new();
    while let Some(answer) = slow.try_join_next() {
        codes.push(refusal(&answer.unwrap())["code"].clone());
    }
    assert!(codes.iter().all(|code| code == "busy"), "{codes:?}");
    // Whoever waits too long for room is told so, sooner than the first of them is done.
    let first = slow.join_next().await.unwrap().unwrap();
    assert_eq!(refusal(&first)["code"], "busy", "{first}");
}
