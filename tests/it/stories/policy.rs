//! What policies do to a running server: two of them judge, files change under it, limits hold.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::clock::SystemClock;
use secondkey::store::State;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::approval::trust;
use super::{content, count, entries, refusal, sql, wait_for};
use crate::support::program::Program;
use crate::support::raw::{Era, Raw};
use crate::support::{checkout, shop};

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
async fn a_workspaces_policy_that_is_swapped_for_permit_all_leaves_the_agents_own() {
    let starter = secondkey::core::policy::STARTER;
    let world = World::new(
        "policy = \"policy.cedar\"",
        "",
        &[("policy.cedar", starter)],
    );
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let delete = "DELETE FROM products WHERE id = 1";
    let refused = refusal(&sql(&mut server, delete).await);
    assert_eq!(refused["code"], "approval_required", "{refused}");
    replace(&world.policy(), PERMIT_ALL);
    let deadline = Instant::now() + Duration::from_secs(10);
    while count(&entries(&world.program), "execution.refused") == 0 {
        let refused = refusal(&sql(&mut server, delete).await);
        assert_eq!(refused["code"], "approval_required", "{refused}");
        assert_eq!(world.products(), shop::PRODUCTS);
        assert!(Instant::now() < deadline, "the new policy is not in force");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let allowed = wait_for(&world.program, "request.allowed").await;
    assert_eq!(allowed["facts"]["rules"], json!(["all"]));
    assert_eq!(world.products(), shop::PRODUCTS);
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

/// Asks for the server's health until what it says of the policies is as wanted.
async fn until_health(server: &mut Raw, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let health = server.call("health", &json!({})).await;
        if wanted(content(&health)) {
            return content(&health).clone();
        }
        assert!(Instant::now() < deadline, "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn asking(group: &str) -> String {
    format!("@id(\"all\") @ask(\"1 of {group}\") permit (principal, action, resource);\n")
}

#[tokio::test]
async fn a_new_trust_file_has_the_policies_checked_again() {
    let keys = "policy = \"policy.cedar\"\nagent_policy = \"agent.cedar\"\napproval_wait = \"0s\"";
    let files = [
        ("policy.cedar", asking("dba")),
        ("agent.cedar", PERMIT_ALL.to_owned()),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let world = World::new(keys, "", &files);
    // Where nobody is trusted yet, every group may still come.
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let health = server.call("health", &json!({})).await;
    assert_eq!(content(&health)["ok"], true, "{health}");

    let person = State::open(&world.program.state(), Arc::new(SystemClock)).unwrap();
    person.install_trust(trust()).await.unwrap();
    let health = until_health(&mut server, |health| health["ok"] == false).await;
    assert!(
        health["policy"].as_str().unwrap().contains("workspace"),
        "{health}"
    );
    let log = world.program.log();
    assert!(
        log.contains("nobody in the trust file is in `dba`; its groups are `owner`"),
        "{log}"
    );
    // What was good before is still in force: nothing runs unasked meanwhile.
    let refused = refusal(&sql(&mut server, "DELETE FROM products").await);
    assert_eq!(refused["code"], "approval_pending", "{refused}");
    assert_eq!(world.products(), shop::PRODUCTS);

    replace(&world.policy(), &asking("owner"));
    until_health(&mut server, |health| health["ok"] == true).await;
    server.finish().await;

    // Nothing was good before at a start. Both policies are complained of at once.
    replace(&world.policy(), &asking("dba"));
    replace(
        &world.program.folder.path().join("agent.cedar"),
        &asking("oncall"),
    );
    let output = world.program.command().output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap() + &world.program.log();
    for group in ["dba", "oncall"] {
        let complaint = format!("nobody in the trust file is in `{group}`; its groups are `owner`");
        assert!(said.contains(&complaint), "{said}");
    }
    person.close().await.unwrap();
}

/// The policy and the `[principals]` that the documentation shows.
fn documented() -> (String, String) {
    let page = fs::read_to_string(checkout().join("docs/policy.md")).unwrap();
    let block = |start: &str, language: &str| {
        let part = page.split(start).nth(1).unwrap();
        let part = part.split(&format!("```{language}\n")).nth(1).unwrap();
        part.split("```").next().unwrap().to_owned()
    };
    (
        block("### Roles decide who may change what", "cedar"),
        block("## Roles and groups of those who ask", "toml"),
    )
}

#[tokio::test]
async fn roles_of_the_configuration_decide_on_both_sides() {
    let (policy, principals) = documented();
    let user = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap()
        .stdout;
    let user = String::from_utf8(user).unwrap().trim().to_owned();
    let principals = principals.replace("ai:ada/", &format!("ai:{user}/"));
    let payments = "DELETE FROM orders WHERE id = 1";
    for (side, other) in [("policy", "agent_policy"), ("agent_policy", "policy")] {
        let keys = format!("{side} = \"policy.cedar\"\n{other} = \"all.cedar\"");
        let files = [("policy.cedar", policy.as_str()), ("all.cedar", PERMIT_ALL)];
        let more = format!("allow = [\"read\", \"write\"]\n{principals}");
        let world = World::new(&keys, &more, &files);
        let mut developer = Raw::start_as("claude-code", &world.program, Era::Legacy).await;
        let me = developer.call("whoami", &json!({})).await;
        let me = content(&me);
        assert_eq!(me["roles"], json!(["developer"]), "{me}");
        assert_eq!(me["groups"], json!(["payments"]), "{me}");
        let changed = sql(&mut developer, payments).await;
        assert_eq!(content(&changed)["affected"], 1, "{changed}");
        let refused = refusal(&sql(&mut developer, "DELETE FROM products WHERE id = 1").await);
        assert_eq!(refused["code"], "forbidden", "{refused}");
        developer.finish().await;

        let others = principals.replace(&format!("ai:{user}/"), "ai:somebody-else/");
        let more = format!("allow = [\"read\", \"write\"]\n{others}");
        let world = World::new(&keys, &more, &files);
        let mut other = Raw::start(&world.program, Era::Modern).await;
        let me = other.call("whoami", &json!({})).await;
        assert_eq!(
            (&content(&me)["roles"], &content(&me)["groups"]),
            (&json!([]), &json!([]))
        );
        content(&sql(&mut other, "SELECT 1").await);
        let refused = refusal(&sql(&mut other, "DELETE FROM orders WHERE id = 2").await);
        assert_eq!(refused["code"], "forbidden", "{refused}");
        assert_eq!(world.products(), shop::PRODUCTS);
        other.finish().await;
    }
}

#[tokio::test]
async fn what_runs_and_looks_like_a_mistake_is_told_with_its_result() {
    let more = "environment = \"staging\"\nallow = [\"read\", \"write\"]\n\
        [review.staging]\nwhere_always_true = \"off\"";
    let world = World::new("", more, &[]);
    let mut server = Raw::start(&world.program, Era::Modern).await;
    let answer = sql(&mut server, "UPDATE products SET price = 7").await;
    let told =
        "it has no WHERE and so changes every row of its table: add a WHERE that names the rows";
    assert_eq!(content(&answer)["affected"], shop::PRODUCTS, "{answer}");
    assert_eq!(content(&answer)["warnings"], json!([told]), "{answer}");
    for quiet in [
        "UPDATE products SET price = 8 WHERE id = 1",
        "UPDATE products SET price = 8 WHERE 1 = 1",
        "SELECT 1",
    ] {
        let answer = sql(&mut server, quiet).await;
        assert_eq!(content(&answer).get("warnings"), None, "{answer}");
    }
    server.finish().await;
}
