//! A page that is served, and requests that wait behind it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use secondkey::clock::SystemClock;
use secondkey::core::approval::{Document, ParamsSeal, PolicyDigests, Purpose};
use secondkey::core::audit::{Draft, EventKind};
use secondkey::core::engine::Engine;
use secondkey::core::ids::{RequestId, TokenId};
use secondkey::core::limits::Limits;
use secondkey::core::policy::requirement::{Requirement, Step, Surfaces};
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::request::{
    Asked, Decision, Document as Filed, Ending, RecordedVote, Request, Standing, Values,
};
use secondkey::core::signer::{Presence, Surface};
use secondkey::core::statement::Effect;
use secondkey::core::time::{Clock as _, Timestamp};
use secondkey::core::trust::{Origins, Purpose as For, SignedTrust, Signer, SignerKey, TrustFile};
use secondkey::core::work::{Digest, Work};
use secondkey::store::State;
use tempfile::TempDir;

use crate::support::binary;
use crate::support::http::{Answer, send};

/// What only somebody with a session may see.
pub(crate) const STATEMENT: &str =
    "UPDATE orders\n   SET status = 'shipped', note = $1\n WHERE id = $2 -- the one from yesterday";
pub(crate) const VALUE: &str = "left at the neighbour's";
pub(crate) const REASON: &str = "The customer called: it has <b>arrived</b>.";

/// A state folder, and `secondkey page` over it.
pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    pub(crate) state: State,
    pub(crate) port: u16,
    pub(crate) link: String,
    page: Child,
}

impl Rig {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let state = open(folder.path());
        let port = free_port();
        let (page, link) = serve(folder.path(), port);
        Self {
            folder,
            state,
            port,
            link,
            page,
        }
    }

    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Opens the page and gives the cookie and the token of the session.
    pub(crate) fn enter(&self) -> Session<'_> {
        self.enter_by(&self.link)
    }

    /// Opens the page by a link that is made for it.
    pub(crate) fn enter_again(&self) -> Session<'_> {
        let link = secondkey::web::link(&self.state, self.port, None).unwrap();
        self.enter_by(&link)
    }

    fn enter_by(&self, link: &str) -> Session<'_> {
        let path = link.strip_prefix(&self.origin()).unwrap();
        let answer = send(self.port, "GET", path, &[("Host", &self.host())], "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let cookie = answer.header("set-cookie").unwrap();
        for flag in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(flag), "{cookie}");
        }
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let page = self.page("/", &cookie).body;
        let (_, rest) = page.split_once("name=\"token\" content=\"").unwrap();
        let (token, _) = rest.split_once('"').unwrap();
        Session {
            rig: self,
            cookie,
            token: token.to_owned(),
        }
    }

    /// A page as a browser with this cookie gets it.
    pub(crate) fn page(&self, path: &str, cookie: &str) -> Answer {
        let host = self.host();
        let headers = [("Host", host.as_str()), ("Cookie", cookie)];
        send(self.port, "GET", path, &headers, "")
    }

    pub(crate) fn kill_page(&mut self) {
        self.page.kill().unwrap();
        self.page.wait().unwrap();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.page.kill());
        drop(self.page.wait());
    }
}

/// A browser that was let in, as far as headers go.
pub(crate) struct Session<'r> {
    pub(crate) rig: &'r Rig,
    pub(crate) cookie: String,
    pub(crate) token: String,
}

impl Session<'_> {
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.rig.page(path, &self.cookie)
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let headers = [
            ("Host", self.rig.host()),
            ("Origin", self.rig.origin()),
            ("Cookie", self.cookie.clone()),
            ("X-Secondkey-Token", self.token.clone()),
        ];
        let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        send(self.rig.port, "POST", path, &headers, body)
    }
}

