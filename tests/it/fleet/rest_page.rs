//! `docs/rest.md`, typed as it is written.

use std::process::Command;

use tokio::task::spawn_blocking;

use super::rest_capabilities::{FILE, wait_until_offered};
use super::rig::Fleet;
use crate::documents::blocks;
use crate::support::{path_with_node, skip, variable};

/// A relay and a shop with what can be called by name, where changes wait for people.
async fn shop() -> Fleet {
    let mut fleet = Fleet::start().await;
    fleet.start_agent_offering(FILE, "");
    wait_until_offered(&fleet).await;
    fleet
}

#[tokio::test]
async fn what_the_page_types_is_answered_as_it_says() {
    let there = Command::new("curl")
        .args(["--json", "", "--version"])
        .output();
    if !there.is_ok_and(|said| said.status.success()) {
        return skip("docs/rest.md", "no curl that knows --json (7.82)");
    }
    let fleet = shop().await;
    let page = blocks::of("docs/rest.md");
    assert_eq!(page.len(), 5);
    let replaced = [
        ("$RELAY", format!("http://127.0.0.1:{}", fleet.port)),
        ("$SECONDKEY_KEY", fleet.key.clone()),
    ];
    let folder = fleet.path("typed");
    std::fs::create_dir(&folder).unwrap();
    let typed = spawn_blocking(move || blocks::run(&page, &folder, &replaced));
    let said = typed.await.unwrap();
    for expected in [
        "\"principal\":\"ai:ada/rest\"",
        "\"rows\":[[",
        "\"name\":\"products\"",
        "\"rows\":[{\"name\":\"lamp\",\"price\":20}]",
        "\"status\":\"pending\"",
        "urn:secondkey:problem:approval_pending",
        "\"status\":\"cancelled\"",
        "urn:secondkey:problem:unknown_column",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!((fleet.price() - 20.0).abs() < 1e-9);
}

#[tokio::test]
async fn the_javascript_of_the_page_runs_as_it_is_written() {
    let path = path_with_node().or_else(|| variable("PATH"));
    let path = path.unwrap_or_default();
    let there = Command::new("node")
        .env("PATH", &path)
        .arg("--version")
        .output();
    if !there.is_ok_and(|said| said.status.success()) {
        return skip("docs/rest.md", "no node");
    }
    let fleet = shop().await;
    let script = fleet.path("page.mjs");
    let text = blocks::joined("docs/rest.md", "js");
    assert!(text.contains("await call("), "{text}");
    std::fs::write(&script, text).unwrap();
    let relay = format!("http://127.0.0.1:{}", fleet.port);
    let key = fleet.key.clone();
    let run = spawn_blocking(move || {
        Command::new("node")
            .env("PATH", path)
            .env("RELAY", relay)
            .env("SECONDKEY_KEY", key)
            .arg(script)
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    for expected in [
        "{ name: 'lamp', price: 20 }",
        "pending",
        "the same request",
        "idempotency_conflict",
    ] {
        assert!(said.contains(expected), "{expected}: {said}{errors}");
    }
    assert!((fleet.price() - 20.0).abs() < 1e-9);
}
