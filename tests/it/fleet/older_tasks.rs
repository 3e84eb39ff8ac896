//! The experimental tasks of 2025-11-25 at a relay, with the official TypeScript SDK.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::rig::Fleet;
use crate::support::{checkout, client, path_with_node, skip, variable};

#[tokio::test]
async fn a_call_asked_for_as_an_older_task_is_fetched_by_a_result_that_waits() {
    let (Some(_), Some(node)) = (
        client("node_modules/@modelcontextprotocol/sdk"),
        client("node_modules/node/bin/node"),
    ) else {
        return skip(
            "fleet::older_tasks",
            "no TypeScript client (tests/run fetches it)",
        );
    };
    let fleet = Fleet::start().await;
    let sql = "UPDATE products SET price = price + 1 WHERE name = 'lamp'";
    let url = format!("http://127.0.0.1:{}/mcp", fleet.port);
    let mut command = Command::new(&node);
    command
        .arg(checkout().join("tests/clients/older_tasks.mjs"))
        .args(["http", sql, &url, &fleet.key])
        .env(
            "TEST_CLIENTS_DIR",
            variable("TEST_CLIENTS_DIR").unwrap_or_default(),
        )
        .env("PATH", path_with_node().unwrap_or_default())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(90), command.output());
    let (output, _) = tokio::join!(output, fleet.approve());
    let output = output.expect("the client ends in time").unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{errors}{printed} {}",
        fleet.log("relay")
    );
    let met: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(met["write"][0]["type"], "taskCreated", "{met}");
    let last = met["write"].as_array().unwrap().last().unwrap();
    assert_eq!(last["result"]["structuredContent"]["affected"], 1, "{met}");
    assert!((fleet.price() - 21.0).abs() < 1e-9);
}
