//! The whole way: a client of another user reads, its change waits, a person signs over the socket, the
//! row changes.

use std::process::Command;

use serde_json::{Value, json};

use super::rig::{ASKER, ATTACKER, Rig, update};
use crate::stories::{content, refusal};
use crate::support::raw::Raw;
use crate::support::skip;

/// A person's own key, and the first trust file pinned with it by whoever runs the agent.
fn first_key(rig: &Rig, test: &str) -> Option<String> {
    a_key(rig, test, &[])
}

/// The same, with these flags for whoever it is.
pub(super) fn a_key(rig: &Rig, test: &str, flags: &[&str]) -> Option<String> {
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        skip(test, "ssh-keygen is not installed");
        return None;
    }
    let key = rig.home(ASKER).join("key").display().to_string();
    ASKER.does(|| {
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", &key]);
        assert!(
            make.env("HOME", rig.home(ASKER))
                .status()
                .unwrap()
                .success()
        );
    });
    let first = rig.home(ASKER).join("first.json").display().to_string();
    let init = ["trust", "init", "--to", &first, "--key", &key];
    let said = rig.run(ASKER, &[&init, flags].concat()).well();
    assert!(said.out.contains("trust install"), "{said:?}");
    // It goes to whoever runs the agent by hand.
    let handed = rig.path("first.json");
    std::fs::copy(&first, &handed).unwrap();
    let handed = handed.display().to_string();
    rig.administer(&["trust", "install", &handed]).well();
    Some(key)
}

#[tokio::test]
async fn a_change_of_another_users_client_runs_once_a_person_has_signed_over_the_socket() {
    let test = "separated::story";
    // A key without a passphrase signs unattended; the policy of this shop takes that.
    let policy = "@ask(\"1 of owner; presence=unattended\") permit (principal, action, resource) \
                  when { context.effect == \"write\" };\n\
                  permit (principal, action, resource) when { context.effect == \"read\" };\n";
    let more = "policy = \"../policy.cedar\"\nagent_policy = \"../policy.cedar\"";
    let Some(rig) = Rig::new(test, super::rig::AGENT, more) else {
        return;
    };
    std::fs::write(rig.path("policy.cedar"), policy).unwrap();
    let Some(key) = first_key(&rig, test) else {
        return;
    };
    let rig = rig.started();
    let mut client = rig.client(ASKER, "raw").await;
    let count = json!({"sql": "SELECT count(*) FROM products", "target": "shop"});
    let read = client.call("sql_execute", &count).await;
    assert_eq!(content(&read)["rows"], json!([[3]]), "{read}");
    let who = client.call("whoami", &json!({})).await;
    let principal = format!("ai:{}/raw", ASKER.name());
    assert_eq!(content(&who)["principal"], principal.as_str());
    assert_eq!(content(&who)["level"], "separated");

    let id = pending(&mut client).await;
    assert!(rig.costs(20.0), "not before the signature");
    let listed = rig.run(ASKER, &["requests", "list", "--json"]).well();
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(
        (&listed["request"], &listed["state"]),
        (&id, &json!("pending"))
    );
    let id = id.as_str().unwrap();
    rig.run(ASKER, &["requests", "wait", id, "--timeout", "100ms"])
        .refused(3, "");
    let shown = rig.run(ASKER, &["requests", "show", id, "--json"]).well();
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(
        shown["values"],
        json!([15.5, "lamp"]),
        "the approver sees all of it"
    );

    let digest = shown["document_digest"].as_str().unwrap();
    let approve = ["approve", id, "--key", &key, "--document", digest];
    let said = rig.run(ASKER, &approve).well();
    assert!(said.err.contains("UPDATE products"), "{said:?}");
    assert!(said.out.contains("is approved"), "{said:?}");
    rig.run(ASKER, &["requests", "wait", id]).well();
    let wait = json!({"action": "wait", "id": id});
    let collected = client.call("request", &wait).await;
    assert_eq!(content(&collected)["result"]["affected"], 1, "{collected}");
    assert!(rig.costs(15.5));
    // Signed once, run once.
    rig.run(ASKER, &approve).refused(1, "request_state");
    assert!(client.finish().await.success());

    let opened = rig.logged("connection.opened");
    let of = |wants: &str| {
        let is = |entry: &&Value| {
            entry["facts"]["user"] == ASKER.name().as_str() && entry["facts"]["for"] == wants
        };
        opened.iter().filter(is).count()
    };
    assert!(of("mcp") == 1 && of("people") >= 5, "{opened:#?}");
}

/// Asks for the change, and gives the id of the request that waits.
async fn pending(client: &mut Raw) -> Value {
    let refused = refusal(&client.call("sql_execute", &update(15.5)).await);
    assert_eq!(refused["code"], "approval_pending", "{refused}");
    let listed = client.call("request", &json!({"action": "list"})).await;
    content(&listed)["requests"][0]["id"].clone()
}

