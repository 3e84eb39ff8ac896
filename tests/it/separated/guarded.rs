//! The contrast: the same list as the agent's own user, where it works. What `attacks.rs` shows is due to
//! the agent being another user, and to nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use secondkey::core::ids::RequestId;
use secondkey::core::work::Digest;
use serde_json::{Value, json};

use super::attacks::{readable, touchable, writable};
use super::rig::{ASKER, ATTACKER, Rig, strange_key, trust_of, update, verdict_on};
use crate::stories::{content, refusal};

#[tokio::test]
async fn in_one_account_each_attack_on_the_files_works() {
    // The agent runs as whoever attacks.
    let Some(rig) = Rig::new("separated::guarded", ATTACKER, "") else {
        return;
    };
    rig.trust_ada();
    let rig = rig.started();
    for (what, worked) in [readable(&rig, ATTACKER), writable(&rig, ATTACKER)].concat() {
        assert!(
            worked,
            "{what} is out of reach even for its owner: the attack shows nothing"
        );
    }
    assert!(touchable(&rig, ATTACKER));
    let said = rig.run(ATTACKER, &["doctor", "--json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["level"]["name"], "Guarded", "{report:#}");
    assert!(report["bad"].as_u64().unwrap() >= 5, "{report:#}");
    let mut client = rig.client(ATTACKER, "raw").await;
    let who = client.call("whoami", &json!({})).await;
    assert_eq!(content(&who)["level"], "guarded");
}

/// Takes the trust file over: a signer of the attacker's own, then a verdict by their key. In one account
/// the row changes; as another user the same steps end at the first.
#[tokio::test]
async fn whoever_writes_the_trust_file_approves_and_another_user_cannot_write_it() {
    for (agent, works) in [(ATTACKER, true), (super::rig::AGENT, false)] {
        let Some(rig) = Rig::new("separated::take_over", agent, "") else {
            return;
        };
        rig.trust_ada();
        let rig = rig.started();
        let mut client = rig.client(ASKER, "raw").await;
        refusal(&client.call("sql_execute", &update(1.0)).await);
        let listed = client.call("request", &json!({"action": "list"})).await;
        let id = content(&listed)["requests"][0]["id"].clone();
        let shown = rig.ask(ASKER, json!({"call": "show", "request": id}));
        let text = shown["ok"]["shown"]["request"]["document"]
            .as_str()
            .unwrap();
        let document = Digest::of(&[text.as_bytes()]);
        let id: RequestId = serde_json::from_value(id).unwrap();

        let pinned = rig.state().join("trust/0001.json");
        let written = ATTACKER.does(|| {
            let beside = pinned.with_file_name("new");
            fs::write(&beside, trust_of(&strange_key()).to_text())?;
            fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
            fs::rename(&beside, &pinned)
        });
        assert_eq!(written.is_ok(), works, "{written:?}");
        let signed = verdict_on(&id, document, &strange_key());
        let vote = json!({"call": "vote", "request": id, "signed": signed});
        let answer = rig.ask(ATTACKER, vote);
        assert_eq!(answer.get("ok").is_some(), works, "{answer}");
        let wait = json!({"action": "wait", "id": id.as_str()});
        let collected = client.call("request", &wait).await;
        assert_eq!(collected["result"]["isError"] != true, works, "{collected}");
        assert_eq!(rig.costs(1.0), works);
        assert_eq!(rig.costs(20.0), !works);
        client.finish().await;
    }
}
