//! Vectors on a MariaDB that has them, through the built server, re-read on a connection of the test's own.

use std::sync::Arc;

use secondkey::broker::requests;
use secondkey::clock::SystemClock;
use secondkey::core::approval::Decision;
use secondkey::store::State;
use serde_json::{Value, json};

use super::approval::{say, trust};
use super::vectors::{listed, lists, pending};
use super::{content, count, entries, refusal};
use crate::support::mariadb::Server;
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};
use crate::support::skip;

const TABLES: &str = "CREATE TABLE items (id int PRIMARY KEY, name varchar(40), kind varchar(20), price decimal(8,2),
    `embed``ding` vector(3) NOT NULL, maybe vector(2), VECTOR INDEX (`embed``ding`));
INSERT INTO items VALUES (1, 'lamp', 'light', 20, VEC_FromText('[1,0,0]'), VEC_FromText('[1,0]')),
    (2, 'torch', 'light', 5.5, VEC_FromText('[0.9,0.1,0]'), NULL),
    (3, 'chair', 'seat', NULL, VEC_FromText('[0,3,0]'), VEC_FromText('[0,3]')),
    (4, 'sofa', 'seat', 300, VEC_FromText('[0,2,2]'), VEC_FromText('[2,2]'));
CREATE TABLE twice (id int PRIMARY KEY, name varchar(40) UNIQUE, embedding vector(2));
INSERT INTO twice VALUES (1, 'a', VEC_FromText('[1,1]'));
CREATE TABLE log (line text);";

/// A database with things in it that lie near each other, and where it is served.
struct World {
    server: Server,
    program: Program,
}

impl World {
    /// `None`, and says so, where there is no such server.
    async fn new(test: &str, allow: &str) -> Option<Self> {
        let Some(mut server) = Server::newest().await else {
            skip(
                "stories::vectors_mariadb",
                "no MariaDB with vectors (TEST_MARIADB_VECTOR_URL)",
            );
            return None;
        };
        // A login of its own, which sees no vectors of the tests that run beside this one.
        let name = format!("sk_vectors_{test}");
        server
            .run(&format!(
                "DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}; \
                 CREATE OR REPLACE USER {name} IDENTIFIED BY 'near'; \
                 GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX ON {name}.* TO {name}; \
                 USE {name}; {TABLES}"
            ))
            .await;
        let config = format!(
            "approval_wait = \"30s\"\n[targets.shop]\nurl = \"env:SHOP_URL\"\nallow = {allow}\n"
        );
        let mut url = server.url_for(&name, &name);
        url.set_password(Some("near")).unwrap();
        let program = Program::with_config(&config).variable("SHOP_URL", url.as_str());
        Some(Self { server, program })
    }
}

