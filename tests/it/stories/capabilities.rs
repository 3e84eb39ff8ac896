//! What can be called by name: its meaning is the agent's alone, and nothing leaves that was not declared.

use std::fmt::Write as _;

use secondkey::core::approval::Decision;
use serde_json::{Value, json};

use super::approval::World;
use super::{content, refusal};
use crate::support::raw::{Era, Raw};

pub(super) const FILE: &str = "\
service: { title: Shop desk, version: 1.2.0 }
capabilities:
  find_product:
    description: One product by its name
    sql: select id, name, price from products where name = :name
    params:
      name: { type: string, required: true, maxLength: 20, pattern: '^[a-z]+$' }
    result:
      name: { type: string }
      price: { type: number }
    reviewed: { by: Ada, on: 2026-11-01 }
  set_price:
    description: Sets one product's price
    sql: update products set price = :price where name = :name
    params:
      name: { type: string, required: true }
      price: { type: number, required: true, minimum: 0 }
    policy: { readonly: false, approval: true }
  raise_all:
    description: Raises all prices
    sql: update products set price = price + 1
    policy: { readonly: false, max_affected_rows: 2 }
  who:
    description: Who calls
    sql: select :who as who, :key as is_set
    params:
      who: { type: string, from: kind }
      key: { type: string, secret: true, value: 'env:SHOP_SECRET' }
    result: { who: { type: string } }
  hidden.one:
    sql: select 1 as one
    policy: { visible: false }
    result: { one: { type: integer } }
  broken:
    sql: select name from products
    result: { label: { type: string } }
";

pub(super) async fn world(wait: &str, more: &str) -> World {
    let world = World::with(wait, &format!("capabilities = \"capability.yaml\"\n{more}")).await;
    write(&world, FILE);
    world
}

pub(super) fn write(world: &World, text: &str) {
    std::fs::write(world.program.folder.path().join("capability.yaml"), text).unwrap();
}

pub(super) async fn tools(server: &mut Raw) -> Vec<Value> {
    let listed = server.request("tools/list", json!({})).await;
    listed["result"]["tools"].as_array().unwrap().clone()
}

pub(super) fn tool<'t>(tools: &'t [Value], name: &str) -> Option<&'t Value> {
    tools.iter().find(|tool| tool["name"] == name)
}

pub(super) async fn start(mut world: World, era: Era) -> (World, Raw) {
    world.program = world.program.variable("SHOP_SECRET", "CANARY-secret");
    let server = Raw::start(&world.program, era).await;
    (world, server)
}

