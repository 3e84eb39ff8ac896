//! Relay and agent are killed; nothing runs twice, and what is not known is said.

use std::time::Duration;

use secondkey::core::ids::RequestId;
use secondkey::core::request::Status;
use serde_json::{Value, json};

use super::rig::{Fleet, UPDATE, content, refusal};

#[tokio::test]
async fn a_killed_relay_comes_back_with_everything_and_nothing_runs_twice() {
    let mut fleet = Fleet::start().await;
    let insert = "INSERT INTO orders (product_id, placed) VALUES (2, '2026-03-01')";
    let count = || {
        let database = rusqlite::Connection::open(fleet.shop()).unwrap();
        let count = database.query_row("SELECT count(*) FROM orders", [], |row| row.get(0));
        count.unwrap()
    };
    let before: i64 = count();
    let wanted = json!({"sql": insert});
    let call = fleet.call("sql_execute", &wanted);
    let (answer, id) = tokio::join!(call, fleet.approve());
    assert_eq!(content(&answer)["affected"], 1, "{answer}");
    assert_eq!(count(), before + 1);
    fleet.kill_relay();
    fleet.start_relay();
    // The client tries again at once; the agent is on its way back.
    let again = fleet.sql("SELECT count(*) FROM orders").await;
    assert_eq!(content(&again)["rows"], json!([[before + 1]]));
    let wait = json!({"action": "wait", "id": id.as_str()});
    assert_eq!(
        refusal(&fleet.call("request", &wait).await)["code"],
        "request_state"
    );
    let database = rusqlite::Connection::open(fleet.shop()).unwrap();
    let count: i64 = database
        .query_row("SELECT count(*) FROM orders", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, before + 1);
}

#[tokio::test]
async fn a_request_outlives_the_relay_that_it_waits_at() {
    let mut fleet = Fleet::start().await;
    let key = fleet.key.clone();
    let wanted = json!({"sql": UPDATE, "params": [9.5, "lamp"]});
    let state = fleet.relay_state();
    let id = {
        let call = fleet.call_with(&key, "sql_execute", &wanted);
        tokio::select! {
            answer = call => panic!("{answer:?}"),
            id = fleet.pending(&state) => id,
        }
    };
    state.close().await.unwrap();
    fleet.kill_relay();
    fleet.start_relay();
    fleet.wait_until_ready();
    assert_eq!(fleet.approve().await, id);
    let wait = json!({"action": "wait", "id": id.as_str()});
    let collected = fleet.call("request", &wait).await;
    assert_ne!(collected["isError"], true, "{collected}");
    assert!((fleet.price() - 9.5).abs() < 1e-9);
}

