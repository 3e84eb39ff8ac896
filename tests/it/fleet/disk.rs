//! A full disk at a relay, and at an agent: what cannot be recorded is not done, nothing is lost, and everything goes on
//! once there is room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::clock::SystemClock;
use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use secondkey::store::State;
use secondkey::store::requests::Filter;
use serde_json::{Value, json};

use super::rig::{Fleet, UPDATE, content, refusal, result, run_in};
use crate::stories::approval::{say, trust};
use crate::stories::audit_disk::SmallDisk;
use crate::support::skip;

const READ: &str = "SELECT name FROM products";

/// A fleet in which the state folder of one side lies on a small disk.
async fn on_a_small_disk(side: &str) -> Option<(Fleet, SmallDisk)> {
    let mut fleet = Fleet::alone();
    for name in ["relay", "agent"] {
        let state = State::open(&fleet.path(name), Arc::new(SystemClock)).unwrap();
        state.install_trust(trust()).await.unwrap();
        state.close().await.unwrap();
    }
    run_in(&fleet, "mv", &[side, "before"]);
    let disk = SmallDisk::mount(&fleet.path(side))?;
    run_in(&fleet, "cp", &["-a", "before/.", side]);
    fleet.start_relay();
    fleet.start_agent();
    Some((fleet, disk))
}

fn update(price: f64) -> Value {
    json!({"sql": UPDATE, "params": [price, "lamp"]})
}

/// Until a read goes through again.
async fn works_again(fleet: &Fleet) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let read = json!({ "sql": READ });
        let answer = fleet.call_with(&fleet.key, "sql_execute", &read).await;
        if answer.status == 200 && result(&answer)["isError"] != true {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_relay_whose_disk_is_full_runs_and_files_nothing_until_there_is_room() {
    let Some((fleet, disk)) = on_a_small_disk("relay").await else {
        return skip("fleet::disk", "this user may not mount a tmpfs");
    };
    disk.fill();
    for attempt in [json!({"sql": READ}), update(1.0)] {
        // Whoever comes has to be known first, and that they came be kept.
        let answer = fleet.call_with(&fleet.key, "sql_execute", &attempt).await;
        assert!(answer.body.contains("audit_unavailable"), "{answer:?}");
        assert!(!answer.body.contains("lamp"), "{answer:?}");
    }
    let person = fleet.relay_state();
    let all = person.requests().list(&Filter::default()).unwrap();
    assert!(all.requests.is_empty(), "{all:?}");
    disk.clear();
    works_again(&fleet).await;
    let wanted = update(33.5);
    let (answer, _) = tokio::join!(fleet.call("sql_execute", &wanted), fleet.approve());
    assert_eq!(content(&answer)["affected"], 1, "{answer}");
    assert!((fleet.price() - 33.5).abs() < 1e-9);
    person.close().await.unwrap();
    for log in ["relay", "agent"] {
        fleet.run(&["audit", "verify"], log);
    }
}

#[tokio::test]
async fn an_agent_whose_disk_is_full_begins_nothing_and_an_approved_change_waits_for_room() {
    let Some((fleet, disk)) = on_a_small_disk("agent").await else {
        return skip("fleet::disk", "this user may not mount a tmpfs");
    };
    let person = fleet.relay_state();
    let wanted = update(44.5);
    let (answer, id) = tokio::join!(fleet.call("sql_execute", &wanted), async {
        let id = fleet.pending(&person).await;
        disk.fill();
        say(&person, &id, Decision::Approve).await.unwrap();
        id
    });
    assert_eq!(refusal(&answer)["code"], "audit_unavailable", "{answer}");
    assert!((fleet.price() - 20.0).abs() < 1e-9);
    let request = person.requests().get(&id).unwrap();
    assert_eq!(request.status(), Status::Approved, "it was not begun");
    let read = fleet.sql(READ).await;
    assert_eq!(refusal(&read)["code"], "audit_unavailable", "{read}");
    disk.clear();
    works_again(&fleet).await;
    // Collected now, it runs on the same signature, once.
    let wait = json!({"action": "wait", "id": id.as_str()});
    let collected = fleet.call("request", &wait).await;
    assert_ne!(collected["isError"], true, "{collected}");
    assert!((fleet.price() - 44.5).abs() < 1e-9);
    let again = fleet.call("request", &wait).await;
    assert_eq!(refusal(&again)["code"], "request_state", "{again}");
    person.close().await.unwrap();
    for log in ["relay", "agent"] {
        fleet.run(&["audit", "verify"], log);
    }
}
