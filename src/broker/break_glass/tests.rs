//! Filing what breaks the glass: who may, who may not, and what stops them when the first check is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;

use super::*;
use crate::agent::{Agent, Pages, Parts};
use crate::clock::SystemClock;
use crate::core::approval::Defences;
use crate::core::approval::sshsig::PublicKey;
use crate::core::engine::Engine;
use crate::core::limits::Limits;
use crate::core::policy::PolicySet;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::review::Settings;
use crate::core::signer::Presence;
use crate::core::statement::Effect;
use crate::core::target::Target;
use crate::core::time::Clock;
use crate::core::trust::{KeyKind, Origins, SignedTrust, Signer, SignerKey, TrustFile};
use crate::exec::{Executor, ParsePool};
use crate::ids::Ids;
use crate::policies::Policies;
use crate::store::requests::Filter;
use crate::store::{Filter as Entries, State};

struct Rig {
    _folder: tempfile::TempDir,
    broker: Broker,
}

impl Rig {
    /// Ada is trusted, and marked for breaking the glass if so wanted.
    async fn new(marked: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("shop.db");
        let connection = rusqlite::Connection::open(&database).unwrap();
        let table = "create table orders (id integer primary key, status text)";
        connection.execute_batch(table).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = State::open(&folder.path().join("state"), Arc::clone(&clock)).unwrap();
        state
            .install_trust(trust(marked, clock.now().unix_ms()))
            .await
            .unwrap();
        let parser = Arc::new(ParsePool::start().unwrap());
        let target = target();
        let settings = crate::exec::Settings {
            target: target.clone(),
            url: format!("sqlite:{}", database.display()).into(),
            allow_privileged_login: false,
        };
        let executor = Executor::new(settings, Arc::clone(&parser)).unwrap();
        let ids = Ids::new(Arc::clone(&clock)).unwrap();
        let handles = ids.clone();
        let pages = Pages::new(Arc::clone(&clock), Box::new(move || handles.handle()));
        let policies = |set| Arc::new(Policies::built_in(set, Arc::clone(&clock)));
        let agent = Agent::new(Parts {
            executors: BTreeMap::from([("shop".to_owned(), Arc::new(executor))]),
            parser: Arc::clone(&parser),
            state: state.clone(),
            pages: Arc::new(pages),
            policies: policies(PolicySet::agent_default()),
            review: Settings::DEFAULT,
            defences: Defences::all(),
            principals: Arc::default(),
            clock: Arc::clone(&clock),
        });
        let broker = Broker {
            targets: vec![target],
            agent: Arc::new(agent),
            state,
            parser,
            ids,
            policies: policies(PolicySet::starter()),
            review: Settings::DEFAULT,
            approval_wait: Duration::from_secs(1),
            principals: Arc::default(),
            turns: crate::broker::Turns::default(),
            clock: Arc::clone(&clock),
        };
        Self {
            _folder: folder,
            broker,
        }
    }

    async fn file(
        &self,
        checks: &Checks<DocumentError>,
        kind: PrincipalKind,
        reason: Option<&str>,
    ) -> Result<RequestId, Refusal> {
        let caller = Caller {
            principal: Principal::new(kind, "zoe"),
        };
        let ask = SqlAsk {
            sql: "update orders set status = 'open'".into(),
            params: Vec::new(),
            target: None,
            reason: reason.map(str::to_owned),
            max_rows: None,
            timeout_ms: None,
        };
        file_with(checks, &self.broker, &caller, ask).await
    }

    /// Nothing was filed, and that is marked in the log.
    fn nothing_filed(&self, refusals: usize) {
        let state = &self.broker.state;
        let filed = state.requests().list(&Filter::default()).unwrap();
        assert!(filed.requests.is_empty());
        let filter = Entries {
            kind: Some(EventKind::RequestRefused),
            limit: 100,
            ..Entries::default()
        };
        let entries = state.log().list(&filter).unwrap();
        assert_eq!(entries.len(), refusals);
        for entry in entries {
            assert!(format!("{entry:?}").contains("break_glass"), "{entry:?}");
        }
    }
}

