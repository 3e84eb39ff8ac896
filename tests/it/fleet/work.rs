//! Work that goes all the way, and work that does not.

use serde_json::json;

use super::rig::{Fleet, UPDATE, content, refusal};

#[tokio::test]
async fn a_read_goes_through_and_the_relay_holds_no_credential() {
    let fleet = Fleet::start().await;
    assert_eq!(fleet.get("/healthz"), 200);
    let answer = fleet
        .sql("SELECT name, price FROM products ORDER BY id")
        .await;
    let answer = content(&answer);
    assert_eq!(answer["rows"][1], json!(["chair", 45.5]), "{answer}");
    assert_eq!(answer["effect"], "read");
    let tables = fleet.call("list_tables", &json!({})).await;
    assert_eq!(content(&tables)["tables"].as_array().unwrap().len(), 2);
    let table = fleet
        .call("describe_table", &json!({"table": "orders"}))
        .await;
    assert_eq!(content(&table)["columns"].as_array().unwrap().len(), 3);
    let health = fleet.call("health", &json!({})).await;
    assert_eq!(content(&health)["ok"], true, "{health}");
    let whoami = fleet.call("whoami", &json!({})).await;
    let whoami = content(&whoami);
    assert_eq!(whoami["principal"], "ai:ada/raw");
    assert_eq!(whoami["roles"], json!(["developer"]));
    assert_eq!(whoami["targets"][0]["name"], "shop");

    let mut looked = 0;
    let mut folders = vec![fleet.path("relay")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            looked += 1;
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(6).any(|window| window == b"CANARY");
            assert!(!found, "{}", path.display());
        }
    }
    assert!(looked > 5, "{looked}");
    let environment = std::fs::read(format!("/proc/{}/environ", fleet.relay_pid())).unwrap();
    assert!(!environment.windows(6).any(|window| window == b"CANARY"));
    let open = std::fs::read_dir(format!("/proc/{}/fd", fleet.relay_pid())).unwrap();
    for file in open {
        let target = std::fs::read_link(file.unwrap().path()).unwrap_or_default();
        assert!(!target.to_string_lossy().contains("CANARY"), "{target:?}");
    }
    for state in ["relay", "agent"] {
        // Fails where it does not.
        fleet.run(&["audit", "verify"], state);
    }
}

#[tokio::test]
async fn the_rest_of_a_long_answer_is_fetched_from_the_agent() {
    let fleet = Fleet::start().await;
    let count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n";
    let first = fleet.sql(count).await;
    let cut = &content(&first)["truncated"];
    assert_eq!(
        (&cut["by"], &cut["shown"]),
        (&json!("rows"), &json!(200)),
        "{first}"
    );
    let next = json!({"handle": cut["handle"], "from": cut["next"], "max_rows": 100});
    let page = fleet.call("result_page", &next).await;
    assert_eq!(content(&page)["rows"][0], json!([201]));
    // Somebody else has no such rows.
    let other = fleet.issue(&["--for", "ai:bo", "--role", "developer"]);
    let theirs = fleet.call_with(&other, "result_page", &next).await;
    assert_eq!(refusal(&super::rig::result(&theirs))["code"], "page_gone");
}

#[tokio::test]
async fn a_change_waits_for_a_person_and_runs_once_on_their_signature() {
    let fleet = Fleet::start().await;
    let wanted = json!({"sql": UPDATE, "params": [15.5, "lamp"], "reason": "spring sale"});
    let call = fleet.call("sql_execute", &wanted);
    let person = async {
        let state = fleet.relay_state();
        fleet.pending(&state).await;
        assert!(
            (fleet.price() - 20.0).abs() < 1e-9,
            "not before the signature"
        );
        state.close().await.unwrap();
        fleet.approve().await
    };
    let (answer, id) = tokio::join!(call, person);
    assert_eq!(content(&answer)["affected"], 1, "{answer}");
    assert!((fleet.price() - 15.5).abs() < 1e-9);
    let again = json!({"action": "wait", "id": id.as_str()});
    let again = fleet.call("request", &again).await;
    assert_eq!(refusal(&again)["code"], "request_state");
    // Both logs tell of it, the agent's by its own doing.
    for state in ["relay", "agent"] {
        let log = fleet.run(&["audit", "list", "-n", "100", "--json"], state);
        assert!(log.contains(id.as_str()), "{state}: {log}");
    }
}

#[tokio::test]
async fn a_frozen_agent_runs_nothing_new_whatever_the_relay_orders() {
    let mut fleet = Fleet::start().await;
    let many = json!({"sql": "SELECT name FROM products", "max_rows": 1});
    let first = fleet.call("sql_execute", &many).await;
    let page = json!({"handle": content(&first)["truncated"]["handle"], "from": 1});
    content(&fleet.call("result_page", &page).await);
    fleet.run(&["agent", "freeze"], "agent");
    let frozen = fleet.sql("SELECT 1").await;
    assert_eq!(refusal(&frozen)["code"], "frozen", "{frozen}");
    // Nor does it give out anything else: rows that were read before, names and types.
    let table = json!({"table": "products"});
    let change = json!({"sql": UPDATE, "params": [1.5, "lamp"]});
    for (tool, arguments) in [
        ("result_page", &page),
        ("list_tables", &json!({})),
        ("describe_table", &table),
        ("sql_execute", &change),
    ] {
        let frozen = fleet.call(tool, arguments).await;
        assert_eq!(refusal(&frozen)["code"], "frozen", "{tool}: {frozen}");
    }
    // It outlives relay and agent.
    fleet.kill_relay();
    fleet.kill_agent();
    fleet.start_relay();
    fleet.start_agent();
    let frozen = fleet.sql("SELECT 1").await;
    assert_eq!(refusal(&frozen)["code"], "frozen", "{frozen}");
    fleet.run(&["agent", "thaw"], "agent");
    assert_eq!(content(&fleet.sql("SELECT 1").await)["rows"], json!([[1]]));
    content(&fleet.call("list_tables", &json!({})).await);
    let log = fleet.run(&["audit", "list", "-n", "100"], "agent");
    assert!(
        log.contains("agent.frozen") && log.contains("agent.thawed"),
        "{log}"
    );
}
