//! A broker and its agent on a database of their own, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;

use crate::agent::{Agent, Pages, Parts};
use crate::broker::Broker;
use crate::broker::submit::{Ask, Wanted};
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
use crate::core::trust::{self, Origins, SignedTrust, Signer, SignerKey, TrustFile};
use crate::exec::{Executor, ParsePool};
use crate::ids::Ids;
use crate::policies::Policies;
use crate::store::State;

pub(in crate::broker) struct Rig {
    pub(in crate::broker) folder: tempfile::TempDir,
    pub(in crate::broker) broker: Broker,
}

impl Rig {
    /// Ada is trusted, and marked for breaking the glass if so wanted.
    pub(in crate::broker) async fn new(marked: bool) -> Self {
        Self::with(marked, Defences::all(), PolicySet::starter()).await
    }

    /// The same, with these defences of the agent and this policy of the workspace. There is one order,
    /// which is `open`.
    pub(in crate::broker) async fn with(
        marked: bool,
        defences: Defences,
        policy: Arc<PolicySet>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("shop.db");
        let connection = rusqlite::Connection::open(&database).unwrap();
        let table = "create table orders (id integer primary key, status text);
            insert into orders values (1, 'open');";
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
            logins: BTreeMap::new(),
            allow_privileged_login: false,
        };
        let executor = Executor::new(settings, Arc::clone(&parser)).unwrap();
        let ids = Ids::new(Arc::clone(&clock)).unwrap();
        let handles = ids.clone();
        let pages = Pages::new(Arc::clone(&clock), Box::new(move || handles.handle()));
        let policies = |set| Arc::new(Policies::built_in(set, Arc::clone(&clock)));
        let agent = Agent::new(Parts {
            issuer: crate::agent::Issuer::Own,
            executors: BTreeMap::from([("shop".to_owned(), Arc::new(executor))]),
            parser: Arc::clone(&parser),
            state: state.clone(),
            pages: Arc::new(pages),
            capabilities: BTreeMap::new(),
            changes: tokio::sync::watch::Sender::new(0),
            policies: policies(PolicySet::agent_default()),
            review: Settings::DEFAULT,
            defences,
            principals: Arc::default(),
            clock: Arc::clone(&clock),
        });
        let broker = Broker {
            link: crate::broker::Link::here(Arc::new(agent), [target]),
            state,
            parser,
            ids,
            policies: policies(policy),
            review: Settings::DEFAULT,
            capability_tools: crate::broker::CapabilityTools::Auto,
            page: crate::broker::approvals::Page::Here,
            approval_wait: Duration::from_secs(1),
            principals: Arc::default(),
            turns: crate::broker::Turns::default(),
            clock: Arc::clone(&clock),
        };
        Self { folder, broker }
    }

    /// What another connection finds of the order.
    pub(in crate::broker) fn order(&self) -> String {
        let database = self.folder.path().join("shop.db");
        let connection = rusqlite::Connection::open(database).unwrap();
        let status = "select status from orders where id = 1";
        connection.query_row(status, [], |row| row.get(0)).unwrap()
    }
}

/// Asks to close the order.
pub(in crate::broker) fn change(reason: Option<&str>) -> Ask {
    Ask {
        what: Wanted::Sql {
            text: "update orders set status = 'closed'".into(),
            params: Vec::new(),
        },
        target: None,
        reason: reason.map(str::to_owned),
        max_rows: None,
        timeout_ms: None,
        key: None,
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
        only_capabilities: false,
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
        keys: vec![SignerKey::ssh(
            PublicKey::ed25519(key.verifying_key()).unwrap(),
            Presence::Passphrase,
            "key",
        )],
    };
    let mut first = SignedTrust::unsigned(TrustFile {
        format: 1,
        version: 1,
        previous: None,
        created_ms: now,
        admin_quorum: 1,
        origins: Origins::default(),
        signers: vec![signer],
    });
    first.sign(&key).unwrap();
    first
}
