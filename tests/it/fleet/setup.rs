//! A client that was set up for a relay.

use std::process::Command;

use tempfile::TempDir;

use super::rig::Fleet;
use crate::mcp::claude_code::{agreed, offline, said};
use crate::support::{binary, client, path_with_node, skip};

/// The real Claude Code, with the key in its environment and nowhere else.
#[tokio::test]
async fn claude_code_reaches_the_relay_that_it_was_set_up_for() {
    let (Some(claude), Some(path)) = (client("node_modules/.bin/claude"), path_with_node()) else {
        return skip("fleet::setup", "no Claude Code (tests/run fetches it)");
    };
    let fleet = Fleet::start().await;
    let project = TempDir::new().unwrap();
    let relay = format!("http://127.0.0.1:{}", fleet.port);
    let mut setup = Command::new(binary());
    let setup = setup.args(["setup", "claude-code", "--relay", &relay]);
    let setup = setup.env("SECONDKEY_API_KEY", &fleet.key);
    assert!(
        setup
            .current_dir(project.path())
            .status()
            .unwrap()
            .success()
    );
    let written = std::fs::read_to_string(project.path().join(".mcp.json")).unwrap();
    assert!(!written.contains("skey_"), "{written}");
    agreed(project.path(), "secondkey");
    for (key, standing) in [(fleet.key.as_str(), "Connected"), ("skey_none", "Failed")] {
        let mut command = offline(&claude, &path, project.path());
        command.args(["mcp", "list"]);
        command.env("SECONDKEY_API_KEY", key);
        let text = said(command).await;
        assert!(text.contains(&format!("{relay}/mcp")), "{text}");
        assert!(text.contains(standing), "{text}");
    }
}
