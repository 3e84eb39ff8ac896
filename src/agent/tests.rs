//! The red team's table: a broker that holds the real token key wants the agent to do what people
//! did not approve. For each attack the agent refuses, the data on another connection is as before,
//! and the refusal is in the log; and the attack works once exactly the one check is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::core::approval::document::VERSION;
use crate::core::approval::signature::SignatureError;
use crate::core::approval::sshsig::{PublicKey, SshSig};
use crate::core::approval::{
    APPROVAL, BackingError, Document, DocumentError, ParamsSeal, PolicyDigests, Purpose,
    SignedVerdict, Verdict, VerdictError, verdict,
};
use crate::core::engine::Engine;
use crate::core::ids::{RequestId, TokenId};
use crate::core::limits::Limits;
use crate::core::policy::PolicySet;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::signer::{Presence, Surface};
use crate::core::time::Timestamp;
use crate::core::trust::{
    self, KeyKind, Origins, SignedTrust, Signer as TrustedSigner, SignerKey, TrustFile,
};
use crate::core::work::Digest;

#[path = "../../tests/it/support/authenticator.rs"]
#[expect(dead_code, reason = "others use the rest of it")]
#[expect(
    clippy::duplicate_mod,
    reason = "the tests of `core` may not share with those of `agent`"
)]
mod authenticator;

use authenticator::{HardwareKey, PRESENT};

const NOW_MS: i64 = 1_700_000_000_000;
const SQL: &str = "update orders set status = $1 where id = 1";

/// A clock that stands still until somebody moves it.
#[derive(Debug)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
    }
}

/// One agent on a database of its own, and the broker's token key in the wrong hands.
struct Rig {
    folder: tempfile::TempDir,
    agent: Arc<Agent>,
    state: State,
    clock: Arc<Hand>,
}

fn ada_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn bob_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn dana_key() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}

fn cleo_key() -> HardwareKey {
    HardwareKey::ed25519(3)
}

fn human(name: &str) -> Principal {
    Principal::new(PrincipalKind::Human, name)
}

fn signer(
    name: &str,
    key: PublicKey,
    presence: Presence,
    purposes: &[trust::Purpose],
) -> TrustedSigner {
    TrustedSigner {
        name: human(name),
        groups: BTreeSet::from(["owner".to_owned()]),
        purposes: purposes.iter().copied().collect(),
        valid_from_ms: NOW_MS - 10_000,
        valid_until_ms: None,
        keys: vec![SignerKey {
            kind: KeyKind::Ssh,
            public: key,
            presence,
            user_verification: false,
            label: "key".into(),
        }],
    }
}

fn trust_file() -> TrustFile {
    let software = |key: SigningKey| PublicKey::ed25519(key.verifying_key()).unwrap();
    let both = [trust::Purpose::Approve, trust::Purpose::Trust];
    TrustFile {
        format: 1,
        version: 1,
        previous: None,
        created_ms: NOW_MS - 5_000,
        admin_quorum: 1,
        origins: Origins {
            own: BTreeSet::from(["http://localhost:7321".to_owned()]),
            relay: BTreeSet::new(),
        },
        signers: vec![
            signer("ada", software(ada_key()), Presence::Passphrase, &both),
            signer(
                "bob",
                software(bob_key()),
                Presence::Passphrase,
                &[trust::Purpose::Approve],
            ),
            signer(
                "cleo",
                PublicKey::from_line(&cleo_key().line()).unwrap(),
                Presence::Hardware,
                &[trust::Purpose::Approve],
            ),
            signer(
                "dana",
                software(dana_key()),
                Presence::Passphrase,
                &[trust::Purpose::Approve, trust::Purpose::BreakGlass],
            ),
        ],
    }
}

impl Rig {
    async fn new(defences: Defences) -> Self {
        Self::with_policy(defences, PolicySet::agent_default()).await
    }

