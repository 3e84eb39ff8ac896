//! A machine in a folder: an agent of one user, a shop of its own, and other users around it.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use secondkey::clock::SystemClock;
use secondkey::core::approval::sshsig::{PublicKey, SshSig};
use secondkey::core::approval::{APPROVAL, Decision, SignedVerdict, Verdict, verdict};
use secondkey::core::ids::RequestId;
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::signer::{Presence, Surface};
use secondkey::core::time::Clock as _;
use secondkey::core::trust::{Purpose, SignedTrust, Signer, SignerKey, TrustFile};
use secondkey::core::work::Digest;
use secondkey::system::Peer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::raw::{Era, Raw};
use crate::support::{binary, shop, skip};

/// The agent's user: nobody the system knows.
pub(super) const AGENT: User = User(64_001);
/// Whose client asks. Known to the system, because `ssh-keygen` wants to know its user.
pub(super) const ASKER: User = User(65_534);
/// Who attacks.
pub(super) const ATTACKER: User = User(1);
/// Those who may use the socket.
pub(super) const CLIENTS: u32 = 64_010;

/// One user of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct User(pub(super) u32);

impl User {
    /// As the system's records have it.
    pub(super) fn name(self) -> String {
        Peer::look_up(self.0, self.0).name
    }

    /// Does something as this user, in a thread that gives up everything else it was.
    pub(super) fn does<T: Send>(self, deed: impl FnOnce() -> T + Send) -> T {
        self.does_in(CLIENTS, deed)
    }

    /// The same, in another group.
    pub(super) fn does_in<T: Send>(self, group: u32, deed: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                let (uid, gid) = (Uid::from_raw(self.0), Gid::from_raw(group));
                set_thread_groups(&[]).unwrap();
                set_thread_res_gid(gid, gid, gid).unwrap();
                set_thread_res_uid(uid, uid, uid).unwrap();
                deed()
            });
            done.join().unwrap()
        })
    }
}

/// The machine.
pub(super) struct Rig {
    pub(super) base: TempDir,
    agent: User,
    running: Option<Child>,
}

impl Rig {
    /// With an agent of a user of its own. `None`, and says so, where this is not root.
    pub(super) fn separated(test: &str) -> Option<Self> {
        Self::new(test, AGENT, "")
    }

