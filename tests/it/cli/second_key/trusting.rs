//! `secondkey trust`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use secondkey::core::trust::Purpose;
use serde_json::Value;

use super::rig::{Home, ask};

/// The short code that `propose` tells its owner.
fn code_in(said: &str) -> String {
    said.lines().last().unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_proposal_becomes_a_signer_when_the_codes_are_the_same() {
    let Some(home) = Home::for_test("cli::second_key::propose") else {
        return;
    };
    let ada = home.trusting_ada();
    let bo = home.key("bo");
    let propose = [
        "trust", "propose", "--key", &bo, "--name", "bo", "--to", "bo.json",
    ];
    let code = code_in(&home.run(&propose).well().err);
    let add = |code: &str| {
        let by = ["--groups", "dba,oncall", "--key", &ada];
        let arguments = [&["trust", "add", "bo.json", "--code", code][..], &by[..]].concat();
        home.run(&arguments)
    };
    add("0000-0000-0000-0000").refused("the codes differ");
    let unasked = ["trust", "add", "bo.json", "--key", &ada];
    home.run(&unasked).refused("nobody is here to compare them");
    let said = add(&code).well();
    assert!(said.err.contains("+ human:bo in dba,oncall"), "{said:?}");
    let trust = home.state().trust().unwrap().unwrap();
    assert_eq!(trust.version, 2);
    let bo_now = trust
        .signers
        .iter()
        .find(|signer| signer.name.name() == "bo");
    let purposes: Vec<_> = bo_now.unwrap().purposes.iter().collect();
    assert_eq!(purposes, [&Purpose::Approve]);
    assert_eq!(home.logged("trust.installed"), 2);

    let by_bo = ["trust", "remove", "ada", "--key", &bo];
    home.run(&by_bo).refused("`admin_quorum` is 1");
    let no_admin = ["trust", "remove", "bo", "--key", &bo];
    home.run(&no_admin).refused("not by a trust admin");
    home.run(&["trust", "remove", "cleo", "--key", &ada])
        .refused("no such signer");
    home.run(&["trust", "remove", "bo", "--key", &ada]).well();
    let trust = home.state().trust().unwrap().unwrap();
    assert_eq!((trust.version, trust.signers.len()), (3, 1));

    let document = home.file(1, &ask(1, "anyone")).await;
    let digest = document.digest().to_string();
    home.run(&["approve", "--key", &bo, "--document", &digest])
        .refused("does not hold the key");
}

#[test]
fn two_admins_make_the_next_version_together() {
    let Some(home) = Home::for_test("cli::second_key::quorum") else {
        return;
    };
    let (ada, bo) = (home.trusting_ada(), home.key("bo"));
    let propose = [
        "trust", "propose", "--key", &bo, "--name", "bo", "--to", "bo.json",
    ];
    let code = code_in(&home.run(&propose).well().err);
    let both = ["--purposes", "approve,trust", "--admin-quorum", "2"];
    let add = ["trust", "add", "bo.json", "--code", &code, "--key", &ada];
    home.run(&[&add[..], &both[..]].concat()).well();

    let cleo = home.key("cleo");
    let propose = [
        "trust",
        "propose",
        "--key",
        &cleo,
        "--name",
        "cleo",
        "--to",
        "cleo.json",
    ];
    let code = code_in(&home.run(&propose).well().err);
    let add = ["trust", "add", "cleo.json", "--code", &code, "--key", &ada];
    home.run(&add)
        .refused("needs the signatures of 2 trust admins");
    home.run(&[&add[..], &["--to", "next.json"]].concat())
        .well();
    home.run(&["trust", "install", "next.json"])
        .refused("needs the signatures of 2 trust admins");
    home.run(&["trust", "sign", "next.json", "--key", &bo])
        .refused("nobody is here to ask");
    let text = std::fs::read_to_string(home.path("next.json")).unwrap();
    let next: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(next["signatures"].as_array().unwrap().len(), 1);
    let wrong = ["trust", "sign", "next.json", "--key", &bo, "--digest", "00"];
    home.run(&wrong).refused("another digest");
    let signed: secondkey::core::trust::SignedTrust = serde_json::from_str(&text).unwrap();
    let digest = signed.trust.digest().to_string();
    let sign = [
        "trust",
        "sign",
        "next.json",
        "--key",
        &bo,
        "--digest",
        &digest,
    ];
    let said = home.run(&sign).well();
    assert!(said.err.contains("+ human:cleo in -"), "{said:?}");
    home.run(&["trust", "install", "next.json"]).well();
    assert_eq!(home.state().trust().unwrap().unwrap().version, 3);

    // Carried elsewhere, version by version.
    let all = home.run(&["trust", "export", "--json"]).well().out;
    assert_eq!(all.lines().count(), 3);
    for (number, line) in (1..).zip(all.lines()) {
        let name = format!("carried-{number}.json");
        std::fs::write(home.path(&name), line).unwrap();
        let install = ["trust", "install", &name, "--state", "elsewhere"];
        let mut command = crate::cli::secondkey(home.folder.path());
        assert!(command.args(install).status().unwrap().success());
    }
    let shown = |state: &str| {
        let mut command = crate::cli::secondkey(home.folder.path());
        crate::cli::answer(command.args(["trust", "show", "--json", "--state", state]))
    };
    assert_eq!(shown("elsewhere"), shown("state"));
}

#[test]
fn stock_openssh_checks_what_the_export_says() {
    let Some(home) = Home::for_test("cli::second_key::export") else {
        return;
    };
    let ada = home.trusting_ada();
    let allowed = home
        .run(&["trust", "export", "--allowed-signers"])
        .well()
        .out;
    std::fs::write(home.path("allowed"), allowed).unwrap();
    let run = |arguments: &[&str]| {
        let mut child = Command::new("ssh-keygen")
            .args(arguments)
            .current_dir(home.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"yes").unwrap();
        child.wait_with_output().unwrap()
    };
    let namespace = "approval@secondkey.dev";
    let signed = run(&["-q", "-Y", "sign", "-n", namespace, "-f", &ada]);
    std::fs::write(home.path("sig"), signed.stdout).unwrap();
    let verify = |namespace: &str| {
        let who = [
            "-Y",
            "verify",
            "-f",
            "allowed",
            "-I",
            "human:ada",
            "-s",
            "sig",
            "-n",
        ];
        run(&[&who[..], &[namespace]].concat()).status.success()
    };
    assert!(verify(namespace));
    assert!(!verify("git"));
}

#[test]
fn the_first_minute_says_what_to_do() {
    let Some(home) = Home::for_test("cli::second_key::first") else {
        return;
    };
    home.run(&["trust", "show"]).refused("there is no state");
    let ada = home.trusting_ada();
    let shown = home.run(&["trust", "show"]).well();
    assert!(
        shown
            .out
            .contains("human:ada  owner   approve,trust  unattended  SHA256:"),
        "{shown:?}"
    );
    let again = ["trust", "init", "--key", &ada];
    home.run(&again).refused("is pinned here already");
    let neither = home.run(&["trust", "init"]);
    assert_eq!(neither.code, 2, "{neither:?}");
    let rsa = home.path("rsa").display().to_string();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", &rsa])
        .status();
    assert!(made.unwrap().success());
    let propose = ["trust", "propose", "--key", &rsa];
    home.run(&propose).refused("of a kind that is not accepted");
}

#[test]
fn without_ssh_keygen_the_answer_names_the_package() {
    let Some(home) = Home::for_test("cli::second_key::missing") else {
        return;
    };
    let ada = home.key("ada");
    let init = ["trust", "init", "--key", &ada];
    let output = home
        .command(&init)
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    let said = crate::cli::text(&output.stderr);
    assert!(said.contains("openssh-client"), "{said}");
    assert!(home.state().trust().unwrap().is_none());
}
