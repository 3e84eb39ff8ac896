//! `secondkey approve` and `secondkey requests`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use secondkey::core::approval::{SignedVerdict, Verdict};
use secondkey::core::policy::Requirement;
use secondkey::core::request::Status;
use secondkey::core::signer::Presence;
use serde_json::Value;

use super::rig::{Home, ask};
use crate::support::{binary, skip};

#[tokio::test]
async fn a_person_approves_the_only_request_that_waits() {
    let Some(home) = Home::for_test("cli::second_key::approve") else {
        return;
    };
    let key = home.trusting_ada();
    let document = home.file(1, &ask(1, "owner")).await;
    let digest = document.digest().to_string();
    let approve = ["approve", "--key", &key, "--document", &digest];
    let said = home.run(&[&approve[..], &["--comment", "looked at it"]].concat());
    let said = said.well();
    assert!(said.out.contains("is approved."), "{said:?}");
    for shown in [
        "orders in staging",
        "  | update orders set state = $1 where id = $2",
        "  | 1 = \"sent\"",
        "  | 2 = 7",
        "ai:ada/claude-code",
        "  > the customer asked",
        &digest,
    ] {
        assert!(said.err.contains(shown), "{shown} is not in {said:?}");
    }
    assert_eq!(home.status(&document), (Status::Approved, 1));
    let request = home.state().requests().get(&document.request).unwrap();
    let vote = &request.state().votes()[0];
    assert_eq!(vote.signer.to_string(), "human:ada");
    assert_eq!(vote.comment.as_deref(), Some("looked at it"));
    assert_eq!(vote.presence, Presence::Unattended);
    // What was signed is the document that was shown.
    let signed: SignedVerdict = serde_json::from_str(&vote.signed).unwrap();
    let verdict = Verdict::parse(&signed.verdict).unwrap();
    assert_eq!(verdict.document, document.digest());
    assert_eq!(home.logged("request.approved"), 1);

    home.run(&approve).refused_as_misuse();
    let id = document.request.as_str();
    let again = [
        "requests",
        "approve",
        id,
        "--key",
        &key,
        "--document",
        &digest,
    ];
    home.run(&again).refused("only one that is pending");
}

#[tokio::test]
async fn a_passphrase_makes_a_key_that_counts_where_one_is_asked_for() {
    let Some(home) = Home::for_test("cli::second_key::passphrase") else {
        return;
    };
    let new = ["trust", "init", "--new", "--name", "ada"];
    let said = home.run_typing("correct horse", &new).well();
    assert!(said.out.contains("  passphrase  "), "{said:?}");
    assert!(said.out.contains("everything but production"), "{said:?}");
    let wanted = Requirement {
        presence: Presence::Passphrase,
        ..ask(1, "owner")
    };
    let document = home.file(1, &wanted).await;
    let digest = document.digest().to_string();
    let approve = ["approve", "--document", &digest];
    home.run_typing("wrong horse", &approve)
        .refused("ssh-keygen did not sign");
    assert_eq!(home.status(&document), (Status::Pending, 0));
    home.run_typing("correct horse", &approve).well();
    assert_eq!(home.status(&document), (Status::Approved, 1));

    let hardware = Requirement {
        presence: Presence::Hardware,
        ..ask(1, "owner")
    };
    let document = home.file(2, &hardware).await;
    let digest = document.digest().to_string();
    let approve = ["approve", "--document", &digest];
    home.run_typing("correct horse", &approve)
        .refused("a key whose hardware proves");
    assert_eq!(home.status(&document), (Status::Pending, 0));
    assert_eq!(home.logged("vote.refused"), 1);
}