    /// With an agent of this user, and more in its configuration.
    pub(super) fn new(test: &str, agent: User, more: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip(test, "only root can start processes of several OS users");
            return None;
        }
        // Where every user may go, unlike the temporary folder of some.
        let base = TempDir::new_in("/tmp").unwrap();
        let rig = Self {
            base,
            agent,
            running: None,
        };
        open(rig.base.path(), 0o755);
        for (folder, mode) in [
            ("bin", 0o755),
            ("etc", 0o755),
            ("var", 0o700),
            ("run", 0o750),
        ] {
            fs::create_dir(rig.path(folder)).unwrap();
            open(&rig.path(folder), mode);
        }
        for folder in ["var", "run"] {
            chown(rig.path(folder), Some(agent.0), Some(CLIENTS)).unwrap();
        }
        // The checkout may lie where no other user can go.
        fs::copy(binary(), rig.program()).unwrap();
        open(&rig.program(), 0o755);
        shop::create(&rig.path("var/shop.db"));
        let secret = rig.path("etc/secret");
        fs::write(&secret, "the-password-of-the-database").unwrap();
        let config = format!(
            "approval_wait = \"0s\"\n{more}\n[targets.shop]\nurl = \"sqlite:{}\"\n\
             [targets.away]\nurl = \"postgres://app@127.0.0.1:1/away\"\npassword = \"file:secret\"\n",
            rig.path("var/shop.db").display()
        );
        fs::write(rig.path("etc/secondkey.toml"), config).unwrap();
        for file in ["var/shop.db", "etc/secret", "etc/secondkey.toml"] {
            open(&rig.path(file), 0o600);
            chown(rig.path(file), Some(agent.0), Some(agent.0)).unwrap();
        }
        for user in [ASKER, ATTACKER] {
            let home = rig.home(user);
            fs::create_dir(&home).unwrap();
            open(&home, 0o700);
            chown(&home, Some(user.0), Some(user.0)).unwrap();
        }
        Some(rig)
    }

    /// The same with its agent running.
    pub(super) fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts the agent, and waits until it listens.
    pub(super) fn start(&mut self) {
        let log = fs::File::create(self.path("agent.log")).unwrap();
        let mut command = self.command(self.agent, &["agent"]);
        command.arg("--socket").arg(self.socket());
        command.arg("--config").arg(self.path("etc/secondkey.toml"));
        command.arg("--state").arg(self.state());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.running = Some(command.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log().contains("The agent listens") {
            assert!(Instant::now() < deadline, "{}", self.log());
            assert!(self.is_alive(), "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the agent with a signal, and says whether it ended well.
    pub(super) fn end(&mut self, signal: rustix::process::Signal) -> bool {
        let mut running = self.running.take().unwrap();
        let pid = rustix::process::Pid::from_child(&running);
        rustix::process::kill_process(pid, signal).unwrap();
        running.wait().unwrap().success()
    }

    pub(super) fn is_alive(&mut self) -> bool {
        let running = self.running.as_mut().unwrap();
        running.try_wait().unwrap().is_none()
    }

    pub(super) fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().id()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.path("run/agent.sock")
    }

    pub(super) fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path("var/state")
    }

    pub(super) fn home(&self, user: User) -> PathBuf {
        self.path(&format!("home-{}", user.0))
    }

    fn program(&self) -> PathBuf {
        self.path("bin/secondkey")
    }

    /// The program as a user, who may use the socket.
    pub(super) fn command(&self, user: User, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command
            .args(arguments)
            .uid(user.0)
            .gid(CLIENTS)
            .current_dir("/")
            .env_clear()
            .env("HOME", self.home(user))
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program as a user, against the agent.
    pub(super) fn run(&self, user: User, arguments: &[&str]) -> Said {
        let mut command = self.command(user, arguments);
        command.env("SECONDKEY_AGENT", self.address());
        Said::of(&command.output().unwrap())
    }

    /// Runs the program as the agent's user, on its state folder.
    pub(super) fn administer(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(self.agent, arguments);
        command.arg("--state").arg(self.state());
        Said::of(&command.output().unwrap())
    }

    /// An MCP client of a user, over the bridge.
    pub(super) async fn client(&self, user: User, name: &str) -> Raw {
        let mut command = self.command(user, &["mcp", "--agent", &self.address()]);
        command.stderr(Stdio::inherit());
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        Raw::start_over(name, command, Era::Legacy).await
    }

    /// Pins a first trust file, which trusts [`key`] as Ada's.
    pub(super) fn trust_ada(&self) {
        let file = self.path("trust.json");
        fs::write(&file, trust_of(&key()).to_text()).unwrap();
        open(&file, 0o644);
        self.administer(&["trust", "install", file.to_str().unwrap()])
            .well();
    }

    /// The price of the lamp, read on a connection of its own.
    pub(super) fn price(&self) -> f64 {
        let database = rusqlite::Connection::open(self.path("var/shop.db")).unwrap();
        let price = "SELECT price FROM products WHERE name = 'lamp'";
        database.query_row(price, [], |row| row.get(0)).unwrap()
    }

    pub(super) fn costs(&self, wanted: f64) -> bool {
        (self.price() - wanted).abs() < 1e-9
    }

    /// How many entries of the audit log are of this kind.
    pub(super) fn logged(&self, kind: &str) -> Vec<Value> {
        let said = self.administer(&["audit", "list", "--json", "--kind", kind, "-n", "1000"]);
        let lines = said.well().out;
        let body = |line: &str| -> Value {
            let entry: Value = serde_json::from_str(line).unwrap();
            entry["body"].clone()
        };
        lines.lines().map(body).collect()
    }

    /// Says hello by hand as a user, then these lines; gives what was answered, the hello's answer first.
    pub(super) fn talk(&self, user: User, lines: &[Value]) -> Vec<Value> {
        let hello = json!({"secondkey": 1, "for": "people"});
        user.does(|| {
            let mut stream = UnixStream::connect(self.socket()).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(30)))
                .unwrap();
            let mut answers = BufReader::new(stream.try_clone().unwrap());
            let mut ask = |line: &Value| {
                writeln!(stream, "{line}").unwrap();
                let mut answer = String::new();
                answers.read_line(&mut answer).unwrap();
                serde_json::from_str(&answer).unwrap_or(Value::Null)
            };
            let mut said = vec![ask(&hello)];
            said.extend(lines.iter().map(ask));
            said
        })
    }

    /// Asks one thing by hand as a user.
    pub(super) fn ask(&self, user: User, call: Value) -> Value {
        self.talk(user, &[call]).pop().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.kill());
            drop(running.wait());
        }
    }
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What a run of the program said, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) out: String,
    pub(super) err: String,
    pub(super) code: Option<i32>,
}

impl Said {
    pub(super) fn of(output: &Output) -> Self {
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    pub(super) fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It ended with this code and these words.
    pub(super) fn refused(self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(words), "{self:?}");
    }
}

/// Ada's key.
pub(super) fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// The attacker's key.
pub(super) fn strange_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

/// A first trust file that trusts one key, as Ada's.
pub(super) fn trust_of(key: &SigningKey) -> SignedTrust {
    let now = SystemClock.now().unix_ms();
    let trust = TrustFile::first(
        now,
        vec![Signer {
            name: Principal::new(PrincipalKind::Human, "ada"),
            groups: ["owner".to_owned()].into(),
            purposes: [Purpose::Approve, Purpose::Trust].into(),
            valid_from_ms: now - 1_000,
            valid_until_ms: None,
            keys: vec![SignerKey::ssh(
                PublicKey::ed25519(key.verifying_key()).unwrap(),
                Presence::Passphrase,
                "laptop",
            )],
        }],
    );
    let mut signed = SignedTrust::unsigned(trust);
    signed.sign(key).unwrap();
    signed
}

/// A verdict in Ada's name, signed with a key.
pub(super) fn verdict_on(request: &RequestId, document: Digest, key: &SigningKey) -> SignedVerdict {
    let said = Verdict {
        version: verdict::VERSION,
        decision: Decision::Approve,
        document,
        request: request.clone(),
        signer: Principal::new(PrincipalKind::Human, "ada"),
        surface: Surface::Terminal,
        comment: None,
        at_ms: SystemClock.now().unix_ms(),
    };
    let text = said.to_text();
    let signature = SshSig::sign_ed25519(key, APPROVAL, text.as_bytes()).unwrap();
    SignedVerdict {
        verdict: text,
        signature: signature.armored(),
    }
}

/// The change that the stories are about.
pub(super) fn update(price: f64) -> Value {
    json!({
        "sql": "UPDATE products SET price = $1 WHERE name = $2", "params": [price, "lamp"],
        "reason": "spring sale", "target": "shop",
    })
}
