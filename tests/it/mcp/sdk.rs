//! The Python and TypeScript SDKs as clients, over stdio and HTTP, in both generations.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::conformance::Http;
use super::{ShopServer, assert_exercised};
use crate::support::{binary, checkout, client, path_with_node, skip, variable};

/// The protocol version that a mode ends at.
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

#[tokio::test]
async fn the_python_client_is_served_in_both_generations() {
    let Some(python) = client("venv/bin/python") else {
        return skip(
            "mcp::sdk::python",
            "no Python client (tests/run fetches it)",
        );
    };
    let start = || script(python.as_os_str(), "python_client.py");
    for (mode, version) in [("legacy", LEGACY), ("auto", MODERN)] {
        let printed = over_both(start, mode).await;
        assert!(
            printed.iter().all(|p| p["protocol"] == version),
            "{printed:?}"
        );
    }
}

#[tokio::test]
async fn the_second_typescript_client_is_served_in_both_generations() {
    let Some(node) = node("@modelcontextprotocol/client") else {
        return skip(
            "mcp::sdk::typescript_v2",
            "no TypeScript client (tests/run fetches it)",
        );
    };
    let start = || script(node.as_os_str(), "typescript_v2.mjs");
    for (mode, version) in [("legacy", LEGACY), ("auto", MODERN)] {
        let printed = over_both(start, mode).await;
        assert!(
            printed.iter().all(|p| p["protocol"] == version),
            "{printed:?}"
        );
    }
}

#[tokio::test]
async fn the_first_typescript_client_is_served() {
    let Some(node) = node("@modelcontextprotocol/sdk") else {
        return skip(
            "mcp::sdk::typescript_v1",
            "no TypeScript client (tests/run fetches it)",
        );
    };
    over_both(|| script(node.as_os_str(), "typescript_v1.mjs"), "legacy").await;
}

fn node(package: &str) -> Option<PathBuf> {
    client(&format!("node_modules/{package}"))?;
    client("node_modules/node/bin/node")
}

fn script(interpreter: &OsStr, name: &str) -> Command {
    let mut command = Command::new(interpreter);
    command
        .arg(checkout().join("tests/clients").join(name))
        .env(
            "TEST_CLIENTS_DIR",
            variable("TEST_CLIENTS_DIR").unwrap_or_default(),
        )
        .env(
            "PATH",
            path_with_node()
                .or_else(|| variable("PATH"))
                .unwrap_or_default(),
        );
    command
}

/// Runs a client over stdio and over HTTP, each against a shop of its own.
async fn over_both(start: impl Fn() -> Command, mode: &str) -> [Value; 2] {
    let shop = ShopServer::new();
    let mut command = start();
    command
        .args([mode, "stdio", binary()])
        .args(shop.program.arguments());
    let over_stdio = run(command).await;
    assert_exercised(&over_stdio, &shop);

    let shop = ShopServer::with_flags(&["--http", "127.0.0.1:0"]);
    let http = Http::start(&shop.program).await;
    let mut command = start();
    command.args([mode, "http", &http.url, &http.token]);
    let over_http = run(command).await;
    assert_exercised(&over_http, &shop);
    [over_stdio, over_http]
}

/// Runs a client and reads the JSON on its last line.
async fn run(mut command: Command) -> Value {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(90), command.output()).await;
    let output = output.expect("the client ends in time").unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {errors}{printed}",
        output.status
    );
    let last = printed.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{errors}{printed}"))
}
