//! The Python client of `examples/python`, against the built server and a person.

use std::process::Stdio;
use std::time::Duration;

use secondkey::broker::requests;
use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use secondkey::store::requests::Filter;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::approval::World;
use crate::mcp::conformance::Http;
use crate::support::{checkout, client, skip};

/// Approves what waits; what is marked as hasty only once the client has gone on without it.
async fn approve(world: &World, hasty: bool) {
    let filter = Filter {
        statuses: vec![Status::Pending],
        ..Filter::default()
    };
    for one in requests::list(&world.person, &filter).unwrap().requests {
        let shown = requests::show(&world.person, &one.id).unwrap();
        if hasty || shown.document.reason.as_deref() != Some("hasty") {
            world.say(&one.id, Decision::Approve).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_published_python_client_selects_changes_batches_and_waits_for_people() {
    let Some(python) = client("venv/bin/python") else {
        return skip("stories::published", "no Python (tests/run fetches it)");
    };
    let mut world = World::new("0s").await;
    world.program = world.program.flags(&["--http", "127.0.0.1:0"]);
    let http = Http::start(&world.program).await;
    let mut child = Command::new(python)
        .arg(checkout().join("tests/clients/published_client.py"))
        .args([&http.url, &http.token])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut hasty, mut last) = (false, String::new());
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            line = printed.next_line() => match line.unwrap() {
                Some(line) if line == "WAITS" => hasty = true,
                Some(line) => last = line,
                None => break,
            },
            _ = looks.tick() => approve(&world, hasty).await,
        }
    }
    let seen: Value = serde_json::from_str(&last).expect("one JSON object");
    assert_eq!(seen["tables"], json!(["orders", "products"]), "{seen}");
    assert_eq!(seen["columns"], json!(["name", "price"]));
    assert_eq!(
        seen["cheap"],
        json!([{"name": "lamp", "price": 20}, {"name": "chair", "price": 45.5}])
    );
    assert_eq!(seen["paged"], json!([500, 500, true]));
    assert_eq!(seen["unknown"], "unknown_column");
    assert_eq!(seen["batch"], json!([1, 1, null, 2]));
    let broken = seen["broken"].as_str().unwrap();
    assert!(broken.starts_with("statement 2 of the batch: "), "{broken}");
    assert_eq!(seen["changed"], json!([1, true]));
    assert_eq!(seen["again"], json!([1, true]));
    assert_eq!(seen["nowhere"], "unknown_target");
    assert!((world.price() - 1.0).abs() < 1e-9);
}
