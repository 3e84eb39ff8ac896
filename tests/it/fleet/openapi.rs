//! What the relay says of its REST interface, and whether it does what it says.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::task::spawn_blocking;

use super::rest::{get, json_of};
use super::rest_capabilities::offering;
use super::rig::Fleet;
use crate::support::http::send;
use crate::support::{client, skip};

pub(super) fn described(fleet: &Fleet, key: Option<&str>) -> Value {
    let answer = match key {
        Some(key) => get(fleet, key, "/openapi.json"),
        None => send(
            fleet.port,
            "GET",
            "/openapi.json",
            &[("Host", "127.0.0.1")],
            "",
        ),
    };
    json_of(&answer, 200)
}

/// The operations in a description, each as its method and path.
pub(super) fn operations(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| format!("{method} {path}"))
    });
    operations.collect()
}

#[tokio::test]
async fn the_description_that_is_checked_in_is_fresh() {
    let mut fleet = Fleet::alone();
    fleet.start_relay();
    let mut document = described(&fleet, None);
    document["info"]["version"] = "VERSION".into();
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
    if std::env::vars().any(|(name, _)| name == "UPDATE_DOCS") {
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == text,
        "schemas/openapi.json is stale; run: UPDATE_DOCS=1 cargo test fleet::openapi"
    );
}

#[tokio::test]
async fn a_key_is_told_of_what_it_may_call() {
    let mut fleet = Fleet::alone();
    fleet.start_relay();
    let all = operations(&described(&fleet, None));
    let worker = operations(&described(&fleet, Some(&fleet.key)));
    let admin = fleet.issue(&["--for", "human:eve", "--role", "admin"]);
    let admin = operations(&described(&fleet, Some(&admin)));
    let (keys, sql) = (
        "post /v1/keys".to_owned(),
        "post /v1/sql/execute".to_owned(),
    );
    assert!(all.contains(&keys) && all.contains(&sql), "{all:?}");
    assert!(
        worker.contains(&sql) && !worker.contains(&keys),
        "{worker:?}"
    );
    assert!(admin.contains(&keys) && !admin.contains(&sql), "{admin:?}");
    // Each is called as it is described: nothing that is left out is let through.
    let by_name = "post /v1/capabilities/{name}";
    assert!(all.contains(&by_name.to_owned()) && !worker.contains(&by_name.to_owned()));
    // Nor is there anything to search by nearness.
    let vectors = |one: &str| one.contains("/vectors/");
    assert!(!worker.iter().any(|one| vectors(one)), "{worker:?}");
    let left_out =
        |one: &&String| !worker.contains(one) && one.as_str() != by_name && !vectors(one);
    for operation in all.iter().filter(left_out) {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace("{id}", "none");
        let bearer = format!("Bearer {}", fleet.key);
        let headers = [
            ("Host", "127.0.0.1"),
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let answer = send(fleet.port, &method.to_uppercase(), &path, &headers, "{}");
        assert_eq!(json_of(&answer, 403)["code"], "forbidden", "{operation}");
    }
    let refused = get(&fleet, "skey_0_0", "/openapi.json");
    json_of(&refused, 401);
}

#[tokio::test]
async fn schemathesis_finds_nothing() {
    let Some(program) = client("venv/bin/schemathesis") else {
        return skip("fleet::openapi", "no schemathesis (tests/run fetches it)");
    };
    // One that is called by name is called by its own contract.
    let fleet = offering("").await;
    let key = fleet.issue(&[
        "--for",
        "human:eve",
        "--role",
        "developer",
        "--role",
        "admin",
        "--per-minute",
        "1000000",
    ]);
    let (folder, port) = (fleet.folder.path().to_owned(), fleet.port);
    let run = spawn_blocking(move || {
        let at = format!("http://127.0.0.1:{port}");
        Command::new(program)
            .args(["run", &format!("{at}/openapi.json"), "--url", &at])
            .args(["-H", &format!("Authorization: Bearer {key}")])
            .args(["--max-examples", "15", "--seed", "7", "--no-color"])
            .args(["--request-timeout", "30"])
            // That a text is SQL is nothing that a schema can say.
            .args(["--exclude-checks", "positive_data_acceptance"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{said}{errors}\n{}",
        fleet.log("relay")
    );
    // It still serves, and nothing was changed.
    assert_eq!(fleet.get("/readyz"), 200);
    assert!((fleet.price() - 20.0).abs() < 1e-9);
}