    async fn with_policy(defences: Defences, policy: Arc<PolicySet>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("shop.db");
        rusqlite::Connection::open(&database)
            .unwrap()
            .execute_batch(
                "create table orders (id integer primary key, status text);
                 insert into orders values (1, 'open'), (2, 'open');",
            )
            .unwrap();
        let clock = Arc::new(Hand(AtomicI64::new(NOW_MS)));
        let shared: Arc<dyn Clock> = Arc::<Hand>::clone(&clock);
        let state = State::open(&folder.path().join("state"), Arc::clone(&shared)).unwrap();
        let mut signed = SignedTrust {
            trust: trust_file(),
            signatures: vec![],
        };
        signed.sign(&ada_key()).unwrap();
        state.install_trust(signed).await.unwrap();
        let parser = Arc::new(ParsePool::start().unwrap());
        let executors = ["shop", "other"].map(|name| {
            let settings = crate::exec::Settings {
                target: target(name),
                url: format!("sqlite:{}", database.display()).into(),
                allow_privileged_login: false,
            };
            let executor = Executor::new(settings, Arc::clone(&parser)).unwrap();
            (name.to_owned(), Arc::new(executor))
        });
        let handles = crate::ids::Ids::new(Arc::clone(&shared)).unwrap();
        let agent = Agent::new(Parts {
            executors: BTreeMap::from(executors),
            parser,
            state: state.clone(),
            pages: Arc::new(Pages::new(
                Arc::clone(&shared),
                Box::new(move || handles.handle()),
            )),
            policies: Arc::new(Policies::built_in(policy, Arc::clone(&shared))),
            principals: Arc::default(),
            review: Settings::DEFAULT,
            defences,
            clock: shared,
        });
        Self {
            folder,
            agent: Arc::new(agent),
            state,
            clock,
        }
    }

