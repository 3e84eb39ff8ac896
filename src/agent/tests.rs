//! The red team's table: a broker that holds the real token key wants the agent to do what people
//! did not approve. For each attack the agent refuses, the data on another connection is as before,
//! and the refusal is in the log; and the attack works once exactly the one check is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use ed25519_dalek::SigningKey;
use serde_json::json;

use super::*;
use crate::core::approval::document::VERSION;
use crate::core::approval::signature::SignatureError;
use crate::core::approval::sshsig::{PublicKey, SshSig};
use crate::core::approval::{
    APPROVAL, BackingError, Decision, Document, DocumentError, ParamsSeal, PolicyDigests, Purpose,
    SignedVerdict, Verdict, VerdictError, verdict,
};
use crate::core::engine::Engine;
use crate::core::ids::{RequestId, TokenId};
use crate::core::limits::Limits;
use crate::core::policy::{PolicySet, Uncounted};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::signer::{Presence, Surface};
use crate::core::time::Timestamp;
use crate::core::token::TokenError;
use crate::core::trust::{
    self, Origins, SignedTrust, Signer as TrustedSigner, SignerKey, TrustFile,
};
use crate::core::work::Digest;
use crate::store::Scrutiny;

mod approvals;
#[path = "../../tests/it/support/authenticator.rs"]
#[expect(dead_code, reason = "others use the rest of it")]
#[expect(
    clippy::duplicate_mod,
    reason = "the tests of `core` may not share with those of `agent`"
)]
mod authenticator;
mod checks;
mod fields;
mod glass;
mod trusting;

use authenticator::{HardwareKey, PRESENT};
use checks::{Check, held_by, stopped_by};

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

/// Ada's other key.
fn second_key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
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
        keys: vec![SignerKey::ssh(key, presence, "key")],
    }
}

fn trust_file() -> TrustFile {
    let software = |key: SigningKey| PublicKey::ed25519(key.verifying_key()).unwrap();
    let both = [trust::Purpose::Approve, trust::Purpose::Trust];
    TrustFile {
        origins: Origins {
            own: BTreeSet::from(["http://localhost:7321".to_owned()]),
            relay: BTreeSet::new(),
        },
        ..TrustFile::first(
            NOW_MS - 5_000,
            vec![
                {
                    let mut ada = signer("ada", software(ada_key()), Presence::Passphrase, &both);
                    let second = signer("ada", software(second_key()), Presence::Passphrase, &both);
                    ada.keys.extend(second.keys);
                    ada
                },
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
        )
    }
}

impl Rig {
    async fn new(defences: Defences) -> Self {
        Self::with_policy(defences, PolicySet::agent_default()).await
    }

    async fn with_policy(defences: Defences, policy: Arc<PolicySet>) -> Self {
        Self::over(Scrutiny::all(), defences, policy).await
    }

    /// On a state folder that is looked at so closely.
    async fn over(scrutiny: Scrutiny, defences: Defences, policy: Arc<PolicySet>) -> Self {
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
        let state = folder.path().join("state");
        let state = State::open_with(scrutiny, &state, Arc::clone(&shared)).unwrap();
        let mut signed = SignedTrust::unsigned(trust_file());
        signed.sign(&ada_key()).unwrap();
        state.install_trust(signed).await.unwrap();
        let parser = Arc::new(ParsePool::start().unwrap());
        let executors = ["shop", "other"].map(|name| {
            let settings = crate::exec::Settings {
                target: target(name),
                url: format!("sqlite:{}", database.display()).into(),
                logins: std::collections::BTreeMap::new(),
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
            capabilities: std::collections::BTreeMap::new(),
            changes: watch::Sender::new(0),
            policies: Arc::new(Policies::built_in(policy, Arc::clone(&shared))),
            principals: Arc::default(),
            review: Settings::DEFAULT,
            defences,
            issuer: Issuer::Own,
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
            capability: None,
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
            parts: Vec::new(),
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
        only_capabilities: false,
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

fn policy(text: &str) -> Arc<PolicySet> {
    Arc::new(PolicySet::load(text, "test.cedar", None).unwrap())
}
