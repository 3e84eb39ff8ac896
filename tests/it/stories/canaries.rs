//! Values that must not get out: passwords, parameters, literals, rows.

use std::path::Path;

use serde_json::{Value, json};

use super::World;
use crate::support::raw::{Era, Raw};

/// Part of everything that must not be seen.
const CANARY: &str = "CANARY";

#[tokio::test]
async fn no_value_is_logged_recorded_or_repeated_in_an_error() {
    for (era, level) in [(Era::Legacy, "debug"), (Era::Modern, "trace")] {
        let mut world = World::new("[\"read\", \"write\"]", &["--log", level]);
        for (name, scheme) in [("pg_url", "postgres"), ("my_url", "mysql")] {
            let url = format!("{scheme}://app:CANARY-password@127.0.0.1:1/orders");
            world.program = world.program.variable(name, &url);
        }
        configure(&world);
        plant(&world.file);
        let mut server = Raw::start(&world.program, era).await;
        rows_do_come_out(&mut server).await;
        for attempt in bad_calls() {
            let answer = server.call("sql_execute", &attempt).await;
            let refusal = super::refusal(&answer).to_string();
            assert!(!refusal.contains(CANARY), "{attempt}: {refusal}");
        }
        for (tool, arguments) in [
            ("list_tables", json!({"search": "CANARY-search"})),
            ("describe_table", json!({"table": "products"})),
            ("result_page", json!({"handle": "CANARY-handle", "from": 0})),
            ("result_page", json!({"handle": 5, "from": "CANARY-from"})),
            ("health", json!({})),
        ] {
            let answer = server.call(tool, &arguments).await;
            assert!(!answer.to_string().contains(CANARY), "{tool}: {answer}");
        }
        server
            .send(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"CANARY-line")
            .await;
        server.message().await.unwrap();
        rows_do_come_out(&mut server).await;
        assert!(server.finish().await.success());

        let log = world.program.log();
        assert!(!log.contains(CANARY), "{level}: {}", around(&log));
        for file in files(&world.program.state()) {
            let bytes = std::fs::read(&file).unwrap();
            let found = bytes
                .windows(CANARY.len())
                .any(|part| part == CANARY.as_bytes());
            assert!(!found, "{}", file.display());
        }
        let export = std::process::Command::new(crate::support::binary())
            .args(["audit", "export", "--state"])
            .arg(world.program.state())
            .output()
            .unwrap();
        assert!(export.status.success());
        let export = String::from_utf8(export.stdout).unwrap();
        assert!(export.lines().count() > 20, "{export}");
        assert!(!export.contains(CANARY), "{}", around(&export));
    }
}

/// Two more targets, whose passwords are canaries and which are not there.
fn configure(world: &World) {
    let file = world.program.folder.path().join("secondkey.toml");
    let mut config = std::fs::read_to_string(&file).unwrap();
    for name in ["pg", "my"] {
        config = format!("{config}[targets.{name}]\nurl = \"env:{name}_url\"\n");
    }
    std::fs::write(file, config).unwrap();
}

fn plant(file: &Path) {
    let database = rusqlite::Connection::open(file).unwrap();
    let script = "
        CREATE TABLE secrets (id INTEGER PRIMARY KEY, value TEXT UNIQUE CHECK (length(value) < 40), number INTEGER CHECK (typeof(number) = 'integer')) STRICT;
        INSERT INTO secrets (value, number) VALUES ('CANARY-row', 1);
        CREATE TRIGGER refuse BEFORE DELETE ON secrets BEGIN SELECT RAISE(ABORT, 'not this one'); END;";
    database.execute_batch(script).unwrap();
}

/// The canaries live: who asks for them gets them.
async fn rows_do_come_out(server: &mut Raw) {
    let sql = "SELECT value, $1, 'CANARY-literal' FROM secrets";
    let arguments = json!({"sql": sql, "params": ["CANARY-parameter"], "target": "shop"});
    let answer = server.call("sql_execute", &arguments).await;
    let expected = json!([["CANARY-row", "CANARY-parameter", "CANARY-literal"]]);
    assert_eq!(super::content(&answer)["rows"], expected);
}

fn bad_calls() -> Vec<Value> {
    let call = |sql: &str, params: Value| json!({"sql": sql, "params": params, "target": "shop"});
    let insert = "INSERT INTO secrets (value, number) VALUES ($1, $2)";
    vec![
        call(insert, json!(["CANARY-row", 1])),
        call(
            insert,
            json!(["CANARY-parameter that is much longer than it may be", 1]),
        ),
        call(insert, json!(["x", "CANARY-text"])),
        call(insert, json!(["CANARY-count"])),
        call(insert, json!([{"CANARY-object": 1}, [1, "CANARY-array"]])),
        call(insert, json!("CANARY-not-a-list")),
        call("SELECT json_extract($1, '$.a')", json!(["{CANARY-json"])),
        call("SELECT json_extract(value, '$.a') FROM secrets", json!([])),
        call(
            "SELECT abs($1), abs(-9223372036854775808)",
            json!(["CANARY-abs"]),
        ),
        call(
            "SELECT value FROM secrets WHERE value LIKE 'CANARY-like' ESCAPE 'CANARY'",
            json!([]),
        ),
        call(
            "DELETE FROM secrets WHERE value = 'CANARY-delete'||$1 OR 1",
            json!(["CANARY-p"]),
        ),
        call("DROP TABLE secrets /* CANARY-comment */", json!([])),
        call("SELECT 'CANARY-open", json!([])),
        call("SELECT 1 'CANARY-alias' 'CANARY-more'", json!([])),
        json!({"sql": "SELECT 'CANARY-target'", "target": "CANARY-nowhere"}),
        json!({"sql": "SELECT $1", "params": ["CANARY-pg"], "target": "pg"}),
        json!({"sql": "SELECT ?", "params": ["CANARY-my"], "target": "my"}),
        json!({"sql": ["CANARY-sql"], "target": "shop"}),
        json!({"sql": "SELECT 1", "timeout_ms": "CANARY-timeout"}),
    ]
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    assert!(!found.is_empty());
    found
}

/// The line in which it was seen.
fn around(text: &str) -> &str {
    text.lines()
        .find(|line| line.contains(CANARY))
        .unwrap_or_default()
}