    /// What another connection sees.
    fn orders(&self) -> Vec<String> {
        let database: &Path = &self.folder.path().join("shop.db");
        let connection = rusqlite::Connection::open(database).unwrap();
        let mut rows = connection
            .prepare("select status from orders order by id")
            .unwrap();
        let rows = rows.query_map((), |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    async fn log(&self) -> String {
        self.state.log().checkpoint().await.unwrap();
        let database = self.folder.path().join("state/state.db");
        let connection = rusqlite::Connection::open(database).unwrap();
        let mut bodies = connection
            .prepare("select body from audit order by sequence")
            .unwrap();
        let bodies = bodies.query_map((), |row| row.get::<_, String>(0)).unwrap();
        bodies.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    fn order(&self) -> Order {
        let work = Work::Sql {
            text: SQL.into(),
            params: vec![json!("closed")],
            salt: [5; 16],
        };
        let request = RequestId::new(1_700_000_000_000, [1; 10]);
        let document = Document {
            version: VERSION,
            purpose: Purpose::Run,
            workspace: "local".into(),
            request,
            executor: self.agent.id().clone(),
            target: "shop".into(),
            engine: Engine::Sqlite,
            environment: "staging".into(),
            requester: Principal::new(PrincipalKind::Ai, "ada/claude"),
            reason: Some("the customer called".into()),
            work: work.digest(),
            statement: SQL.into(),
            params: work.commitment().map(|commitment| ParamsSeal {
                count: 1,
                commitment,
            }),
            effect: Effect::Write,
            kind: "update".into(),
            because: "updates orders".into(),
            reads: vec!["orders".into()],
            writes: vec!["orders".into()],
            limits: Limits::DEFAULT,
            policy: PolicyDigests {
                workspace: Digest::of(&[b"w"]),
                agent: Digest::of(&[b"a"]),
            },
            preview: None,
            nonce: "0".repeat(32),
            created_ms: NOW_MS - 1_000,
            expires_ms: NOW_MS + 100_000,
        };
        let verdicts = vec![approve(&document, "ada", &ada_key())];
        Order::new(self, document, verdicts, work)
    }

    async fn run(&self, order: &Order) -> Result<Report, Refusal> {
        let keys = self.state.token_keys().unwrap();
        let mut claims = order.claims.clone();
        claims.iss = keys.signer.key_id().to_owned();
        let token = keys.signer.sign_claims(&claims);
        let run = self.agent.execute(
            token.as_bytes(),
            order.work.clone(),
            order.backing.as_ref(),
            CancellationToken::new(),
        );
        run.await.map_err(|not_run| not_run.refusal)
    }
}

fn target(name: &str) -> Target {
    Target {
        name: name.parse().unwrap(),
        engine: Engine::Sqlite,
        environment: "staging".into(),
        labels: BTreeMap::new(),
        allow: BTreeSet::from([Effect::Read]),
        limits: Limits::DEFAULT,
        trusted: BTreeSet::new(),
        sync_reads: false,
    }
}

/// What the broker sends.
struct Order {
    claims: Claims,
    work: Work,
    backing: Option<Backing>,
}

impl Order {
    fn new(rig: &Rig, document: Document, verdicts: Vec<SignedVerdict>, work: Work) -> Self {
        let backing = Backing {
            document: String::from_utf8(document.canonical()).unwrap(),
            verdicts,
        };
        let claims = Claims {
            jti: TokenId::new(1_700_000_000_000, [2; 10]),
            request: document.request,
            iss: String::new(),
            aud: rig.agent.id().clone(),
            target: document.target,
            sub: document.requester,
            purpose: document.purpose,
            work: work.digest(),
            effect: document.effect,
            reads: document.reads,
            writes: document.writes,
            limits: document.limits,
            not_before_ms: NOW_MS,
            expires_ms: NOW_MS + 60_000,
            document: Some(backing.document_digest()),
            approvals: backing.verdict_digests(),
        };
        Self {
            claims,
            work,
            backing: Some(backing),
        }
    }

    fn document(&self) -> Document {
        Document::parse(self.backing.as_ref().unwrap().document.as_bytes()).unwrap()
    }

    /// Changes the document after it was signed; the token is made to fit.
    fn forge(&mut self, change: impl FnOnce(&mut Document)) {
        let mut document = self.document();
        change(&mut document);
        let backing = self.backing.as_mut().unwrap();
        backing.document = String::from_utf8(document.canonical()).unwrap();
        self.claims.document = Some(backing.document_digest());
    }

    /// Has the changed document signed by Ada, who did not know better.
    fn approved(&mut self, change: impl FnOnce(&mut Document)) {
        self.forge(change);
        let document = self.document();
        self.give(vec![approve(&document, "ada", &ada_key())]);
    }

    fn give(&mut self, verdicts: Vec<SignedVerdict>) {
        let backing = self.backing.as_mut().unwrap();
        backing.verdicts = verdicts;
        self.claims.approvals = backing.verdict_digests();
    }

    /// Other work under the same approval.
    fn other_work(&mut self, text: &str, params: Vec<serde_json::Value>) {
        self.work = Work::Sql {
            text: text.into(),
            params,
            salt: [5; 16],
        };
        self.claims.work = self.work.digest();
    }
}

fn verdict_by(document: &Document, name: &str, decision: Decision) -> Verdict {
    Verdict {
        version: verdict::VERSION,
        decision,
        document: document.digest(),
        request: document.request.clone(),
        signer: human(name),
        surface: Surface::Terminal,
        comment: None,
        at_ms: NOW_MS,
    }
}

fn approve(document: &Document, name: &str, key: &SigningKey) -> SignedVerdict {
    signed(&verdict_by(document, name, Decision::Approve), key)
}

fn signed(verdict: &Verdict, key: &SigningKey) -> SignedVerdict {
    let text = verdict.to_text();
    let signature = SshSig::sign_ed25519(key, APPROVAL, text.as_bytes()).unwrap();
    SignedVerdict {
        verdict: text,
        signature: signature.armored(),
    }
}

const BEFORE: [&str; 2] = ["open", "open"];

/// Refused, nothing changed on another connection, and recorded.
async fn refused(rig: &Rig, order: &Order, said: &str) {
    let refusal = rig.run(order).await.unwrap_err();
    assert!(
        refusal.message.contains(said),
        "expected `{said}`, got: {refusal:?}"
    );
    assert_eq!(rig.orders(), BEFORE, "{refusal:?}");
    let log = rig.log().await;
    assert!(log.contains("execution.refused"), "{log}");
    assert!(!log.contains("execution.started"), "{log}");
}

/// Refused with all defences; works without the one.
async fn stopped_by(attack: impl Fn(&Rig, &mut Order), check: BackingError) {
    let rig = Rig::new(Defences::all()).await;
    let mut order = rig.order();
    attack(&rig, &mut order);
    refused(&rig, &order, &check.to_string()).await;

    let mut defences = Defences::all();
    if let BackingError::Verdict(error) = check {
        defences.verdict = defences.verdict.without(error);
    } else if let BackingError::Malformed(error) = check {
        defences.document = defences.document.without(error);
    } else {
        defences.backing = defences.backing.without(check);
    }
    let rig = Rig::new(defences).await;
    let mut order = rig.order();
    attack(&rig, &mut order);
    rig.run(&order).await.unwrap();
    assert_ne!(rig.orders(), BEFORE);
}

#[tokio::test]
async fn what_a_person_approved_runs_once_and_only_once() {
    let rig = Rig::new(Defences::all()).await;
    let order = rig.order();
    rig.run(&order).await.unwrap();
    assert_eq!(rig.orders(), ["closed", "open"]);

    // Two tokens for one approval: the request id is used up, whatever the token's.
    let mut again = rig.order();
    again.claims.jti = TokenId::new(1_700_000_000_001, [9; 10]);
    let refusal = rig.run(&again).await.unwrap_err();
    assert_eq!(refusal.code, Code::TokenRefused);

    // Without the journal's line it would run again.
    let database = rig.folder.path().join("state/state.db");
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.execute("delete from journal", ()).unwrap();
    rig.run(&again).await.unwrap();
}

#[tokio::test]
async fn nothing_runs_that_nobody_signed() {
    let rig = Rig::new(Defences::all()).await;
    let mut order = rig.order();
    order.backing = None;
    order.claims.document = None;
    order.claims.approvals = Vec::new();
    refused(&rig, &order, "needs a human's approval").await;

    // An empty list of verdicts, as a store that somebody edited would give it.
    let mut order = rig.order();
    order.give(Vec::new());
    refused(&rig, &order, "needs a human's approval").await;

    // Without the agent's own policy the broker's word would be enough.
    let lax = "permit (principal, action, resource);";
    let lax = Arc::new(PolicySet::load(lax, "lax.cedar", None).unwrap());
    let rig = Rig::with_policy(Defences::all(), lax).await;
    let mut order = rig.order();
    order.give(Vec::new());
    rig.run(&order).await.unwrap();
    assert_ne!(rig.orders(), BEFORE);
}

#[tokio::test]
async fn a_rejection_is_no_approval() {
    let rig = Rig::new(Defences::all()).await;
    let mut order = rig.order();
    let no = verdict_by(&order.document(), "ada", Decision::Reject);
    order.give(vec![signed(&no, &ada_key())]);
    refused(&rig, &order, "needs a human's approval").await;
}

#[tokio::test]
async fn a_document_that_differs_from_the_signed_one_is_refused() {
    let attack = |_: &Rig, order: &mut Order| {
        order.other_work("update orders set status = 'gone'", vec![]);
        let work = order.work.clone();
        order.forge(|document| {
            work.text().clone_into(&mut document.statement);
            document.work = work.digest();
            document.params = None;
        });
    };
    stopped_by(attack, VerdictError::Document.into()).await;
}

#[tokio::test]
async fn other_work_under_the_same_approval_is_refused() {
    let other_text = |_: &Rig, order: &mut Order| {
        order.other_work("update orders set status = 'gone'", vec![]);
    };
    stopped_by(other_text, BackingError::Work).await;
    let other_values = |_: &Rig, order: &mut Order| order.other_work(SQL, vec![json!("gone")]);
    stopped_by(other_values, BackingError::Work).await;
}

#[tokio::test]
async fn an_approval_counts_for_its_own_request_target_agent_and_workspace() {
    let request = |_: &Rig, order: &mut Order| {
        order.claims.request = RequestId::new(1_700_000_000_000, [8; 10]);
    };
    stopped_by(request, BackingError::Request).await;
    let target = |_: &Rig, order: &mut Order| order.claims.target = "other".into();
    stopped_by(target, BackingError::Target).await;
    let agent = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.executor = AgentId::new(1, [7; 10]));
    };
    stopped_by(agent, BackingError::Executor).await;
    let workspace = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.workspace = "other".into());
    };
    stopped_by(workspace, BackingError::Workspace).await;
    let environment = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.environment = "test".into());
    };
    stopped_by(environment, BackingError::Environment).await;
    let requester = |_: &Rig, order: &mut Order| {
        order.claims.sub = Principal::new(PrincipalKind::Ai, "eve/claude");
    };
    stopped_by(requester, BackingError::Requester).await;
}

