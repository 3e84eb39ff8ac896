//! What a trust file may hold. The cast: Ada holds a passkey, Bo an SSH key with a passphrase, Cleo a
//! hardware key.

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::*;
use crate::core::approval::authenticator::{HardwareKey, Passkey};
use crate::core::principal::PrincipalKind;
use crate::core::trust::Fault;

pub(in crate::core) const CREATED_MS: i64 = 1_700_000_000_000;
pub(in crate::core) const OWN: &str = "http://localhost:7321";
pub(in crate::core) const RELAY: &str = "https://relay.example.com";

pub(in crate::core) fn human(name: &str) -> Principal {
    Principal::new(PrincipalKind::Human, name)
}

pub(in crate::core) fn passkey() -> Passkey {
    Passkey::new(11, "localhost")
}

pub(in crate::core) fn relay_passkey() -> Passkey {
    Passkey::new(14, "example.com")
}

pub(in crate::core) fn software(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(in crate::core) fn hardware() -> HardwareKey {
    HardwareKey::p256(13)
}

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    items.into_iter().collect()
}

pub(in crate::core) fn passkey_of(passkey: &Passkey, origin: &str) -> SignerKey {
    SignerKey {
        kind: KeyKind::Passkey {
            rp_id: passkey.rp_id.clone(),
            origins: set([origin.to_owned()]),
            credential: "Y3JlZA".into(),
        },
        public: PublicKey::passkey(&passkey.rp_id, &passkey.point()).unwrap(),
        presence: Presence::Hardware,
        user_verification: true,
        label: "laptop".into(),
    }
}

pub(in crate::core) fn ssh_key(public: PublicKey, presence: Presence) -> SignerKey {
    SignerKey::ssh(public, presence, "key")
}

pub(in crate::core) fn software_of(seed: u8) -> SignerKey {
    let public = PublicKey::ed25519(software(seed).verifying_key()).unwrap();
    ssh_key(public, Presence::Passphrase)
}

pub(in crate::core) fn signer(name: &str, keys: Vec<SignerKey>) -> Signer {
    Signer {
        name: human(name),
        groups: set(["dba".to_owned()]),
        purposes: set([Purpose::Approve, Purpose::Trust]),
        valid_from_ms: CREATED_MS,
        valid_until_ms: None,
        keys,
    }
}

/// Version 1 with three people, of whom two have to agree on the next.
pub(in crate::core) fn trust() -> TrustFile {
    let ada = vec![
        passkey_of(&passkey(), OWN),
        passkey_of(&relay_passkey(), RELAY),
    ];
    let cleo = ssh_key(hardware().line().parse().unwrap(), Presence::Hardware);
    TrustFile {
        format: FORMAT,
        version: 1,
        previous: None,
        created_ms: CREATED_MS,
        admin_quorum: 2,
        origins: Origins {
            own: set([OWN.to_owned()]),
            relay: set([RELAY.to_owned()]),
        },
        signers: vec![
            signer("ada", ada),
            signer("bo", vec![software_of(12)]),
            signer("cleo", vec![cleo]),
        ],
    }
}

/// The faults after a change.
fn faults(change: impl FnOnce(&mut TrustFile)) -> Vec<Fault> {
    let mut trust = trust();
    change(&mut trust);
    trust.faults()
}

#[test]
fn a_sound_file_has_no_faults_and_survives_being_written_and_read() {
    assert_eq!(trust().faults(), []);
    let signed = SignedTrust {
        trust: trust(),
        signatures: vec!["x".into()],
    };
    assert_eq!(SignedTrust::parse(signed.to_text().as_bytes()), Ok(signed));
    let groups: Vec<_> = trust().groups().into_iter().map(str::to_owned).collect();
    assert_eq!(groups, ["dba"]);
}

#[test]
fn each_fault_is_found() {
    let found = |change: fn(&mut TrustFile), fault: Fault| {
        assert_eq!(faults(change), [fault]);
    };
    found(|t| t.format = 2, Fault::Format(2));
    found(|t| t.version = 0, Fault::Previous(0));
    found(|t| t.version = 2, Fault::Previous(2));
    found(|t| t.version = u64::MAX, Fault::Previous(u64::MAX));
    found(|t| t.previous = Some(Digest::of(&[])), Fault::Previous(1));
    found(|t| t.created_ms = -1, Fault::Times("the file".into()));
    let admins = |wanted, there| Fault::Admins { wanted, there };
    found(|t| t.admin_quorum = 4, admins(4, 3));
    found(|t| t.admin_quorum = 0, admins(0, 3));
    found(
        |t| t.signers[0].groups = set(["a b".into()]),
        Fault::Group("a b".into()),
    );
    found(
        |t| t.signers[0].valid_until_ms = Some(1),
        Fault::Times("`human:ada`".into()),
    );
    found(
        |t| t.signers[1].keys.clear(),
        Fault::NoKeys("human:bo".into()),
    );
    found(
        |t| t.signers[1].name = human("b,*"),
        Fault::Name("human:b,*".into()),
    );
    found(
        |t| t.signers[1].name = human("Ada"),
        Fault::SameName("human:Ada".into()),
    );
    found(
        |t| t.signers[1].name = Principal::new(PrincipalKind::Ai, "bo"),
        Fault::Name("ai:bo".into()),
    );
    found(
        |t| t.signers[1].keys[0].label = "a\nb".into(),
        Fault::Label("`human:bo`".into()),
    );
    let claim = || Fault::Presence("`human:bo`, key `key`".into());
    found(
        |t| t.signers[1].keys[0].presence = Presence::Hardware,
        claim(),
    );
    found(|t| t.signers[1].keys[0].user_verification = true, claim());
}

