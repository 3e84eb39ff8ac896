//! How a client can leave, and what becomes of what it asked for.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{ENDLESS, World, assert_serves, content, count, refusal};
use crate::support::raw::{Era, Raw};
use crate::support::shop;

/// How soon a cancelled read has to be over.
const SOON: Duration = Duration::from_secs(2);
/// Rows of a change that takes a few seconds.
const MANY: i64 = 2_000_000;

#[tokio::test]
async fn the_end_of_input_waits_for_what_was_asked() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Modern).await;
    // Longer than the five seconds after which the protocol's library would give up.
    let slow = json!({"sql": ENDLESS, "timeout_ms": 6_500});
    let slow = server.call_soon("sql_execute", &slow).await;
    let quick = server
        .call_soon("sql_execute", &json!({"sql": "SELECT 7"}))
        .await;
    server.end_input();
    let answer = server.answer_to(quick).await;
    assert_eq!(content(&answer)["rows"], json!([[7]]));
    let answer = server.answer_to(slow).await;
    assert_eq!(refusal(&answer)["code"], "time_limit", "{answer}");
    assert!(server.message().await.is_none());
    assert!(server.finish().await.success(), "{}", world.program.log());
    assert_eq!(count(&world.audit(), "server.stopped"), 1);
}

#[tokio::test]
async fn a_read_ends_when_its_client_is_killed() {
    for era in [Era::Legacy, Era::Modern] {
        let world = World::reads();
        let mut server = Raw::start(&world.program, era).await;
        server
            .call_soon("sql_execute", &json!({"sql": ENDLESS}))
            .await;
        world.wait_for("execution.started").await;
        let killed = Instant::now();
        let child = server.vanish();
        world.wait_for("execution.cancelled").await;
        assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
        assert!(exits_well(child).await, "{}", world.program.log());
        assert_eq!(count(&world.audit(), "server.stopped"), 1);
        world.verify().await;
    }
}

#[tokio::test]
async fn a_cancelled_call_ends_its_read_and_has_no_answer() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let id = server
        .call_soon("sql_execute", &json!({"sql": ENDLESS}))
        .await;
    world.wait_for("execution.started").await;
    let cancelled = Instant::now();
    cancel(&mut server, id).await;
    let entry = world.wait_for("execution.cancelled").await;
    assert!(cancelled.elapsed() < SOON, "{:?}", cancelled.elapsed());
    assert_eq!(entry["facts"]["code"], "cancelled", "{entry}");
    let next = server
        .call_soon("sql_execute", &json!({"sql": "SELECT 7"}))
        .await;
    let message = server.message().await.unwrap();
    assert_eq!(message["id"], next, "{message}");
    assert!(server.finish().await.success());
    world.verify().await;
}

#[tokio::test]
async fn a_change_goes_on_without_its_client() {
    for leave in [Leave::Cancel, Leave::Vanish, Leave::Terminate] {
        let world = World::writes();
        let mut server = Raw::start(&world.program, Era::Legacy).await;
        let id = server
            .call_soon("sql_execute", &json!({"sql": many_rows()}))
            .await;
        world.wait_for("execution.started").await;
        let child = match leave {
            Leave::Cancel => {
                cancel(&mut server, id).await;
                server.end_input();
                server.vanish()
            }
            Leave::Vanish => server.vanish(),
            Leave::Terminate => {
                signal(server.pid(), "TERM").await;
                server.vanish()
            }
        };
        assert!(
            exits_well(child).await,
            "{leave:?}: {}",
            world.program.log()
        );
        let entry = world.wait_for("execution.succeeded").await;
        assert_eq!(entry["facts"]["rows"], MANY, "{leave:?}");
        assert_eq!(world.products(), shop::PRODUCTS + MANY, "{leave:?}");
        assert_eq!(count(&world.audit(), "server.stopped"), 1);
        world.verify().await;
    }
}

#[derive(Clone, Copy, Debug)]
enum Leave {
    Cancel,
    Vanish,
    Terminate,
}

fn many_rows() -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) \
         INSERT INTO products (name, price) SELECT 'many', i FROM n"
    )
}

#[tokio::test]
async fn a_server_that_is_asked_to_end_cancels_reads_and_says_so() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Modern).await;
    server
        .call_soon("sql_execute", &json!({"sql": ENDLESS}))
        .await;
    world.wait_for("execution.started").await;
    let asked = Instant::now();
    signal(server.pid(), "TERM").await;
    world.wait_for("execution.cancelled").await;
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert!(server.finish().await.success(), "{}", world.program.log());
    assert_eq!(count(&world.audit(), "server.stopped"), 1);
    world.verify().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_greeting_is_no_error() {
    let world = World::reads();
    let mut server = Raw::connect(&world.program, Era::Legacy);
    server
        .ask("initialize", json!({"protocolVersion": "2025-11-25"}))
        .await;
    server.send(b"{\"jsonrpc\":\"2.0\",\"id\":5,\"meth").await;
    assert!(exits_well(server.vanish()).await, "{}", world.program.log());
}

#[tokio::test]
async fn an_idle_client_that_is_not_gone_is_left_alone() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_serves(&mut server).await;
}

async fn cancel(server: &mut Raw, id: u64) {
    let cancelled = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": id, "reason": "the user has changed their mind"},
    });
    server.send(cancelled.to_string().as_bytes()).await;
}

async fn signal(pid: u32, name: &str) {
    let kill = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .await;
    assert!(kill.unwrap().success());
}

/// Whether it ends by itself and in good order, once nobody holds its pipes.
async fn exits_well(mut child: Child) -> bool {
    drop(child.stdin.take());
    drop(child.stdout.take());
    let end = timeout(Duration::from_mins(1), child.wait()).await;
    end.expect("an end in time").unwrap().success()
}
