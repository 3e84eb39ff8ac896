//! Relays that share a store: which of them somebody comes to makes no difference.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::clock::SystemClock;
use secondkey::core::approval::Decision;
use secondkey::store::State;
use secondkey::store::log::Filter;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::replicas::Replicas;
use super::rig::{Fleet, UPDATE, ask, client, content, refusal, result, run_in};
use crate::stories::approval::{say, trust};
use crate::stories::database_down::server::{Kind, Server};
use crate::support::http::send;
use crate::support::{skip, variable};

const NONE: &str = "there is no PostgreSQL here";

/// Calls a tool at one of the relays, whichever the balancer would choose.
fn at(these: &Replicas, number: usize, tool: &str, arguments: &Value) -> Value {
    let key = (these.fleet.key.as_str(), "raw");
    result(&ask(these.all[number].port, key, tool, arguments))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_agent_of_one_relay_works_for_the_clients_of_all() {
    let Some(these) = Replicas::start(3, &[]).await else {
        return skip("fleet::several", NONE);
    };
    for number in 0..3 {
        let read = json!({"sql": "SELECT name, price FROM products ORDER BY id"});
        let answer = at(&these, number, "sql_execute", &read);
        assert_eq!(
            content(&answer)["rows"][1],
            json!(["chair", 45.5]),
            "{number}: {answer}"
        );
        let tables = at(&these, number, "list_tables", &json!({}));
        assert_eq!(content(&tables)["tables"].as_array().unwrap().len(), 2);
    }
    let whoami = at(&these, 1, "whoami", &json!({}));
    assert_eq!(content(&whoami)["mode"], "cluster", "{whoami}");
    // The rest of a long answer is fetched through each of them.
    let count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n";
    let first = at(&these, 0, "sql_execute", &json!({"sql": count}));
    let cut = &content(&first)["truncated"];
    for number in 0..3 {
        let next = json!({"handle": cut["handle"], "from": cut["next"], "max_rows": 100});
        let page = at(&these, number, "result_page", &next);
        assert_eq!(content(&page)["rows"][0], json!([201]), "{number}: {page}");
    }
    // A change is filed at each, approved where Ada is, and runs once.
    for number in 0..3 {
        let price = 70.0 + f64::from(u8::try_from(number).unwrap());
        let wanted = json!({"sql": UPDATE, "params": [price, "lamp"]});
        let (port, key) = (these.all[number].port, these.fleet.key.clone());
        let asking = tokio::task::spawn_blocking(move || {
            result(&ask(port, (&key, "raw"), "sql_execute", &wanted))
        });
        these.fleet.approve().await;
        let answer = asking.await.unwrap();
        assert_eq!(
            content(&answer)["affected"],
            1,
            "{number}: {answer} {}",
            these.logs()
        );
        assert!((these.fleet.price() - price).abs() < f64::EPSILON);
    }
    for log in ["relay", "relay1", "relay2", "agent"] {
        these.fleet.run(&["audit", "verify"], log);
    }
    // One log: whoever looks at it through one of them sees what the others wrote.
    let state = these.fleet.relay_state();
    let all = state
        .log()
        .list(&Filter {
            limit: 1_000,
            ..Filter::default()
        })
        .unwrap();
    let places: Vec<u64> = all.iter().map(|record| record.stored.sequence).collect();
    let expected: Vec<u64> = (1..).take(places.len()).collect();
    assert_eq!(places, expected);
    state.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_statement_or_row_passes_through_the_store() {
    let Some(these) = Replicas::start(2, &[]).await else {
        return skip("fleet::several", NONE);
    };
    let read =
        json!({"sql": "SELECT 'CANARY-' || 'row' AS c, $1 AS v", "params": ["CANARY-value"]});
    for number in 0..2 {
        let answer = at(&these, number, "sql_execute", &read);
        assert_eq!(
            content(&answer)["rows"][0],
            json!(["CANARY-row", "CANARY-value"]),
            "{answer}"
        );
    }
    let url = std::fs::read_to_string(these.fleet.path("store.url")).unwrap();
    let dump = run_in(
        &these.fleet,
        &client("pg_dump"),
        &["--data-only", "--inserts", &url],
    );
    assert!(dump.contains("INSERT INTO secondkey_local.audit"), "{dump}");
    for secret in ["CANARY-row", "CANARY-value", &these.fleet.key] {
        assert!(!dump.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_one_relay_ends_counts_nowhere_within_a_second() {
    let Some(these) = Replicas::start(2, &[]).await else {
        return skip("fleet::several", NONE);
    };
    let list = these.fleet.run(&["relay", "keys", "list"], "relay");
    let line = list.lines().find(|line| line.contains("ai:ada")).unwrap();
    let id = line.split_whitespace().next().unwrap().to_owned();
    for number in 0..2 {
        at(&these, number, "whoami", &json!({}));
    }
    these.fleet.run(&["relay", "keys", "revoke", &id], "relay1");
    sleep(Duration::from_secs(1)).await;
    for one in &these.all {
        let key = (these.fleet.key.as_str(), "raw");
        let answer = ask(one.port, key, "whoami", &json!({}));
        assert_eq!(answer.status, 401, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_goes_on_at_whichever_relay_its_client_comes_to() {
    let Some(mut these) = Replicas::start(2, &[]).await else {
        return skip("fleet::several", NONE);
    };
    let post = |port: u16, session: Option<&str>, message: &Value| {
        let (host, bearer) = (
            format!("127.0.0.1:{port}"),
            format!("Bearer {}", these.fleet.key),
        );
        let mut headers = vec![
            ("Host", host.as_str()),
            ("Authorization", &bearer),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        if let Some(session) = session {
            headers.push(("Mcp-Session-Id", session));
            headers.push(("MCP-Protocol-Version", "2025-11-25"));
        }
        send(port, "POST", "/mcp", &headers, &message.to_string())
    };
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}});
    let begun = post(these.all[0].port, None, &hello);
    let session = begun.header("mcp-session-id").unwrap().to_owned();
    let known = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(these.all[0].port, Some(&session), &known).status, 202);
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": {"name": "whoami", "arguments": {}}});
    for number in [0, 1, 0, 1] {
        let answer = post(these.all[number].port, Some(&session), &call);
        assert_eq!(
            content(&result(&answer))["principal"],
            "ai:ada/raw",
            "{number}"
        );
    }
    // Nobody else goes on with it.
    let other = these
        .fleet
        .issue(&["--for", "ai:bo", "--role", "developer"]);
    let ours = std::mem::replace(&mut these.fleet.key, other);
    let post = |port: u16, key: &str| {
        let (host, bearer) = (format!("127.0.0.1:{port}"), format!("Bearer {key}"));
        let headers = [
            ("Host", host.as_str()),
            ("Authorization", &bearer),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("Mcp-Session-Id", &session),
            ("MCP-Protocol-Version", "2025-11-25"),
        ];
        send(port, "POST", "/mcp", &headers, &call.to_string()).status
    };
    assert_eq!(post(these.all[1].port, &these.fleet.key), 404);
    assert_eq!(post(these.all[1].port, &ours), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_relay_that_ends_takes_nothing_along() {
    let Some(mut these) = Replicas::start(2, &[]).await else {
        return skip("fleet::several", NONE);
    };
    for stopped in [0, 1] {
        // Somebody waits at the one that ends, for a person.
        let other = 1 - stopped;
        let price = 90.0 + f64::from(u8::try_from(stopped).unwrap());
        let wanted = json!({"sql": UPDATE, "params": [price, "lamp"]});
        let (port, key) = (these.all[stopped].port, these.fleet.key.clone());
        // It breaks off.
        let asking =
            tokio::task::spawn_blocking(move || ask(port, (&key, "raw"), "sql_execute", &wanted));
        let person = these.fleet.relay_state();
        let id = these.fleet.pending(&person).await;
        if stopped == 0 {
            these.all[stopped].kill();
        } else {
            these.all[stopped].stop();
        }
        drop(asking.await);
        say(&person, &id, Decision::Approve).await.unwrap();
        person.close().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let wait = json!({"action": "wait", "id": id.to_string()});
            let answer = at(&these, other, "request", &wait);
            if content(&answer)["requests"][0]["status"] == "succeeded" {
                break;
            }
            assert!(Instant::now() < deadline, "{answer} {}", these.logs());
        }
        assert!((these.fleet.price() - price).abs() < f64::EPSILON);
        these.run(stopped);
        these.wait_until_ready();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_relay_that_does_not_say_where_it_is_does_not_start() {
    let Some(these) = Replicas::without_agent(1, &[]).await else {
        return skip("fleet::several", NONE);
    };
    run_in(&these.fleet, "mkdir", &["-m", "700", "second"]);
    run_in(
        &these.fleet,
        "cp",
        &["-a", "relay/keys", "relay/store", "second"],
    );
    let said = these
        .fleet
        .command(&["relay", "--listen", "127.0.0.1:0"], "second")
        .output();
    assert!(!said.unwrap().status.success());
    let log = these.fleet.log("second");
    assert!(
        log.contains("another relay uses this store, and not both say where they are reached"),
        "{log}"
    );
    assert!(log.contains("--advertise HOST:PORT"), "{log}");
}

#[tokio::test]
async fn keys_that_are_not_the_stores_are_refused() {
    let Some(server) = variable("TEST_POSTGRES_URL") else {
        return skip("fleet::several", NONE);
    };
    let fleet = Fleet::alone_at(Some(super::rig::database_at(&server)));
    // One without keys makes none of its own, and one with others is no part of it.
    run_in(&fleet, "mkdir", &["-m", "700", "bare"]);
    run_in(&fleet, "cp", &["-a", "relay/store", "bare"]);
    let refused = |state: &str| {
        let output = fleet.command(&["relay", "keys", "list"], state).output();
        assert!(!output.unwrap().status.success());
        fleet.log(state)
    };
    let log = refused("bare");
    assert!(
        log.contains("this folder has none; copy the folder `keys` from there"),
        "{log}"
    );
    assert!(!fleet.path("bare/keys/token-0001.pem").exists());
    let elsewhere = Fleet::alone();
    run_in(&fleet, "mkdir", &["-m", "700", "other"]);
    run_in(&fleet, "cp", &["-a", "relay/store", "other"]);
    let keys = elsewhere.path("relay/keys");
    run_in(&fleet, "cp", &["-a", keys.to_str().unwrap(), "other"]);
    let log = refused("other");
    assert!(
        log.contains("those of this folder are not the same"),
        "{log}"
    );
}

/// What people approve cannot be recorded while the store is away: so nothing of it runs, and all of it is there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_store_is_away_nothing_runs_and_nothing_of_it_is_lost() {
    let Some(mut store) = Server::install(Kind::Postgres) else {
        return skip("fleet::several", NONE);
    };
    store.start();
    store.run("CREATE ROLE keeper LOGIN; GRANT CREATE ON DATABASE postgres TO keeper");
    let mut these = Replicas::prepare_at(store.url_for("keeper"), 2).await;
    for name in ["relay", "agent"] {
        let state = State::open(&these.fleet.path(name), Arc::new(SystemClock)).unwrap();
        state.install_trust(trust()).await.unwrap();
        state.close().await.unwrap();
    }
    these.run_all();
    these.fleet.start_agent();
    these.wait_until_ready();
    let read = json!({"sql": "SELECT name FROM products"});
    at(&these, 1, "sql_execute", &read);
    let wanted = json!({"sql": UPDATE, "params": [77.5, "lamp"]});
    let (port, key) = (these.all[0].port, these.fleet.key.clone());
    // It breaks off, or says that it cannot go on.
    let asking =
        tokio::task::spawn_blocking(move || ask(port, (&key, "raw"), "sql_execute", &wanted));
    let person = these.fleet.relay_state();
    let id = these.fleet.pending(&person).await;
    store.die();
    for number in 0..2 {
        let key = (these.fleet.key.as_str(), "raw");
        let answer = ask(these.all[number].port, key, "sql_execute", &read);
        assert!(
            answer.body.contains("the store does not answer"),
            "{answer:?}"
        );
        assert!(!answer.body.contains("lamp"), "{answer:?}");
    }
    store.start();
    let deadline = Instant::now() + Duration::from_mins(1);
    while say(&person, &id, Decision::Approve).await.is_err() {
        assert!(Instant::now() < deadline, "{}", these.logs());
    }
    drop(asking.await);
    loop {
        let key = (these.fleet.key.as_str(), "raw");
        let wait = json!({"action": "wait", "id": id.to_string()});
        let answer = ask(these.all[1].port, key, "request", &wait);
        if answer.body.contains("succeeded") {
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?} {}", these.logs());
    }
    assert!((these.fleet.price() - 77.5).abs() < 1e-9);
    person.close().await.unwrap();
    for log in ["relay", "relay1", "agent"] {
        these.fleet.run(&["audit", "verify"], log);
    }
}

/// A relay that hangs, as on a machine that swaps, with the only agent: nobody waits for it for long, and when it goes on
/// so does everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_relay_that_stands_still_holds_nobody_up_for_long() {
    let Some(mut these) = Replicas::without_agent(2, &[]).await else {
        return skip("fleet::several", NONE);
    };
    these.fleet.dials = Some(these.all[1].port);
    these.fleet.start_agent();
    these.wait_until_ready();
    these.all[1].signal("-STOP");
    let read = json!({"sql": "SELECT name FROM products"});
    let begun = Instant::now();
    let answer = at(&these, 0, "sql_execute", &read);
    assert_eq!(refusal(&answer)["code"], "agent_unavailable", "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{answer}");
    these.all[1].signal("-CONT");
    let deadline = Instant::now() + Duration::from_mins(1);
    for number in 0..2 {
        while at(&these, number, "sql_execute", &read)["isError"] == true {
            assert!(Instant::now() < deadline, "{}", these.logs());
        }
    }
    for log in ["relay", "relay1", "agent"] {
        these.fleet.run(&["audit", "verify"], log);
    }
}
