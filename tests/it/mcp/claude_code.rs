//! The real Claude Code, offline: the model is a script, everything else is as a user has it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{binary, checkout, client, path_with_node, shop, skip};
use crate::web::desk::Desk;

const UPDATE: &str = "UPDATE products SET price = $1 WHERE name = $2";

#[tokio::test]
async fn claude_code_runs_the_example() {
    let (Some(claude), Some(path), Some(python)) = (
        client("node_modules/.bin/claude"),
        path_with_node(),
        client("venv/bin/python"),
    ) else {
        return skip("mcp::claude_code", "no Claude Code (tests/run fetches it)");
    };
    let project = example_project();
    let plan = json!([
        {"name": "mcp__secondkey__sql_execute", "input": {"sql": "SELECT name FROM products ORDER BY id"}},
        {"name": "mcp__secondkey__sql_execute", "input": {"sql": "DELETE FROM products"}},
    ]);
    let (_api, port) = mock_api(&python, &plan).await;
    let installed = Path::new(binary()).parent().unwrap().display();
    let path = format!("{installed}:{path}");
    let mut command = offline(&claude, &path, project.path());
    command
        .args([
            "-p",
            "go",
            "--mcp-config",
            ".mcp.json",
            "--strict-mcp-config",
        ])
        .args(["--allowedTools", "mcp__secondkey"])
        .args(["--output-format", "stream-json", "--verbose"])
        .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{port}"))
        .env("ANTHROPIC_API_KEY", "sk-fake-not-a-key");
    let text = said(command).await;
    let results = tool_results(&text);
    let [read, write] = results.as_slice() else {
        panic!("two tool results in {text}");
    };
    assert!(read["is_error"] != true, "{read}");
    for product in ["lamp", "chair", "desk"] {
        assert!(read["content"].to_string().contains(product), "{read}");
    }
    assert_eq!(write["is_error"], true, "{write}");
    assert!(
        write["content"].to_string().contains("approval_required"),
        "{write}"
    );
    assert_eq!(
        shop::products(&project.path().join("shop.db")),
        shop::PRODUCTS
    );
}

