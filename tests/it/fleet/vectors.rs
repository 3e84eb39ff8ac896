//! Vectors over a relay, which learns from the agent that there are any.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::clock::SystemClock;
use secondkey::store::State;
use serde_json::{Value, json};

use super::rest::{ask, get, json_of};
use super::rig::{Fleet, content, refusal, result};
use crate::stories::approval::trust;
use crate::support::postgres::Database;
use crate::support::skip;

const TABLES: &str = "CREATE EXTENSION vector;
CREATE TABLE items (id int PRIMARY KEY, embedding vector(2));
INSERT INTO items VALUES (1, '[1,0]'), (2, '[0,1]');
DO $$ BEGIN CREATE ROLE bench_ro LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT SELECT, INSERT, UPDATE ON items TO bench_ro";

/// The tools for vectors that a key is shown.
async fn shown(fleet: &Fleet, key: &str) -> Vec<String> {
    let answer = fleet.ask(key, ("tools/list", ""), json!({})).await;
    let listed = result(&answer);
    let tools = listed["tools"].as_array().unwrap().iter();
    let names = tools.map(|tool| tool["name"].as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("vector_")).collect()
}

#[tokio::test]
async fn a_relay_shows_the_tools_of_vectors_where_an_agent_has_some_and_asks_people_as_ever() {
    let Some(database) = Database::with_vectors("sk_fleet_vectors").await else {
        return skip(
            "fleet::vectors",
            "no PostgreSQL with pgvector (TEST_POSTGRES_VECTOR_URL)",
        );
    };
    database.run(TABLES).await;
    let mut fleet = Fleet::alone();
    for name in ["relay", "agent"] {
        let state = State::open(&fleet.path(name), Arc::new(SystemClock)).unwrap();
        state.install_trust(trust()).await.unwrap();
        state.close().await.unwrap();
    }
    fleet.start_relay();
    let reader = fleet.issue(&["--for", "ai:grace", "--role", "readonly"]);
    assert!(
        shown(&fleet, &fleet.key).await.is_empty(),
        "nobody serves any"
    );
    fleet.target = Some(format!("shop={}", database.url_for("bench_ro")));
    fleet.start_agent();
    let deadline = Instant::now() + Duration::from_secs(20);
    while shown(&fleet, &fleet.key).await != ["vector_search", "vector_upsert"] {
        assert!(Instant::now() < deadline, "{}", fleet.log("agent"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shown(&fleet, &reader).await, ["vector_search"]);

    let search = json!({"table": "items", "column": "embedding", "embedding": [0.9, 0.2], "k": 1});
    let found = fleet.call_with(&reader, "vector_search", &search).await;
    assert_eq!(content(&result(&found))["rows"][0][0], 1);
    let by_rest = ask(&fleet, &reader, ("POST", "/v1/vectors/search"), &search);
    assert_eq!(json_of(&by_rest, 200)["rows"][0][0], 1);
    let upsert =
        json!({"table": "items", "rows": [{"id": 2, "embedding": [3, 4]}], "reason": "moved"});
    let forbidden = fleet.call_with(&reader, "vector_upsert", &upsert).await;
    assert_eq!(refusal(&result(&forbidden))["code"], "forbidden");
    let by_rest = ask(&fleet, &reader, ("POST", "/v1/vectors/upsert"), &upsert);
    assert_eq!(json_of(&by_rest, 403)["code"], "forbidden");
    let offered = |key: &str| {
        let all = json_of(&get(&fleet, key, "/openapi.json"), 200);
        ["search", "upsert"].map(|what| all["paths"][format!("/v1/vectors/{what}")].is_object())
    };
    assert_eq!(offered(&reader), [true, false]);
    assert_eq!(offered(&fleet.key), [true, true]);
    let stands = "SELECT embedding FROM items WHERE id = 2";
    assert_eq!(database.lines(stands).await, ["[0,1]"]);
    let (done, _) = tokio::join!(fleet.call("vector_upsert", &upsert), fleet.approve());
    let done: Value = done;
    assert_eq!(content(&done)["affected"], 1, "{done}");
    assert_eq!(database.lines(stands).await, ["[3,4]"]);
}
