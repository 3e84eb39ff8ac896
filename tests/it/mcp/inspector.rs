//! Inspector's schema lint, which refuses what some clients cannot read.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::ShopServer;
use crate::support::{binary, client, path_with_node, skip};

#[tokio::test]
async fn the_inspector_finds_no_fault_with_the_tools() {
    let (Some(inspector), Some(path)) =
        (client("node_modules/.bin/mcp-inspector"), path_with_node())
    else {
        return skip("mcp::inspector", "no Inspector (tests/run fetches it)");
    };
    for era in ["legacy", "modern"] {
        let shop = ShopServer::new();
        let mut command = Command::new(&inspector);
        command
            .args(["--cli", "--protocol-era", era, binary()])
            .args(shop.program.arguments())
            .args([
                "--method",
                "tools/list",
                "--strict",
                "--format",
                "json",
                "-q",
            ])
            .env("PATH", &path)
            .env("HOME", shop.program.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(90), command.output()).await;
        let output = output.expect("the Inspector ends in time").unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{era}: {text}{errors}");
        assert!(text.contains("sql_execute"), "{era}: {text}{errors}");
    }
}
