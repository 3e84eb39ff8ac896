//! Votes from outside: what counts, what is refused, and what another handle on the folder sees.

mod acceptances;
mod reviews;

use std::sync::atomic::{AtomicI64, Ordering};

use ed25519_dalek::SigningKey;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::broker::requests::{cancel, list, show};
use crate::core::approval::sshsig::{PublicKey, SshSig};
use crate::core::approval::{
    APPROVAL, Document, ParamsSeal, PolicyDigests, Purpose as Aim, Verdict,
};
use crate::core::engine::Engine;
use crate::core::limits::Limits;
use crate::core::policy::{Progress, Step, Surfaces};
use crate::core::principal::PrincipalKind;
use crate::core::request::{self, Asked, PENDING_MS, Status, Values};
use crate::core::signer::{Presence, Surface};
use crate::core::statement::Effect;
use crate::core::time::Clock;
use crate::core::trust::{Purpose, SignedTrust, Signer, SignerKey};
use crate::core::work::{Digest, Work};
use crate::store::Filter;
use crate::store::requests::Filter as Which;

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
    state: State,
}

impl Rig {
    /// Ada (owner, hardware-less), Bo (dba) and Cleo (dba, but only for trust) are trusted.
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(Hand(AtomicI64::new(NOW)));
        let state = State::open(&folder.path().join("state"), clock.clone()).unwrap();
        let rig = Self {
            folder,
            clock,
            state,
        };
        rig.state.install_trust(trust()).await.unwrap();
        rig
    }

    fn again(&self) -> State {
        State::open(&self.folder.path().join("state"), self.clock.clone()).unwrap()
    }

    async fn file(&self, number: u8, requirements: &[Requirement]) -> Document {
        self.file_for(number, Aim::Run, requirements).await
    }

    async fn file_for(&self, number: u8, purpose: Aim, requirements: &[Requirement]) -> Document {
        let document = Document {
            purpose,
            ..document(number)
        };
        let now = self.state.now();
        let text = String::from_utf8(document.canonical()).unwrap();
        let expires = Timestamp::from_unix_ms(document.expires_ms);
        let asked = Asked {
            purpose,
            id: document.request.clone(),
            workspace: "local".into(),
            requester: document.requester.clone(),
            target: document.target.clone(),
            environment: document.environment.clone(),
            engine: document.engine,
            agent: document.executor.clone(),
            effect: document.effect,
            kind: document.kind.clone(),
            statement: "delete from orders where id = ?".into(),
            reason: document.reason.clone(),
            work: document.work,
            document: request::Document::new(text, expires),
            requirements: serde_json::to_string(requirements).unwrap(),
            workspace_policy: document.policy.workspace,
            agent_policy: document.policy.agent,
        };
        let change = Request::submit(asked, now)
            .then(|request| request.pend(now))
            .unwrap();
        let values = values();
        let filed = self.state.requests().file(change, Some(&values));
        filed.await.unwrap();
        document
    }

    async fn cast(&self, signed: SignedVerdict) -> Result<Status, String> {
        let id = Verdict::parse(&signed.verdict).unwrap().request;
        let cast = cast(&self.state, &id, signed).await;
        cast.map(|request| request.status())
            .map_err(|refusal| refusal.message)
    }

    fn refusals(&self) -> usize {
        let filter = Filter {
            kind: Some(EventKind::VoteRefused),
            limit: 100,
            ..Filter::default()
        };
        self.again().log().list(&filter).unwrap().len()
    }
}

fn values() -> Values {
    Values {
        params: vec![json!(7)],
        salt: [3; 16],
    }
}

fn human(name: &str) -> Principal {
    Principal::new(PrincipalKind::Human, name)
}

fn document(number: u8) -> Document {
    let work = Work::Sql {
        text: "delete from orders where id = ?".into(),
        params: values().params,
        salt: values().salt,
    };
    Document {
        version: 1,
        purpose: Aim::Run,
        workspace: "local".into(),
        request: RequestId::new(1, [number; 10]),
        executor: crate::core::ids::AgentId::new(1, [2; 10]),
        target: "orders".into(),
        engine: Engine::Sqlite,
        environment: "production".into(),
        requester: human("dora"),
        reason: Some("the customer asked".into()),
        work: work.digest(),
        statement: work.text().into(),
        capability: None,
        parts: Vec::new(),
        params: Some(ParamsSeal {
            count: 1,
            commitment: work.commitment().unwrap(),
        }),
        effect: Effect::Write,
        kind: "delete".into(),
        because: "deletes rows".into(),
        reads: vec![],
        writes: vec!["orders".into()],
        limits: Limits::DEFAULT,
        policy: PolicyDigests {
            workspace: Digest::of(&[b"workspace"]),
            agent: Digest::of(&[b"agent"]),
        },
        preview: None,
        nonce: "0".repeat(32),
        created_ms: NOW,
        expires_ms: NOW + PENDING_MS,
    }
}