/// The whole loop: the model asks, is told to wait, a person approves on the page, and the model
/// collects what it asked for.
#[tokio::test]
async fn claude_code_waits_for_a_person_and_collects_the_result() {
    let (Some(claude), Some(path), Some(python)) = (
        client("node_modules/.bin/claude"),
        path_with_node(),
        client("venv/bin/python"),
    ) else {
        return skip(
            "mcp::claude_code::loop",
            "no Claude Code (tests/run fetches it)",
        );
    };
    let Some(desk) = Desk::set_up("mcp::claude_code::loop", "12s") else {
        return;
    };
    let plan = json!([
        {"name": "mcp__secondkey__sql_execute",
            "input": {"sql": UPDATE, "params": [15.5, "lamp"], "reason": "spring sale"}},
        {"name": "mcp__secondkey__request", "input": {"action": "wait", "id": "$REQUEST"}},
    ]);
    let (_api, port) = mock_api(&python, &plan).await;
    let server = json!({"type": "stdio", "command": binary(), "args": desk.program.arguments(), "timeout": 120_000});
    let servers = json!({"mcpServers": {"secondkey": server}});
    let mut command = offline(&claude, &path, desk.program.folder.path());
    command
        .args(["-p", "go", "--strict-mcp-config", "--mcp-config"])
        .arg(servers.to_string())
        .args(["--allowedTools", "mcp__secondkey"])
        .args(["--output-format", "stream-json", "--verbose"])
        .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{port}"))
        .env("ANTHROPIC_API_KEY", "sk-fake-not-a-key")
        .stdout(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let (mut results, mut approved) = (Vec::new(), false);
    while let Some(line) = next_line(&mut lines).await {
        said += &format!("{line}\n");
        results.extend(tool_results(&line));
        if results.len() == 1 && !approved {
            // Whatever the client said to being asked to open the page, nothing is decided yet.
            let id = desk.waiting();
            let pending = results[0]["content"].to_string();
            assert!(pending.contains("approval_pending"), "{pending}");
            assert!(pending.contains(id.as_str()), "{pending}");
            assert!(desk.request(&id).state().votes().is_empty());
            desk.approve(&format!("http://localhost:7321/r/{id}"), UPDATE);
            approved = true;
        }
    }
    let [_, collected] = results.as_slice() else {
        panic!("two tool results in {said}{}", desk.program.log());
    };
    assert!(collected["is_error"] != true, "{collected}");
    let collected = collected["content"].to_string();
    assert!(collected.contains("succeeded"), "{collected}");
    assert!(collected.contains("affected"), "{collected}");
    assert!((desk.price() - 15.5).abs() < 1e-9);
    assert!(running.wait().await.unwrap().success(), "{said}");
}

/// `claude mcp add` as the example writes it, and Claude Code's own check of the connection.
#[tokio::test]
async fn claude_mcp_add_connects() {
    let (Some(claude), Some(path)) = (client("node_modules/.bin/claude"), path_with_node()) else {
        return skip(
            "mcp::claude_code::add",
            "no Claude Code (tests/run fetches it)",
        );
    };
    let project = TempDir::new().unwrap();
    shop::create(&project.path().join("shop.db"));
    let database = format!("shop=sqlite:{}/shop.db", project.path().display());
    let add = [
        "mcp",
        "add",
        "secondkey",
        "--",
        binary(),
        "mcp",
        "--database-url",
        &database,
    ];
    for arguments in [&add[..], &["mcp", "list"]] {
        let mut command = offline(&claude, &path, project.path());
        command.args(arguments);
        let text = said(command).await;
        if arguments == ["mcp", "list"] {
            let connected = text.contains("secondkey:") && text.contains("Connected");
            assert!(connected, "{text}");
        }
    }
}

/// What `secondkey setup` writes, read by Claude Code: as a server of the project, which a person has to agree
/// to, and started once they have.
#[tokio::test]
async fn what_setup_writes_is_a_server_of_the_project() {
    let (Some(claude), Some(path)) = (client("node_modules/.bin/claude"), path_with_node()) else {
        return skip(
            "mcp::claude_code::setup",
            "no Claude Code (tests/run fetches it)",
        );
    };
    let project = TempDir::new().unwrap();
    shop::create(&project.path().join("shop.db"));
    // `$PATH` does not lead to the program, so its whole path is written.
    let setup = |words: &[&str]| {
        let mut command = Command::new(binary());
        let command = command.args(["setup", "claude-code"]).args(words);
        command.current_dir(project.path()).env("PATH", "/nowhere");
        command.output()
    };
    let flags = ["--database-url", "shop=env:SHOP_URL", "--state", "state"];
    assert!(setup(&flags).await.unwrap().status.success());
    let claude = async |words: &[&str]| {
        let mut command = offline(&claude, &path, project.path());
        command.args(words).env("SHOP_URL", "sqlite:shop.db");
        said(command).await
    };
    let text = claude(&["mcp", "list"]).await;
    assert!(
        text.contains("secondkey:") && text.contains("Pending approval"),
        "{text}"
    );
    agreed(project.path(), "secondkey");
    let text = claude(&["mcp", "list"]).await;
    assert!(
        text.contains("secondkey:") && text.contains("Connected"),
        "{text}"
    );
    let text = claude(&["mcp", "get", "secondkey"]).await;
    assert!(
        text.contains(binary()) && text.contains("shop=env:SHOP_URL"),
        "{text}"
    );

    assert!(setup(&["--undo"]).await.unwrap().status.success());
    let text = claude(&["mcp", "list"]).await;
    assert!(!text.contains("secondkey"), "{text}");
}

/// What Claude Code writes down when a person trusts the folder and agrees to a server.
pub(crate) fn agreed(project: &Path, server: &str) {
    let folder = project.canonicalize().unwrap().display().to_string();
    let file = project.join(".claude.json");
    let known = std::fs::read_to_string(&file).unwrap_or_else(|_| "{}".to_owned());
    let mut known: Value = serde_json::from_str(&known).unwrap();
    known["projects"][folder]["hasTrustDialogAccepted"] = json!(true);
    std::fs::write(&file, known.to_string()).unwrap();
    let local = json!({"enabledMcpjsonServers": [server]});
    std::fs::create_dir_all(project.join(".claude")).unwrap();
    std::fs::write(
        project.join(".claude/settings.local.json"),
        local.to_string(),
    )
    .unwrap();
}

/// Claude Code without an account, with a project as its home too.
pub(crate) fn offline(claude: &Path, path: &str, project: &Path) -> Command {
    let mut command = Command::new(claude);
    command
        .current_dir(project)
        .env_clear()
        .env("PATH", path)
        .env("HOME", project)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_TELEMETRY", "1")
        .env("DISABLE_AUTOUPDATER", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Everything that it prints.
pub(crate) async fn said(mut command: Command) -> String {
    let output = tokio::time::timeout(Duration::from_secs(90), command.output()).await;
    let output = output.expect("Claude Code ends in time").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    text
}

/// A copy of `examples/claude` with a database in it.
fn example_project() -> TempDir {
    let project = TempDir::new().unwrap();
    let example = checkout().join("examples/claude");
    for file in [".mcp.json", "secondkey.toml"] {
        std::fs::copy(example.join(file), project.path().join(file)).unwrap();
    }
    shop::create(&project.path().join("shop.db"));
    project
}

/// The next line that it prints; `None` at its end.
pub(crate) async fn next_line(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    let line = tokio::time::timeout(Duration::from_secs(90), lines.next_line()).await;
    line.expect("Claude Code goes on in time").unwrap()
}

pub(crate) async fn mock_api(python: &Path, plan: &Value) -> (Child, String) {
    let mut command = Command::new(python);
    command
        .arg(checkout().join("tests/clients/mock_messages_api.py"))
        .arg(plan.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.next_line().await.unwrap().expect("the mock's port");
    (child, port)
}

/// The tool results in a stream of messages, in their order.
pub(crate) fn tool_results(stream: &str) -> Vec<Value> {
    let messages = stream
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let blocks = messages
        .filter(|m| m["type"] == "user")
        .flat_map(|message| {
            let content = message["message"]["content"].as_array().cloned();
            content.unwrap_or_default()
        });
    blocks
        .filter(|block| block["type"] == "tool_result")
        .collect()
}
