//! What policies do to a running server: two of them judge, files change under it, limits hold.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{content, refusal, sql, wait_for};
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};
use crate::support::shop;

const PERMIT_ALL: &str = "@id(\"all\") permit (principal, action, resource);\n";
const FORBID_ALL: &str =
    "@id(\"closed\") @reason(\"closed today\") forbid (principal, action, resource);\n";

/// A shop that may only be read, a program that serves it, and policy files beside its
/// configuration.
struct World {
    folder: TempDir,
    program: Program,
}

impl World {
    /// `files` are written beside the configuration; `keys` stand at its top, `more` at its end.
    fn new(keys: &str, more: &str, files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("shop.db");
        shop::create(&file);
        let url = file.display();
        let config = format!("{keys}\n[targets.shop]\nurl = \"sqlite:{url}\"\n{more}\n");
        let program = Program::with_config(&config);
        for (name, text) in files {
            fs::write(program.folder.path().join(name), text).unwrap();
        }
        Self { folder, program }
    }

    fn products(&self) -> i64 {
        shop::products(&self.folder.path().join("shop.db"))
    }

    fn policy(&self) -> std::path::PathBuf {
        self.program.folder.path().join("policy.cedar")
    }
}

/// Replaces a file in one step, as an editor does.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

/// Asks until the answer is as wanted, for up to ten seconds.
async fn until(server: &mut Raw, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = sql(server, "SELECT 1").await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_agent_asks_for_what_the_workspaces_policy_waves_through() {
    let world = World::new(
        "policy = \"policy.cedar\"",
        "",
        &[("policy.cedar", PERMIT_ALL)],
    );
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let refused = refusal(&sql(&mut server, "DELETE FROM products WHERE id = 1").await);
    assert_eq!(refused["code"], "approval_required", "{refused}");
    assert_eq!(world.products(), shop::PRODUCTS);
    let allowed = wait_for(&world.program, "request.allowed").await;
    assert_eq!(allowed["facts"]["rules"], json!(["all"]));
    let refused = wait_for(&world.program, "execution.refused").await;
    assert_eq!(refused["facts"]["code"], "approval_required");
}

#[tokio::test]
async fn the_workspaces_policy_refuses_what_the_agent_would_run() {
    let agent = "agent_policy = \"agent.cedar\"\npolicy = \"policy.cedar\"";
    let files = [("agent.cedar", PERMIT_ALL), ("policy.cedar", FORBID_ALL)];
    let world = World::new(agent, "allow = [\"read\", \"write\"]", &files);
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let refused = refusal(&sql(&mut server, "DELETE FROM products WHERE id = 1").await);
    assert_eq!(refused["code"], "forbidden", "{refused}");
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("closed today")
    );
    assert_eq!(world.products(), shop::PRODUCTS);
    let entry = wait_for(&world.program, "request.refused").await;
    assert_eq!(entry["facts"]["rules"], json!(["closed"]));
    assert_eq!(entry["facts"]["policy"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn a_changed_policy_is_in_force_without_a_restart_and_a_broken_one_is_not() {
    let world = World::new(
        "policy = \"policy.cedar\"",
        "",
        &[("policy.cedar", PERMIT_ALL)],
    );
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    content(&sql(&mut server, "SELECT 1").await);
    replace(&world.policy(), FORBID_ALL);
    let is_refused = |answer: &Value| answer["result"]["isError"] == true;
    let refused = until(&mut server, is_refused).await;
    assert_eq!(refusal(&refused)["code"], "forbidden");

    replace(&world.policy(), "permit (principal, action");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let health = server.call("health", &json!({})).await;
        if content(&health)["ok"] == false {
            let policy = content(&health)["policy"].as_str().unwrap();
            assert!(
                policy.contains("the workspace policy is broken"),
                "{policy}"
            );
            break;
        }
        assert!(Instant::now() < deadline, "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        refusal(&sql(&mut server, "SELECT 1").await)["code"],
        "forbidden"
    );
    let log = world.program.log();
    assert!(log.contains("the last good policy stays in force"), "{log}");

    replace(&world.policy(), PERMIT_ALL);
    until(&mut server, |answer| !is_refused(answer)).await;
    let health = server.call("health", &json!({})).await;
    assert_eq!(content(&health)["ok"], true, "{health}");
}

#[tokio::test]
async fn the_agents_limits_hold_whatever_the_caller_asks() {
    let limited = "@limit(\"rows=2\") permit (principal, action, resource);";
    let world = World::new(
        "agent_policy = \"agent.cedar\"",
        "",
        &[("agent.cedar", limited)],
    );
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let ask = json!({"sql": "SELECT id FROM products ORDER BY id", "max_rows": 100});
    let answer = server.call("sql_execute", &ask).await;
    let content = content(&answer);
    assert_eq!(content["rows"], json!([[1], [2]]), "{answer}");
    assert_eq!(content["truncated"]["by"], "rows", "{answer}");
}

#[tokio::test]
async fn what_a_review_rule_blocks_is_told_with_its_remedy() {
    let more = "environment = \"staging\"\nallow = [\"read\", \"write\"]\n\
        [review.staging]\nno_where = \"block\"";
    let world = World::new("", more, &[]);
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let refused = refusal(&sql(&mut server, "DELETE FROM products").await);
    assert_eq!(refused["code"], "review_blocked", "{refused}");
    assert_eq!(refused["hint"], "add a WHERE that names the rows");
    assert_eq!(world.products(), shop::PRODUCTS);
    let changed = sql(&mut server, "UPDATE products SET price = 1 WHERE id = 1").await;
    assert_eq!(content(&changed)["affected"], 1, "{changed}");
}

#[tokio::test]
async fn nothing_starts_with_a_broken_policy() {
    let world = World::new(
        "policy = \"policy.cedar\"",
        "",
        &[("policy.cedar", "permit (principal, action")],
    );
    let output = world.program.command().output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("policy.cedar:1:"), "{said}");
}
