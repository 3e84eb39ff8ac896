//! `secondkey capability` on the shipped example and the demo's shop.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{binary, checkout};

/// The example beside the demo's shop, as its README says.
fn shop() -> TempDir {
    let folder = TempDir::new().unwrap();
    let shop = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    let made = std::fs::read_to_string(checkout().join("src/demo/shop.sql")).unwrap();
    shop.execute_batch(&made).unwrap();
    for name in ["capability.yaml", "secondkey.toml"] {
        let example = checkout().join("examples/capabilities").join(name);
        std::fs::copy(example, folder.path().join(name)).unwrap();
    }
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .arg("capability")
        .args(arguments)
        .args(["--config", "secondkey.toml", "--state", "state"])
        .env_clear()
        .env("HOME", folder)
        .env("USER", "ada")
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn stock(folder: &Path) -> i64 {
    let shop = rusqlite::Connection::open(folder.join("shop.db")).unwrap();
    let sql = "select stock from products where sku = 'SK-0007'";
    shop.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn the_examples_check_and_test_and_answer() {
    let folder = shop();
    let checked = run(folder.path(), &["check"]);
    let said = text(&checked);
    assert!(checked.status.success(), "{said}");
    assert_eq!(said.matches("  ok    ").count(), 7, "{said}");
    assert!(
        said.contains("find_customers: reads, answers id INTEGER, name TEXT"),
        "{said}"
    );
    let before = stock(folder.path());
    let tested = run(folder.path(), &["test"]);
    let said = text(&tested);
    assert!(tested.status.success(), "{said}");
    assert!(
        said.contains("  ok    orders_of_customer example 2"),
        "{said}"
    );
    // Nobody approved these, and nothing of them stays.
    assert!(
        said.contains("  ok    restock example 1: changes 1 row, and answers 1 row; rolled back"),
        "{said}"
    );
    assert_eq!(stock(folder.path()), before);
    let called = run(
        folder.path(),
        &[
            "call",
            "orders_of_customer",
            "--params",
            r#"{"customer_id": 42}"#,
        ],
    );
    let answer: Value = serde_json::from_slice(&called.stdout).unwrap();
    assert!(
        answer["rows"][0]["total_cents"].as_i64().unwrap() > 0,
        "{answer}"
    );
    let whose = run(
        folder.path(),
        &["call", "my_notes", "--params", r#"{"product_id": 1}"#],
    );
    let answer: Value = serde_json::from_slice(&whose.stdout).unwrap();
    let reader = answer["rows"][0]["reader"].as_str().unwrap();
    assert!(!reader.is_empty() && reader != "unknown", "{answer}");
    let listed = text(&run(folder.path(), &["list"]));
    assert!(
        listed.contains("restock") && listed.contains("offered"),
        "{listed}"
    );
    let shown = text(&run(folder.path(), &["show", "restock"]));
    assert!(
        shown.contains("returning sku, stock") && shown.contains("outputSchema"),
        "{shown}"
    );
}

#[test]
fn what_cannot_keep_its_contract_fails_the_check_and_a_bad_value_the_call() {
    let folder = shop();
    let shop = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    shop.execute_batch("alter table products rename column stock to pieces")
        .unwrap();
    let checked = run(folder.path(), &["check"]);
    let said = text(&checked);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(
        said.contains("  wrong low_stock:") && said.contains("  wrong restock:"),
        "{said}"
    );
    let listed = text(&run(folder.path(), &["list"]));
    assert!(
        listed.contains("withdrawn: its statement does not fit"),
        "{listed}"
    );
    let refused = run(
        folder.path(),
        &["call", "find_customers", "--params", r#"{"text": "x"}"#],
    );
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("`text` must have at least 2 characters"),
        "{said}"
    );
    let file = folder.path().join("capability.yaml");
    let broken = std::fs::read_to_string(&file)
        .unwrap()
        .replace("type: integer", "type: int");
    std::fs::write(&file, broken).unwrap();
    let checked = run(folder.path(), &["check"]);
    let said = text(&checked);
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(
        said.contains("capability.yaml:") && said.matches("must be one of").count() > 5,
        "{said}"
    );
}
