//! Which quorums a trust file can meet. The cast is that of the trust file's own tests: Ada holds a
//! passkey, Bo an SSH key with a passphrase, Cleo a hardware key; all of them are in `dba`.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::core::engine::Engine;
use crate::core::limits::Limits;
use crate::core::statement::Effect;
use crate::core::trust::file::tests::{CREATED_MS, OWN, RELAY, passkey, passkey_of, signer};
use crate::core::trust::file::tests::{human, software_of, trust};

const NOW: Timestamp = Timestamp::from_unix_ms(CREATED_MS);

/// What is out of reach of a rule that asks this, if it is.
fn short(ask: &str, trust: &TrustFile) -> Option<String> {
    let text = format!("@id(\"r\")\n@ask(\"{ask}\")\npermit (principal, action, resource);");
    let policy = PolicySet::load(&text, "p.cedar", None).unwrap();
    let out = policy.out_of_reach(trust, NOW, None);
    assert!(out.len() <= 1);
    out.first().map(ToString::to_string)
}

#[test]
fn a_quorum_is_in_reach_when_enough_people_hold_keys_that_count() {
    let trust = trust();
    for within in [
        "1 of anyone",
        "3 of dba",
        "1 of dba, then 2 of anyone",
        "2 of dba; presence=hardware",
        "2 of dba; surface=terminal",
        "3 of dba; surface=own",
    ] {
        assert_eq!(short(within, &trust), None, "{within}");
    }
    for beyond in [
        "4 of dba",
        "1 of owner",
        "2 of dba, then 2 of anyone",
        "3 of dba; presence=hardware",
        "3 of dba; surface=terminal",
    ] {
        assert!(short(beyond, &trust).is_some(), "{beyond}");
    }
    assert_eq!(
        short("1 of owner", &trust).unwrap(),
        "the rule `r` asks 1 of owner, which can never be met: nobody can sign for `owner` with a \
         key and on a screen that the rule takes"
    );
}

#[test]
fn whoever_may_no_longer_approve_is_not_counted_and_whoever_may_soon_is() {
    let mut trust = trust();
    assert_eq!(short("3 of dba", &trust), None);
    trust.signers[1].valid_from_ms = CREATED_MS + 1;
    assert_eq!(short("3 of dba", &trust), None);
    trust.signers[1].valid_until_ms = Some(CREATED_MS);
    assert!(short("3 of dba", &trust).unwrap().contains("only human:"));
    trust.signers[1].valid_until_ms = None;
    trust.signers[1].purposes.remove(&Purpose::Approve);
    assert!(short("3 of dba", &trust).is_some());
    assert_eq!(short("2 of dba", &trust), None);
}

#[test]
fn a_passkey_of_a_relays_page_proves_no_screen_of_ones_own() {
    let mut trust = trust();
    let own = signer("ada", vec![passkey_of(&passkey(), OWN)]);
    let relay = signer("ada", vec![passkey_of(&passkey(), RELAY)]);
    trust.signers = vec![own];
    assert_eq!(short("1 of dba; surface=own", &trust), None);
    trust.signers = vec![relay];
    assert!(short("1 of dba; surface=own", &trust).is_some());
    assert_eq!(short("1 of dba", &trust), None);
}

#[test]
fn two_keys_make_one_person() {
    let mut trust = trust();
    trust.signers = vec![signer("bo", vec![software_of(1), software_of(2)])];
    assert_eq!(trust.signers[0].name, human("bo"));
    assert!(short("2 of dba", &trust).unwrap().contains("only human:bo"));
}

#[test]
fn only_rules_about_a_target_that_there_is_are_looked_at_and_production_takes_hardware() {
    let mut trust = trust();
    trust.signers = vec![signer("bo", vec![software_of(12)])];
    let target = |environment: &str| Target {
        name: "shop".parse().unwrap(),
        engine: Engine::Sqlite,
        environment: environment.into(),
        labels: BTreeMap::new(),
        allow: [Effect::Read].into(),
        limits: Limits::DEFAULT,
        trusted: BTreeSet::new(),
        sync_reads: false,
        only_capabilities: false,
    };
    let (staging, production) = (target("staging"), target("production"));
    let out = |policy: &PolicySet, targets: Option<&[&Target]>| -> Vec<String> {
        let out = policy.out_of_reach(&trust, NOW, targets).into_iter();
        out.map(|one| one.requirement.rule).collect()
    };
    let starter = PolicySet::starter();
    assert_eq!(out(&starter, Some(&[&staging])), Vec::<String>::new());
    // What stands in an `unless` is not looked at: a target could do without that.
    let asks = ["reads-ask", "production-asks"];
    assert_eq!(out(&starter, Some(&[&production])), asks);
    assert_eq!(out(&starter, Some(&[&staging, &production])), asks);
    assert_eq!(out(&starter, None), ["production-asks"]);

    let text = "@id(\"all\") @ask(\"1 of anyone\") permit (principal, action, resource);";
    let all = PolicySet::load(text, "p.cedar", None).unwrap();
    assert_eq!(out(&all, Some(&[&staging])), Vec::<String>::new());
    assert_eq!(out(&all, Some(&[&production])), ["all"]);
    assert_eq!(out(&all, Some(&[])), Vec::<String>::new());
}
