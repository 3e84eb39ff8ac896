//! A home folder with keys in it, and requests filed by the test itself.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use secondkey::clock::SystemClock;
use secondkey::core::approval::{Document, ParamsSeal, PolicyDigests, Purpose};
use secondkey::core::engine::Engine;
use secondkey::core::ids::RequestId;
use secondkey::core::limits::Limits;
use secondkey::core::policy::{Requirement, Step, Surfaces};
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::request::{self, Asked, PENDING_MS, Request, Status, Values};
use secondkey::core::signer::Presence;
use secondkey::core::statement::Effect;
use secondkey::core::time::Timestamp;
use secondkey::core::work::{Digest, Work};
use secondkey::store::State;
use serde_json::json;
use tempfile::TempDir;

use crate::cli::{code, secondkey, text};
use crate::support::skip;

pub(super) struct Home {
    pub(super) folder: TempDir,
}

/// What a run of the program said, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) out: String,
    pub(super) err: String,
    pub(super) code: i32,
}

impl Said {
    fn of(output: &Output) -> Self {
        Self {
            out: text(&output.stdout),
            err: text(&output.stderr),
            code: code(output),
        }
    }

    pub(super) fn well(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It was not clear what was wanted.
    pub(super) fn refused_as_misuse(self) {
        assert_eq!(self.code, 2, "{self:?}");
    }

    /// Refused, with these words.
    pub(super) fn refused(self, words: &str) {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.err.contains(words), "{self:?}");
    }
}

impl Home {
    /// `None`, and says so, where there is no `ssh-keygen`.
    pub(super) fn for_test(test: &str) -> Option<Self> {
        let mut command = Command::new("ssh-keygen");
        if command.arg("-?").stdin(Stdio::null()).output().is_err() {
            skip(test, "ssh-keygen is not installed");
            return None;
        }
        Some(Self {
            folder: TempDir::new().unwrap(),
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = secondkey(self.folder.path());
        command.args(arguments).args(["--state", "state"]);
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&self.command(arguments).output().unwrap())
    }

    /// With somebody who types this whenever they are asked for a passphrase.
    pub(super) fn run_typing(&self, passphrase: &str, arguments: &[&str]) -> Said {
        use std::os::unix::fs::PermissionsExt as _;

        let askpass = self.path("askpass");
        std::fs::write(&askpass, format!("#!/bin/sh\necho '{passphrase}'\n")).unwrap();
        let runs = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&askpass, runs).unwrap();
        let mut command = self.command(arguments);
        command
            .env("SSH_ASKPASS", askpass)
            .env("SSH_ASKPASS_REQUIRE", "force");
        Said::of(&command.output().unwrap())
    }

    /// A key without a passphrase.
    pub(super) fn key(&self, name: &str) -> String {
        let path = self.path(name);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        path.display().to_string()
    }

    /// A trust file with one signer, `human:ada`, and an unattended key.
    pub(super) fn trusting_ada(&self) -> String {
        let key = self.key("ada");
        let init = ["trust", "init", "--name", "ada", "--key", &key];
        self.run(&init).well();
        key
    }

    /// A configuration with the shop `shop.db` as its only target, and policies for
    /// which any key counts.
    pub(super) fn configure(&self) {
        let any =
            "@ask(\"1 of anyone; presence=unattended\") permit (principal, action, resource);";
        for name in ["workspace", "agent"] {
            let file = self.path(&format!("{name}.cedar"));
            std::fs::write(file, any).unwrap();
        }
        let shop = self.path("shop.db");
        let config = format!(
            "policy = \"workspace.cedar\"\nagent_policy = \"agent.cedar\"\n[targets.shop]\nurl = \"sqlite:{}\"\n",
            shop.display()
        );
        std::fs::write(self.path("secondkey.toml"), config).unwrap();
    }

