//! Eight programs on one state folder, and two of them killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{World, content};
use crate::support::raw::{Era, Raw};
use crate::support::shop;

const PROCESSES: usize = 8;
const LOAD: Duration = Duration::from_secs(6);
/// When the first two are killed: in the middle of whatever they do then.
const KILLED: [Duration; 2] = [Duration::from_millis(1_873), Duration::from_millis(3_391)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost_when_processes_are_killed() {
    let world = Arc::new(World::writes());
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = Vec::new();
    for number in 0..PROCESSES {
        let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
        let killed = KILLED.get(number).copied();
        running.push(tokio::spawn(async move {
            load(&world, number, killed, &stop).await
        }));
    }
    tokio::time::sleep(LOAD).await;
    stop.store(true, Ordering::Relaxed);
    let (mut requests, mut inserted) = (Vec::new(), 0);
    for process in running {
        for (request, affected) in process.await.unwrap() {
            requests.push(request);
            inserted += affected;
        }
    }
    assert!(
        requests.len() > 10 * PROCESSES,
        "only {} calls",
        requests.len()
    );
    world.verify().await;
    let entries = world.audit();
    let mut begun = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    for entry in &entries {
        if let (Some(request), Some(kind)) = (entry["request"].as_str(), entry["kind"].as_str()) {
            begun.entry(request).or_default().push(kind);
        }
    }
    for request in &requests {
        let kinds = begun
            .get(request.as_str())
            .unwrap_or_else(|| panic!("{request} is lost"));
        let expected = [
            "request.allowed",
            "execution.started",
            "execution.succeeded",
        ];
        assert_eq!(*kinds, expected, "{request}");
    }
    // A killed process may have changed something that it could not answer any more; at most one.
    let extra = world.products() - shop::PRODUCTS - inserted;
    assert!((0..=2).contains(&extra), "{extra}");
    let said = world.program.log();
    for word in ["database is locked", "busy", "panicked"] {
        assert!(!said.contains(word), "{said}");
    }
}

/// Calls until it is time to stop or to be killed; gives the requests that were answered, and how
/// many rows each has added.
async fn load(
    world: &World,
    number: usize,
    killed: Option<Duration>,
    stop: &AtomicBool,
) -> Vec<(String, i64)> {
    let era = if number.is_multiple_of(2) {
        Era::Modern
    } else {
        Era::Legacy
    };
    let mut server = Raw::start(&world.program, era).await;
    let mut answered = Vec::new();
    let deadline = killed.map(|after| tokio::time::Instant::now() + after);
    for call in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let sql = if call % 3 == 0 {
            "INSERT INTO products (name, price) VALUES ('load', 1)"
        } else {
            "SELECT count(*) FROM products"
        };
        let arguments = json!({ "sql": sql });
        let asked = server.call("sql_execute", &arguments);
        let answer = match deadline {
            None => asked.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, asked).await {
                Ok(answer) => answer,
                Err(_) => break,
            },
        };
        answered.push(acknowledged(&answer));
    }
    if killed.is_some() {
        server.kill().await;
    } else {
        assert!(server.finish().await.success(), "{}", world.program.log());
    }
    answered
}

fn acknowledged(answer: &Value) -> (String, i64) {
    let content = content(answer);
    let request = content["request"].as_str().unwrap().to_owned();
    (request, content["affected"].as_i64().unwrap_or(0))
}