#[tokio::test]
async fn what_was_shown_is_the_most_that_runs() {
    let effect = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.effect = Effect::Read);
    };
    stopped_by(effect, BackingError::Effect).await;
    let relations = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.writes = vec!["notes".into()]);
    };
    stopped_by(relations, BackingError::Relations).await;
    let reads = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.reads = vec!["notes".into()]);
    };
    stopped_by(reads, BackingError::Relations).await;
    let reasons = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.because = "tidies up".into());
    };
    stopped_by(reasons, BackingError::Reasons).await;
    let limits = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.limits.rows = 1);
    };
    stopped_by(limits, BackingError::Limits).await;
}

#[tokio::test]
async fn a_token_names_exactly_what_came_with_it() {
    let approvals = |_: &Rig, order: &mut Order| order.claims.approvals = Vec::new();
    stopped_by(approvals, BackingError::Approvals).await;
    let document = |_: &Rig, order: &mut Order| order.claims.document = None;
    stopped_by(document, BackingError::Document).await;
}

#[tokio::test]
async fn one_second_too_late_is_too_late() {
    let document = |rig: &Rig, order: &mut Order| {
        rig.clock.0.store(NOW_MS + 101_000, Ordering::SeqCst);
        order.claims.not_before_ms = NOW_MS + 100_000;
        order.claims.expires_ms = NOW_MS + 160_000;
    };
    stopped_by(document, VerdictError::DocumentExpired.into()).await;

    let rig = Rig::new(Defences::all()).await;
    let order = rig.order();
    rig.clock
        .0
        .store(order.claims.expires_ms + 1_000, Ordering::SeqCst);
    refused(&rig, &order, "expired").await;
}