#[tokio::test]
async fn a_search_finds_the_nearest_rows_that_meet_the_conditions() {
    let Some(world) = World::new("search", "[\"read\"]").await else {
        return;
    };
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    for (more, ids, nearest) in [
        (json!({"metric": "l2"}), json!([3, 4]), 1.0),
        (json!({}), json!([3, 4]), 0.0),
        (
            json!({"where": {"kind": "light"}}),
            json!([2, 1]),
            0.889_570,
        ),
        (
            json!({"where": {"price": null, "name": ["chair", "sofa"]}}),
            json!([3]),
            0.0,
        ),
        (
            json!({"where": {"name": "lamp' OR 1=1 -- "}}),
            json!([]),
            0.0,
        ),
        (
            json!({"table": "sk_vectors_search.items"}),
            json!([3, 4]),
            0.0,
        ),
    ] {
        let mut wanted =
            json!({"table": "items", "column": "embed`ding", "embedding": [0, 2, 0.0], "k": 2});
        for (name, value) in more.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        let answer = server.call("vector_search", &wanted).await;
        let answer = content(&answer);
        assert_eq!(answer["effect"], "read", "{answer}");
        let names = answer["columns"].as_array().unwrap().iter();
        let names: Vec<&Value> = names.map(|it| &it["name"]).collect();
        assert_eq!(
            json!(names),
            json!(["id", "name", "kind", "price", "distance"])
        );
        let rows = answer["rows"].as_array().unwrap();
        let found: Vec<&Value> = rows.iter().map(|row| &row[0]).collect();
        assert_eq!(json!(found), ids, "{more}: {answer}");
        if let Some(first) = rows.first() {
            let far = first[4].as_f64().unwrap();
            assert!((far - nearest).abs() < 1e-4, "{more}: {answer}");
        }
    }
    // Rows without a vector are left out, and vectors are shown as text where they are asked for.
    let wanted = json!({
        "table": "items", "column": "maybe", "embedding": [0, 1], "k": 9, "columns": ["id", "maybe"],
    });
    let answer = server.call("vector_search", &wanted).await;
    let shown: Vec<Value> = content(&answer)["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row[0], row[1]]))
        .collect();
    assert_eq!(
        json!(shown),
        json!([[3, "[0,3]"], [4, "[2,2]"], [1, "[1,0]"]])
    );
    server.finish().await;
}

#[tokio::test]
async fn what_fits_no_table_is_refused_without_effect() {
    let Some(mut world) = World::new("refused", "[\"read\", \"write\"]").await else {
        return;
    };
    let stands = "SELECT id, name, VEC_ToText(`embed``ding`) FROM items ORDER BY id";
    let before = world.server.lines(stands).await;
    let mut server = Raw::start(&world.program, Era::Modern).await;
    let search = |more: Value| {
        let mut wanted =
            json!({"table": "items", "column": "embed`ding", "embedding": [1, 2, 3], "k": 2});
        for (name, value) in more.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        ("vector_search", wanted)
    };
    let upsert =
        |table: &str, row: Value| ("vector_upsert", json!({"table": table, "rows": [row]}));
    let quotes = "id` = 1; DELETE FROM items; -- ";
    for ((tool, wanted), code) in [
        (
            search(json!({"table": "items; DELETE FROM items"})),
            "unknown_table",
        ),
        (search(json!({ "column": quotes })), "unknown_column"),
        (search(json!({"where": {quotes: 1}})), "unknown_column"),
        (search(json!({"column": "name"})), "invalid_argument"),
        (search(json!({"embedding": [1, 2]})), "invalid_parameter"),
        (
            search(json!({"metric": "inner_product"})),
            "invalid_argument",
        ),
        (search(json!({"metric": "l1"})), "invalid_argument"),
        (upsert("log", json!({"line": "x"})), "invalid_argument"),
        (
            upsert("items", json!({"id": 1, quotes: 1})),
            "unknown_column",
        ),
        (
            upsert("items", json!({"id": 1, "embed`ding": "[1,2,3]"})),
            "invalid_parameter",
        ),
        // A row with another key and the same name would be changed: not the one that is meant.
        (
            upsert("twice", json!({"id": 2, "name": "a", "embedding": [5, 5]})),
            "invalid_argument",
        ),
    ] {
        let refused = refusal(&server.call(tool, &wanted).await);
        assert_eq!(refused["code"], code, "{wanted}: {refused}");
    }
    server.finish().await;
    assert_eq!(world.server.lines(stands).await, before);
    let twice = world
        .server
        .lines("SELECT id, VEC_ToText(embedding) FROM twice");
    assert_eq!(twice.await, ["1|[1,1]"]);
    assert_eq!(count(&entries(&world.program), "execution.started"), 0);
}

#[tokio::test]
async fn rows_are_put_in_and_changed_once_somebody_has_signed_the_statement() {
    let Some(mut world) = World::new("upsert", "[\"read\"]").await else {
        return;
    };
    let person = State::open(&world.program.state(), Arc::new(SystemClock)).unwrap();
    person.install_trust(trust()).await.unwrap();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    listed(&mut server, "vector_upsert", true).await;
    let wanted = json!({
        "table": "items", "reason": "new stock", "idempotency_key": "stock-1",
        "rows": [
            {"id": 1, "name": "lamp", "embed`ding": [0.5, 0, 1e-3], "maybe": null},
            {"id": 9, "name": "it's; -- ", "embed`ding": [1, 1, 1], "maybe": [7, 7.5]},
        ],
    });
    let stands = "SELECT id, name, kind, VEC_ToText(`embed``ding`), VEC_ToText(maybe) FROM items WHERE id IN (1, 9) ORDER BY id";
    let signs = async {
        let id = pending(&person).await;
        let shown = requests::show(&person, &id).unwrap();
        assert_eq!(
            shown.document.statement,
            "INSERT INTO `items` (`embed``ding`, `id`, `maybe`, `name`)\n\
             VALUES (VEC_FromText(?), ?, ?, ?),\n  (VEC_FromText(?), ?, VEC_FromText(?), ?)\n\
             ON DUPLICATE KEY UPDATE `embed``ding` = VALUES(`embed``ding`), `maybe` = VALUES(`maybe`), `name` = VALUES(`name`)"
        );
        let not_yet = world.server.lines(stands).await;
        assert_eq!(not_yet, ["1|lamp|light|[1,0,0]|[1,0]"]);
        say(&person, &id, Decision::Approve).await.unwrap();
    };
    let ((), answer) = tokio::join!(signs, server.call("vector_upsert", &wanted));
    content(&answer);
    let after = [
        "1|lamp|light|[0.5,0,0.001]|NULL",
        "9|it's; -- |NULL|[1,1,1]|[7,7.5]",
    ];
    assert_eq!(world.server.lines(stands).await, after);
    let again = server.call("vector_upsert", &wanted).await;
    assert_eq!(content(&again)["replayed"], true, "{again}");
    assert_eq!(world.server.lines(stands).await, after);
    server.finish().await;
    person.close().await.unwrap();
}

#[tokio::test]
async fn the_tools_are_listed_where_there_are_vectors_and_only_there() {
    let Some(world) = World::new("listed", "[\"read\", \"write\", \"schema\"]").await else {
        return;
    };
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    listed(&mut server, "vector_search", true).await;
    for table in ["items", "twice"] {
        let drop = json!({ "sql": format!("DROP TABLE {table}") });
        content(&server.call("sql_execute", &drop).await);
    }
    listed(&mut server, "vector_search", false).await;
    assert!(!lists(&mut server, "vector_upsert").await);
    server.finish().await;
}