fn key(name: &str) -> SigningKey {
    let seed = Digest::of(&[name.as_bytes()]);
    SigningKey::from_bytes(seed.as_bytes())
}

fn signer(name: &str, groups: &[&str], purposes: &[Purpose]) -> Signer {
    Signer {
        name: human(name),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        purposes: purposes.iter().copied().collect(),
        valid_from_ms: NOW - 1_000,
        valid_until_ms: None,
        keys: vec![SignerKey::ssh(
            PublicKey::ed25519(key(name).verifying_key()).unwrap(),
            Presence::Passphrase,
            "a key",
        )],
    }
}

fn trust() -> SignedTrust {
    let all = [Purpose::Approve, Purpose::Trust];
    let trust = TrustFile::first(
        NOW,
        vec![
            signer("ada", &["owner"], &all),
            signer("bo", &["dba"], &[Purpose::Approve]),
            signer("cleo", &["dba"], &[Purpose::Trust]),
            signer("dora", &["dba"], &[Purpose::Approve]),
            signer("finn", &["sre"], &[Purpose::Approve, Purpose::BreakGlass]),
        ],
    );
    let mut signed = SignedTrust::unsigned(trust);
    signed.sign(&key("ada")).unwrap();
    signed
}

fn ask(steps: &[(u32, &str)]) -> Requirement {
    Requirement {
        rule: "asks".into(),
        steps: steps
            .iter()
            .map(|&(count, group)| Step {
                count,
                group: group.into(),
            })
            .collect(),
        presence: Presence::Passphrase,
        surfaces: Surfaces::Own,
        own_requests: false,
        deny: 1,
    }
}

fn verdict(name: &str, document: &Document, decision: Decision) -> Verdict {
    Verdict {
        version: 1,
        decision,
        document: document.digest(),
        request: document.request.clone(),
        signer: human(name),
        surface: Surface::Terminal,
        comment: Some("seen".into()),
        at_ms: NOW,
    }
}

fn signed(verdict: &Verdict, by: &str) -> SignedVerdict {
    let text = verdict.to_text();
    let signature = SshSig::sign_ed25519(&key(by), APPROVAL, text.as_bytes()).unwrap();
    SignedVerdict {
        verdict: text,
        signature: signature.armored(),
    }
}

fn yes(name: &str, document: &Document) -> SignedVerdict {
    signed(&verdict(name, document, Decision::Approve), name)
}

fn no(name: &str, document: &Document) -> SignedVerdict {
    signed(&verdict(name, document, Decision::Reject), name)
}

#[tokio::test]
async fn the_last_signature_that_is_needed_approves() {
    let rig = Rig::new().await;
    let both = [ask(&[(1, "dba")]), ask(&[(1, "owner")])];
    let document = rig.file(1, &both).await;
    assert_eq!(rig.cast(yes("bo", &document)).await, Ok(Status::Pending));
    let shown = show(&rig.again(), &document.request).unwrap();
    let met: Vec<bool> = shown.progress().iter().map(Progress::is_met).collect();
    assert_eq!(met, [true, false]);
    assert_eq!(shown.values, Some(values()));
    assert_eq!(rig.cast(yes("ada", &document)).await, Ok(Status::Approved));

    let found = rig.again().requests().get(&document.request).unwrap();
    assert_eq!(found.status(), Status::Approved);
    let votes = found.state().votes();
    assert_eq!(
        votes[0].signed,
        serde_json::to_string(&yes("bo", &document)).unwrap()
    );
    assert_eq!(
        (votes.len(), votes[1].comment.as_deref()),
        (2, Some("seen"))
    );
    assert_eq!(rig.refusals(), 0);
}

#[tokio::test]
async fn a_rejection_ends_it_as_soon_as_the_policy_says_so() {
    let rig = Rig::new().await;
    let document = rig.file(1, &[ask(&[(2, "anyone")])]).await;
    assert_eq!(rig.cast(yes("ada", &document)).await, Ok(Status::Pending));
    assert_eq!(rig.cast(no("bo", &document)).await, Ok(Status::Rejected));
    let patient = Requirement {
        deny: 2,
        ..ask(&[(1, "anyone")])
    };
    let document = rig.file(2, &[patient]).await;
    assert_eq!(rig.cast(no("bo", &document)).await, Ok(Status::Pending));
    assert_eq!(rig.cast(yes("ada", &document)).await, Ok(Status::Approved));
}

