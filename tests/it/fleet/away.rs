//! A person approves from another machine: with an API key to see what waits, and a signature made where they are.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use secondkey::broker::requests;
use secondkey::core::request::Status;
use serde_json::json;

use super::lost::lose_a_change;
use super::rig::{Fleet, UPDATE};
use crate::stories::approval::key;
use crate::support::{binary, skip, ssh};

/// Ada's machine: a home folder, and nothing of the relay's.
struct Away<'a> {
    fleet: &'a Fleet,
    home: tempfile::TempDir,
}

impl<'a> Away<'a> {
    fn new(fleet: &'a Fleet) -> Self {
        let home = tempfile::TempDir::new().unwrap();
        let file = home.path().join("id_ada");
        std::fs::write(&file, ssh::private_file(&key())).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { fleet, home }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.fleet.port)
    }

    fn run(&self, arguments: &[&str], api_key: Option<&str>) -> Output {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .args(["--relay", &self.url()])
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        if let Some(api_key) = api_key {
            command.env("SECONDKEY_API_KEY", api_key);
        }
        command.output().unwrap()
    }

    fn well(&self, arguments: &[&str], api_key: Option<&str>) -> String {
        let output = self.run(arguments, api_key);
        assert!(output.status.success(), "{arguments:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str], api_key: Option<&str>, words: &str) {
        let output = self.run(arguments, api_key);
        assert!(!output.status.success(), "{arguments:?} {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{arguments:?} {said}");
    }
}

#[tokio::test]
async fn a_person_approves_from_their_own_machine_and_the_change_is_made() {
    if Command::new("ssh-keygen")
        .arg("-?")
        .stdin(Stdio::null())
        .output()
        .is_err()
    {
        return skip("fleet::away", "ssh-keygen is not installed");
    }
    let fleet = Fleet::start().await;
    let person = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);
    let away = Away::new(&fleet);
    let state = fleet.relay_state();
    let wanted = json!({"sql": UPDATE, "params": [9.5, "lamp"], "reason": "sale"});
    let deciding = async {
        let id = fleet.pending(&state).await;
        let digest = requests::show(&state, &id)
            .unwrap()
            .document
            .digest()
            .to_string();
        // Without a key, and with one that is none.
        away.refused(&["requests", "list"], None, "no API key");
        away.refused(
            &["requests", "list"],
            Some("skey_0_0"),
            "does not take this API key",
        );
        away.refused(&["login"], Some("skey_0_0"), "does not take this API key");
        away.well(&["login"], Some(&person));
        let kept = std::fs::read_dir(away.home.path().join(".config/secondkey/logins")).unwrap();
        for file in kept {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        let list = away.well(&["requests", "list"], None);
        assert!(list.contains(id.as_str()), "{list}");
        let shown = away.well(&["requests", "show", id.as_str()], None);
        assert!(shown.contains(UPDATE) && shown.contains("sale"), "{shown}");
        let approve = |digest: &str| {
            [
                "approve",
                id.as_str(),
                "--key",
                "id_ada",
                "--document",
                digest,
            ]
            .map(str::to_owned)
        };
        let run = |digest: &str| {
            let arguments = approve(digest);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            away.run(&arguments, None)
        };
        // What was not read is not signed.
        let other = format!("sha256:{}", "0".repeat(64));
        assert!(!run(&other).status.success());
        assert_eq!(
            requests::show(&state, &id).unwrap().request.status(),
            Status::Pending
        );
        let done = run(&digest);
        assert!(done.status.success(), "{done:?}");
    };
    let (answer, ()) = tokio::join!(fleet.call("sql_execute", &wanted), deciding);
    assert_eq!(answer["structuredContent"]["affected"], 1, "{answer}");
    assert!((fleet.price() - 9.5).abs() < 1e-9);
    away.well(&["login", "--forget"], None);
    away.refused(&["requests", "list"], None, "no API key");
    state.close().await.unwrap();
}

const CAPABILITY: &str = "\
capabilities:
  set_price:
    description: Sets one price
    sql: update products set price = :price where name = :name
    params: { name: { type: string, required: true, maxLength: 40 }, price: { type: number, required: true } }
    policy: { readonly: false }
";

