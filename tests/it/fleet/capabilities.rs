//! What can be called by name, over a relay that knows names and contracts and no statement.

use std::time::{Duration, Instant};

use serde_json::json;

use super::rig::{Fleet, content, refusal};

const FILE: &str = "\
service: { title: Shop desk, version: 2.0.0 }
capabilities:
  find_product:
    description: One product by its name
    sql: select name, price from products where name = :name and 'CANARY-statement' <> ''
    params: { name: { type: string, required: true } }
    result: { name: { type: string }, price: { type: number } }
  set_price:
    description: Sets one price
    sql: update products set price = :price where name = :name and 'CANARY-statement' <> ''
    params: { name: { type: string, required: true }, price: { type: number, required: true } }
    policy: { readonly: false }
    reviewed: { by: Ada, on: 2026-11-01 }
";

#[tokio::test]
async fn a_capability_goes_through_a_relay_that_never_sees_its_statement() {
    let mut fleet = Fleet::start().await;
    fleet.start_agent_offering(FILE, "only_capabilities = true\n");
    let find = json!({ "name": "find_product", "params": { "name": "lamp" } });
    let deadline = Instant::now() + Duration::from_secs(20);
    let found = loop {
        let found = fleet.call("capability_call", &find).await;
        if found["isError"] != true {
            break found;
        }
        assert!(Instant::now() < deadline, "{found}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let rows = json!([{ "name": "lamp", "price": 20 }]);
    assert_eq!(content(&found)["rows"], rows);
    let found = fleet.call("find_product", &json!({ "name": "lamp" })).await;
    assert_eq!(content(&found)["rows"], rows);

    // Free SQL and the catalogue do not exist there.
    let free = fleet.sql("select 1").await;
    assert_eq!(refusal(&free)["code"], "forbidden");

    // A change waits for a person, and is run once with their signature.
    let set = json!({ "name": "lamp", "price": 31.5, "reason": "a sale" });
    let call = fleet.call("set_price", &set);
    let (done, _) = tokio::join!(call, fleet.approve());
    let done = content(&done);
    assert_eq!(done["affected"], 1, "{done}");
    assert!((fleet.price() - 31.5).abs() < f64::EPSILON);

    let mut folders = vec![fleet.path("relay")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                let statement = b"CANARY-statement";
                let found = bytes
                    .windows(statement.len())
                    .any(|window| window == statement);
                assert!(!found, "{}", path.display());
            }
        }
    }
}
