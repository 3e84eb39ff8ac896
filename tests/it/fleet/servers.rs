//! Agents beside a PostgreSQL and a MariaDB: what a team does through its relay comes out the same on each engine.

use serde_json::json;

use super::rig::{Fleet, content, refusal};
use crate::stories::batch::Bank;

#[tokio::test]
async fn work_goes_through_on_every_engine() {
    for bank in Bank::all("fleet").await {
        let mut fleet = Fleet::start().await;
        std::fs::write(fleet.path("shop.url"), &bank.url).unwrap();
        fleet.start_agent_with(
            "[targets.shop]\nurl = \"file:shop.url\"\nallow_privileged_login = true\n",
        );
        reads(&fleet, &bank).await;
        changes(&fleet, &bank).await;
        batches(&fleet, &bank).await;
    }
}

async fn reads(fleet: &Fleet, bank: &Bank) {
    let read = fleet.sql("SELECT balance FROM accounts ORDER BY id").await;
    assert_eq!(content(&read)["rows"], json!([[100], [5]]), "{}", bank.url);
    let page = json!({"sql": "SELECT id FROM accounts ORDER BY id", "max_rows": 1});
    let page = fleet.call("sql_execute", &page).await;
    let cut = &content(&page)["truncated"];
    let next = json!({"handle": cut["handle"], "from": cut["next"]});
    let rest = fleet.call("result_page", &next).await;
    assert_eq!(content(&rest)["rows"], json!([[2]]), "{rest}");
    let tables = fleet
        .call("list_tables", &json!({"search": "accounts"}))
        .await;
    assert_eq!(
        content(&tables)["tables"][0]["name"],
        "accounts",
        "{tables}"
    );
    let unknown = fleet.sql("SELECT balanc FROM accounts").await;
    assert_eq!(refusal(&unknown)["code"], "unknown_column", "{unknown}");
}

async fn changes(fleet: &Fleet, bank: &Bank) {
    // Under one key it runs once, and tells so, however often it is asked for.
    let update = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
    let mut wanted = bank.one(update, &[7, 2]);
    wanted["idempotency_key"] = json!("once");
    let (answer, _) = tokio::join!(fleet.call("sql_execute", &wanted), fleet.approve());
    assert_eq!(content(&answer)["affected"], 1, "{answer}");
    assert_eq!(bank.stands().await, [100, 12, 0]);
    let again = fleet.call("sql_execute", &wanted).await;
    assert_eq!(content(&again)["replayed"], true, "{again}");
    assert_eq!(bank.stands().await, [100, 12, 0]);
}

async fn batches(fleet: &Fleet, bank: &Bank) {
    let moved = bank.transfer(30);
    let (answer, _) = tokio::join!(fleet.call("sql_batch", &moved), fleet.approve());
    assert_ne!(answer["isError"], true, "{answer}");
    assert_eq!(bank.stands().await, [70, 42, 1]);
    // The first statement breaks a rule of the table: nothing of the batch stands.
    let too_much = bank.transfer(1_000);
    let (answer, _) = tokio::join!(fleet.call("sql_batch", &too_much), fleet.approve());
    let message = refusal(&answer)["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .starts_with("statement 1 of the batch"),
        "{answer}"
    );
    assert_eq!(bank.stands().await, [70, 42, 1]);
}
