//! Vectors on a PostgreSQL with pgvector, through the built server, re-read on a connection of the test's own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::broker::requests;
use secondkey::clock::SystemClock;
use secondkey::core::approval::Decision;
use secondkey::core::ids::RequestId;
use secondkey::core::request::Status;
use secondkey::store::State;
use secondkey::store::requests::Filter;
use serde_json::{Value, json};

use super::approval::{say, trust};
use super::{content, count, entries, refusal};
use crate::mcp::conformance::Http;
use crate::support::postgres::Database;
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};
use crate::support::{checkout, client, skip};

const TABLES: &str = "CREATE EXTENSION vector;
CREATE TABLE items (id int PRIMARY KEY, name text UNIQUE, kind text, price numeric, embedding vector(3), half halfvec(3),
    sparse sparsevec(3), bits bit(3));
INSERT INTO items VALUES (1, 'lamp', 'light', 20, '[1,0,0]', '[1,0,0]', '{1:1}/3', '100'),
    (2, 'torch', 'light', 5.5, '[0.9,0.1,0]', '[0.9,0.1,0]', '{1:1,2:1}/3', '110'),
    (3, 'chair', 'seat', NULL, '[0,3,0]', '[0,3,0]', '{2:3}/3', '010'),
    (4, 'sofa', 'seat', 300, '[0,2,2]', '[0,2,2]', '{2:2,3:2}/3', '011'),
    (5, 'air', NULL, 0, NULL, NULL, NULL, NULL);
CREATE TABLE log (line text);
CREATE SCHEMA private; CREATE TABLE private.notes (id int PRIMARY KEY, embedding vector(2));
INSERT INTO private.notes VALUES (1, '[1,1]')";

/// Somebody else's functions and operators, named as pgvector's are.
const SAME_NAMES: &str = "CREATE FUNCTION l2_norm(int) RETURNS float8 LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO log VALUES ('l2_norm'); RETURN 1; END $$;
CREATE FUNCTION as_far(vector, text) RETURNS float8 LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO log VALUES ('as_far'); RETURN 1; END $$;
CREATE OPERATOR <=> (LEFTARG = vector, RIGHTARG = text, FUNCTION = as_far)";

/// A database with things in it that lie near each other, and where it is served.
struct World {
    database: Database,
    program: Program,
}

impl World {
    /// `None`, and says so, where there is no such server.
    async fn new(test: &str, allow: &str) -> Option<Self> {
        let Some(database) = Database::with_vectors(&format!("sk_vectors_{test}")).await else {
            skip(
                "stories::vectors",
                "no PostgreSQL with pgvector (TEST_POSTGRES_VECTOR_URL)",
            );
            return None;
        };
        database.run(TABLES).await;
        let config = format!(
            "approval_wait = \"30s\"\n[targets.shop]\nurl = \"env:SHOP_URL\"\nallow = {allow}\nallow_privileged_login = true\n"
        );
        let program = Program::with_config(&config).variable("SHOP_URL", database.url.as_str());
        Some(Self { database, program })
    }
}