#[tokio::test]
async fn each_is_a_tool_with_a_typed_answer_and_nothing_else_leaves() {
    for era in [Era::Legacy, Era::Modern] {
        let (world, mut server) = start(world("0s", "").await, era).await;
        let all = tools(&mut server).await;
        let find = tool(&all, "find_product").unwrap();
        assert_eq!(find["annotations"]["readOnlyHint"], true);
        assert_eq!(find["inputSchema"]["properties"]["name"]["maxLength"], 20);
        assert_eq!(find["inputSchema"]["required"], json!(["name"]));
        assert_eq!(
            tool(&all, "set_price").unwrap()["annotations"]["destructiveHint"],
            true
        );
        assert!(tool(&all, "hidden_one").is_none() && tool(&all, "capability_list").is_none());
        let whole = serde_json::to_string(&all).unwrap();
        for secret in ["select id", "update products", "SHOP_SECRET"] {
            assert!(!whole.contains(secret), "{secret} in {whole}");
        }
        let who = tool(&all, "who").unwrap();
        assert_eq!(
            who["inputSchema"]["properties"],
            json!({}),
            "nobody sends these"
        );
        let answer = server
            .call("find_product", &json!({ "name": "lamp" }))
            .await;
        let found = content(&answer).clone();
        assert_eq!(found["rows"], json!([{ "name": "lamp", "price": 20 }]));
        let schema = jsonschema::validator_for(&find["outputSchema"]).unwrap();
        assert!(schema.is_valid(&found), "{found}");
        let who = server.call("who", &json!({})).await;
        assert_eq!(content(&who)["rows"], json!([{ "who": "ai" }]));
        // Hidden is not forbidden.
        let one = server
            .call("capability_call", &json!({ "name": "hidden.one" }))
            .await;
        assert_eq!(content(&one)["rows"], json!([{ "one": 1 }]));
        let log = world.program.log();
        assert!(!log.contains("CANARY"), "{log}");
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_named_by_its_rule_and_never_repeated() {
    let (_world, mut server) = start(world("0s", "").await, Era::Modern).await;
    for (arguments, rule) in [
        (json!({ "name": "CANARY-2" }), "`name` must match"),
        (
            json!({ "name": "canarycanarycanarycanary" }),
            "at most 20 characters",
        ),
        (json!({ "name": 7_654_321 }), "`name` must be text"),
        (json!({}), "`name` is required"),
        (
            json!({ "name": "lamp", "canary": "CANARY" }),
            "1 unknown parameter",
        ),
    ] {
        let refused = refusal(&server.call("find_product", &arguments).await);
        assert_eq!(refused["code"], "invalid_parameter");
        let text = refused.to_string();
        assert!(text.contains(rule), "{text}");
        assert!(
            !text.to_lowercase().contains("canary") && !text.contains("7654321"),
            "{text}"
        );
    }
    // Nobody can say who they are, or learn of a secret.
    for given in [json!({ "who": "human" }), json!({ "key": "x" })] {
        let refused = refusal(&server.call("who", &given).await);
        assert_eq!(refused["code"], "invalid_parameter", "{refused}");
    }
}

#[tokio::test]
async fn a_change_of_too_many_rows_is_rolled_back() {
    let (world, mut server) = start(
        world("0s", "allow = [\"read\", \"write\"]\n").await,
        Era::Modern,
    )
    .await;
    let before = world.price();
    let refused = refusal(&server.call("raise_all", &json!({})).await);
    assert_eq!(refused["code"], "limit_reached", "{refused}");
    assert!((world.price() - before).abs() < f64::EPSILON);
    write(
        &world,
        &FILE.replace("max_affected_rows: 2", "max_affected_rows: 3"),
    );
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let done = server.call("raise_all", &json!({})).await;
    assert_eq!(content(&done)["affected"], 3);
    assert!((world.price() - before - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn one_that_needs_a_person_waits_even_where_writes_are_allowed_and_dies_with_its_bundle() {
    let (world, mut server) = start(
        world("0s", "allow = [\"read\", \"write\"]\n").await,
        Era::Modern,
    )
    .await;
    let before = world.price();
    let call = json!({ "name": "lamp", "price": 12.5, "reason": "a sale" });
    let waits = refusal(&server.call("set_price", &call).await);
    assert_eq!(waits["code"], "approval_pending", "{waits}");
    let id = world.pending().await;
    let shown = secondkey::broker::requests::show(&world.person, &id).unwrap();
    let called = shown.document.capability.clone().unwrap();
    assert_eq!(
        (called.name.as_str(), called.version.as_str()),
        ("set_price", "1.2.0")
    );
    assert!(!shown.document.statement.contains("products"));
    world.say(&id, Decision::Approve).await.unwrap();
    let done = server
        .call("request", &json!({ "action": "wait", "id": id.as_str() }))
        .await;
    assert_eq!(content(&done)["result"]["affected"], 1, "{done}");
    assert!((world.price() - 12.5).abs() < f64::EPSILON);

    // Approved, and then the file says something else under the same name.
    let again = json!({ "name": "lamp", "price": 99.0 });
    refusal(&server.call("set_price", &again).await);
    let id = world.pending().await;
    world.say(&id, Decision::Approve).await.unwrap();
    write(&world, &FILE.replace("where name = :name\n    params:\n      name: { type: string, required: true }\n      price", "where name <> :name\n    params:\n      name: { type: string, required: true }\n      price"));
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let refused = server
        .call("request", &json!({ "action": "wait", "id": id.as_str() }))
        .await;
    assert_eq!(refusal(&refused)["code"], "unknown_capability", "{refused}");
    assert!((world.price() - 12.5).abs() < f64::EPSILON, "{before}");
}

#[tokio::test]
async fn an_answer_that_breaks_the_contract_is_a_failure_without_the_database_s_words() {
    let (world, mut server) = start(world("0s", "").await, Era::Modern).await;
    let refused = refusal(&server.call("broken", &json!({})).await);
    // By now it may have been looked at, and be withdrawn.
    let broken = |refused: &Value| {
        let code = refused["code"].as_str().unwrap();
        assert!(
            ["contract_broken", "capability_withdrawn"].contains(&code),
            "{refused}"
        );
    };
    broken(&refused);
    let gone = FILE.replace(
        "select id, name, price from products",
        "select id, name, price from prodcts",
    );
    write(&world, &gone);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let refused = refusal(
        &server
            .call("find_product", &json!({ "name": "lamp" }))
            .await,
    );
    assert!(!refused.to_string().contains("prodcts"), "{refused}");
    broken(&refused);
    assert!(
        world.program.log().contains("prodcts"),
        "the agent's log has it"
    );
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_a_good_one_is_told_of() {
    for era in [Era::Legacy, Era::Modern] {
        let (world, mut server) = start(world("0s", "").await, era).await;
        write(&world, "capabilities: { find_product: { sql: 5 } }");
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        assert!(tool(&tools(&mut server).await, "find_product").is_some());
        write(&world, &FILE.replace("find_product:", "look_up:"));
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        let all = tools(&mut server).await;
        assert!(tool(&all, "find_product").is_none() && tool(&all, "look_up").is_some());
    }
}

#[tokio::test]
async fn where_only_capabilities_run_there_is_no_free_sql() {
    let (_world, mut server) =
        start(world("0s", "only_capabilities = true\n").await, Era::Modern).await;
    let all = tools(&mut server).await;
    for gone in [
        "sql_execute",
        "list_tables",
        "describe_table",
        "result_page",
    ] {
        assert!(tool(&all, gone).is_none(), "{gone}");
    }
    let refused = refusal(
        &server
            .call("sql_execute", &json!({ "sql": "select 1" }))
            .await,
    );
    assert_eq!(refused["code"], "forbidden");
    let refused = refusal(&server.call("list_tables", &json!({})).await);
    assert_eq!(refused["code"], "forbidden");
    let found = server
        .call("find_product", &json!({ "name": "lamp" }))
        .await;
    assert_eq!(content(&found)["rows"][0]["name"], "lamp");
}

#[tokio::test]
async fn of_many_those_are_listed_that_fit_and_the_rest_is_spoken_of() {
    let world = world("0s", "").await;
    let mut file = String::from("capabilities:\n");
    for n in 0..60 {
        write!(
            file,
            "  one_{n:02}:\n    sql: select {n} as n\n    result: {{ n: {{ type: integer }} }}\n"
        )
        .unwrap();
    }
    write(&world, &file);
    let (_world, mut server) = start(world, Era::Modern).await;
    let all = tools(&mut server).await;
    assert_eq!(all.len(), 40);
    let list = tool(&all, "capability_list").unwrap();
    let text = list["description"].as_str().unwrap();
    assert!(
        text.contains("of them are no tools of their own here"),
        "{text}"
    );
    let listed = server.call("capability_list", &json!({})).await;
    assert_eq!(
        content(&listed)["capabilities"].as_array().unwrap().len(),
        60
    );
    let last = server
        .call("capability_call", &json!({ "name": "one_59" }))
        .await;
    assert_eq!(content(&last)["rows"], json!([{ "n": 59 }]));
}

/// A column is renamed under a capability: its tool goes away with the reason, and comes back by itself.
#[tokio::test]
async fn a_capability_whose_table_has_changed_is_withdrawn_and_comes_back() {
    for era in [Era::Legacy, Era::Modern] {
        let (world, mut server) = start(world("0s", "").await, era).await;
        assert!(tool(&tools(&mut server).await, "find_product").is_some());
        let shop = rusqlite::Connection::open(world.shop()).unwrap();
        shop.execute_batch("ALTER TABLE products RENAME COLUMN price TO cents")
            .unwrap();
        let call = json!({ "name": "find_product", "params": { "name": "lamp" } });
        refusal(&server.call("capability_call", &call).await);
        until(&mut server, async |server| {
            tool(&tools(server).await, "find_product").is_none()
        })
        .await;
        let refused = refusal(&server.call("capability_call", &call).await);
        assert_eq!(refused["code"], "capability_withdrawn", "{refused}");
        assert!(
            refused["message"]
                .as_str()
                .unwrap()
                .contains("does not fit the database")
        );
        assert!(!refused.to_string().contains("cents"), "{refused}");
        shop.execute_batch("ALTER TABLE products RENAME COLUMN cents TO price")
            .unwrap();
        until(&mut server, async |server| {
            tool(&tools(server).await, "find_product").is_some()
        })
        .await;
        let found = server
            .call("find_product", &json!({ "name": "lamp" }))
            .await;
        assert_eq!(content(&found)["rows"][0]["name"], "lamp");
    }
}

/// Waits for something to become true.
async fn until(server: &mut Raw, is: impl AsyncFn(&mut Raw) -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is(server).await {
        assert!(std::time::Instant::now() < deadline, "it does not come");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