#[tokio::test]
async fn what_does_not_count_is_refused_and_changes_nothing() {
    let Some(home) = Home::for_test("cli::second_key::refusals") else {
        return;
    };
    let key = home.trusting_ada();
    let document = home.file(1, &ask(2, "anyone")).await;
    let (id, digest) = (document.request.as_str(), document.digest().to_string());
    let approve = |key: &str, digest: &str| {
        let arguments = [
            "requests",
            "approve",
            id,
            "--key",
            key,
            "--document",
            digest,
        ];
        home.run(&arguments)
    };
    let stranger = home.key("eve");
    approve(&stranger, &digest).refused("does not hold the key");
    approve("nowhere", &digest).refused("there is no such file");
    approve(&key, &"0".repeat(64)).refused("the document is another one");
    let silent = ["requests", "approve", id, "--key", &key];
    home.run(&silent).refused("nobody is here to be asked");
    home.run(&["approve", "--document", &digest])
        .refused("none of your keys");
    let unknown = ["requests", "show", "req_00000000000000000000000000000000"];
    home.run(&unknown).refused("there is no request");
    assert_eq!(home.status(&document), (Status::Pending, 0));

    // The public half of another key beside the private one.
    std::fs::copy(home.path("eve"), home.path("mixed")).unwrap();
    std::fs::copy(home.path("ada.pub"), home.path("mixed.pub")).unwrap();
    let mixed = home.path("mixed").display().to_string();
    let said = approve(&mixed, &digest);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(home.status(&document), (Status::Pending, 0));

    let first = approve(&key, &digest);
    assert_eq!(first.code, 3, "one more is needed: {first:?}");
    assert!(first.out.contains("1 of anyone"), "{first:?}");
    approve(&key, &digest).refused("has voted on this request before");
    assert_eq!(home.status(&document), (Status::Pending, 1));
    assert_eq!(home.logged("vote.refused"), 1);
}

#[tokio::test]
async fn a_store_edited_by_hand_is_not_signed_for() {
    let Some(home) = Home::for_test("cli::second_key::tampered") else {
        return;
    };
    let key = home.trusting_ada();
    let edits = [
        "update request_documents set document = replace(document, 'set state', 'set price') where request = ?1",
        "update requests set target = 'stock' where id = ?1",
        "update request_documents set requirements = '{}' where request = ?1",
    ];
    for (number, edit) in (1..).zip(edits) {
        let document = home.file(number, &ask(1, "owner")).await;
        let (id, digest) = (document.request.as_str(), document.digest().to_string());
        let raw = rusqlite::Connection::open(home.path("state/state.db")).unwrap();
        let edited = raw.execute(edit, (id,));
        assert_eq!(edited.unwrap(), 1);
        let approve = [
            "requests",
            "approve",
            id,
            "--key",
            &key,
            "--document",
            &digest,
        ];
        let said = home.run(&approve);
        assert_eq!(said.code, 1, "{edit}: {said:?}");
        let status: String = raw
            .query_row("select status from requests where id = ?1", (id,), |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(status, "pending", "{edit}");
    }
    assert_eq!(home.logged("request.approved"), 0);
}

#[tokio::test]
async fn a_changed_trust_file_leaves_nobody_who_can_approve() {
    let Some(home) = Home::for_test("cli::second_key::trust_changed") else {
        return;
    };
    let key = home.trusting_ada();
    let document = home.file(1, &ask(1, "dba")).await;
    let digest = document.digest().to_string();
    let file = home.path("state/trust/0001.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("owner", "dba")).unwrap();
    let approve = ["approve", "--key", &key, "--document", &digest];
    home.run(&approve).refused("0001.json` does not count");
    assert_eq!(home.status(&document), (Status::Pending, 0));
}

#[tokio::test]
async fn rejecting_cancelling_and_waiting_end_with_codes_of_their_own() {
    let Some(home) = Home::for_test("cli::second_key::codes") else {
        return;
    };
    let key = home.trusting_ada();
    let document = home.file(1, &ask(1, "owner")).await;
    let (id, digest) = (document.request.as_str(), document.digest().to_string());
    let wait = ["requests", "wait", id, "--timeout", "10ms", "--json"];
    let said = home.run(&wait);
    assert_eq!(said.code, 3, "{said:?}");
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["state"], "pending");
    let reject = [
        "requests",
        "reject",
        id,
        "--key",
        &key,
        "--document",
        &digest,
    ];
    home.run(&reject).well();
    assert_eq!(home.status(&document), (Status::Rejected, 1));
    assert_eq!(home.run(&["requests", "wait", id]).code, 4);

    let document = home.file(2, &ask(1, "owner")).await;
    let id = document.request.as_str();
    home.run(&["requests", "cancel", id]).well();
    assert_eq!(home.status(&document), (Status::Cancelled, 0));
    home.run(&["requests", "cancel", id])
        .refused("is cancelled");

    let list = home.run(&["requests", "list", "--json"]).well();
    let states: Vec<Value> = list
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["state"].clone())
        .collect();
    assert_eq!(states, ["cancelled", "rejected"]);
    let table = home
        .run(&["requests", "list", "--status", "rejected"])
        .well();
    assert_eq!(table.out.lines().count(), 2, "{table:?}");
    let show = home.run(&["requests", "show", id, "--json"]).well();
    let shown: Value = serde_json::from_str(&show.out).unwrap();
    assert_eq!(shown["document"]["statement"], document.statement.as_str());
    assert_eq!(shown["values"], Value::Null, "gone with the end");
}