fn target() -> Target {
    Target {
        name: "shop".parse().unwrap(),
        engine: Engine::Sqlite,
        environment: "staging".into(),
        labels: BTreeMap::new(),
        allow: BTreeSet::from([Effect::Read]),
        limits: Limits::DEFAULT,
        trusted: BTreeSet::new(),
        sync_reads: false,
    }
}

fn trust(marked: bool, now: i64) -> SignedTrust {
    let key = SigningKey::from_bytes(&[1; 32]);
    let glass = marked.then_some(trust::Purpose::BreakGlass);
    let signer = Signer {
        name: Principal::new(PrincipalKind::Human, "ada"),
        groups: BTreeSet::from(["owner".to_owned()]),
        purposes: [trust::Purpose::Approve, trust::Purpose::Trust]
            .into_iter()
            .chain(glass)
            .collect(),
        valid_from_ms: now - 1_000,
        valid_until_ms: None,
        keys: vec![SignerKey {
            kind: KeyKind::Ssh,
            public: PublicKey::ed25519(key.verifying_key()).unwrap(),
            presence: Presence::Passphrase,
            user_verification: false,
            label: "key".into(),
        }],
    };
    let mut first = SignedTrust {
        trust: TrustFile {
            format: 1,
            version: 1,
            previous: None,
            created_ms: now,
            admin_quorum: 1,
            origins: Origins::default(),
            signers: vec![signer],
        },
        signatures: Vec::new(),
    };
    first.sign(&key).unwrap();
    first
}

const WHY: Option<&str> = Some("orders are stuck");

#[tokio::test]
async fn a_person_files_what_then_waits_for_one_signature() {
    let rig = Rig::new(true).await;
    let filed = rig.file(&Checks::all(), PrincipalKind::Human, WHY).await;
    let request = rig.broker.state.requests().get(&filed.unwrap()).unwrap();
    assert_eq!(request.asked().purpose, Purpose::BreakGlass);
    let wanted = &request.asked().requirements;
    assert!(
        wanted.contains("break-glass") && wanted.contains("anyone"),
        "{wanted}"
    );
}

#[tokio::test]
async fn a_program_files_nothing_even_where_the_brokers_own_check_is_left_out() {
    for kind in [PrincipalKind::Ai, PrincipalKind::Service] {
        let rig = Rig::new(true).await;
        let refused = rig.file(&Checks::all(), kind, WHY).await.unwrap_err();
        assert_eq!(refused.code, Code::Forbidden);
        assert_eq!(refused.message, "only a person can break the glass");
        rig.nothing_filed(1);
        // Then it is the document that cannot be made.
        let weak = Checks::all().without(DocumentError::BreakGlassRequester);
        let refused = rig.file(&weak, kind, WHY).await.unwrap_err();
        assert_eq!(refused.code, Code::ApprovalRefused);
        rig.nothing_filed(2);
    }
}

#[tokio::test]
async fn without_a_reason_nothing_is_filed() {
    let rig = Rig::new(true).await;
    for (count, why) in [(1, None), (3, Some(" \u{200b} ")), (5, Some("fire"))] {
        let person = PrincipalKind::Human;
        let refused = rig.file(&Checks::all(), person, why).await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidArgument);
        rig.nothing_filed(count);
        let weak = Checks::all().without(DocumentError::BreakGlassReason);
        let refused = rig.file(&weak, person, why).await.unwrap_err();
        assert_eq!(refused.code, Code::ApprovalRefused);
        rig.nothing_filed(count + 1);
    }
}

#[tokio::test]
async fn where_nobody_is_marked_nothing_is_filed() {
    let rig = Rig::new(false).await;
    let refused = rig.file(&Checks::all(), PrincipalKind::Human, WHY).await;
    let refused = refused.unwrap_err();
    assert!(
        refused.message.contains("nobody in the trust file"),
        "{refused}"
    );
    rig.nothing_filed(1);
}
