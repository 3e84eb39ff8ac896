//! One document, one verdict on it, and a trust file around whatever key a test brings.

use std::collections::BTreeSet;

use secondkey::core::approval::Decision;
use secondkey::core::approval::document::{Document, PolicyDigests, Purpose as Aim};
use secondkey::core::approval::sshsig::{PublicKey, SshSig};
use secondkey::core::approval::verdict::{SignedVerdict, Verdict};
use secondkey::core::approval::webauthn::{Assertion, challenge};
use secondkey::core::engine::Engine;
use secondkey::core::ids::{AgentId, RequestId};
use secondkey::core::limits::Limits;
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::signer::{Presence, Surface};
use secondkey::core::statement::Effect;
use secondkey::core::time::Timestamp;
use secondkey::core::trust::{KeyKind, Origins, Purpose, Signer, SignerKey, TrustFile};
use secondkey::core::work::{Digest, Work};

use crate::support::authenticator::{Passkey, client_data};

pub(super) const CREATED_MS: i64 = 1_700_000_000_000;
pub(super) const NOW: Timestamp = Timestamp::from_unix_ms(CREATED_MS + 10_000);
pub(super) const OWN: &str = "http://localhost:7321";
pub(super) const NAMESPACE: &str = "approval@secondkey.dev";

pub(super) fn ada() -> Principal {
    Principal::new(PrincipalKind::Human, "ada")
}

pub(super) fn document() -> Document {
    let work = Work::Sql {
        text: "delete from orders where id = 7".into(),
        params: Vec::new(),
        salt: [1; 16],
    };
    Document {
        version: 1,
        purpose: Aim::Run,
        workspace: "local".into(),
        request: RequestId::new(1_700_000_000_000, [1; 10]),
        executor: AgentId::new(1_700_000_000_000, [2; 10]),
        target: "orders".into(),
        engine: Engine::Sqlite,
        environment: "production".into(),
        requester: Principal::new(PrincipalKind::Ai, "ada/claude"),
        reason: None,
        work: work.digest(),
        statement: work.text().into(),
        capability: None,
        parts: Vec::new(),
        params: None,
        effect: Effect::Write,
        kind: "delete".into(),
        because: "deletes from orders".into(),
        reads: vec!["orders".into()],
        writes: vec!["orders".into()],
        limits: Limits::DEFAULT,
        policy: PolicyDigests {
            workspace: Digest::of(&[b"workspace"]),
            agent: Digest::of(&[b"agent"]),
        },
        preview: None,
        nonce: "0".repeat(32),
        created_ms: CREATED_MS,
        expires_ms: CREATED_MS + 600_000,
    }
}

pub(super) fn verdict(surface: Surface) -> Verdict {
    Verdict {
        version: 1,
        decision: Decision::Approve,
        document: document().digest(),
        request: document().request,
        signer: ada(),
        surface,
        comment: None,
        at_ms: CREATED_MS + 5_000,
    }
}

/// Ada alone, with this key.
pub(super) fn trust(key: SignerKey) -> TrustFile {
    let trust = TrustFile {
        origins: Origins {
            own: BTreeSet::from([OWN.to_owned()]),
            relay: BTreeSet::new(),
        },
        ..TrustFile::first(
            CREATED_MS,
            vec![Signer {
                name: ada(),
                groups: BTreeSet::from(["dba".to_owned()]),
                purposes: BTreeSet::from([Purpose::Approve, Purpose::Trust]),
                valid_from_ms: CREATED_MS,
                valid_until_ms: Some(CREATED_MS + 86_400_000),
                keys: vec![key],
            }],
        )
    };
    assert_eq!(trust.faults(), []);
    trust
}

pub(super) fn ssh_key(line: &str, presence: Presence) -> SignerKey {
    SignerKey::ssh(line.parse().unwrap(), presence, "a key")
}

pub(super) fn passkey_key(passkey: &Passkey) -> SignerKey {
    SignerKey {
        kind: KeyKind::Passkey {
            rp_id: passkey.rp_id.clone(),
            origins: BTreeSet::from([OWN.to_owned()]),
            credential: "aWQ".into(),
        },
        public: public(passkey),
        presence: Presence::Hardware,
        user_verification: false,
        label: "a passkey".into(),
    }
}

fn public(passkey: &Passkey) -> PublicKey {
    PublicKey::passkey(&passkey.rp_id, &passkey.point()).unwrap()
}

/// What a page on `origin` gets from a passkey, packed.
pub(super) fn pack(passkey: &Passkey, namespace: &str, message: &str, origin: &str) -> SshSig {
    let challenge = challenge(namespace, message.as_bytes());
    let client = client_data(
        "webauthn.get",
        &challenge,
        origin,
        r#","crossOrigin":false"#,
    );
    let (authenticator_data, signature) = passkey.get(&client);
    let assertion = Assertion {
        authenticator_data,
        client_data: client,
        signature,
    };
    assertion.pack(&public(passkey), namespace).unwrap()
}

pub(super) fn signed(verdict: String, signature: String) -> SignedVerdict {
    SignedVerdict { verdict, signature }
}
