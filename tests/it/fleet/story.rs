//! A team's day with the real pieces: two relays on one PostgreSQL behind a balancer, agents beside a PostgreSQL and a
//! MariaDB, Claude Code, one person with a passkey in Chromium and another with an SSH key on a machine of her own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use secondkey::broker::requests;
use secondkey::core::request::Status;
use secondkey::store::State;
use secondkey::store::requests::Filter;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::history::{asked, reconciled};
use super::replicas::Replicas;
use super::rig::{Fleet, run_in};
use crate::mcp::claude_code::{mock_api, next_line, offline, tool_results};
use crate::stories::batch::Bank;
use crate::support::{binary, client, path_with_node, skip, variable};
use crate::web::browser::Browser;

const NAME: &str = "fleet::story";

/// What a command of Bo's own machine says.
fn bo(fleet: &Fleet, key: &str, arguments: &[&str]) -> String {
    let output = Command::new(binary())
        .args(arguments)
        .args(["--relay", &format!("http://127.0.0.1:{}", fleet.port)])
        .env_clear()
        .env("HOME", fleet.path("bo"))
        .env("PATH", "/usr/bin:/bin")
        .env("SECONDKEY_API_KEY", key)
        // Bo's fingers: they type the passphrase wherever it is asked for.
        .env("SSH_ASKPASS", fleet.path("askpass"))
        .env("SSH_ASKPASS_REQUIRE", "force")
        .current_dir(fleet.path("bo"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?} {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A root key, Ada's passkey and Bo's SSH key, trusted by the relays and in the folders of both agents.
fn trusted(these: &Replicas, browser: &Browser, origin: &str) -> [String; 2] {
    let fleet = &these.fleet;
    let keygen = |file: &str, passphrase: &str| {
        let arguments = ["-q", "-t", "ed25519", "-N", passphrase, "-f", file];
        run_in(fleet, "ssh-keygen", &arguments);
    };
    run_in(fleet, "mkdir", &["bo"]);
    std::fs::write(fleet.path("askpass"), "#!/bin/sh\necho bos-passphrase\n").unwrap();
    run_in(fleet, "chmod", &["755", "askpass"]);
    keygen("root", "");
    keygen("bo/key", "bos-passphrase");
    fleet.run(
        &["trust", "init", "--name", "root", "--key", "root"],
        "relay",
    );
    let propose = [
        "trust", "propose", "--name", "bo", "--key", "bo/key", "--to", "bo.json",
    ];
    let proposed = fleet
        .command(&propose, "relay")
        .env("SSH_ASKPASS", fleet.path("askpass"))
        .env("SSH_ASKPASS_REQUIRE", "force")
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8(proposed.stderr).unwrap();
    let code = said.trim().lines().last().unwrap();
    let add = [
        "trust", "add", "bo.json", "--groups", "owner", "--code", code, "--key", "root",
    ];
    // At the other relay: both have one trust file.
    fleet.run(&add, "relay1");

    let issue = |name: &str| fleet.issue(&["--for", name, "--role", "readonly"]);
    let keys = [issue("human:ada"), issue("human:bo")];
    browser.add_authenticator();
    browser.open(&link(fleet, &keys[0], origin, &[]));
    browser.find("main");
    browser.open(&format!("{origin}/trust"));
    browser.write("input[name=label]", "test laptop");
    browser.click("#enrol-form button");
    let code = browser.says("#proposal-code", "-");
    let command = browser.says("#proposal-command", "secondkey trust add ");
    let proposal = command.strip_prefix("secondkey trust add ").unwrap().trim();
    // It lies in the folder of whichever relay the browser came to.
    let at = ["relay", "relay1"]
        .into_iter()
        .find(|name| proposal.contains(&format!("/{name}/")));
    let at = at.unwrap_or("relay");
    let add = [
        "trust",
        "add",
        proposal,
        "--groups",
        "owner",
        "--code",
        code.trim(),
    ];
    fleet.run(&[&add[..], &["--key", "root"]].concat(), at);
    let exported = fleet.run(&["trust", "export", "--json"], "relay1");
    std::fs::write(fleet.path("trust.json"), exported).unwrap();
    for agent in ["books", "stock"] {
        fleet.run(&["trust", "install", "trust.json"], agent);
    }
    keys
}

/// A link to the page, as its person asks for one.
fn link(fleet: &Fleet, key: &str, origin: &str, more: &[&str]) -> String {
    let output = Command::new(binary())
        .args(["page", "--link", "--relay", origin])
        .args(more)
        .env_clear()
        .env("HOME", fleet.folder.path())
        .env("SECONDKEY_API_KEY", key)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An agent beside a database.
fn beside(fleet: &mut Fleet, target: &str, bank: &Bank) {
    let token = fleet.run(&["relay", "join-token", "--serves", target], "relay1");
    std::fs::write(fleet.path(&format!("{target}.join")), token).unwrap();
    std::fs::write(fleet.path(&format!("{target}.url")), &bank.url).unwrap();
    let config =
        format!("[targets.{target}]\nurl = \"file:{target}.url\"\nallow_privileged_login = true\n");
    std::fs::write(fleet.path(&format!("{target}.toml")), config).unwrap();
    fleet.start_configured(target, &format!("{target}.join"), &format!("{target}.toml"));
}

/// What Claude Code is to do, step by step.
fn plan() -> Value {
    let execute = "mcp__secondkey__sql_execute";
    let change = "UPDATE accounts SET balance = balance + 7 WHERE id = 2";
    json!([
        {"name": execute, "input": {"target": "books", "sql": "SELECT balance FROM accounts ORDER BY id"}},
        {"name": execute, "input": {"target": "books", "sql": change, "reason": "a correction"}},
        {"name": execute, "input": {"target": "stock", "sql": change, "reason": "a correction"}},
    ])
}

/// The request that waits on a target, if one does.
fn waiting(state: &State, target: &str) -> Option<(String, String)> {
    let filter = Filter {
        statuses: vec![Status::Pending],
        target: Some(target.to_owned()),
        ..Filter::default()
    };
    let page = requests::list(state, &filter).unwrap();
    let id = page.requests.first()?.id.clone();
    let shown = requests::show(state, &id).unwrap();
    Some((id.to_string(), shown.document.digest().to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_relays_two_engines_claude_code_a_passkey_and_an_ssh_key() {
    let (Some(claude), Some(path), Some(python)) = (
        client("node_modules/.bin/claude"),
        path_with_node(),
        client("venv/bin/python"),
    ) else {
        return skip(NAME, "no Claude Code (tests/run fetches it)");
    };
    let (Some(postgres), Some(mariadb)) =
        (variable("TEST_POSTGRES_URL"), variable("TEST_MARIADB_URL"))
    else {
        return skip(NAME, "there is no PostgreSQL and MariaDB here");
    };
    let Some(browser) = Browser::start(NAME) else {
        return;
    };
    let mut these = Replicas::prepare(2).await.unwrap();
    let origin = format!("http://localhost:{}", these.fleet.port);
    let host = format!("localhost:{}", these.fleet.port);
    these.besides = ["--page", &origin, "--host", &host]
        .map(str::to_owned)
        .into();
    these.run_all();
    let [books, stock] = [
        Bank::on(&postgres, "sk_story_books").await,
        Bank::on(&mariadb, "sk_story_stock").await,
    ];
    let [ada, bos] = trusted(&these, &browser, &origin);
    beside(&mut these.fleet, "books", &books);
    beside(&mut these.fleet, "stock", &stock);
    these.wait_until_ready();

    let fleet = &these.fleet;
    let (_api, api) = mock_api(&python, &plan()).await;
    let server = json!({"type": "http", "url": format!("http://127.0.0.1:{}/mcp", fleet.port),
        "headers": {"Authorization": format!("Bearer {}", fleet.key)}, "timeout": 120_000});
    let mut command = offline(&claude, &path, Path::new(fleet.folder.path()));
    command
        .args(["-p", "go", "--strict-mcp-config", "--mcp-config"])
        .arg(json!({"mcpServers": {"secondkey": server}}).to_string())
        .args(["--allowedTools", "mcp__secondkey"])
        .args(["--output-format", "stream-json", "--verbose"])
        .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{api}"))
        .env("ANTHROPIC_API_KEY", "sk-fake-not-a-key")
        .stdout(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let state = fleet.relay_state();
    let (mut results, mut said) = (Vec::new(), String::new());
    let (mut by_ada, mut by_bo) = (None, None);
    loop {
        tokio::select! {
            line = next_line(&mut lines) => match line {
                Some(line) => {
                    results.extend(tool_results(&line));
                    said += &format!("{line}\n");
                }
                None => break,
            },
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                if by_ada.is_none() && let Some((id, _)) = waiting(&state, "books") {
                    browser.open(&link(fleet, &ada, &origin, &["--request", &id]));
                    browser.says("#statement", "UPDATE accounts");
                    browser.click("button.go");
                    browser.says(".timeline", "A signed vote was counted by human:ada (approve)");
                    by_ada = Some(id);
                }
                if by_bo.is_none() && let Some((id, document)) = waiting(&state, "stock") {
                    assert!(bo(fleet, &bos, &["requests", "show", &id]).contains("a correction"));
                    bo(fleet, &bos, &["approve", &id, "--key", "key", "--document", &document]);
                    by_bo = Some(id);
                }
            }
        }
    }
    let log = these.logs();
    assert!(running.wait().await.unwrap().success(), "{said} {log}");
    assert!(by_ada.is_some() && by_bo.is_some(), "{said} {log}");
    let [read, by_passkey, by_ssh] = results.as_slice() else {
        panic!("three tool results in {said} {log}");
    };
    assert!(read["content"].to_string().contains("100"), "{read}");
    for changed in [by_passkey, by_ssh] {
        assert_ne!(changed["is_error"], true, "{changed} {log}");
        assert!(
            changed["content"].to_string().contains("affected"),
            "{changed}"
        );
    }
    // Each stands once, read on connections of our own.
    assert_eq!(books.stands().await, [100, 12, 0], "{said} {log}");
    assert_eq!(stock.stands().await, [100, 12, 0], "{said} {log}");
    for id in [by_ada, by_bo].into_iter().flatten() {
        let request = state.requests().get(&id.parse().unwrap()).unwrap();
        assert_eq!(request.status(), Status::Succeeded, "{id} {log}");
    }
    state.close().await.unwrap();
    for name in ["relay", "relay1", "books", "stock"] {
        fleet.run(&["audit", "verify"], name);
    }
    // What a bridge was shown by whichever relay it came to, they both show later.
    let count = json!({"target": "books", "sql": "SELECT count(*) FROM accounts"});
    asked(fleet, fleet.port, &count).await;
    for _ in 0..2 {
        let (status, found) = reconciled(fleet, fleet.port).await;
        assert_eq!(status, Some(0), "{found}");
        assert!(found.contains("all 3 requests"), "{found}");
    }
}
