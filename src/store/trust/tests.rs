//! One chain in one folder: what is pinned counts, what was changed by hand counts for nobody.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicI64, Ordering};

use ed25519_dalek::SigningKey;
use tempfile::TempDir;

use super::*;
use crate::core::approval::sshsig::PublicKey;
use crate::core::audit::{Content, EventKind};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::signer::Presence;
use crate::core::time::Clock;
use crate::core::trust::{Origins, Purpose, Signer, SignerKey};
use crate::store::{Filter, State};

const NOW: i64 = 1_700_000_000_000;

#[derive(Debug)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed))
    }
}

struct Rig {
    folder: TempDir,
    clock: Arc<Hand>,
}

impl Rig {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            clock: Arc::new(Hand(AtomicI64::new(NOW))),
        }
    }

    fn open(&self) -> State {
        State::open(&self.folder.path().join("state"), self.clock.clone()).unwrap()
    }

    fn file(&self, version: u64) -> PathBuf {
        let name = format!("state/trust/{version:04}.json");
        self.folder.path().join(name)
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn signer(name: &str, number: u8) -> Signer {
    Signer {
        name: Principal::new(PrincipalKind::Human, name),
        groups: BTreeSet::from(["owner".to_owned()]),
        purposes: BTreeSet::from([Purpose::Approve, Purpose::Trust]),
        valid_from_ms: NOW - 1_000,
        valid_until_ms: None,
        keys: vec![SignerKey::ssh(
            PublicKey::ed25519(key(number).verifying_key()).unwrap(),
            Presence::Passphrase,
            "a key",
        )],
    }
}

fn file(version: u64, previous: Option<&SignedTrust>, signers: Vec<Signer>, by: u8) -> SignedTrust {
    let trust = TrustFile {
        format: 1,
        version,
        previous: previous.map(|before| before.trust.digest()),
        created_ms: NOW,
        admin_quorum: 1,
        origins: Origins::default(),
        signers,
    };
    let mut signed = SignedTrust::unsigned(trust);
    signed.sign(&key(by)).unwrap();
    signed
}

fn one() -> SignedTrust {
    file(1, None, vec![signer("ada", 1)], 1)
}

fn two(by: u8) -> SignedTrust {
    file(2, Some(&one()), vec![signer("ada", 1), signer("bo", 2)], by)
}

fn version(state: &State) -> Option<u64> {
    state.trust().unwrap().map(|trust| trust.version)
}

#[tokio::test]
async fn what_one_handle_pins_the_other_trusts_and_the_log_tells() {
    let rig = Rig::new();
    let (state, other) = (rig.open(), rig.open());
    assert_eq!(version(&other), None);
    state.install_trust(one()).await.unwrap();
    assert_eq!(version(&other), Some(1));
    state.install_trust(two(1)).await.unwrap();
    assert_eq!(version(&other), Some(2));
    let again = rig.open();
    assert_eq!(*again.trust().unwrap().unwrap(), two(1).trust);
    assert_eq!(again.trust_versions().unwrap(), [one(), two(1)]);

    let mode = rig.file(2).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let filter = Filter {
        kind: Some(EventKind::TrustInstalled),
        limit: 10,
        ..Filter::default()
    };
    let entries = other.log().list(&filter).unwrap();
    let facts = entries.iter().map(|entry| match &entry.content {
        Content::Present(body) => (body.facts["version"].clone(), body.facts["digest"].clone()),
        other @ (Content::Removed | Content::Unreadable) => panic!("{other:?}"),
    });
    let digest = |signed: SignedTrust| signed.trust.digest().to_string();
    let mut facts: Vec<_> = facts.collect();
    facts.sort_by_key(|(version, _)| version.to_string());
    assert_eq!(
        facts,
        [
            (1.into(), digest(one()).into()),
            (2.into(), digest(two(1)).into())
        ]
    );
}

#[tokio::test]
async fn nobody_else_makes_a_version() {
    let rig = Rig::new();
    let state = rig.open();
    let refused = |error: PinnedError| Refusal::from(error).code;
    let skipped = state.install_trust(two(1)).await.unwrap_err();
    assert_eq!(refused(skipped), Code::TrustRefused);
    state.install_trust(one()).await.unwrap();

    let forged = state.install_trust(two(2)).await.unwrap_err();
    assert_eq!(forged, PinnedError::Refused(TrustError::Stranger));
    let first_again = file(1, None, vec![signer("eve", 6)], 6);
    let replaced = state.install_trust(first_again).await.unwrap_err();
    assert_eq!(replaced, PinnedError::Refused(TrustError::Version(1)));
    let mut early = two(1);
    early.trust.created_ms = NOW + CLOCK_SKEW_MS + 1;
    early.signatures.clear();
    early.sign(&key(1)).unwrap();
    let future = state.install_trust(early).await.unwrap_err();
    assert_eq!(future, PinnedError::Future);
    let mut late = two(1);
    late.trust.created_ms = NOW - 1;
    late.signatures.clear();
    late.sign(&key(1)).unwrap();
    let past = state.install_trust(late).await.unwrap_err();
    assert_eq!(past, PinnedError::Past);

    assert_eq!(version(&rig.open()), Some(1));
    assert!(!rig.file(2).exists());
}

#[tokio::test]
async fn an_admin_whose_time_is_over_signs_nothing_and_what_was_signed_before_stands() {
    let rig = Rig::new();
    let state = rig.open();
    let mut ada = signer("ada", 1);
    ada.valid_until_ms = Some(NOW + 1_000);
    let one = file(1, None, vec![ada.clone()], 1);
    state.install_trust(one.clone()).await.unwrap();
    let cleo = signer("cleo", 3);
    let two = file(2, Some(&one), vec![ada.clone(), cleo.clone()], 1);
    state.install_trust(two.clone()).await.unwrap();
    rig.clock.0.store(NOW + 2_000, Ordering::Relaxed);
    assert_eq!(version(&rig.open()), Some(2));
    let by = |number| file(3, Some(&two), vec![cleo.clone()], number);
    let over = state.install_trust(by(1)).await.unwrap_err();
    assert_eq!(over, PinnedError::Refused(TrustError::Stranger));
    state.install_trust(by(3)).await.unwrap();
    assert_eq!(version(&rig.open()), Some(3));
}

#[tokio::test]
async fn a_file_that_was_changed_or_taken_out_leaves_nobody_trusted() {
    let rig = Rig::new();
    let state = rig.open();
    state.install_trust(one()).await.unwrap();
    state.install_trust(two(1)).await.unwrap();
    assert_eq!(version(&state), Some(2));

    let good = std::fs::read_to_string(rig.file(2)).unwrap();
    std::fs::write(rig.file(2), good.replace("human:bo", "human:ev")).unwrap();
    let broken = state.trust().unwrap_err();
    assert!(broken.to_string().contains("0002.json"), "{broken}");
    assert_eq!(Refusal::from(broken).code, Code::TrustRefused);
    let refused = state.install_trust(two(1)).await.unwrap_err();
    assert!(
        matches!(refused, PinnedError::Broken { .. }),
        "nothing is built on it: {refused}"
    );
    std::fs::write(rig.file(2), &good).unwrap();
    assert_eq!(version(&state), Some(2), "mended");

    std::fs::remove_file(rig.file(1)).unwrap();
    let gone = state.trust().unwrap_err();
    assert!(gone.to_string().contains("0001.json"), "{gone}");
    std::fs::write(rig.file(1), one().to_text()).unwrap();
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(rig.file(1), open).unwrap();
    let insecure = state.trust().unwrap_err();
    assert!(
        insecure.to_string().contains("open to other users"),
        "{insecure}"
    );
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_pinned() {
    let rig = Rig::new();
    let state = rig.open();
    state.close().await.unwrap();
    let refused = state.install_trust(one()).await.unwrap_err();
    assert_eq!(refused, PinnedError::Store(StoreError::Closed));
    let left: Vec<_> = std::fs::read_dir(rig.file(1).parent().unwrap())
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
