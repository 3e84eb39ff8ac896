//! Capabilities of an agent of another user: who sees their statements, and who lets a changed one be called.

use std::fs;
use std::os::unix::fs::chown;
use std::time::Duration;

use serde_json::json;

use super::rig::{AGENT, ASKER, ATTACKER, Rig, Said, User};
use super::story::a_key;

const FILE: &str = "capabilities:
  set_price:
    sql: update products set price = :price where name = 'lamp'
    params: { price: { type: number, required: true } }
    policy: { readonly: false, approval: true }
";

/// A running agent with one capability, and the key of one who approves.
fn rig(test: &str) -> Option<(Rig, String)> {
    let rig = Rig::new(test, AGENT, "")?;
    let key = a_key(&rig, test, &[])?;
    let file = rig.path("etc/capability.yaml");
    fs::write(&file, FILE).unwrap();
    chown(&file, Some(AGENT.0), Some(AGENT.0)).unwrap();
    let config = rig.path("etc/secondkey.toml");
    let text = fs::read_to_string(&config).unwrap();
    let more =
        "\ncapabilities = \"capability.yaml\"\nchanged_capabilities = \"ask\"\n[targets.away]";
    fs::write(&config, text.replace("\n[targets.away]", more)).unwrap();
    Some((rig.started(), key))
}

/// The request that a call of a user's client becomes, once it can be called.
async fn filed(rig: &Rig, user: User) -> String {
    let mut client = rig.client(user, "model").await;
    let call = json!({"name": "set_price", "params": {"price": 9.5}});
    let text = loop {
        let text = client.call("capability_call", &call).await.to_string();
        if !text.contains("capability_withdrawn") {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    client.finish().await;
    let (_, rest) = text.split_once("req_").unwrap_or_else(|| panic!("{text}"));
    let id: String = rest
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    format!("req_{id}")
}

#[tokio::test]
async fn the_statement_is_shown_to_those_who_approve_and_to_nobody_else() {
    let Some((rig, _)) = rig("separated::capabilities") else {
        return;
    };
    let (theirs, others) = (filed(&rig, ASKER).await, filed(&rig, ATTACKER).await);
    let show = |user, id: &str| rig.run(user, &["requests", "show", id, "--statement"]);
    for id in [&theirs, &others] {
        let said = show(ASKER, id).well();
        assert!(
            said.out.contains("update products set price = :price"),
            "{said:?}"
        );
    }
    // Not even of what they asked for themselves.
    show(ATTACKER, &others).refused(1, "for those who approve");
    show(ATTACKER, &theirs).refused(1, "there is no request");
    assert!(rig.costs(20.0));
}

#[tokio::test]
async fn a_changed_one_is_called_again_once_somebody_has_signed_over_the_socket() {
    let Some((rig, key)) = rig("separated::changed") else {
        return;
    };
    filed(&rig, ASKER).await;
    // The agent has seen what it begins with.
    while rig.logged("capability.accepted").is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fs::write(
        rig.path("etc/capability.yaml"),
        FILE.replace("'lamp'", "'lamp' or true"),
    )
    .unwrap();
    while rig.logged("capability.changed").is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let accept = |user, more: &[&str]| -> Said {
        let words = ["capability", "accept", "set_price", "--key", key.as_str()];
        rig.run(user, &[&words[..], more].concat())
    };
    accept(ATTACKER, &[]).refused(1, "for those who approve");
    let shown = accept(ASKER, &[]);
    let (_, rest) = shown
        .err
        .split_once("\nis ")
        .unwrap_or_else(|| panic!("{shown:?}"));
    let digest = rest.split(' ').next().unwrap().to_owned();
    assert!(
        shown
            .err
            .contains("+ update products set price = :price where name = 'lamp' or true")
    );
    shown.refused(1, "nobody is here to be asked");
    let said = accept(ASKER, &["--digest", &digest]).well();
    assert!(said.out.contains("is accepted as it is"), "{said:?}");
    let id = filed(&rig, ASKER).await;
    assert!(id.len() > 10, "it can be called again");
    assert!(rig.costs(20.0));
}