#[tokio::test]
async fn a_stranger_and_a_signer_who_was_removed_do_not_count() {
    let stranger = |_: &Rig, order: &mut Order| {
        let document = order.document();
        order.give(vec![approve(
            &document,
            "ada",
            &SigningKey::from_bytes(&[66; 32]),
        )]);
    };
    stopped_by(stranger, VerdictError::UnknownKey.into()).await;

    let rig = Rig::new(Defences::all()).await;
    let mut order = rig.order();
    let document = order.document();
    order.give(vec![approve(&document, "bob", &bob_key())]);
    let before = trust_file();
    let mut after = trust_file();
    after.version = 2;
    after.previous = Some(before.digest());
    after.created_ms = NOW_MS - 4_000;
    after.signers.remove(1);
    let mut forged = SignedTrust {
        trust: after,
        signatures: vec![],
    };
    // A next version that no trust admin signed is not taken ...
    forged.sign(&bob_key()).unwrap();
    rig.state.install_trust(forged.clone()).await.unwrap_err();
    // ... and one that Ada signed is.
    forged.signatures.clear();
    forged.sign(&ada_key()).unwrap();
    rig.state.install_trust(forged).await.unwrap();
    refused(&rig, &order, "the trust file does not hold").await;
    // In the version before, Bob counts.
    let rig = Rig::new(Defences::all()).await;
    rig.run(&order_by_bob(&rig)).await.unwrap();
}

fn order_by_bob(rig: &Rig) -> Order {
    let mut order = rig.order();
    let document = order.document();
    order.give(vec![approve(&document, "bob", &bob_key())]);
    order
}

#[tokio::test]
async fn a_hardware_key_that_nobody_touched_does_not_count() {
    let touched = |flags: u8| {
        move |_: &Rig, order: &mut Order| {
            let text = verdict_by(&order.document(), "cleo", Decision::Approve).to_text();
            let signature = cleo_key().sign(APPROVAL, text.as_bytes(), flags);
            order.give(vec![SignedVerdict {
                verdict: text,
                signature,
            }]);
        }
    };
    let rig = Rig::new(Defences::all()).await;
    let mut order = rig.order();
    touched(PRESENT)(&rig, &mut order);
    rig.run(&order).await.unwrap();
    let presence = VerdictError::from(SignatureError::Presence);
    stopped_by(touched(0), presence.into()).await;
}

#[tokio::test]
async fn one_person_is_no_quorum_of_two() {
    let two = "@ask(\"2 of anyone\") permit (principal, action, resource);";
    let policy = || Arc::new(PolicySet::load(two, "two.cedar", None).unwrap());
    let rig = Rig::with_policy(Defences::all(), policy()).await;
    let mut order = rig.order();
    let document = order.document();
    let mut later = verdict_by(&document, "ada", Decision::Approve);
    later.at_ms += 1;
    let ada = approve(&document, "ada", &ada_key());
    order.give(vec![ada.clone(), signed(&later, &ada_key())]);
    refused(&rig, &order, "needs a human's approval").await;
    // With somebody else's it runs.
    order.give(vec![ada, approve(&document, "bob", &bob_key())]);
    rig.run(&order).await.unwrap();
    assert_ne!(rig.orders(), BEFORE);
}

