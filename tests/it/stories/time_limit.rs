//! A statement that would run for ever.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ENDLESS, World, assert_serves, refusal};
use crate::support::raw::{Era, Raw};

#[tokio::test]
async fn an_endless_read_is_stopped_and_the_target_works_at_once() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Modern).await;
    assert_serves(&mut server).await;
    let started = Instant::now();
    let endless = json!({"sql": ENDLESS, "timeout_ms": 300});
    let answer = server.call("sql_execute", &endless).await;
    assert_eq!(refusal(&answer)["code"], "time_limit", "{answer}");
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    let again = Instant::now();
    assert_serves(&mut server).await;
    assert!(
        again.elapsed() < Duration::from_secs(1),
        "{:?}",
        again.elapsed()
    );
    let entry = world.wait_for("execution.failed").await;
    assert_eq!(entry["facts"]["code"], "time_limit", "{entry}");
}

#[tokio::test]
async fn more_endless_reads_than_threads_end_as_well() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let endless = json!({"sql": ENDLESS, "timeout_ms": 300});
    let mut ids = Vec::new();
    for _ in 0..24 {
        ids.push(server.call_soon("sql_execute", &endless).await);
    }
    let mut open = ids.len();
    while open > 0 {
        let message = server.message().await.unwrap();
        assert_eq!(refusal(&message)["code"], "time_limit", "{message}");
        open -= 1;
    }
    assert_serves(&mut server).await;
}

#[tokio::test]
async fn an_endless_change_is_stopped_and_leaves_nothing() {
    let world = World::writes();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   INSERT INTO products (name, price) SELECT 'endless', i FROM n";
    let endless = json!({"sql": endless, "timeout_ms": 400});
    let answer = server.call("sql_execute", &endless).await;
    assert_eq!(refusal(&answer)["code"], "time_limit", "{answer}");
    assert_eq!(world.products(), crate::support::shop::PRODUCTS);
    let next = "INSERT INTO products (name, price) VALUES ('next', 1)";
    let answer = super::sql(&mut server, next).await;
    assert_eq!(super::content(&answer)["affected"], 1);
}
