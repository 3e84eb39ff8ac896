//! A call that is made again under its idempotency key runs once: after its answer, beside it, after the
//! server's death, and where people have to agree.

use secondkey::core::approval::Decision;
use serde_json::{Value, json};

use super::approval::{World as Asking, update};
use super::{World, content, count, refusal};
use crate::support::raw::{Era, Raw};

const INSERT: &str = "INSERT INTO products (name, price) VALUES ($1, 1)";

fn insert(key: &str, name: &str) -> Value {
    json!({"sql": INSERT, "params": [name], "idempotency_key": key})
}

#[tokio::test]
async fn a_repeated_call_runs_once_and_another_body_under_its_key_is_refused() {
    let world = World::writes();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let first = server.call("sql_execute", &insert("k-1", "stool")).await;
    let first = content(&first).clone();
    assert_eq!(
        (&first["affected"], &first["replayed"]),
        (&json!(1), &Value::Null),
        "{first}"
    );
    assert_eq!(world.products(), 4);
    // By this process and by another.
    for again in [false, true] {
        if again {
            server.finish().await;
            server = Raw::start(&world.program, Era::Modern).await;
        }
        let told = server.call("sql_execute", &insert("k-1", "stool")).await;
        let told = content(&told);
        assert_eq!(
            (&told["affected"], &told["replayed"]),
            (&json!(1), &json!(true)),
            "{told}"
        );
        assert_eq!(told["request"], first["request"]);
        assert_eq!(world.products(), 4);
    }
    for other in [
        insert("k-1", "bench"),
        json!({"sql": "DELETE FROM products", "idempotency_key": "k-1"}),
    ] {
        let refused = refusal(&server.call("sql_execute", &other).await);
        assert_eq!(refused["code"], "idempotency_conflict", "{refused}");
        assert_eq!(world.products(), 4);
    }
    let refused = refusal(&server.call("sql_execute", &insert("", "stool")).await);
    assert_eq!(refused["code"], "invalid_argument", "{refused}");
    // What failed is not tried again under its key, and says so.
    let broken =
        json!({"sql": "INSERT INTO products (name) VALUES (NULL)", "idempotency_key": "k-2"});
    refusal(&server.call("sql_execute", &broken).await);
    let refused = refusal(&server.call("sql_execute", &broken).await);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("failed before"),
        "{refused}"
    );
    // A batch has as many results as before.
    let batch = json!({"statements": [{"sql": INSERT, "params": ["sofa"]}, {"sql": "SELECT 1"}], "idempotency_key": "k-3"});
    for replayed in [Value::Null, json!(true)] {
        let told = server.call("sql_batch", &batch).await;
        let told = content(&told);
        assert_eq!(told["results"].as_array().unwrap().len(), 2, "{told}");
        assert_eq!(told["replayed"], replayed, "{told}");
        assert_eq!(world.products(), 5);
    }
    server.finish().await;
    // A key is its client's own.
    let mut other = Raw::start_as("somebody-else", &world.program, Era::Legacy).await;
    let told = other.call("sql_execute", &insert("k-1", "stool")).await;
    assert_eq!(content(&told)["replayed"], Value::Null, "{told}");
    assert_eq!(world.products(), 6);
    other.finish().await;
    assert_eq!(count(&world.audit(), "execution.succeeded"), 3);
    world.verify().await;
}

#[tokio::test]
async fn of_calls_at_the_same_time_one_runs_and_the_others_get_its_answer() {
    let world = World::writes();
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Raw::start(&world.program, Era::Legacy).await);
    }
    for server in &mut servers {
        for _ in 0..3 {
            server.call_soon("sql_execute", &insert("k", "stool")).await;
        }
    }
    let mut ran = 0;
    for server in &mut servers {
        // In whatever order they come.
        for _ in 0..3 {
            let answer = server.message().await.unwrap();
            let answer = content(&answer);
            assert_eq!(answer["affected"], 1, "{answer}");
            ran += usize::from(answer["replayed"] == Value::Null);
        }
    }
    assert_eq!((ran, world.products()), (1, 4));
    for server in servers {
        server.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_leaves_nothing_or_one_effect_and_nothing_runs_again() {
    // Killed while it works: nothing of it stands, and nobody claims to know.
    let world = World::writes();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let slow = "INSERT INTO products (name, price) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'x', count(*) FROM n";
    let slow = json!({"sql": slow, "idempotency_key": "slow", "timeout_ms": 1_000});
    server.call_soon("sql_execute", &slow).await;
    world.wait_for("execution.started").await;
    server.kill().await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let refused = refusal(&server.call("sql_execute", &slow).await);
    assert_eq!(refused["code"], "outcome_unknown", "{refused}");
    assert_eq!(world.products(), 3);
    server.finish().await;
    assert_eq!(count(&world.audit(), "execution.started"), 1);

    // Killed after its answer was on record: the answer is there for whoever asks again.
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    server
        .call_soon("sql_execute", &insert("quick", "stool"))
        .await;
    world.wait_for("execution.succeeded").await;
    server.kill().await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let told = server.call("sql_execute", &insert("quick", "stool")).await;
    assert_eq!(content(&told)["replayed"], true, "{told}");
    assert_eq!(world.products(), 4);
    server.finish().await;
}

#[tokio::test]
async fn what_waits_for_people_is_asked_once_under_its_key_and_runs_once() {
    let world = Asking::new("0s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let mut wanted = update(9.0);
    wanted["idempotency_key"] = json!("sale");
    refusal(&server.call("sql_execute", &wanted).await);
    let id = world.pending().await;
    let again = refusal(&server.call("sql_execute", &wanted).await);
    assert_eq!(again["code"], "approval_pending", "{again}");
    assert!(again["message"].as_str().unwrap().contains(id.as_str()));
    // Still one.
    assert_eq!(world.pending().await, id);
    let mut other = update(1.0);
    other["idempotency_key"] = json!("sale");
    let refused = refusal(&server.call("sql_execute", &other).await);
    assert_eq!(refused["code"], "idempotency_conflict", "{refused}");
    world.say(&id, Decision::Approve).await.unwrap();
    let ran = server.call("sql_execute", &wanted).await;
    assert_eq!(content(&ran)["affected"], 1, "{ran}");
    assert!((world.price() - 9.0).abs() < 1e-9);
    let told = server.call("sql_execute", &wanted).await;
    let told = content(&told);
    assert_eq!(
        (&told["replayed"], &told["affected"]),
        (&json!(true), &json!(1)),
        "{told}"
    );
    server.finish().await;
}
