//! Bad days: what clients, databases and disks do to `secondkey mcp`, and what it says and records
//! then.

pub(crate) mod approval;
pub(crate) mod audit_disk;
pub(crate) mod batch;
mod canaries;
mod capabilities;
mod capabilities_anywhere;
mod changed;
pub(crate) mod database_down;
mod door;
mod heartbeat;
mod leaving;
mod ledger;
mod logins;
mod notify;
mod older_tasks;
mod paging;
mod person;
mod policy;
mod procedures;
mod processes;
mod published;
mod repeat;
mod stdin;
mod tasks;
mod time_limit;
mod vectors;
mod vectors_mariadb;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use secondkey::clock::SystemClock;
use secondkey::store::State;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::Program;
use crate::support::raw::Raw;
use crate::support::shop;

/// A read without an end.
const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

/// A shop's database and the program that serves it.
struct World {
    _folder: TempDir,
    file: PathBuf,
    program: Program,
}

impl World {
    /// One that may only be read.
    fn reads() -> Self {
        Self::new("[\"read\"]", &[])
    }

    /// One that may be written to.
    fn writes() -> Self {
        Self::new("[\"read\", \"write\"]", &[])
    }

    fn new(allow: &str, flags: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("shop.db");
        shop::create(&file);
        let arguments = [&["--config", "secondkey.toml"], flags].concat();
        let program = Program::with_arguments(&arguments);
        let url = format!("sqlite:{}", file.display());
        let config = format!("[targets.shop]\nurl = \"{url}\"\nallow = {allow}\n");
        std::fs::write(program.folder.path().join("secondkey.toml"), config).unwrap();
        Self {
            _folder: folder,
            file,
            program,
        }
    }

    /// Everything in the audit log, oldest first, read beside the running program.
    fn audit(&self) -> Vec<Value> {
        entries(&self.program)
    }

    /// Waits for an entry of this kind.
    async fn wait_for(&self, kind: &str) -> Value {
        wait_for(&self.program, kind).await
    }

    fn products(&self) -> i64 {
        shop::products(&self.file)
    }

    /// Nothing of the log is broken; nobody may have it open.
    async fn verify(&self) {
        let state = State::open(&self.program.state(), std::sync::Arc::new(SystemClock)).unwrap();
        let report = state.log().verify(None).unwrap();
        assert!(report.outcome.is_ok(), "{:?}", report.outcome);
        state.close().await.unwrap();
    }
}

/// Everything in a program's audit log, oldest first.
fn entries(program: &Program) -> Vec<Value> {
    let Ok(log) = rusqlite::Connection::open(program.state().join("state.db")) else {
        return Vec::new();
    };
    log.busy_timeout(Duration::from_secs(10)).unwrap();
    let Ok(mut bodies) = log.prepare("SELECT body FROM audit ORDER BY sequence") else {
        return Vec::new();
    };
    let bodies = bodies.query_map([], |row| row.get::<_, String>(0)).unwrap();
    bodies
        .map(|body| serde_json::from_str(&body.unwrap()).unwrap())
        .collect()
}

/// Waits up to ten seconds for an entry of this kind.
async fn wait_for(program: &Program, kind: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let all = entries(program);
        if let Some(entry) = all.iter().find(|entry| entry["kind"] == kind) {
            return entry.clone();
        }
        assert!(Instant::now() < deadline, "no {kind} in {all:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many entries of a kind there are.
fn count(entries: &[Value], kind: &str) -> usize {
    entries.iter().filter(|entry| entry["kind"] == kind).count()
}

/// The error of a refused tool call.
pub(crate) fn refusal(answer: &Value) -> Value {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    serde_json::from_str::<Value>(text).unwrap()["error"].clone()
}

/// The structured content of a tool call that went well.
pub(crate) fn content(answer: &Value) -> &Value {
    let content = &answer["result"]["structuredContent"];
    assert!(content.is_object(), "{answer}");
    content
}

/// Runs a statement.
async fn sql(server: &mut Raw, sql: &str) -> Value {
    server.call("sql_execute", &json!({ "sql": sql })).await
}

/// The server works: a small read is answered.
async fn assert_serves(server: &mut Raw) {
    let answer = sql(server, "SELECT 41 + 1 AS n").await;
    assert_eq!(content(&answer)["rows"], json!([[42]]), "{answer}");
}
