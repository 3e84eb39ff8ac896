//! Breaking the glass over the socket: filed and run by the agent, shown and signed in one's own program;
//! and what the agent's policies say of it.

use serde_json::{Value, json};

use super::rig::{ASKER, ATTACKER, Rig, Said};
use super::story::a_key;

const POLICY: &str = "@id(\"writes\") @ask(\"1 of owner; presence=unattended\") permit (principal, action, resource);\n";
const MORE: &str = "policy = \"../policy.cedar\"\nagent_policy = \"../policy.cedar\"";
const REASON: &str = "orders are stuck since 02:10";
const UPDATE: &str = "UPDATE products SET price = $1 WHERE name = 'lamp'";

/// A running agent that trusts a key of one user for breaking the glass, and that key.
fn burning(test: &str) -> Option<(Rig, String)> {
    let rig = Rig::new(test, super::rig::AGENT, MORE)?;
    std::fs::write(rig.path("policy.cedar"), POLICY).unwrap();
    let key = a_key(&rig, test, &["--break-glass"])?;
    Some((rig.started(), key))
}

fn break_glass(rig: &Rig, user: super::rig::User, key: &str) -> Said {
    let whole = [
        "break-glass",
        "--target",
        "shop",
        "--reason",
        REASON,
        "--params",
        "[15.5]",
        "--key",
        key,
        "--yes",
        "--json",
        UPDATE,
    ];
    rig.run(user, &whole)
}

#[test]
fn a_person_breaks_the_glass_over_the_socket_and_the_review_is_open() {
    let Some((rig, key)) = burning("separated::glass") else {
        return;
    };
    assert!(rig.costs(20.0));
    let said = break_glass(&rig, ASKER, &key).well();
    assert!(said.err.contains("Its review is open"), "{said:?}");
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer["affected"], 1, "{answer}");
    assert_eq!(
        (&answer["state"], &answer["review"]),
        (&json!("succeeded"), &json!("open"))
    );
    assert!(rig.costs(15.5));
    let id = answer["request"].as_str().unwrap();
    let person = format!("human:{}", ASKER.name());
    for kind in ["request.submitted", "execution.started", "review.opened"] {
        let entries = rig.logged(kind);
        let entry = entries.iter().find(|entry| entry["request"] == id);
        let entry = entry.unwrap_or_else(|| panic!("{kind}: {entries:#?}"));
        assert!(entry.to_string().contains("break_glass"), "{entry}");
    }
    assert!(
        rig.logged("request.submitted")[0]
            .to_string()
            .contains(&person)
    );
    let open = rig
        .run(ASKER, &["requests", "list", "--reviews", "--json"])
        .well();
    assert!(open.out.contains(id), "{open:?}");
    // Once.
    for user in [ASKER, ATTACKER] {
        let again = rig.ask(user, json!({"call": "run", "request": id}));
        assert!(again.get("refused").is_some(), "{again}");
    }
    assert_eq!(rig.logged("execution.started").len(), 1);
}

#[test]
fn who_does_not_approve_breaks_nothing_and_what_nobody_signed_does_not_run() {
    let Some((rig, key)) = burning("separated::glass_refused") else {
        return;
    };
    // Somebody who may use the socket, and whose signature counts for nothing.
    let refused = break_glass(&rig, ATTACKER, "/nowhere");
    refused.refused(1, "those who approve");
    let entries = rig.logged("request.refused");
    assert!(
        entries[0].to_string().contains("break_glass"),
        "{entries:#?}"
    );
    assert!(rig.logged("request.submitted").is_empty());
    // Filed by hand, and run without a signature.
    let file = json!({
        "call": "break_glass", "sql": UPDATE, "params": [1.0], "target": "shop", "reason": REASON,
    });
    let filed = rig.ask(ASKER, file.clone());
    let id = filed["ok"]["request"]["id"].as_str().unwrap().to_owned();
    let run = json!({"call": "run", "request": id});
    let refused = rig.ask(ASKER, run.clone());
    assert_eq!(refused["refused"]["code"], "approval_pending", "{refused}");
    assert_eq!(rig.ask(ATTACKER, run)["refused"]["code"], "unknown_request");
    let shown = rig.ask(ATTACKER, json!({"call": "show", "request": id}));
    assert_eq!(shown["refused"]["code"], "unknown_request", "{shown}");
    // A key that is not trusted signs nothing, and what it was to sign is taken back.
    let strange = format!("{key}.strange");
    ASKER.does(|| {
        let mut make = std::process::Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-f", &strange]);
        assert!(make.status().unwrap().success());
    });
    let refused = break_glass(&rig, ASKER, &strange);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(rig.logged("request.cancelled").len(), 1);
    // Without a reason, or by the tenth that waits for a signature, nothing is filed.
    let mut silent = file.clone();
    silent["reason"] = json!("");
    assert_eq!(
        rig.ask(ASKER, silent)["refused"]["code"],
        "invalid_argument"
    );
    for _ in 0..9 {
        assert!(rig.ask(ASKER, file.clone()).get("ok").is_some());
    }
    let refused = rig.ask(ASKER, file);
    assert_eq!(refused["refused"]["code"], "approval_required", "{refused}");
    assert!(rig.costs(20.0));
    assert!(rig.logged("execution.started").is_empty());
}

#[test]
fn the_agents_policies_explain_a_request_to_whoever_may_see_it() {
    let Some((rig, key)) = burning("separated::explain") else {
        return;
    };
    let answer = break_glass(&rig, ASKER, &key).well();
    let answer: Value = serde_json::from_str(&answer.out).unwrap();
    let id = answer["request"].as_str().unwrap();
    let said = rig.run(ASKER, &["policy", "explain", id]).well();
    for part in [
        "policy.cedar",
        "decided by",
        "together",
        "asked of people",
        "approves it",
    ] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    let lines = rig.run(ASKER, &["policy", "explain", id, "--json"]).well();
    assert!(
        lines
            .out
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    rig.run(ATTACKER, &["policy", "explain", id])
        .refused(1, "unknown_request");
    // Once the policy has changed, that is said.
    let stricter = POLICY.replace("1 of owner", "2 of owner");
    std::fs::write(rig.path("policy.cedar"), stricter).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let said = rig.run(ASKER, &["policy", "explain", id]).well();
        if said.out.contains("has changed since this was filed") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{said:?}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let address = rig.address();
    let statement = [
        "policy", "explain", "--sql", "select 1", "--agent", &address,
    ];
    rig.run(ASKER, &statement).refused(2, "no statement");
}