#[tokio::test]
async fn people_see_their_own_requests_and_take_them_back_and_those_who_approve_see_all() {
    let more = "[agent]\napprovers = [\"uid:64777\"]";
    let Some(rig) = Rig::new("separated::own", super::rig::AGENT, more) else {
        return;
    };
    rig.trust_ada();
    let rig = rig.started();
    let mut client = rig.client(ASKER, "raw").await;
    let id = pending(&mut client).await;
    let show = json!({"call": "show", "request": id});
    let list = json!({"call": "list", "statuses": [], "target": null, "before": null, "limit": 10});
    let approver = super::rig::User(64_777);
    for (user, sees) in [(ASKER, true), (approver, true), (ATTACKER, false)] {
        let shown = rig.ask(user, show.clone());
        assert_eq!(shown.get("ok").is_some(), sees, "{shown}");
        let listed = rig.ask(user, list.clone());
        let listed = listed["ok"]["listed"]["requests"].as_array().unwrap().len();
        assert_eq!(listed, usize::from(sees));
        let link = rig.ask(user, json!({"call": "page_link", "request": null}));
        assert_eq!(link.get("ok").is_some(), user == approver, "{link}");
    }
    let cancel = json!({"call": "cancel", "request": id});
    for user in [approver, ATTACKER] {
        let refused = rig.ask(user, cancel.clone());
        assert!(refused.get("refused").is_some(), "{refused}");
    }
    let listed = client.call("request", &json!({"action": "list"})).await;
    assert_eq!(content(&listed)["requests"][0]["status"], "pending");
    rig.run(ASKER, &["requests", "cancel", id.as_str().unwrap()])
        .well();
    let listed = client.call("request", &json!({"action": "list"})).await;
    assert_eq!(content(&listed)["requests"][0]["status"], "cancelled");
}

#[tokio::test]
async fn the_bridge_says_what_is_wrong_and_ends_with_1() {
    let Some(mut rig) = Rig::separated("separated::bridge") else {
        return;
    };
    let mcp = ["mcp", "--agent", &rig.address()];
    let fails = |rig: &Rig, words: &str| {
        let output = rig.command(ASKER, &mcp).output().unwrap();
        super::rig::Said::of(&output).refused(1, words);
    };
    fails(&rig, "there is no such socket");
    rig.start();
    let mut client = rig.client(ASKER, "raw").await;
    rig.end(rustix::process::Signal::KILL);
    assert_eq!(
        client.message().await,
        None,
        "the client is not left waiting"
    );
    assert_eq!(client.finish().await.code(), Some(1));
    fails(&rig, "no agent listens");
    // What a killed agent has left does not keep the next from starting.
    rig.start();
    let client = rig.client(ASKER, "raw").await;
    assert!(rig.end(rustix::process::Signal::TERM), "{}", rig.log());
    assert_eq!(client.finish().await.code(), Some(1));
    assert!(
        !rig.socket().exists(),
        "the socket is taken away at the end"
    );
    assert_eq!(rig.logged("server.stopped").len(), 1);

    let with_state = ["mcp", "--agent", &rig.address(), "--state", "/tmp/x"];
    let output = rig.command(ASKER, &with_state).output().unwrap();
    super::rig::Said::of(&output).refused(2, "its own state");
}

#[test]
fn doctor_says_separated_and_names_what_spoils_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(rig) = Rig::separated("separated::doctor") else {
        return;
    };
    let rig = rig.started();
    assert!(
        rig.log()
            .contains("Separated: the agent runs as its own OS user"),
        "{}",
        rig.log()
    );
    let doctor = |rig: &Rig| -> Value {
        let said = rig.run(ASKER, &["doctor", "--json"]);
        serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"))
    };
    let report = doctor(&rig);
    assert_eq!(
        (&report["level"]["name"], &report["bad"]),
        (&json!("Separated"), &json!(0)),
        "{report:#}"
    );
    let mode = |name: &str, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(rig.path(name), mode).unwrap();
    };
    // Each file, what it takes to spoil it, and its own mode.
    for (name, spoilt, good) in [
        ("etc/secret", 0o604, 0o600),
        ("etc/secondkey.toml", 0o620, 0o600),
        ("etc/secondkey.toml", 0o602, 0o600),
        ("var", 0o755, 0o700),
        ("var/state", 0o711, 0o700),
        ("etc", 0o777, 0o755),
        ("bin/secondkey", 0o757, 0o755),
    ] {
        mode(name, spoilt);
        let report = doctor(&rig);
        // Behind a closed folder nothing is open; a group without members but the file's owner is no fault.
        let harmless = ["var", "var/state"].contains(&name) || spoilt == 0o620;
        let level = &report["level"];
        assert_eq!(level["name"] == "Separated", harmless, "{name}: {report:#}");
        let named = level["because"].to_string();
        assert!(
            harmless || named.contains(rig.path(name).to_str().unwrap()),
            "{named}"
        );
        mode(name, good);
    }
    assert_eq!(doctor(&rig)["level"]["name"], "Separated");
    // Where another could put a socket of their own, nothing is said to it at all.
    mode("run", 0o770);
    rig.run(ASKER, &["doctor"])
        .refused(1, "can be changed by other users");
    mode("run", 0o750);
    // The superuser is told the truth about themselves.
    let said = rig.run(super::rig::User(0), &["doctor"]);
    assert!(said.out.contains("level: Guarded"), "{said:?}");
}