    /// Trusts somebody else for these purposes, signed by the admin's key; gives their key.
    pub(super) fn trust(&self, name: &str, purposes: &str, admin: &str) -> String {
        let key = self.key(name);
        let proposal = self.path(&format!("{name}.json")).display().to_string();
        let propose = [
            "trust", "propose", "--name", name, "--key", &key, "--to", &proposal,
        ];
        let said = self.run(&propose).well();
        let code = said.err.lines().last().unwrap().trim();
        let add = [
            "trust",
            "add",
            &proposal,
            "--purposes",
            purposes,
            "--code",
            code,
            "--key",
            admin,
        ];
        self.run(&add).well();
        key
    }

    pub(super) fn state(&self) -> State {
        State::open(&self.path("state"), Arc::new(SystemClock)).unwrap()
    }

    /// Files a request that waits for these, and gives it as its approvers see it.
    pub(super) async fn file(&self, number: u8, requirement: &Requirement) -> Document {
        let state = self.state();
        let document = document(&state, number);
        let now = state.now();
        let text = String::from_utf8(document.canonical()).unwrap();
        let expires = Timestamp::from_unix_ms(document.expires_ms);
        let asked = Asked {
            purpose: Purpose::Run,
            id: document.request.clone(),
            workspace: document.workspace.clone(),
            requester: document.requester.clone(),
            target: document.target.clone(),
            environment: document.environment.clone(),
            engine: document.engine,
            agent: document.executor.clone(),
            effect: document.effect,
            kind: document.kind.clone(),
            statement: "update orders set state = ? where id = ?".into(),
            reason: document.reason.clone(),
            work: document.work,
            document: request::Document::new(text, expires),
            requirements: serde_json::to_string(&[requirement]).unwrap(),
            workspace_policy: document.policy.workspace,
            agent_policy: document.policy.agent,
        };
        let change = Request::submit(asked, now).then(|request| request.pend(now));
        let values = values();
        let filed = state.requests().file(change.unwrap(), Some(&values));
        filed.await.unwrap();
        state.close().await.unwrap();
        document
    }

    /// As another process finds it.
    pub(super) fn status(&self, document: &Document) -> (Status, usize) {
        let request = self.state().requests().get(&document.request).unwrap();
        (request.status(), request.state().votes().len())
    }

    /// How often this kind of entry is in the log.
    pub(super) fn logged(&self, kind: &str) -> usize {
        let list = self.run(&["audit", "list", "--json", "--kind", kind]);
        list.well().out.trim().lines().count()
    }
}

pub(super) fn ask(count: u32, group: &str) -> Requirement {
    Requirement {
        rule: "changes".into(),
        steps: vec![Step {
            count,
            group: group.into(),
        }],
        presence: Presence::Unattended,
        surfaces: Surfaces::Own,
        own_requests: false,
        deny: 1,
    }
}

fn values() -> Values {
    Values {
        params: vec![json!("sent"), json!(7)],
        salt: [3; 16],
    }
}

fn document(state: &State, number: u8) -> Document {
    let work = Work::Sql {
        text: "update orders set state = $1 where id = $2".into(),
        params: values().params,
        salt: values().salt,
    };
    let now = state.now().unix_ms();
    Document {
        version: 1,
        purpose: Purpose::Run,
        workspace: "local".into(),
        request: RequestId::new(u64::try_from(now).unwrap(), [number; 10]),
        executor: state.agent().clone(),
        target: "orders".into(),
        engine: Engine::Sqlite,
        environment: "staging".into(),
        requester: Principal::new(PrincipalKind::Ai, "ada/claude-code"),
        reason: Some("the customer asked".into()),
        work: work.digest(),
        statement: work.text().into(),
        capability: None,
        parts: Vec::new(),
        params: Some(ParamsSeal {
            count: 2,
            commitment: work.commitment().unwrap(),
        }),
        effect: Effect::Write,
        kind: "update".into(),
        because: "updates orders".into(),
        reads: vec!["orders".into()],
        writes: vec!["orders".into()],
        limits: Limits::DEFAULT,
        policy: PolicyDigests {
            workspace: Digest::of(&[b"workspace"]),
            agent: Digest::of(&[b"agent"]),
        },
        preview: None,
        nonce: "0".repeat(32),
        created_ms: now,
        expires_ms: now + PENDING_MS,
    }
}