/// `secondkey page`, with the configuration if there is one, and the link that it prints.
pub(crate) fn serve(folder: &Path, port: u16) -> (Child, String) {
    let mut command = Command::new(binary());
    command
        .args(["page", "--port", &port.to_string(), "--state"])
        .arg(folder.join("state"))
        .stdout(Stdio::piped());
    let config = folder.join("secondkey.toml");
    if config.exists() {
        command.arg("--config").arg(config);
    }
    let mut page = command.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(page.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    (page, line.trim().to_owned())
}

pub(crate) fn open(folder: &Path) -> State {
    State::open(&folder.join("state"), Arc::new(SystemClock)).unwrap()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A request that Zoe has asked for and Ada has signed to break the glass, and that has run.
pub(crate) async fn broken(state: &State, number: u8) -> RequestId {
    let zoe = Principal::new(PrincipalKind::Human, "zoe");
    let id = file_as(
        state,
        (number, "production"),
        STATEMENT,
        (Purpose::BreakGlass, zoe),
    )
    .await;
    let vote = RecordedVote {
        signer: Principal::new(PrincipalKind::Human, "ada"),
        key: "SHA256:ada".into(),
        decision: Decision::Approve,
        comment: None,
        surface: Surface::Terminal,
        presence: Presence::Hardware,
        groups: BTreeSet::new(),
        at: SystemClock.now(),
        verdict: Digest::of(&[b"verdict"]),
        signed: "{}".into(),
    };
    let token = TokenId::new(1, [number; 10]);
    let with = token.clone();
    let ran = state.requests().transact(&id, move |request, now| {
        let intent = Draft::new(now, EventKind::ExecutionStarted).request(request.id());
        let outcome = Draft::new(now, EventKind::ExecutionSucceeded).request(request.id());
        let change = request
            .vote(vote, now, |_| Standing::Met)?
            .then(|request| request.dispatch(with, now.plus_ms(60_000), now))?
            .then(|request| request.start(&token, 1_000, now, intent))?
            .then(|request| request.end(Ending::Succeeded, now, outcome))?;
        Ok(change)
    });
    ran.await.unwrap();
    id
}

/// A request that waits for one of `dba` with a hardware key.
pub(crate) async fn file(state: &State, number: u8, environment: &str) -> RequestId {
    file_statement(state, number, environment, STATEMENT).await
}

pub(crate) async fn file_statement(
    state: &State,
    number: u8,
    environment: &str,
    statement: &str,
) -> RequestId {
    let ada = Principal::new(PrincipalKind::Ai, "ada/claude-code");
    file_as(state, (number, environment), statement, (Purpose::Run, ada)).await
}

async fn file_as(
    state: &State,
    (number, environment): (u8, &str),
    statement: &str,
    (purpose, requester): (Purpose, Principal),
) -> RequestId {
    let now = SystemClock.now();
    let values = Values {
        params: vec![VALUE.into(), 42.into()],
        salt: [number; 16],
    };
    let work = Work::Sql {
        text: statement.to_owned(),
        params: values.params.clone(),
        salt: values.salt,
    };
    let id = RequestId::new(now.unix_ms().unsigned_abs(), [number; 10]);
    let document = Document {
        purpose,
        requester,
        ..document(state, &id, &work, (environment, now))
    };
    document.check().unwrap();
    let requirement = Requirement {
        rule: "production writes".into(),
        steps: vec![Step {
            count: 1,
            group: "dba".into(),
        }],
        presence: Presence::Hardware,
        surfaces: Surfaces::Own,
        own_requests: false,
        deny: 1,
    };
    let asked = Asked {
        purpose,
        id: id.clone(),
        workspace: document.workspace.clone(),
        requester: document.requester.clone(),
        target: document.target.clone(),
        environment: document.environment.clone(),
        engine: document.engine,
        agent: document.executor.clone(),
        effect: document.effect,
        kind: document.kind.clone(),
        statement: "UPDATE orders SET status = ?, note = $1 WHERE id = $2".into(),
        reason: document.reason.clone(),
        work: document.work,
        requirements: serde_json::to_string(&[requirement]).unwrap(),
        workspace_policy: document.policy.workspace,
        agent_policy: document.policy.agent,
        document: Filed::new(
            String::from_utf8(document.canonical()).unwrap(),
            Timestamp::from_unix_ms(document.expires_ms),
        ),
    };
    let change = Request::submit(asked, now)
        .then(|request| request.pend(now))
        .unwrap();
    state.requests().file(change, Some(&values)).await.unwrap();
    id
}

fn document(
    state: &State,
    id: &RequestId,
    work: &Work,
    (environment, now): (&str, Timestamp),
) -> Document {
    Document {
        version: 1,
        purpose: Purpose::Run,
        workspace: "local".into(),
        request: id.clone(),
        executor: state.agent().clone(),
        target: "orders".into(),
        engine: Engine::Postgres,
        environment: environment.into(),
        requester: Principal::new(PrincipalKind::Ai, "ada/claude-code"),
        reason: Some(REASON.into()),
        work: work.digest(),
        statement: work.text().into(),
        capability: None,
        parts: Vec::new(),
        params: work.commitment().map(|commitment| ParamsSeal {
            count: 2,
            commitment,
        }),
        effect: Effect::Write,
        kind: "update".into(),
        because: "changes rows of orders".into(),
        reads: vec!["orders".into()],
        writes: vec!["orders".into()],
        limits: Limits::DEFAULT,
        policy: PolicyDigests {
            workspace: Digest::of(&[b"workspace"]),
            agent: Digest::of(&[b"agent"]),
        },
        preview: None,
        nonce: "0123456789abcdef0123456789abcdef".into(),
        created_ms: now.unix_ms(),
        expires_ms: now.plus_ms(24 * 60 * 60 * 1_000).unix_ms(),
    }
}

/// Version 1 of a trust file: an admin with a software key, and whoever else.
pub(crate) async fn trust(state: &State, origin: &str, approvers: Vec<(&str, SignerKey)>) {
    let admin = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let public =
        secondkey::core::approval::sshsig::PublicKey::ed25519(admin.verifying_key()).unwrap();
    let now = SystemClock.now().unix_ms();
    let signer = |name: &str, groups: &[&str], purpose: For, key: SignerKey| Signer {
        name: Principal::new(PrincipalKind::Human, name),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        purposes: BTreeSet::from([purpose]),
        valid_from_ms: now - 60_000,
        valid_until_ms: None,
        keys: vec![key],
    };
    let key = SignerKey::ssh(public, Presence::Unattended, "admin");
    let mut signers = vec![signer("root", &["owner"], For::Trust, key)];
    for (name, key) in approvers {
        signers.push(signer(name, &["dba"], For::Approve, key));
    }
    let mut signed = SignedTrust::unsigned(TrustFile {
        format: 1,
        version: 1,
        previous: None,
        created_ms: now,
        admin_quorum: 1,
        origins: Origins {
            own: BTreeSet::from([origin.to_owned()]),
            relay: BTreeSet::new(),
        },
        signers,
    });
    signed.sign(&admin).unwrap();
    state.install_trust(signed).await.unwrap();
}
