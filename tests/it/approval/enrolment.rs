//! A passkey, from the page that made it to a vote that counts.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secondkey::core::approval::verify::verify;
use secondkey::core::approval::webauthn::{Expected, Registration, register};
use secondkey::core::approval::{ENROL, TRUST};
use secondkey::core::signer::{Presence, Surface};
use secondkey::core::trust::{KeyKind, Proposal, SignedProposal, SignedTrust, SignerKey, first};

use super::rig::{CREATED_MS, NAMESPACE, NOW, OWN, ada, document, pack, signed, trust, verdict};
use crate::support::authenticator::{Passkey, client_data};

#[test]
fn a_passkey_is_enrolled_trusted_and_counted() {
    let passkey = Passkey::new(5, "localhost");
    let registration = Registration {
        authenticator_data: passkey.create(b"credential"),
        client_data: client_data("webauthn.create", b"fresh", OWN, ""),
    };
    let origins = BTreeSet::from([OWN.to_owned()]);
    let expected = Expected {
        challenge: b"fresh",
        rp_id: "localhost",
        origins: &origins,
        user_verification: true,
    };
    let new = register(&registration, &expected).unwrap();

    let key = SignerKey {
        kind: KeyKind::Passkey {
            rp_id: "localhost".into(),
            origins,
            credential: URL_SAFE_NO_PAD.encode(&new.credential),
        },
        public: new.key,
        presence: Presence::Hardware,
        user_verification: true,
        label: "laptop".into(),
    };
    let proposal = Proposal {
        version: 1,
        name: ada(),
        key,
        nonce: "a".repeat(32),
        created_ms: CREATED_MS,
    };
    let text = proposal.to_text();
    let proof = pack(&passkey, ENROL, &text, OWN).armored();
    let handed_over = SignedProposal {
        proposal: text,
        proof,
    };
    let proposed = handed_over.verify().unwrap();
    assert_eq!(proposed.short_code(), proposal.short_code());

    let trust = trust(proposed.key);
    let message = String::from_utf8(trust.canonical()).unwrap();
    let file = SignedTrust {
        signatures: vec![pack(&passkey, TRUST, &message, OWN).armored()],
        trust,
    };
    let carried = SignedTrust::parse(file.to_text().as_bytes()).unwrap();
    let pinned = first(&carried, NOW).unwrap();

    let text = verdict(Surface::OwnPage).to_text();
    let signature = pack(&passkey, NAMESPACE, &text, OWN).armored();
    let vote = verify(&signed(text, signature), &document(), &pinned, NOW)
        .unwrap()
        .vote();
    assert_eq!((vote.signer, vote.surface), (ada(), Surface::OwnPage));
    assert_eq!(vote.presence, Presence::Hardware);
    assert_eq!(vote.groups, BTreeSet::from(["dba".to_owned()]));
}
