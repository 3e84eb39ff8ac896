//! Named operations and batches over REST, and the key under which a call runs once.

use std::time::{Duration, Instant};

use secondkey::core::approval::Decision;
use serde_json::{Value, json};

use super::openapi::{described, operations};
use super::rest::{ask, get, json_of};
use super::rig::{Fleet, UPDATE, content, result};
use crate::stories::approval::say;
use crate::support::http::{Answer, send};

/// What a shop offers: a read, a change that people agree to, one that runs at once, and one that is not listed.
pub(super) const FILE: &str = "\
service: { title: Shop desk, version: 2.0.0 }
capabilities:
  find_product:
    description: One product by its name
    sql: select name, price from products where name = :name and 'CANARY-statement' <> ''
    params: { name: { type: string, required: true, maxLength: 20 } }
    result: { name: { type: string }, price: { type: number } }
  set_price:
    description: Sets one price
    sql: update products set price = :price where name = :name and 'CANARY-statement' <> ''
    params: { name: { type: string, required: true }, price: { type: number, required: true, minimum: 0, maximum: 1000000 } }
    policy: { readonly: false, approval: true }
  add.product:
    description: Adds one product
    sql: insert into products (name, price) values (:name, :price) returning name
    params: { name: { type: string, required: true }, price: { type: number, required: true, minimum: 0, maximum: 1000000 } }
    policy: { readonly: false }
    result: { name: { type: string } }
  count_products:
    description: How many there are
    sql: select count(*) as many from products
    policy: { visible: false }
    result: { many: { type: integer } }
";

/// A relay whose agent offers this, and lets changes run without people, but for those that want them.
pub(super) async fn offering(more: &str) -> Fleet {
    let mut fleet = Fleet::start().await;
    let more = format!("allow = [\"read\", \"write\"]\n{more}");
    fleet.start_agent_offering(FILE, &more);
    wait_until_offered(&fleet).await;
    fleet
}

