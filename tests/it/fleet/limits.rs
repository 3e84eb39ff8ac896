//! What one key may use up, and how its holder is told.

use std::time::{Duration, Instant};

use secondkey::broker::requests;
use secondkey::store::requests::Filter;
use serde_json::{Value, json};

use super::rig::{Fleet, UPDATE, content, refusal, result};

const READ: &str = "SELECT 1";

fn limited(fleet: &Fleet, limits: &[&str]) -> String {
    let whose = ["--for", "ai:bo", "--role", "developer"];
    fleet.issue(&[&whose, limits].concat())
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_again() {
    let fleet = Fleet::start().await;
    let key = limited(&fleet, &["--per-minute", "30"]);
    let read = json!({ "sql": READ });
    let began = Instant::now();
    for left in (0..30).rev() {
        let answer = fleet.call_with(&key, "sql_execute", &read).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let policy = answer.header("ratelimit-policy").unwrap();
        assert!(
            policy.starts_with("\"requests\";q=30;w=60, \"bytes\";q="),
            "{policy}"
        );
        let limit = answer.header("ratelimit").unwrap();
        let told = limit.strip_prefix("\"requests\";r=").unwrap();
        let told: u64 = told.split(';').next().unwrap().parse().unwrap();
        // It fills by one in two seconds.
        let filled = began.elapsed().as_secs() / 2 + 1;
        assert!((left..=left + filled).contains(&told), "{left}: {limit}");
    }
    // At some point nothing is left, however slow the machine is: it fills slower than this asks.
    let write = json!({"sql": UPDATE, "params": [1.5, "lamp"]});
    let deadline = Instant::now() + Duration::from_secs(20);
    let refused = loop {
        let answer = fleet.call_with(&key, "whoami", &json!({})).await;
        if answer.status != 200 {
            break fleet.call_with(&key, "sql_execute", &write).await;
        }
        assert!(Instant::now() < deadline);
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{refused:?}");
    assert!(
        refused
            .header("ratelimit")
            .unwrap()
            .starts_with("\"requests\";r=0;t=60"),
        "{refused:?}"
    );
    let body: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(body["violated-policies"], json!(["requests"]));
    assert!(!refused.body.contains("ai:bo"), "{body}");
    assert!((fleet.price() - 20.0).abs() < 1e-9);
    let state = fleet.relay_state();
    let filed = requests::list(&state, &Filter::default()).unwrap().requests;
    assert!(filed.is_empty(), "{filed:?}");
    state.close().await.unwrap();
    // Nobody else waits.
    assert_eq!(content(&fleet.sql(READ).await)["rows"], json!([[1]]));
    tokio::time::sleep(Duration::from_secs(wait)).await;
    let answer = fleet.call_with(&key, "sql_execute", &read).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // A key that takes its place may no more than it could.
    let id = key.split('_').nth(1).unwrap();
    let new = fleet.run(&["relay", "keys", "rotate", id], "relay");
    let answer = fleet.call_with(&new, "sql_execute", &read).await;
    let policy = answer.header("ratelimit-policy").unwrap();
    assert!(policy.starts_with("\"requests\";q=30;"), "{policy}");
}

#[tokio::test]
async fn a_key_that_has_fetched_too_much_waits_until_it_is_worked_off() {
    let fleet = Fleet::start().await;
    let key = limited(&fleet, &["--bytes-per-minute", "60"]);
    let read = json!({ "sql": READ });
    let first = fleet.call_with(&key, "sql_execute", &read).await;
    assert_eq!(content(&result(&first))["rows"], json!([[1]]));
    let second = fleet.call_with(&key, "sql_execute", &read).await;
    assert_eq!(second.status, 429, "{second:?}");
    let body: Value = serde_json::from_str(&second.body).unwrap();
    assert_eq!(body["violated-policies"], json!(["bytes"]));
    // One byte in a second, and the minute's own are given.
    let owed = u64::try_from(first.body.len()).unwrap() - 60;
    let wait: u64 = second.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 0 && wait.abs_diff(owed) < 30, "{wait} {owed}");
}

#[tokio::test]
async fn a_key_has_no_more_under_way_than_it_may() {
    let fleet = Fleet::start().await;
    let key = limited(&fleet, &["--at-once", "1"]);
    let long = json!({"sql": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000) SELECT count(*) FROM n"});
    let read = json!({ "sql": READ });
    let is_limited =
        |answer: &Value| answer["isError"] == true && refusal(answer)["code"] == "limit_reached";
    let slow = async {
        loop {
            let answer = result(&fleet.call_with(&key, "sql_execute", &long).await);
            if !is_limited(&answer) {
                break answer;
            }
        }
    };
    let other = async {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = result(&fleet.call_with(&key, "sql_execute", &read).await);
            if is_limited(&answer) {
                break;
            }
            assert_eq!(content(&answer)["rows"], json!([[1]]));
            assert!(Instant::now() < deadline, "it was never refused");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Another key is not in its way.
        assert_eq!(content(&fleet.sql(READ).await)["rows"], json!([[1]]));
    };
    let (slow, ()) = tokio::join!(slow, other);
    assert_eq!(content(&slow)["rows"], json!([[20_000_000]]));
    let answer = result(&fleet.call_with(&key, "sql_execute", &read).await);
    assert_eq!(content(&answer)["rows"], json!([[1]]));
    let log = fleet.run(&["audit", "list", "-n", "100", "--json"], "relay");
    assert!(log.contains("limit_reached"), "{log}");
}

#[tokio::test]
async fn no_more_requests_wait_than_a_key_may_have_whatever_its_client_calls_itself() {
    let fleet = Fleet::start().await;
    let key = limited(&fleet, &["--waiting", "1"]);
    let wanted = json!({"sql": UPDATE, "params": [9.5, "lamp"]});
    let state = fleet.relay_state();
    let id = {
        let call = fleet.call_with(&key, "sql_execute", &wanted);
        tokio::select! {
            answer = call => panic!("{answer:?}"),
            id = fleet.pending(&state) => id,
        }
    };
    for client in ["raw", "another"] {
        let answer = fleet.call_as((&key, client), "sql_execute", &wanted).await;
        let refused = refusal(&result(&answer));
        assert_eq!(refused["code"], "limit_reached", "{refused}");
    }
    // The first is still the only one, and once it is gone there is room again.
    assert_eq!(fleet.pending(&state).await, id);
    let cancel = json!({"action": "cancel", "id": id.as_str()});
    content(&result(&fleet.call_with(&key, "request", &cancel).await));
    let next = {
        let call = fleet.call_as((&key, "another"), "sql_execute", &wanted);
        tokio::select! {
            answer = call => panic!("{answer:?}"),
            id = fleet.pending(&state) => id,
        }
    };
    assert_ne!(next, id);
    state.close().await.unwrap();
    assert!((fleet.price() - 20.0).abs() < 1e-9);
}

#[test]
fn a_limit_that_leaves_nothing_is_a_mistake() {
    let fleet = Fleet::alone();
    for limit in [
        "--per-minute",
        "--at-once",
        "--waiting",
        "--bytes-per-minute",
    ] {
        let mut command = std::process::Command::new(crate::support::binary());
        let create = [
            "relay",
            "keys",
            "create",
            "--for",
            "ai:bo",
            "--role",
            "developer",
        ];
        let refused = command
            .args(create)
            .args([limit, "0", "--state", "relay"])
            .current_dir(fleet.folder.path())
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(2), "{limit}");
    }
    let list = fleet.run(&["relay", "keys", "list"], "relay");
    assert!(!list.contains("ai:bo"), "{list}");
}