#[tokio::test]
async fn what_pgvector_calculates_is_a_read_and_what_only_looks_like_it_is_none() {
    let Some(world) = World::new("guard", "[\"read\"]").await else {
        return;
    };
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    for (sql, params, row) in [
        (
            "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 1",
            json!(["[0,3,0.1]"]),
            json!([3]),
        ),
        (
            "SELECT id FROM items ORDER BY embedding <=> $1::vector LIMIT 1",
            json!([[0, 1.5, 1.5]]),
            json!([4]),
        ),
        (
            "SELECT embedding <#> '[2,0,0]' FROM items WHERE id = 1",
            json!([]),
            json!([-2.0]),
        ),
        (
            "SELECT embedding <+> '[2,0,1]', half <-> '[1,0,2]', sparse <-> '{1:1}/3' FROM items WHERE id = 1",
            json!([]),
            json!([2.0, 2.0, 0.0]),
        ),
        (
            "SELECT bits <~> B'111', bits <%> B'100' FROM items WHERE id = 1",
            json!([]),
            json!([2.0, 0.0]),
        ),
        (
            "SELECT l2_distance(embedding, '[1,0,2]'), inner_product(embedding, embedding), cosine_distance(embedding, embedding), l1_distance(embedding, '[0,0,0]'), vector_dims(embedding), vector_norm(embedding) FROM items WHERE id = 1",
            json!([]),
            json!([2.0, 1.0, 0.0, 1.0, 3, 1.0]),
        ),
        (
            "SELECT l2_normalize(embedding), subvector(embedding, 2, 2), binary_quantize(embedding), embedding + embedding, half::vector, sparse FROM items WHERE id = 3",
            json!([]),
            json!(["[0,1,0]", "[3,0]", "010", "[0,6,0]", "[0,3,0]", "{2:3}/3"]),
        ),
        (
            "SELECT avg(embedding), sum(half) FROM items WHERE kind = 'seat'",
            json!([]),
            json!(["[0,2.5,1]", "[0,5,2]"]),
        ),
        (
            "SELECT hamming_distance(B'101', B'111'), jaccard_distance(B'10', B'11')",
            json!([]),
            json!([1.0, 0.5]),
        ),
        (
            "SELECT $1::vector, $2::halfvec(2)",
            json!([[0.1, 1e-7, -3], "[1,2]"]),
            json!(["[0.1,1e-07,-3]", "[1,2]"]),
        ),
    ] {
        let answer = server
            .call("sql_execute", &json!({ "sql": sql, "params": params }))
            .await;
        let answer = content(&answer);
        assert_eq!(answer["rows"], json!([row]), "{sql}: {answer}");
        assert_eq!(answer["effect"], "read", "{sql}");
    }
    for params in [json!([["x"]]), json!([{"a": 1}]), json!([[[1]]])] {
        let wanted = json!({ "sql": "SELECT $1::vector", "params": params });
        let refused = refusal(&server.call("sql_execute", &wanted).await);
        assert_eq!(refused["code"], "invalid_parameter", "{refused}");
    }
    server.finish().await;
    world.database.run(SAME_NAMES).await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    for sql in [
        "SELECT l2_norm(1)",
        "SELECT embedding <=> 'x'::text FROM items",
        "SELECT embedding <=> '[1,2,3]' FROM items",
    ] {
        let refused = refusal(&server.call("sql_execute", &json!({ "sql": sql })).await);
        assert_eq!(refused["code"], "forbidden", "{sql}: {refused}");
    }
    server.finish().await;
    let touched = world.database.lines("SELECT count(*) FROM log").await;
    assert_eq!(touched, ["0"]);
}

/// How far two vectors are from each other, by a metric's name.
fn distance(metric: &str, a: &[f64], b: &[f64]) -> f64 {
    let pairs = || a.iter().zip(b);
    let dot: f64 = pairs().map(|(x, y)| x * y).sum();
    let long = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    match metric {
        "l2" => pairs().map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt(),
        "l1" => pairs().map(|(x, y)| (x - y).abs()).sum(),
        "inner_product" => -dot,
        "cosine" => 1.0 - dot / (long(a) * long(b)),
        other => panic!("{other}"),
    }
}

