//! Cursor's example, read by Cursor's rules and started for real.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{binary, checkout, shop, variable};

#[tokio::test]
async fn cursors_example_starts_and_answers() {
    let project = TempDir::new().unwrap();
    let example = checkout().join("examples/cursor");
    let (cursor, toml) = (project.path().join(".cursor"), "secondkey.toml");
    std::fs::create_dir(&cursor).unwrap();
    std::fs::copy(example.join(".cursor/mcp.json"), cursor.join("mcp.json")).unwrap();
    std::fs::copy(example.join(toml), project.path().join(toml)).unwrap();
    shop::create(&project.path().join("shop.db"));

    let file = std::fs::read_to_string(cursor.join("mcp.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let environment = BTreeMap::from([("ORDERS_PASSWORD", "a-secret")]);
    let expand = |value: &Value| expand(value.as_str().unwrap(), project.path(), &environment);

    let server = &file["mcpServers"]["secondkey"];
    assert_eq!(server["type"], "stdio");
    let mut command = Command::new(expand(&server["command"]));
    for argument in server["args"].as_array().unwrap() {
        command.arg(expand(argument));
    }
    for (name, value) in server["env"].as_object().unwrap() {
        command.env(name, expand(value));
    }
    assert_eq!(expand(&server["env"]["ORDERS_PASSWORD"]), "a-secret");
    let installed = Path::new(binary()).parent().unwrap().display();
    let path = format!("{installed}:{}", variable("PATH").unwrap_or_default());
    command
        .env("PATH", path)
        .env("HOME", project.path())
        .env_remove("XDG_STATE_HOME")
        // Cursor starts a server in a folder of its own, not in the project.
        .current_dir("/")
        .stderr(Stdio::null());

    let client = ().serve(TokioChildProcess::new(command).unwrap()).await.unwrap();
    let mut call = CallToolRequestParams::new("sql_execute");
    call.arguments = json!({"sql": "SELECT count(*) FROM products"})
        .as_object()
        .cloned();
    let answer = serde_json::to_value(client.call_tool(call).await.unwrap()).unwrap();
    let rows = &answer["structuredContent"]["rows"];
    assert_eq!(*rows, json!([[shop::PRODUCTS]]), "{answer}");
    client.cancel().await.unwrap();
}

/// Cursor's variables; an unknown one is a mistake in the example.
fn expand(text: &str, workspace: &Path, environment: &BTreeMap<&str, &str>) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, variable)) = rest.split_once("${") {
        let (name, after) = variable.split_once('}').expect("a closing brace");
        done.push_str(before);
        done.push_str(&match name.strip_prefix("env:") {
            Some(name) => environment
                .get(name)
                .copied()
                .unwrap_or_default()
                .to_owned(),
            None if name == "workspaceFolder" => workspace.display().to_string(),
            None => panic!("Cursor does not know ${{{name}}}"),
        });
        rest = after;
    }
    done + rest
}