/// Waits until the relay knows what its agent offers.
pub(super) async fn wait_until_offered(fleet: &Fleet) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let all = json_of(&get(fleet, &fleet.key, "/v1/capabilities"), 200);
        if all["capabilities"] != json!([]) {
            return;
        }
        assert!(Instant::now() < deadline, "{}", fleet.log("agent"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Posts as Ada's model, under this key if there is one.
pub(super) fn post(fleet: &Fleet, path: &str, body: &Value, key: Option<&str>) -> Answer {
    let host = format!("127.0.0.1:{}", fleet.port);
    let bearer = format!("Bearer {}", fleet.key);
    let mut headers = vec![
        ("Host", host.as_str()),
        ("Authorization", &bearer),
        ("Content-Type", "application/json"),
    ];
    headers.extend(key.map(|key| ("Idempotency-Key", key)));
    send(fleet.port, "POST", path, &headers, &body.to_string())
}

/// How many products there are, on a connection of its own.
pub(super) fn products(fleet: &Fleet) -> i64 {
    let database = rusqlite::Connection::open(fleet.shop()).unwrap();
    let count = "SELECT count(*) FROM products";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn what_is_offered_by_name_is_listed_called_and_described() {
    let fleet = offering("").await;
    let listed = json_of(&get(&fleet, &fleet.key, "/v1/capabilities"), 200);
    let listed = listed["capabilities"].as_array().unwrap();
    let names: Vec<&str> = listed
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["add.product", "find_product", "set_price"]);
    let find = &listed[1];
    assert_eq!(
        (&find["effect"], &find["title"]),
        (&json!("read"), &json!("One product by its name"))
    );
    assert_eq!(find["input"]["required"], json!(["name"]));
    assert_eq!(find["output"]["properties"]["rows"]["type"], "array");
    assert_eq!(listed[2]["approval"], true);
    let one = get(&fleet, &fleet.key, "/v1/capabilities?search=sets");
    assert_eq!(
        json_of(&one, 200)["capabilities"].as_array().unwrap().len(),
        1
    );

    let at = |name: &str| format!("/v1/capabilities/{name}");
    let found = post(&fleet, &at("find_product"), &json!({"name": "lamp"}), None);
    let found = json_of(&found, 200);
    assert_eq!(found["rows"], json!([{"name": "lamp", "price": 20}]));
    let hidden = post(&fleet, &at("count_products"), &json!({}), None);
    assert_eq!(json_of(&hidden, 200)["rows"], json!([{"many": 3}]));

    // The parameter and the rule are named, and never the value.
    for (body, named) in [
        (json!({"name": "CANARY-value-that-is-too-long"}), "`name`"),
        (json!({"name": 4_711}), "`name`"),
        (json!({}), "`name`"),
        (json!({"name": "lamp", "CANARY": 1}), ""),
    ] {
        let refused = post(&fleet, &at("find_product"), &body, None);
        let refused = json_of(&refused, 422);
        assert_eq!(refused["code"], "invalid_parameter", "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(named));
        let text = refused.to_string();
        assert!(!text.contains("CANARY") && !text.contains("4711"), "{text}");
    }
    let unknown = post(&fleet, &at("nothing"), &json!({}), None);
    assert_eq!(json_of(&unknown, 404)["code"], "unknown_capability");
    let elsewhere = post(&fleet, &at("find_product?target=bank"), &json!({}), None);
    assert_eq!(json_of(&elsewhere, 422)["code"], "unknown_target");

    // A key is told of its own: a path for each that is listed.
    let mine = described(&fleet, Some(&fleet.key));
    let typed = &mine["paths"]["/v1/capabilities/find_product"]["post"];
    let body = &typed["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["properties"]["name"]["maxLength"], 20, "{typed}");
    let answer = &typed["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(answer["additionalProperties"], false, "{typed}");
    let all = operations(&mine);
    assert!(all.contains(&"post /v1/capabilities/add.product".to_owned()));
    // It can call one that is not listed, and knows how.
    assert!(all.contains(&"post /v1/capabilities/{name}".to_owned()));
    let reader = fleet.issue(&["--for", "ai:eve", "--role", "readonly"]);
    let theirs = operations(&described(&fleet, Some(&reader)));
    assert!(theirs.contains(&"post /v1/capabilities/find_product".to_owned()));
    assert!(
        !theirs.iter().any(|one| one.contains("set_price")),
        "{theirs:?}"
    );
    let set = json!({"name": "lamp", "price": 1});
    let refused = ask(&fleet, &reader, ("POST", &at("set_price")), &set);
    json_of(&refused, 403);
    assert!((fleet.price() - 20.0).abs() < 1e-9);
    assert!(!described(&fleet, None).to_string().contains("find_product"));
}

#[tokio::test]
async fn where_nothing_else_runs_free_sql_is_refused_and_not_described() {
    let fleet = offering("only_capabilities = true\n").await;
    for (path, body) in [
        ("/v1/sql/execute", json!({"sql": "SELECT 1"})),
        (
            "/v1/sql/batch",
            json!({"statements": [{"sql": "SELECT 1"}]}),
        ),
    ] {
        let refused = json_of(&post(&fleet, path, &body, None), 403);
        assert_eq!(refused["code"], "forbidden", "{refused}");
    }
    for path in [
        "/v1/targets/shop/tables",
        "/v1/targets/shop/tables/products",
    ] {
        let refused = json_of(&get(&fleet, &fleet.key, path), 403);
        assert_eq!(refused["code"], "forbidden", "{refused}");
    }
    let all = operations(&described(&fleet, Some(&fleet.key)));
    let free = ["/sql/", "/tables", "/results/"];
    assert!(
        !all.iter().any(|one| free.iter().any(|it| one.contains(it))),
        "{all:?}"
    );
    let add = json!({"name": "stool", "price": 4});
    let done = post(&fleet, "/v1/capabilities/add.product", &add, None);
    let done = json_of(&done, 200);
    assert_eq!(
        (&done["affected"], &done["rows"]),
        (&json!(1), &json!([{"name": "stool"}]))
    );
    assert_eq!(products(&fleet), 4);
}

#[tokio::test]
async fn a_capability_that_people_agree_to_is_filed_and_run_once_under_its_key() {
    let fleet = offering("").await;
    let path = "/v1/capabilities/set_price?reason=a%20sale";
    let body = json!({"name": "lamp", "price": 31.5});
    let filed = post(&fleet, path, &body, Some("\"sale\""));
    let location = filed.header("location").unwrap().to_owned();
    let request = json_of(&filed, 202);
    assert_eq!(
        location,
        format!("/v1/requests/{}", request["id"].as_str().unwrap())
    );
    let again = post(&fleet, path, &body, Some("sale"));
    assert_eq!(json_of(&again, 202)["id"], request["id"]);
    let other = post(
        &fleet,
        path,
        &json!({"name": "lamp", "price": 1}),
        Some("sale"),
    );
    assert_eq!(json_of(&other, 409)["code"], "idempotency_conflict");
    assert!((fleet.price() - 20.0).abs() < 1e-9);

    let person = fleet.relay_state();
    let id = request["id"].as_str().unwrap().parse().unwrap();
    say(&person, &id, Decision::Approve).await.unwrap();
    person.close().await.unwrap();
    let ran = post(&fleet, path, &body, Some("sale"));
    assert_eq!(ran.header("idempotent-replayed"), None);
    assert_eq!(json_of(&ran, 200)["affected"], 1);
    assert!((fleet.price() - 31.5).abs() < 1e-9);
    // The relay tells how many rows it changed, too.
    let told = post(&fleet, path, &body, Some("sale"));
    assert_eq!(told.header("idempotent-replayed"), Some("true"));
    let told = json_of(&told, 200);
    assert_eq!(
        (&told["affected"], &told["replayed"]),
        (&json!(1), &json!(true))
    );
}

#[tokio::test]
async fn under_its_key_a_call_over_rest_runs_once() {
    let fleet = offering("").await;
    let add = json!({"name": "stool", "price": 4});
    let insert = "INSERT INTO products (name, price) VALUES ($1, 4)";
    let execute = json!({"sql": insert, "params": ["bench"]});
    let batch = json!({"statements": [{"sql": insert, "params": ["sofa"]}, {"sql": "SELECT 1"}]});
    let mut expected = 3;
    for (path, body) in [
        ("/v1/capabilities/add.product", add),
        ("/v1/sql/execute", execute),
        ("/v1/sql/batch", batch),
    ] {
        // A key is one target's, so each has its own.
        let key = format!("\"key-of-{}\"", path.rsplit('/').next().unwrap());
        let first = post(&fleet, path, &body, Some(&key));
        assert_eq!(first.header("idempotent-replayed"), None, "{first:?}");
        let first = json_of(&first, 200);
        expected += 1;
        let told = post(&fleet, path, &body, Some(&key));
        assert_eq!(told.header("idempotent-replayed"), Some("true"), "{told:?}");
        let told = json_of(&told, 200);
        assert_eq!(told["replayed"], true, "{told}");
        assert_eq!(told["request"], first["request"]);
        if path != "/v1/sql/batch" {
            assert_eq!(told["affected"], 1, "{told}");
        }
        if path.contains("capabilities") {
            assert_eq!(told["rows"], json!([]), "{told}");
        }
        assert_eq!(products(&fleet), expected);
        let other = json!({"name": "x", "price": 1, "sql": "DELETE FROM products"});
        let other = match path {
            "/v1/sql/execute" => json!({"sql": "DELETE FROM products"}),
            "/v1/sql/batch" => json!({"statements": [{"sql": "DELETE FROM products"}]}),
            _ => json!({"name": other["name"], "price": 1}),
        };
        let refused = post(&fleet, path, &other, Some(&key));
        assert_eq!(json_of(&refused, 409)["code"], "idempotency_conflict");
        // Without it each call is one more.
        let free = post(&fleet, path, &body, None);
        json_of(&free, 200);
        expected += 1;
        assert_eq!(products(&fleet), expected);
    }
    let read = json!({"sql": "SELECT 1"});
    for odd in ["\"open", "a b", "\"\""] {
        let refused = post(&fleet, "/v1/sql/execute", &read, Some(odd));
        assert_eq!(json_of(&refused, 422)["code"], "invalid_argument", "{odd}");
    }
    let two = json!({"sql": "SELECT 1", "idempotency_key": "a"});
    let refused = post(&fleet, "/v1/sql/execute", &two, Some("b"));
    assert_eq!(json_of(&refused, 422)["code"], "invalid_argument");

    // Over MCP an argument or, for a tool of its own, `_meta` names the key of the same call.
    let call = json!({"name": "add.product", "params": {"name": "stool", "price": 4}, "idempotency_key": "m"});
    for replayed in [Value::Null, json!(true)] {
        let told = fleet.call("capability_call", &call).await;
        let told = content(&told);
        assert_eq!(
            (&told["affected"], &told["replayed"]),
            (&json!(1), &replayed)
        );
    }
    let of_its_own = json!({
        "name": "add_product", "arguments": {"name": "stool", "price": 4},
        "_meta": {"secondkey/idempotency_key": "n"},
    });
    for replayed in [Value::Null, json!(true)] {
        let answer = fleet
            .ask(
                &fleet.key,
                ("tools/call", "add_product"),
                of_its_own.clone(),
            )
            .await;
        let told = result(&answer);
        let told = content(&told);
        assert_eq!(
            (&told["affected"], &told["replayed"]),
            (&json!(1), &replayed)
        );
    }
    assert_eq!(products(&fleet), expected + 2);
}

#[tokio::test]
async fn a_batch_that_people_agree_to_tells_its_counts_again() {
    let fleet = Fleet::start().await;
    let path = "/v1/sql/batch";
    let body = json!({"statements": [
        {"sql": UPDATE, "params": [9, "lamp"]},
        {"sql": UPDATE, "params": [8, "lamp"]},
    ]});
    let filed = json_of(&post(&fleet, path, &body, Some("b")), 202);
    fleet.approve().await;
    let at = format!("/v1/requests/{}/collect", filed["id"].as_str().unwrap());
    let ran = json_of(&ask(&fleet, &fleet.key, ("POST", &at), &Value::Null), 200);
    let results = &ran["result"]["results"];
    assert_eq!(
        (&results[0]["affected"], &results[1]["affected"]),
        (&json!(1), &json!(1))
    );
    assert!((fleet.price() - 8.0).abs() < 1e-9);
    let told = json_of(&post(&fleet, path, &body, Some("b")), 200);
    assert_eq!(told["replayed"], true, "{told}");
    assert_eq!(told["affected"], 2, "{told}");
    assert_eq!(told["results"].as_array().unwrap().len(), 2, "{told}");
    assert!((fleet.price() - 8.0).abs() < 1e-9);
}