/// A change of a new order whose agent is killed while it runs: the request, whose end is not known, and what
/// its caller was told.
pub(super) async fn lose_a_change(fleet: &mut Fleet) -> (RequestId, Value) {
    let key = fleet.key.clone();
    let long = "INSERT INTO orders (product_id, placed) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000000) SELECT 1, i FROM n";
    let wanted = json!({"sql": long});
    let state = fleet.relay_state();
    let (id, answer) = {
        let call = fleet.call_with(&key, "sql_execute", &wanted);
        let call = async { super::rig::result(&call.await) };
        tokio::pin!(call);
        let id = tokio::select! {
            answer = &mut call => panic!("{answer:?}"),
            id = fleet.approve() => id,
        };
        let running = async {
            loop {
                if state.requests().get(&id).unwrap().status() == Status::Running {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            answer = &mut call => panic!("{answer:?}"),
            () = running => {}
        }
        fleet.agent_dies();
        (id, call.await)
    };
    assert_eq!(state.requests().get(&id).unwrap().status(), Status::Unknown);
    state.close().await.unwrap();
    fleet.kill_agent();
    (id, answer)
}

#[tokio::test]
async fn a_change_whose_agent_was_killed_has_an_unknown_end() {
    let mut fleet = Fleet::start().await;
    let (id, answer) = lose_a_change(&mut fleet).await;
    assert_eq!(refusal(&answer)["code"], "outcome_unknown", "{answer}");
    // It does not run again by itself, nor when it is asked for again.
    fleet.start_agent();
    let wait = json!({"action": "wait", "id": id.as_str()});
    assert_eq!(
        refusal(&fleet.call("request", &wait).await)["code"],
        "request_state"
    );
}

#[tokio::test]
async fn an_agent_that_was_put_out_is_gone_within_a_second() {
    let fleet = Fleet::start().await;
    let list = fleet.run(&["relay", "agents", "list"], "relay");
    let agent = list.lines().nth(1).unwrap().split(' ').next().unwrap();
    fleet.run(&["relay", "agents", "remove", agent], "relay");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fleet.get("/readyz"), 503);
    let gone = fleet.sql("SELECT 1").await;
    assert_eq!(refusal(&gone)["code"], "unknown_target", "{gone}");
}

#[tokio::test]
async fn a_join_token_works_once() {
    let mut fleet = Fleet::start().await;
    fleet.kill_agent();
    // Another agent with the same token.
    std::fs::rename(fleet.path("agent"), fleet.path("first")).unwrap();
    let relay = format!("http://127.0.0.1:{}", fleet.port);
    let shop = format!("shop=sqlite:{}", fleet.shop().display());
    let refused = std::process::Command::new(crate::support::binary())
        .args([
            "agent",
            "--relay",
            &relay,
            "--join",
            "file:join",
            "--database-url",
            &shop,
        ])
        .args(["--state", "second"])
        .current_dir(fleet.folder.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("does not know the agent"), "{said}");
}

/// A change that takes a while.
const LONG: &str = "INSERT INTO orders (product_id, placed) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT 1, max(i) FROM n";

#[tokio::test]
async fn an_end_that_the_relay_never_heard_outlives_the_agents_own_process() {
    let mut fleet = Fleet::start().await;
    let state = fleet.relay_state();
    let key = fleet.key.clone();
    let wanted = json!({ "sql": LONG });
    let id = {
        let call = fleet.call_with(&key, "sql_execute", &wanted);
        tokio::pin!(call);
        let id = tokio::select! {
            answer = &mut call => panic!("{answer:?}"),
            id = fleet.approve() => id,
        };
        let running = async {
            while state.requests().get(&id).unwrap().status() != Status::Running {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            answer = &mut call => panic!("too fast: {answer:?}"),
            () = running => {}
        }
        id
    };
    fleet.kill_relay();
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while !fleet
        .run(&["audit", "list", "-n", "100"], "agent")
        .contains("execution.succeeded")
    {
        assert!(std::time::Instant::now() < deadline);
    }
    // What the agent has in memory goes with it.
    fleet.kill_agent();
    fleet.start_relay();
    fleet.start_agent();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let status = state.requests().get(&id).unwrap().status();
        if status == Status::Succeeded {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It is said once: the agent forgets what the relay has on record.
    let agent = secondkey::store::State::open(
        &fleet.path("agent"),
        std::sync::Arc::new(secondkey::clock::SystemClock),
    )
    .unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !agent.reports().all().await.unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let database = rusqlite::Connection::open(fleet.shop()).unwrap();
    let count = "SELECT count(*) FROM orders WHERE placed = 3000000";
    let count: i64 = database.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    state.close().await.unwrap();
}

#[tokio::test]
async fn a_run_that_died_with_its_agent_is_owned_up_to() {
    let mut fleet = Fleet::start().await;
    let state = fleet.relay_state();
    let key = fleet.key.clone();
    let wanted = json!({"sql": LONG.replace("3000000", "200000000")});
    let id = {
        let call = fleet.call_with(&key, "sql_execute", &wanted);
        tokio::pin!(call);
        let id = tokio::select! {
            answer = &mut call => panic!("{answer:?}"),
            id = fleet.approve() => id,
        };
        let running = async {
            while state.requests().get(&id).unwrap().status() != Status::Running {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            answer = &mut call => panic!("too fast: {answer:?}"),
            () = running => {}
        }
        id
    };
    // Both go at once: the relay has no time to notice.
    fleet.kill_relay();
    fleet.kill_agent();
    assert_eq!(state.requests().get(&id).unwrap().status(), Status::Running);
    fleet.start_relay();
    fleet.start_agent();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let status = state.requests().get(&id).unwrap().status();
        if status == Status::Unknown {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = fleet.run(&["audit", "list", "-n", "100"], "agent");
    assert!(log.contains("execution.unknown"), "{log}");
    state.close().await.unwrap();
}