/// Whether a tool is listed.
pub(super) async fn lists(server: &mut Raw, tool: &str) -> bool {
    let answer = server.request("tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().unwrap().clone();
    tools.iter().any(|one| one["name"] == tool)
}

/// Waits until a tool is listed, or no longer.
pub(super) async fn listed(server: &mut Raw, tool: &str, wanted: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while lists(server, tool).await != wanted {
        assert!(Instant::now() < deadline, "{tool} listed: {}", !wanted);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_search_finds_the_nearest_rows_that_meet_the_conditions() {
    let Some(world) = World::new("search", "[\"read\"]").await else {
        return;
    };
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let there: Vec<(i64, Vec<f64>)> = vec![
        (1, vec![1.0, 0.0, 0.0]),
        (2, vec![0.9, 0.1, 0.0]),
        (3, vec![0.0, 3.0, 0.0]),
        (4, vec![0.0, 2.0, 2.0]),
    ];
    let near = [0.2, 0.5, 0.1];
    for (metric, column) in [
        ("l2", "embedding"),
        ("l1", "embedding"),
        ("inner_product", "half"),
        ("cosine", "embedding"),
    ] {
        let mut expected: Vec<(f64, i64)> = there
            .iter()
            .map(|(id, vector)| (distance(metric, vector, &near), *id))
            .collect();
        expected.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = json!({
            "table": "items", "column": column, "embedding": near, "k": 3, "metric": metric, "columns": ["id"],
        });
        let answer = server.call("vector_search", &wanted).await;
        let answer = content(&answer);
        assert_eq!(answer["effect"], "read", "{answer}");
        let rows = answer["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 3, "{answer}");
        for (row, (far, id)) in rows.iter().zip(expected) {
            assert_eq!(row[0], id, "{metric}: {answer}");
            assert!(
                (row[1].as_f64().unwrap() - far).abs() < 1e-3,
                "{metric}: {answer}"
            );
        }
    }
    // All columns but the vectors, and only rows that meet the conditions.
    for (conditions, ids) in [
        (json!({"kind": "seat"}), json!([4, 3])),
        (
            json!({"kind": ["light", "seat"], "price": "20"}),
            json!([1]),
        ),
        (json!({"price": null}), json!([3])),
        (json!({"name": "lamp' OR 1=1 --"}), json!([])),
    ] {
        let wanted = json!({
            "table": "public.items", "column": "embedding", "embedding": [0, 1, 1], "k": 10, "where": conditions,
        });
        let answer = server.call("vector_search", &wanted).await;
        let answer = content(&answer);
        let names: Vec<&Value> = answer["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["name"])
            .collect();
        assert_eq!(
            json!(names),
            json!(["id", "name", "kind", "price", "sparse", "bits", "distance"])
        );
        let found: Vec<&Value> = answer["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row[0])
            .collect();
        assert_eq!(json!(found), ids, "{answer}");
    }
    server.finish().await;
}

#[tokio::test]
async fn what_fits_no_table_is_refused_without_effect() {
    let Some(world) = World::new("refused", "[\"read\", \"write\"]").await else {
        return;
    };
    let before = world
        .database
        .lines("SELECT * FROM items ORDER BY id")
        .await;
    let mut server = Raw::start(&world.program, Era::Modern).await;
    let search = |more: Value| {
        let mut wanted =
            json!({"table": "items", "column": "embedding", "embedding": [1, 2, 3], "k": 2});
        for (name, value) in more.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        ("vector_search", wanted)
    };
    let upsert = |more: Value| {
        let mut wanted = json!({"table": "items", "rows": [{"id": 9, "embedding": [1, 2, 3]}]});
        for (name, value) in more.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        ("vector_upsert", wanted)
    };
    let hostile = "items; DELETE FROM items; --";
    let quotes = "id\" = 1; DELETE FROM items; --";
    for ((tool, wanted), code) in [
        (search(json!({"table": "nowhere"})), "unknown_table"),
        (search(json!({ "table": hostile })), "unknown_table"),
        (search(json!({"column": "colour"})), "unknown_column"),
        (search(json!({ "column": quotes })), "unknown_column"),
        (search(json!({"columns": [quotes]})), "unknown_column"),
        (search(json!({"where": {quotes: 1}})), "unknown_column"),
        (
            search(json!({"where": {"id": {"$gt": 0}}})),
            "invalid_argument",
        ),
        (search(json!({"column": "name"})), "invalid_argument"),
        (search(json!({"embedding": [1, 2]})), "invalid_parameter"),
        (
            search(json!({"embedding": ["1); DELETE"]})),
            "invalid_argument",
        ),
        (search(json!({"k": 0})), "invalid_argument"),
        (search(json!({"k": 1001})), "invalid_argument"),
        (search(json!({"metric": "<=>"})), "invalid_argument"),
        (upsert(json!({ "table": hostile })), "unknown_table"),
        (upsert(json!({"table": "log"})), "invalid_argument"),
        (
            upsert(json!({"rows": [{"id": 9, quotes: 1}]})),
            "unknown_column",
        ),
        (
            upsert(json!({"rows": [{"id": 9, "embedding": [1]}]})),
            "invalid_parameter",
        ),
        (
            upsert(json!({"rows": [{"id": 9}, {"id": 8, "name": "x"}]})),
            "invalid_argument",
        ),
        (upsert(json!({"on": ["kind"]})), "invalid_argument"),
        (upsert(json!({"on": [quotes]})), "invalid_argument"),
        (upsert(json!({"rows": []})), "invalid_argument"),
    ] {
        let refused = refusal(&server.call(tool, &wanted).await);
        assert_eq!(refused["code"], code, "{wanted}: {refused}");
    }
    // The second row breaks a constraint: neither is there.
    let rows = json!([{"id": 9, "name": "x"}, {"id": 10, "name": "lamp"}]);
    let refused = refusal(
        &server
            .call("vector_upsert", &json!({"table": "items", "rows": rows}))
            .await,
    );
    assert_eq!(refused["code"], "database_error", "{refused}");
    let after = world
        .database
        .lines("SELECT * FROM items ORDER BY id")
        .await;
    assert_eq!(before, after);
    server.finish().await;
    let log = entries(&world.program);
    assert_eq!(
        count(&log, "execution.started"),
        1,
        "nothing else was begun"
    );
    assert!(
        count(&log, "request.refused") >= 15,
        "each refusal is on record"
    );
}

/// The request that waits for people, as soon as there is one.
pub(super) async fn pending(person: &State) -> RequestId {
    let deadline = Instant::now() + Duration::from_secs(20);
    let filter = Filter {
        statuses: vec![Status::Pending],
        ..Filter::default()
    };
    loop {
        if let [one] = requests::list(person, &filter).unwrap().requests.as_slice() {
            return one.id.clone();
        }
        assert!(Instant::now() < deadline, "no request waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn rows_are_put_in_and_changed_once_somebody_has_signed_the_statement() {
    let Some(world) = World::new("upsert", "[\"read\"]").await else {
        return;
    };
    let person = State::open(&world.program.state(), Arc::new(SystemClock)).unwrap();
    person.install_trust(trust()).await.unwrap();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    listed(&mut server, "vector_upsert", true).await;
    let wanted = json!({
        "table": "items", "reason": "new stock", "idempotency_key": "stock-1",
        "rows": [
            {"id": 1, "name": "lamp", "embedding": [0.5, 0, 1e-3]},
            {"id": 9, "name": "it's; --", "embedding": null},
        ],
    });
    let signs = async {
        let id = pending(&person).await;
        let shown = requests::show(&person, &id).unwrap();
        assert_eq!(
            shown.document.statement,
            "INSERT INTO \"items\" (\"embedding\", \"id\", \"name\")\nVALUES ($1, $2, $3),\n  ($4, $5, $6)\n\
             ON CONFLICT (\"id\") DO UPDATE SET \"embedding\" = EXCLUDED.\"embedding\", \"name\" = EXCLUDED.\"name\""
        );
        assert_eq!(shown.document.writes, ["items"]);
        assert_eq!(
            shown.values.unwrap().params,
            [
                json!([0.5, 0, 1e-3]),
                json!(1),
                json!("lamp"),
                Value::Null,
                json!(9),
                json!("it's; --")
            ]
        );
        let not_yet = world
            .database
            .lines("SELECT count(*) FROM items WHERE id = 9")
            .await;
        assert_eq!(not_yet, ["0"]);
        say(&person, &id, Decision::Approve).await.unwrap();
    };
    let ((), answer) = tokio::join!(signs, server.call("vector_upsert", &wanted));
    assert_eq!(content(&answer)["affected"], 2, "{answer}");
    let rows = "SELECT id, name, kind, embedding FROM items WHERE id IN (1, 9) ORDER BY id";
    let stands = ["1|lamp|light|[0.5,0,0.001]", "9|it's; --|NULL|NULL"];
    assert_eq!(world.database.lines(rows).await, stands);
    // Under its key it runs once, and stands for nothing else.
    world
        .database
        .run("UPDATE items SET kind = 'seen' WHERE id = 9")
        .await;
    let again = server.call("vector_upsert", &wanted).await;
    assert_eq!(content(&again)["replayed"], true, "{again}");
    let mut other = wanted.clone();
    other["rows"][0]["embedding"] = json!([1, 1, 1]);
    let refused = refusal(&server.call("vector_upsert", &other).await);
    assert_eq!(refused["code"], "idempotency_conflict", "{refused}");
    let stands = ["1|lamp|light|[0.5,0,0.001]", "9|it's; --|seen|NULL"];
    assert_eq!(world.database.lines(rows).await, stands);
    server.finish().await;
    person.close().await.unwrap();
}

#[tokio::test]
async fn a_policy_about_a_table_holds_for_its_vectors_too() {
    let Some(world) = World::new("policy", "[\"read\", \"write\"]").await else {
        return;
    };
    let folder = world.program.folder.path();
    let forbid = "forbid (principal, action, resource) when { context.reads.contains(\"private.notes\") || context.writes.contains(\"private.notes\") };";
    std::fs::write(
        folder.join("closed.cedar"),
        format!("permit (principal, action, resource);\n{forbid}"),
    )
    .unwrap();
    let config = folder.join("secondkey.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let search =
        json!({"table": "private.notes", "column": "embedding", "embedding": [1, 1], "k": 1});
    let upsert = json!({"table": "private.notes", "rows": [{"id": 1, "embedding": [2, 2]}]});
    let stands = "SELECT embedding FROM private.notes";

    std::fs::write(&config, format!("policy = \"closed.cedar\"\n{text}")).unwrap();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    for (tool, wanted) in [("vector_search", &search), ("vector_upsert", &upsert)] {
        let refused = refusal(&server.call(tool, wanted).await);
        assert_eq!(refused["code"], "forbidden", "{tool}: {refused}");
    }
    server.finish().await;
    assert_eq!(world.database.lines(stands).await, ["[1,1]"]);

    // Without that rule both run.
    std::fs::write(&config, text).unwrap();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let found = server.call("vector_search", &search).await;
    assert_eq!(content(&found)["rows"][0][0], 1, "{found}");
    let changed = server.call("vector_upsert", &upsert).await;
    assert_eq!(content(&changed)["affected"], 1, "{changed}");
    server.finish().await;
    assert_eq!(world.database.lines(stands).await, ["[2,2]"]);
}

#[tokio::test]
async fn the_tools_are_listed_where_there_are_vectors_and_only_there() {
    let Some(world) = World::new("listed", "[\"read\", \"write\", \"schema\"]").await else {
        return;
    };
    world.database.run("DROP TABLE items, private.notes").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let can = &server.server["result"]["capabilities"]["tools"]["listChanged"];
    assert_eq!(can, true, "{}", server.server);
    let ready = server.call("health", &json!({})).await;
    content(&ready);
    for tool in ["vector_search", "vector_upsert"] {
        assert!(!lists(&mut server, tool).await, "{tool}");
    }
    let create = json!({"sql": "CREATE TABLE notes (id int PRIMARY KEY, embedding vector(2))"});
    content(&server.call("sql_execute", &create).await);
    // A client is told, and finds both.
    let told = loop {
        let message = server.message().await.unwrap();
        if message["method"] == "notifications/tools/list_changed" {
            break message;
        }
    };
    assert_eq!(told["id"], Value::Null);
    for tool in ["vector_search", "vector_upsert"] {
        assert!(lists(&mut server, tool).await, "{tool}");
    }
    let tools = server.request("tools/list", json!({})).await;
    let tools = tools["result"]["tools"].as_array().unwrap().clone();
    let of_vectors = tools
        .iter()
        .filter(|it| it["name"].as_str().unwrap().starts_with("vector_"));
    let bytes: usize = of_vectors.map(|it| it.to_string().len()).sum();
    assert!(bytes <= 1_800, "the two cost {bytes} bytes");
    content(
        &server
            .call("sql_execute", &json!({"sql": "DROP TABLE notes"}))
            .await,
    );
    listed(&mut server, "vector_search", false).await;
    server.finish().await;
}

#[tokio::test]
async fn the_published_python_client_searches_and_puts_in() {
    let Some(python) = client("venv/bin/python") else {
        return skip("stories::vectors", "no Python (tests/run fetches it)");
    };
    let Some(mut world) = World::new("python", "[\"read\", \"write\"]").await else {
        return;
    };
    world.program = world.program.flags(&["--http", "127.0.0.1:0"]);
    let http = Http::start(&world.program).await;
    let output = tokio::process::Command::new(python)
        .arg(checkout().join("tests/clients/published_vectors.py"))
        .args([&http.url, &http.token])
        .output()
        .await
        .unwrap();
    let failed = String::from_utf8_lossy(&output.stderr);
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{failed}"));
    let sofa = 2.0_f64.sqrt();
    assert_eq!(seen["near"][0]["name"], "sofa", "{seen}");
    assert!((seen["near"][0]["distance"].as_f64().unwrap() - sofa).abs() < 1e-6);
    assert_eq!(seen["near"][1]["name"], "chair", "{seen}");
    assert_eq!(seen["put"], json!([2, "write"]));
    assert_eq!(seen["again"], true);
    assert_eq!(seen["by_name"], 1);
    assert_eq!(seen["cosine"][0]["id"], 1, "{seen}");
    assert_eq!(seen["refused"], "invalid_parameter");
    let stands = "SELECT id, embedding, half FROM items WHERE id IN (1, 3, 7) ORDER BY id";
    let stands = world.database.lines(stands).await;
    assert_eq!(
        stands,
        [
            "1|[0,0,1]|[1,0,0]",
            "3|[0,3,0]|[1,1,1]",
            "7|[0.5,0.5,0]|NULL"
        ]
    );
}