#[tokio::test]
async fn watching_tells_of_each_request_once() {
    let Some(home) = Home::for_test("cli::second_key::watch") else {
        return;
    };
    let first = home.file(1, &ask(1, "owner")).await;
    let mut child = home
        .command(&["requests", "watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = lines.next().unwrap().unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        told["request"].as_str().unwrap().to_owned()
    };
    assert_eq!(next(), first.request.as_str());
    let second = home.file(2, &ask(1, "owner")).await;
    assert_eq!(next(), second.request.as_str());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn on_a_terminal_the_word_has_to_be_typed() {
    let test = "cli::second_key::terminal";
    let Some(home) = Home::for_test(test) else {
        return;
    };
    if Command::new("script").arg("--version").output().is_err() {
        skip(test, "there is no `script` to make a terminal with");
        return;
    }
    let key = home.trusting_ada();
    let document = home.file(1, &ask(1, "owner")).await;
    let line = format!("{} approve --state state --key {key}", binary());
    // What is typed before the question, and what is typed at it.
    let typed = |ahead: &str, word: &str| {
        let mut command = Command::new("script");
        command.args(["-qefc", &line, "/dev/null"]);
        command
            .current_dir(home.folder.path())
            .env("HOME", home.folder.path());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(ahead.as_bytes()).unwrap();
        let (mut said, mut out) = (Vec::new(), child.stdout.take().unwrap());
        while !String::from_utf8_lossy(&said).contains("to sign:") {
            let mut some = [0; 256];
            let read = out.read(&mut some).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&some[..read]);
        }
        pipe.write_all(format!("{word}\n").as_bytes()).unwrap();
        out.read_to_end(&mut said).unwrap();
        let code = child.wait().unwrap().code();
        (code, String::from_utf8_lossy(&said).into_owned())
    };
    for (ahead, word) in [("", "yes"), ("approve\n", "no")] {
        let (code, said) = typed(ahead, word);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("Type `approve` to sign"), "{said}");
        assert_eq!(home.status(&document), (Status::Pending, 0));
    }
    let (code, said) = typed("", "approve");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(home.status(&document), (Status::Approved, 1));
}

#[tokio::test]
async fn what_cannot_be_a_key_or_is_too_long_is_refused_before_anything_is_signed() {
    let Some(home) = Home::for_test("cli::second_key::odd") else {
        return;
    };
    let key = home.trusting_ada();
    let document = home.file(1, &ask(1, "owner")).await;
    let digest = document.digest().to_string();
    let approve = ["approve", "--key", &key, "--document", &digest, "--comment"];
    let long = "x".repeat(2_001);
    home.run(&[&approve[..], &[&long]].concat())
        .refused_as_misuse();
    let pipe = home.path("pipe.pub");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for odd in [pipe.to_str().unwrap(), "/dev/zero"] {
        let said = home.run(&["approve", "--key", odd, "--document", &digest]);
        said.refused("cannot be used");
        let said = home.run(&["trust", "install", odd]);
        said.refused("it is not a file");
    }
    assert_eq!(home.status(&document), (Status::Pending, 0));
}
