//! Policies where there is a trust file, and requests that policies have asked people about.

use serde_json::{Value, json};

use crate::cli::second_key::rig::{Home, ask};

fn policy(ask: &str) -> String {
    format!("@id(\"changes\")\n@ask(\"{ask}\")\npermit (principal, action, resource);\n")
}

#[test]
fn check_and_doctor_hold_quorums_against_the_trust_file() {
    let Some(home) = Home::for_test("check_and_doctor_hold_quorums_against_the_trust_file") else {
        return;
    };
    let write = |ask: &str| std::fs::write(home.path("p.cedar"), policy(ask)).unwrap();
    let check = || home.run(&["policy", "check", "p.cedar"]);
    let config = "agent_policy = \"p.cedar\"\n[targets.shop]\nurl = \"sqlite:shop.db\"\n";
    std::fs::write(home.path("secondkey.toml"), config).unwrap();
    drop(rusqlite::Connection::open(home.path("shop.db")).unwrap());
    let policies = || {
        let said = home.run(&["doctor", "--json"]);
        let report: Value = serde_json::from_str(&said.out).unwrap();
        let sections = report["sections"].as_array().unwrap();
        let section = sections
            .iter()
            .find(|one| one["about"] == "policies")
            .unwrap();
        section["findings"].clone()
    };
    let with = |verdict: &str, findings: &Value| -> Vec<String> {
        let all = findings.as_array().unwrap().iter();
        let some = all.filter(|one| one["verdict"] == verdict);
        some.map(|one| one["found"].as_str().unwrap().to_owned())
            .collect()
    };

    // Without a trust file no group can be unknown, and that is said.
    write("2 of dba");
    let said = check().well();
    assert!(
        said.out
            .contains("groups are not checked: there is no trust file yet"),
        "{said:?}"
    );
    assert_eq!(with("warning", &policies()), Vec::<String>::new());
    assert!(
        !home.path("state").exists(),
        "looking makes no state folder"
    );

    home.trusting_ada();
    check().refused(
        "p.cedar:2:1: in @ask: nobody in the trust file is in `dba`; its groups are `owner`",
    );
    let bad = with("bad", &policies());
    assert!(
        bad[0].contains("nobody in the trust file is in `dba`"),
        "{bad:?}"
    );

    write("2 of owner; presence=unattended");
    let said = check().well();
    assert!(said.out.contains("version 1 of the trust file"), "{said:?}");
    let short = "the rule `changes` asks 2 of owner, which can never be met: only human:ada can sign for `owner`";
    assert!(said.out.contains(short), "{said:?}");
    let warnings = with("warning", &policies());
    assert!(
        warnings.iter().any(|one| one.contains(short)),
        "{warnings:?}"
    );

    write("1 of owner; presence=unattended");
    let said = check().well();
    assert!(!said.out.contains("never be met"), "{said:?}");
    assert!(
        !with("warning", &policies())
            .iter()
            .any(|one| one.contains("`changes`"))
    );
    // In production her key does not count, whatever the rule says.
    std::fs::write(
        home.path("secondkey.toml"),
        format!("{config}environment = \"production\"\n"),
    )
    .unwrap();
    assert!(
        with("warning", &policies())
            .iter()
            .any(|one| one.contains("`changes` asks 1 of owner"))
    );

    // A trust file that does not count is not used, and that is said too.
    let pinned = home.path("state/trust/0001.json");
    let text = std::fs::read_to_string(&pinned).unwrap();
    std::fs::write(&pinned, text.replace("owner", "dba")).unwrap();
    write("1 of nobody-knows");
    let said = check().well();
    assert!(said.out.contains("groups are not checked: `"), "{said:?}");
    assert!(said.out.contains("does not count"), "{said:?}");
    assert!(with("bad", &policies())[0].contains("does not count"));
}

#[tokio::test]
async fn explain_says_what_a_request_asked_of_whom_and_who_has_signed() {
    let Some(home) = Home::for_test("explain_says_what_a_request_asked_of_whom_and_who_has_signed")
    else {
        return;
    };
    let key = home.trusting_ada();
    let document = home.file(1, &ask(2, "owner")).await;
    let id = document.request.as_str();
    let explain = |more: &[&str]| home.run(&[&["policy", "explain", id], more].concat());

    // Without its target only what is recorded can be told.
    let said = explain(&[]).well();
    assert!(said.out.contains("cannot be told here"), "{said:?}");
    assert!(
        said.out
            .contains("2 of owner (rule `changes`): 2 of owner missing"),
        "{said:?}"
    );
    assert!(said.out.contains("nobody yet"), "{said:?}");

    let config = "[targets.orders]\nurl = \"sqlite:shop.db\"\nenvironment = \"staging\"\n";
    std::fs::write(home.path("secondkey.toml"), config).unwrap();
    let digest = document.digest().to_string();
    let vote = [
        "requests",
        "approve",
        id,
        "--key",
        &key,
        "--document",
        &digest,
    ];
    let voted = home.run(&[&vote[..], &["--comment", "fine\u{1b}[2Jby me"]].concat());
    assert_eq!(voted.code, 3, "{voted:?}");

    let said = explain(&[]).well();
    for words in [
        "is pending",
        "ai:ada/claude-code asks on orders (sqlite, staging): update statement, it updates orders",
        "workspace policy (built in)\n  ask 1 of anyone\n  decided by writes-ask",
        "agent policy (built in)\n  ask 1 of anyone\n  decided by changes-ask",
        "The workspace and the agent policy has changed since this was filed",
        "2 of owner (rule `changes`): human:ada, 1 of owner missing",
        "human:ada approves it at",
        "fine\\u{1b}[2Jby me",
    ] {
        assert!(said.out.contains(words), "{words} is not in {}", said.out);
    }

    let said = explain(&["--json"]).well();
    let lines: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let request = &lines[0];
    assert_eq!(
        (&request["about"], &request["state"]),
        (&json!("request"), &json!("pending"))
    );
    let [asked] = request["asks"].as_array().unwrap().as_slice() else {
        panic!("{request:#}")
    };
    assert_eq!(
        (&asked["met"], &asked["steps"][0]["by"]),
        (&json!(false), &json!(["human:ada"]))
    );
    assert_eq!(request["votes"][0]["decision"], "approve");
    let by: Vec<_> = lines[1..].iter().map(|line| &line["by"]).collect();
    assert_eq!(json!(by), json!(["workspace", "agent", "together"]));

    let unknown = "req_00000000000000000000000000000000";
    home.run(&["policy", "explain", unknown]).refused("request");
    home.run(&["policy", "explain", id, "--sql", "select 1"])
        .refused_as_misuse();
    home.run(&["policy", "explain"]).refused_as_misuse();
}

#[tokio::test]
async fn doctor_counts_the_requests_that_wait() {
    let Some(home) = Home::for_test("doctor_counts_the_requests_that_wait") else {
        return;
    };
    home.trusting_ada();
    std::fs::write(
        home.path("secondkey.toml"),
        "[targets.orders]\nurl = \"sqlite:shop.db\"\n",
    )
    .unwrap();
    drop(rusqlite::Connection::open(home.path("shop.db")).unwrap());
    let counts = |words: &str| {
        let said = home.run(&["doctor"]);
        assert!(said.out.contains(words), "{said:?}");
    };
    counts("no request waits for people");
    let first = home.file(1, &ask(1, "owner")).await;
    counts("1 request waits for people");
    home.file(2, &ask(1, "owner")).await;
    counts("2 requests wait for people");
    home.run(&["requests", "cancel", first.request.as_str()]);
    counts("1 request waits for people");
}