/// What somebody reads before they sign is the agent's, whoever passes it on: signed with a key that is remembered
/// from the first time on.
#[tokio::test]
async fn the_words_about_a_capability_are_its_agents_and_nobody_elses() {
    let mut fleet = Fleet::start().await;
    fleet.start_agent_offering(CAPABILITY, "only_capabilities = true\n");
    let person = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);
    let away = Away::new(&fleet);
    away.well(&["login"], Some(&person));
    let state = fleet.relay_state();
    let known = away.home.path().join(".config/secondkey/known_agents.json");
    let approve = |id: &str, document: &str| {
        let arguments = ["approve", id, "--key", "id_ada", "--document", document];
        away.run(&arguments, None)
    };
    let waits = async |price: f64| {
        let set = json!({ "name": "set_price", "params": { "name": "lamp", "price": price } });
        let id = loop {
            tokio::select! {
                answer = fleet.call("capability_call", &set) => {
                    assert_eq!(answer["isError"], true, "{answer}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                id = fleet.pending(&state) => break id,
            }
        };
        let shown = requests::show(&state, &id).unwrap();
        (id, shown.document.digest().to_string())
    };
    let (id, document) = waits(9.5).await;
    let shown = away.well(&["requests", "show", id.as_str()], None);
    for words in [
        "Sets one price",
        r#"name: {"type":"string","maxLength":40}"#,
    ] {
        assert!(shown.contains(words), "{shown}");
    }
    let signed = approve(id.as_str(), &document);
    assert!(signed.status.success(), "{signed:?}");
    let said = String::from_utf8_lossy(&signed.stderr);
    let own = fleet.run(&["agent", "key"], "agent");
    let (agent, key) = own.trim().split_once(' ').unwrap();
    assert!(said.contains(agent) && said.contains(key), "{said}");
    let kept = std::fs::read_to_string(&known).unwrap();
    assert!(kept.contains(agent) && kept.contains(key), "{kept}");

    // The same agent in the words of another key: nothing is signed.
    let (id, document) = waits(8.5).await;
    let other = "ab".repeat(32);
    std::fs::write(&known, kept.replace(key, &other)).unwrap();
    let refused = approve(id.as_str(), &document);
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(
        why.contains("nothing was signed") && why.contains(&other),
        "{why}"
    );
    let stands = || requests::show(&state, &id).unwrap().request;
    assert_eq!(stands().status(), Status::Pending);
    assert!(stands().state().votes().is_empty());

    // Where nothing is remembered, it would have been.
    std::fs::remove_file(&known).unwrap();
    let signed = approve(id.as_str(), &document);
    assert!(signed.status.success(), "{signed:?}");
    assert_eq!(stands().state().votes().len(), 1);
    state.close().await.unwrap();
}

#[tokio::test]
async fn a_key_shows_people_what_is_theirs_and_nobody_else_anything() {
    let fleet = Fleet::start().await;
    let away = Away::new(&fleet);
    let state = fleet.relay_state();
    let wanted = json!({"sql": UPDATE, "params": [9.5, "lamp"]});
    let id = tokio::select! {
        answer = fleet.call("sql_execute", &wanted) => panic!("{answer:?}"),
        id = fleet.pending(&state) => id,
    };
    let show = ["requests", "show", id.as_str()];
    // A model's key is no person's; an admin sees nothing by being one; Bo sees nothing of Ada's.
    away.refused(&show, Some(&fleet.key), "is no person");
    let admin = fleet.issue(&["--for", "human:root", "--role", "admin"]);
    let bo = fleet.issue(&["--for", "human:bo", "--role", "developer"]);
    for other in [&admin, &bo] {
        away.refused(&show, Some(other), "there is no request");
        away.refused(
            &["requests", "cancel", id.as_str()],
            Some(other),
            "there is no request",
        );
        let list = away.well(&["requests", "list", "--json"], Some(other));
        assert!(!list.contains(id.as_str()), "{list}");
    }
    // Their own person takes it back, without any signature.
    let ada = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);
    away.well(&["requests", "cancel", id.as_str()], Some(&ada));
    let deadline = Instant::now() + Duration::from_secs(20);
    while state.requests().get(&id).unwrap().status() != Status::Cancelled {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!((fleet.price() - 20.0).abs() < 1e-9);
    // Whoever is suspended is told so.
    fleet.run(&["relay", "principals", "suspend", "human:ada"], "relay");
    away.refused(&["requests", "list"], Some(&ada), "is suspended");
    state.close().await.unwrap();
}

#[tokio::test]
async fn who_approves_says_what_became_of_a_change_whose_end_is_not_known() {
    let mut fleet = Fleet::start().await;
    let (id, _) = lose_a_change(&mut fleet).await;
    let ada = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);
    let bob = fleet.issue(&["--for", "human:bob", "--role", "admin"]);
    let away = Away::new(&fleet);
    let settle = |found, comment| {
        let words = ["requests", "settle", id.as_str(), "--found", found];
        [&words[..], &["--comment", comment]].concat()
    };
    let state = fleet.relay_state();
    let status = || state.requests().get(&id).unwrap().status();
    // Another's request is not there for who does not approve, whatever their role.
    let looked = settle("failed", "no such order");
    away.refused(&looked, Some(&bob), "there is no request");
    away.refused(&settle("failed", ""), Some(&ada), "1 to 2000 characters");
    away.refused(&settle("gone", "x"), Some(&ada), "`succeeded` or `failed`");
    assert_eq!(status(), Status::Unknown);
    let said = away.well(&looked, Some(&ada));
    assert_eq!(said.trim(), format!("{id} is failed."));
    assert_eq!(status(), Status::Failed);
    let found: i64 = rusqlite::Connection::open(fleet.shop())
        .unwrap()
        .query_row(
            "SELECT count(*) FROM orders WHERE product_id = 1 AND placed = 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(found, 0, "what was said is so");
    // Once, and for good: not even the agent, when it is back, makes it another.
    away.refused(&settle("succeeded", "it is there"), Some(&ada), "failed");
    fleet.start_agent_again();
    fleet.wait_until_ready();
    assert_eq!(status(), Status::Failed);
    let log = fleet.run(&["audit", "list", "-n", "50", "--json"], "relay");
    let settled = log
        .lines()
        .find(|line| line.contains("request.settled"))
        .unwrap();
    assert!(
        settled.contains("no such order") && settled.contains("human:ada"),
        "{settled}"
    );
    fleet.run(&["audit", "verify"], "relay");
    state.close().await.unwrap();
}