#[tokio::test]
async fn a_signature_borrowed_from_another_verdict_does_not_count() {
    let borrowed = |_: &Rig, order: &mut Order| {
        let document = order.document();
        let mut forged = approve(&document, "ada", &ada_key());
        let other = verdict_by(&document, "ada", Decision::Reject);
        forged.signature = signed(&other, &ada_key()).signature;
        order.give(vec![forged]);
    };
    let signature = VerdictError::from(SignatureError::Signature);
    stopped_by(borrowed, signature.into()).await;
}

/// An order that breaks the glass: Zoe asks, Dana, who is marked for it, has signed.
fn glass(rig: &Rig) -> Order {
    glass_with(rig, |_| {})
}

fn glass_with(rig: &Rig, change: impl FnOnce(&mut Document)) -> Order {
    let order = rig.order();
    let mut document = order.document();
    document.purpose = Purpose::BreakGlass;
    document.requester = human("zoe");
    document.reason = Some("orders are stuck".into());
    change(&mut document);
    let verdicts = vec![approve(&document, "dana", &dana_key())];
    Order::new(rig, document, verdicts, order.work)
}

fn two_of_anyone(more: &str) -> Arc<PolicySet> {
    let two = "@ask(\"2 of anyone\") permit (principal, action, resource);";
    Arc::new(PolicySet::load(&format!("{two}\n{more}"), "two.cedar", None).unwrap())
}

#[tokio::test]
async fn one_marked_signature_breaks_the_glass_once() {
    let rig = Rig::with_policy(Defences::all(), two_of_anyone("")).await;
    rig.run(&glass(&rig)).await.unwrap();
    assert_eq!(rig.orders(), ["closed", "open"]);
    let log = rig.log().await;
    let marked = |line: &&str| line.contains("execution.") && line.contains("break_glass");
    assert_eq!(log.lines().filter(marked).count(), 2, "{log}");

    // Replayed under another token: the request id is used up.
    let mut again = glass(&rig);
    again.claims.jti = TokenId::new(1_700_000_000_001, [9; 10]);
    let refusal = rig.run(&again).await.unwrap_err();
    assert_eq!(refusal.code, Code::TokenRefused);
    // Without the journal's line it would run again.
    let database = rig.folder.path().join("state/state.db");
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.execute("delete from journal", ()).unwrap();
    rig.run(&again).await.unwrap();
}

#[tokio::test]
async fn a_program_never_breaks_the_glass() {
    for kind in [PrincipalKind::Ai, PrincipalKind::Service] {
        let program = Principal::new(kind, "ada/claude");
        let attack = |rig: &Rig| glass_with(rig, |document| document.requester = program.clone());
        let without = |document: bool, backing: bool| {
            let mut defences = Defences::all();
            if document {
                let check = DocumentError::BreakGlassRequester;
                defences.document = defences.document.without(check);
            }
            if backing {
                defences.backing = defences.backing.without(BackingError::NotAPerson);
            }
            defences
        };
        // Either of the two is enough alone.
        let document = DocumentError::BreakGlassRequester.to_string();
        for (defences, said) in [
            (without(false, false), document.clone()),
            (without(false, true), document),
            (without(true, false), BackingError::NotAPerson.to_string()),
        ] {
            let rig = Rig::new(defences).await;
            refused(&rig, &attack(&rig), &said).await;
        }
        let rig = Rig::new(without(true, true)).await;
        rig.run(&attack(&rig)).await.unwrap();
        assert_ne!(rig.orders(), BEFORE);
    }
}

#[tokio::test]
async fn a_signer_without_the_mark_breaks_no_glass() {
    let unmarked = |rig: &Rig, order: &mut Order| {
        *order = glass(rig);
        let document = order.document();
        order.give(vec![approve(&document, "bob", &bob_key())]);
    };
    stopped_by(unmarked, VerdictError::Purpose.into()).await;
}