#[tokio::test]
async fn every_verdict_that_does_not_count_is_refused_recorded_and_changes_nothing() {
    let rig = Rig::new().await;
    let document = rig.file(1, &[ask(&[(1, "dba")])]).await;
    let other = rig.file(2, &[ask(&[(1, "dba")])]).await;
    let good = verdict("bo", &document, Decision::Approve);
    let of_other = Verdict {
        document: other.digest(),
        ..good.clone()
    };
    let replayed = Verdict {
        request: other.request.clone(),
        ..good.clone()
    };
    let from_the_future = Verdict {
        at_ms: NOW + 60_001,
        ..good.clone()
    };
    let relay = Verdict {
        surface: Surface::RelayPage,
        ..good.clone()
    };
    let cases = [
        (signed(&of_other, "bo"), "for another document"),
        (signed(&replayed, "bo"), "for another document"),
        (signed(&from_the_future, "bo"), "dated in the future"),
        (signed(&relay, "bo"), "in another place than it says"),
        (signed(&good, "eve"), "does not hold"),
        (signed(&good, "ada"), "another person"),
        (yes("cleo", &document), "not trusted for this purpose"),
        (yes("dora", &document), "nobody approves their own request"),
        (no("dora", &document), "nobody approves their own request"),
        (yes("ada", &document), "this needs somebody of dba"),
        (no("ada", &document), "this needs somebody of dba"),
    ];
    let count = cases.len();
    for (signed, words) in cases {
        let said = rig.cast(signed).await.unwrap_err();
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(rig.refusals(), count);
    for document in [&document, &other] {
        let found = rig.again().requests().get(&document.request).unwrap();
        assert_eq!((found.status(), found.version()), (Status::Pending, 2));
    }
}

#[tokio::test]
async fn late_and_repeated_votes_are_refused() {
    let rig = Rig::new().await;
    let two = rig.file(1, &[ask(&[(2, "anyone")])]).await;
    assert_eq!(rig.cast(yes("bo", &two)).await, Ok(Status::Pending));
    let twice = rig.cast(yes("bo", &two)).await.unwrap_err();
    assert!(
        twice.contains("has voted on this request before"),
        "{twice}"
    );
    rig.clock.0.store(NOW + PENDING_MS, Ordering::Relaxed);
    let late = rig.cast(yes("ada", &two)).await.unwrap_err();
    assert!(late.contains("time to be approved is over"), "{late}");
    let found = rig.again().requests().get(&two.request).unwrap();
    assert_eq!(found.status(), Status::Expired);
    let shown = show(&rig.again(), &two.request).unwrap();
    assert_eq!(shown.values, None);
}

#[tokio::test]
async fn presence_is_asked_of_those_who_agree_and_not_of_those_who_do_not() {
    let rig = Rig::new().await;
    let hardware = Requirement {
        presence: Presence::Hardware,
        ..ask(&[(1, "anyone")])
    };
    let document = rig.file(1, &[hardware]).await;
    let said = rig.cast(yes("ada", &document)).await.unwrap_err();
    assert!(said.contains("hardware proves"), "{said}");
    assert_eq!(rig.cast(no("ada", &document)).await, Ok(Status::Rejected));
}

#[tokio::test]
async fn without_a_trust_file_nobody_counts_and_where_nobody_is_asked_nothing_is_met() {
    let rig = Rig::new().await;
    let document = rig.file(1, &[]).await;
    let said = rig.cast(yes("ada", &document)).await.unwrap_err();
    assert!(said.contains("nobody is asked"), "{said}");
    std::fs::remove_dir_all(rig.folder.path().join("state/trust")).unwrap();
    let said = rig.cast(yes("ada", &document)).await.unwrap_err();
    assert!(said.contains("no trust file"), "{said}");
}

#[tokio::test]
async fn a_record_changed_by_hand_is_neither_shown_nor_voted_on() {
    let rig = Rig::new().await;
    let document = rig.file(1, &[ask(&[(1, "dba")])]).await;
    let database = rig.folder.path().join("state/state.db");
    let raw = Connection::open(&database).unwrap();
    let change = "update requests set target = 'stock' where id = ?1";
    let changed = raw.execute(change, (document.request.as_str(),)).unwrap();
    assert_eq!(changed, 1);
    let said = show(&rig.again(), &document.request).unwrap_err().message;
    assert!(said.contains("changed by hand"), "{said}");
    let said = rig.cast(yes("bo", &document)).await.unwrap_err();
    assert!(said.contains("changed by hand"), "{said}");
}

#[tokio::test]
async fn who_filed_it_can_take_it_back() {
    let rig = Rig::new().await;
    let document = rig.file(1, &[ask(&[(1, "dba")])]).await;
    let waiting = Which {
        statuses: vec![Status::Pending],
        ..Which::default()
    };
    assert_eq!(list(&rig.state, &waiting).unwrap().requests.len(), 1);
    let done = cancel(&rig.state, &document.request, &human("dora")).await;
    assert_eq!(done.unwrap().status(), Status::Cancelled);
    assert_eq!(list(&rig.again(), &waiting).unwrap().requests.len(), 0);
    let again = cancel(&rig.state, &document.request, &human("dora")).await;
    assert_eq!(again.unwrap_err().code, Code::RequestState);
}
