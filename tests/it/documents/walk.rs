//! `docs/deploy.md` and then `docs/runbook.md`, and the tour of `docs/capabilities.md`, typed as they are written.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use tempfile::TempDir;

use super::blocks;
use crate::support::{binary, checkout, shop, skip};

/// Whether the tools that a walk takes are installed; says so where one is not.
fn all_there(walk: &str, tools: &[&str]) -> bool {
    for tool in tools {
        let find = format!("command -v {tool}");
        let found = Command::new("sh").args(["-c", &find]).output();
        if found.map_or(true, |found| !found.status.success()) {
            skip(walk, &format!("{tool} is not installed"));
            return false;
        }
    }
    true
}

#[test]
fn a_newcomer_gets_through_the_tour_of_capabilities() {
    if !all_there(
        "the walk through docs/capabilities.md",
        &["ssh-keygen", "timeout"],
    ) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let page = blocks::of("docs/capabilities.md");
    assert!(!page.is_empty());
    std::os::unix::fs::symlink(checkout().join("examples"), folder.path().join("examples"))
        .unwrap();
    let said = blocks::run(&page, folder.path(), &[]);
    for words in [
        "find_customers: reads, answers id INTEGER, name TEXT",
        "ok    restock example 1: changes 1 row, and answers 1 row; rolled back",
        "Silva",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let client = fs::read_to_string(folder.path().join("shop/.mcp.json")).unwrap();
    assert!(client.contains("secondkey.toml"), "{client}");
}

#[test]
fn a_team_gets_through_deploying_and_the_runbook() {
    let tools = ["curl", "openssl", "ssh-keygen", "script", "timeout"];
    if !all_there("the walk through docs/deploy.md", &tools) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("srv/shop")).unwrap();
    shop::create(&path("srv/shop/shop.db"));
    // Free a moment ago; nothing else here binds ports by number.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let below = |root: &str| format!("{}{root}", folder.path().display());
    let replaced = [
        ("0.0.0.0:7330", format!("127.0.0.1:{port}")),
        (":7330", format!(":{port}")),
        ("relay.example.com", "localhost".to_owned()),
        ("/etc/", below("/etc/")),
        ("/srv/", below("/srv/")),
        ("/var/", below("/var/")),
    ];
    let pages = [blocks::of("docs/deploy.md"), blocks::of("docs/runbook.md")];
    // Blocks that the test no longer finds would be blocks that nobody runs.
    assert!(
        pages.iter().all(|page| page.len() >= 12),
        "{:?}",
        pages.map(|page| page.len())
    );
    let said = blocks::run(
        &pages.into_iter().flatten().collect::<Vec<_>>(),
        folder.path(),
        &replaced,
    );

    // The change was approved and ran once, and what read it last was asked with the rotated key.
    let database = rusqlite::Connection::open(path("srv/shop/shop.db")).unwrap();
    let price = "SELECT price FROM products WHERE name = 'lamp'";
    let price: f64 = database.query_row(price, [], |row| row.get(0)).unwrap();
    assert!((price - 11.0).abs() < f64::EPSILON, "{price}\n{said}");
    assert!(
        said.lines()
            .rev()
            .take(3)
            .any(|line| line.contains("[\\\"lamp\\\",11")),
        "{said}"
    );
    let changes = fs::read_to_string(path("answer.txt")).unwrap();
    assert!(changes.contains("\"affected\":1"), "{changes}");
    // Bo was trusted and is not any more, by the agent that was set up anew.
    let said_of_bo = said.matches("human:bo in dba").count();
    assert_eq!(said_of_bo, 2, "{said}");
    let trust = Command::new(binary())
        .args(["trust", "show", "--state"])
        .arg(path("var/lib/secondkey-agent"))
        .output()
        .unwrap();
    let trust = String::from_utf8(trust.stdout).unwrap();
    assert!(
        trust.contains("version 3") && !trust.contains("human:bo"),
        "{trust}"
    );
    for kept in [
        "var/backups/relay.jsonl",
        "var/lib/secondkey-agent.lost/state.db",
    ] {
        assert!(path(kept).exists(), "{kept}");
    }
}