#[test]
fn an_expired_admin_does_not_count_for_the_quorum() {
    let found = faults(|t| {
        for signer in &mut t.signers[..2] {
            signer.valid_from_ms = 1;
            signer.valid_until_ms = Some(CREATED_MS);
        }
    });
    assert_eq!(
        found,
        [Fault::Admins {
            wanted: 2,
            there: 1
        }]
    );
}

#[test]
fn one_point_is_one_key_whatever_it_is_called() {
    let twice = faults(|t| t.signers[2].keys = vec![software_of(12)]);
    assert!(matches!(twice[..], [Fault::SameKey(_)]), "{twice:?}");
    // The same point, as the key of another relying party.
    let mut renamed = passkey();
    renamed.rp_id = "example.com".into();
    let twice = faults(|t| t.signers[2].keys = vec![passkey_of(&renamed, RELAY)]);
    assert!(matches!(twice[..], [Fault::SameKey(_)]), "{twice:?}");
}

#[test]
fn a_passkey_is_bound_to_listed_pages_of_its_relying_party() {
    let origins = |list: &[&str]| {
        let list: BTreeSet<String> = list.iter().map(|&o| o.to_owned()).collect();
        faults(|t| {
            let KeyKind::Passkey { origins, .. } = &mut t.signers[0].keys[1].kind else {
                panic!("a passkey");
            };
            *origins = list;
        })
    };
    assert_eq!(origins(&[RELAY]), []);
    assert_eq!(origins(&[]), [Fault::Origin(String::new())]);
    assert_eq!(
        origins(&[OWN]),
        [Fault::Origin(OWN.into())],
        "another relying party's"
    );
    let unlisted = "https://other.example.com";
    assert_eq!(origins(&[unlisted]), [Fault::Origin(unlisted.into())]);
    let both = faults(|t| t.origins.own.extend([RELAY.to_owned()]));
    assert_eq!(
        both,
        [Fault::Origin(RELAY.into())],
        "a relay's page is nobody's own"
    );
    let insecure = faults(|t| t.origins.own.extend(["http://example.com".to_owned()]));
    assert_eq!(insecure.len(), 1);
}

#[test]
fn a_key_is_what_the_file_says() {
    let kind = |change: fn(&mut SignerKey)| faults(|t| change(&mut t.signers[0].keys[0]));
    let wrong = [Fault::Kind("`human:ada`, key `laptop`".into())];
    assert_eq!(kind(|key| key.kind = KeyKind::Ssh), wrong);
    assert_eq!(
        kind(|key| key.public = hardware().line().parse().unwrap())[..1],
        wrong
    );
    let credential = |id: &str| {
        let id = id.to_owned();
        faults(|t| {
            if let KeyKind::Passkey { credential, .. } = &mut t.signers[0].keys[0].kind {
                *credential = id;
            }
        })
    };
    assert_eq!(credential(""), wrong);
    assert_eq!(credential("a=="), wrong);
}

#[test]
fn reading_is_strict() {
    let signed = SignedTrust::unsigned(trust());
    let good = serde_json::to_value(&signed).unwrap();
    let parse = |value: &Value| SignedTrust::parse(value.to_string().as_bytes());
    assert!(parse(&good).is_ok());
    for (pointer, field) in [
        ("", "more"),
        ("/trust", "more"),
        ("/trust/signers/0", "more"),
        ("/trust/signers/0/keys/0", "more"),
        ("/trust/signers/0/keys/0/kind/passkey", "more"),
    ] {
        let mut bad = good.clone();
        bad.pointer_mut(pointer).unwrap()[field] = json!(1);
        assert!(parse(&bad).is_err(), "{pointer}");
    }
    let mut comment = good.clone();
    let key = comment
        .pointer_mut("/trust/signers/1/keys/0/public")
        .unwrap();
    *key = format!("{} ada@laptop", key.as_str().unwrap()).into();
    assert!(parse(&comment).is_err(), "a key has one spelling");
}