#[tokio::test]
async fn an_approval_counts_for_the_purpose_that_was_signed() {
    // Dana, who may do both, has signed the one document, and the broker shows the other.
    let to_glass = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.requester = human("zoe"));
        order.claims.sub = human("zoe");
        let document = order.document();
        order.give(vec![approve(&document, "dana", &dana_key())]);
        order.forge(|document| document.purpose = Purpose::BreakGlass);
        order.claims.purpose = Purpose::BreakGlass;
    };
    stopped_by(to_glass, VerdictError::Document.into()).await;
    let to_run = |rig: &Rig, order: &mut Order| {
        *order = glass(rig);
        order.forge(|document| document.purpose = Purpose::Run);
        order.claims.purpose = Purpose::Run;
    };
    stopped_by(to_run, VerdictError::Document.into()).await;
    // The document is the signed one, and the token says something else.
    let token_of_glass = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.requester = human("zoe"));
        order.claims.sub = human("zoe");
        order.claims.purpose = Purpose::BreakGlass;
    };
    stopped_by(token_of_glass, BackingError::Purpose).await;
    let token_of_run = |rig: &Rig, order: &mut Order| {
        *order = glass(rig);
        order.claims.purpose = Purpose::Run;
    };
    stopped_by(token_of_run, BackingError::Purpose).await;
    // A quorum of two is not met by a token that says that the glass is broken.
    let rig = Rig::with_policy(Defences::all(), two_of_anyone("")).await;
    let mut order = rig.order();
    token_of_glass(&rig, &mut order);
    refused(&rig, &order, "for another purpose").await;
}

#[tokio::test]
async fn without_a_reason_no_glass_is_broken() {
    for reason in [None, Some("   fire   ".to_owned())] {
        let mute = |rig: &Rig, order: &mut Order| {
            *order = glass_with(rig, |document| document.reason.clone_from(&reason));
        };
        stopped_by(mute, DocumentError::BreakGlassReason.into()).await;
    }
}

#[tokio::test]
async fn without_a_signature_no_glass_is_broken() {
    let rig = Rig::new(Defences::all()).await;
    let mut order = glass(&rig);
    order.give(Vec::new());
    refused(&rig, &order, "needs a human's approval").await;
    // A policy that asks nobody asks for this signature all the same.
    let lax = "permit (principal, action, resource);";
    let lax = Arc::new(PolicySet::load(lax, "lax.cedar", None).unwrap());
    let rig = Rig::with_policy(Defences::all(), lax).await;
    refused(&rig, &order_for(&rig), "needs a human's approval").await;
    let mut bare = glass(&rig);
    bare.backing = None;
    bare.claims.document = None;
    bare.claims.approvals = Vec::new();
    refused(&rig, &bare, "none came with it").await;
}

fn order_for(rig: &Rig) -> Order {
    let mut order = glass(rig);
    order.give(Vec::new());
    order
}

#[tokio::test]
async fn what_the_agents_policy_forbids_stays_forbidden() {
    let forbids = "forbid (principal, action, resource) when { context.break_glass };";
    let rig = Rig::with_policy(Defences::all(), two_of_anyone(forbids)).await;
    refused(&rig, &glass(&rig), "the policy forbids").await;
    let rig = Rig::with_policy(Defences::all(), two_of_anyone("")).await;
    rig.run(&glass(&rig)).await.unwrap();
    // How a rule wants its approvals given holds here too.
    let touched = "@ask(\"1 of anyone; presence=hardware\") permit (principal, action, resource);";
    let rig = Rig::with_policy(Defences::all(), two_of_anyone(touched)).await;
    refused(&rig, &glass(&rig), "needs a human's approval").await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_changed_field_of_the_document_passes(field in 0_usize..16, seed in any::<u8>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new(Defences::all()).await;
            let mut order = rig.order();
            order.forge(|document| flip(document, field, seed));
            let refusal = rig.run(&order).await.unwrap_err();
            assert_eq!(rig.orders(), BEFORE, "{refusal:?}");
        });
    }
}

/// Changes one field to something else of its kind.
fn flip(document: &mut Document, field: usize, seed: u8) {
    let text = format!("other{seed}");
    match field {
        0 => document.workspace = text,
        1 => document.request = RequestId::new(5, [seed; 10]),
        2 => document.executor = AgentId::new(5, [seed; 10]),
        3 => document.target = text,
        4 => document.engine = Engine::Postgres,
        5 => document.environment = text,
        6 => document.requester = Principal::new(PrincipalKind::Ai, &text),
        7 => document.reason = Some(text),
        8 => document.work = Digest::of(&[&[seed]]),
        9 => document.statement = text,
        10 => document.params = None,
        11 => document.because = text,
        12 => document.writes.push(text),
        13 => document.limits.rows += 1,
        14 => document.nonce = format!("{seed:032x}1").chars().skip(1).collect(),
        _ => document.expires_ms += 1,
    }
}
