//! The attack list: what another user of the machine tries, and that nothing of it has an effect.
//!
//! Each thing that is tried by the file is tried by `guarded.rs` too, as the agent's own user, and works
//! there: so it is the separation that holds, and not a mistake in the attack.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use secondkey::core::ids::RequestId;
use secondkey::core::trust::SignedTrust;
use secondkey::core::work::Digest;
use serde_json::{Value, json};

use super::rig::{ASKER, ATTACKER, Rig, User, key, strange_key, trust_of, update, verdict_on};
use crate::stories::{content, refusal};
use crate::support::raw::Raw;

/// Reading what is behind the agent. True when it works.
pub(super) fn readable(rig: &Rig, user: User) -> Vec<(String, bool)> {
    let pid = rig.pid();
    let mut paths: Vec<String> = [
        "var/shop.db",
        "etc/secret",
        "etc/secondkey.toml",
        "var/state/state.db",
        "var/state/audit.heads",
        "var/state/trust/0001.json",
        "var/state/keys/values.key",
    ]
    .map(|name| rig.path(name).display().to_string())
    .into();
    paths.push(format!("/proc/{pid}/environ"));
    paths.push(format!("/proc/{pid}/maps"));
    let read = |path: String| {
        let read = user.does(|| fs::read(&path).is_ok());
        (path, read)
    };
    paths.into_iter().map(read).collect()
}

/// Opening for writing what the agent stands on, without writing anything. True when it works.
pub(super) fn writable(rig: &Rig, user: User) -> Vec<(String, bool)> {
    let files = [
        "var/shop.db",
        "etc/secret",
        "etc/secondkey.toml",
        "var/state/state.db",
        "var/state/audit.heads",
        "var/state/trust/0001.json",
        "var/state/keys/values.key",
    ];
    let open = |name: &str| {
        let path = rig.path(name);
        let opened = user.does(|| OpenOptions::new().append(true).open(&path).is_ok());
        (name.to_owned(), opened)
    };
    let mut tried: Vec<_> = files.into_iter().map(open).collect();
    for folder in [
        "var",
        "var/state",
        "var/state/trust",
        "var/state/keys",
        "run",
    ] {
        let path = rig.path(folder).join("attack");
        let made = user.does(|| {
            fs::write(&path, "x")
                .and_then(|()| fs::remove_file(&path))
                .is_ok()
        });
        tried.push((folder.to_owned(), made));
    }
    tried
}

/// Reaching for the process. True when it works.
pub(super) fn touchable(rig: &Rig, user: User) -> bool {
    let pid = Pid::from_raw(i32::try_from(rig.pid()).unwrap()).unwrap();
    user.does(|| test_kill_process(pid).is_ok())
}

/// A machine with a request that waits, of somebody else than the attacker.
struct World {
    rig: Rig,
    victim: Raw,
    id: RequestId,
    document: Digest,
}

impl World {
    async fn new(test: &str) -> Option<Self> {
        let rig = Rig::separated(test)?;
        rig.trust_ada();
        let rig = rig.started();
        let mut victim = rig.client(ASKER, "raw").await;
        let refused = refusal(&victim.call("sql_execute", &update(15.5)).await);
        assert_eq!(refused["code"], "approval_pending");
        let listed = victim.call("request", &json!({"action": "list"})).await;
        let id = content(&listed)["requests"][0]["id"].clone();
        let shown = rig.ask(ASKER, json!({"call": "show", "request": id}));
        let text = shown["ok"]["shown"]["request"]["document"]
            .as_str()
            .unwrap();
        Some(Self {
            document: Digest::of(&[text.as_bytes()]),
            id: serde_json::from_value(id).unwrap(),
            rig,
            victim,
        })
    }

    /// Everything is as it was, and goes on: the agent lives, the row and the request are untouched, the
    /// log is whole; and the request still takes its course.
    async fn stands(mut self) {
        assert!(self.rig.is_alive(), "{}", self.rig.log());
        assert!(self.rig.costs(20.0));
        let show = json!({"call": "show", "request": self.id});
        let shown = self.rig.ask(ASKER, show);
        let state = &shown["ok"]["shown"]["request"]["state"];
        assert_eq!(
            (&state["is"], &state["votes"]),
            (&json!("pending"), &json!([])),
            "{shown}"
        );
        assert_eq!(trusted(&self.rig), trust_digest(&self.rig));
        self.rig.administer(&["audit", "verify"]).well();
        // Ada's own verdict, carried by anybody, still counts.
        let vote = vote(&self.id, &self.id, self.document, &key());
        let counted = self.rig.ask(ASKER, vote);
        assert_eq!(
            counted["ok"]["request"]["state"]["is"], "approved",
            "{counted}"
        );
        let wait = json!({"action": "wait", "id": self.id.as_str()});
        let collected = self.victim.call("request", &wait).await;
        assert_eq!(content(&collected)["result"]["affected"], 1, "{collected}");
        assert!(self.rig.costs(15.5));
        assert!(self.victim.finish().await.success());
    }
}

/// The digest of the newest trust file, as the agent says.
fn trusted(rig: &Rig) -> Digest {
    let versions = rig.ask(ASKER, json!({"call": "trust"}));
    let newest = versions["ok"]["trust"].as_array().unwrap().last().unwrap();
    let signed: SignedTrust = serde_json::from_value(newest.clone()).unwrap();
    signed.trust.digest()
}

/// The digest of the trust file that was pinned at the beginning.
fn trust_digest(rig: &Rig) -> Digest {
    let text = fs::read(rig.path("trust.json")).unwrap();
    SignedTrust::parse(&text).unwrap().trust.digest()
}

fn vote(
    request: &RequestId,
    about: &RequestId,
    document: Digest,
    key: &ed25519_dalek::SigningKey,
) -> Value {
    json!({"call": "vote", "request": request, "signed": verdict_on(about, document, key)})
}

fn refused(answer: &Value) -> &str {
    answer["refused"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn another_user_reads_and_changes_nothing_of_the_agents() {
    let Some(world) = World::new("separated::files").await else {
        return;
    };
    let tried = [
        readable(&world.rig, ATTACKER),
        writable(&world.rig, ATTACKER),
    ]
    .concat();
    let worked: Vec<_> = tried.iter().filter(|(_, worked)| *worked).collect();
    assert!(worked.is_empty(), "{worked:?}");
    world.stands().await;
}

#[tokio::test]
async fn another_user_does_not_reach_the_agents_process() {
    let Some(world) = World::new("separated::process").await else {
        return;
    };
    let number = world.rig.pid();
    let pid = Pid::from_raw(i32::try_from(number).unwrap()).unwrap();
    ATTACKER.does(|| {
        for signal in [Signal::KILL, Signal::STOP, Signal::TERM] {
            assert!(kill_process(pid, signal).is_err());
        }
        let memory = format!("/proc/{number}/mem");
        assert!(OpenOptions::new().write(true).open(&memory).is_err());
        assert!(fs::read(&memory).is_err());
        assert!(fs::read_link(format!("/proc/{number}/cwd")).is_err());
        assert!(fs::read_dir(format!("/proc/{number}/fd")).is_err());
    });
    world.stands().await;
}

#[tokio::test]
async fn another_user_does_not_replace_the_socket() {
    let Some(world) = World::new("separated::socket").await else {
        return;
    };
    let (socket, beside) = (world.rig.socket(), world.rig.path("run/attack.sock"));
    let mine = world.rig.home(ATTACKER).join("mine.sock");
    ATTACKER.does(|| {
        assert!(fs::remove_file(&socket).is_err());
        assert!(fs::rename(&socket, &beside).is_err());
        assert!(UnixListener::bind(&beside).is_err());
        let listener = UnixListener::bind(&mine).unwrap();
        assert!(fs::rename(&mine, &socket).is_err());
        drop(listener);
    });
    // Whoever is not in the socket's group does not even reach it.
    let reached = ATTACKER.does_in(ATTACKER.0, || UnixStream::connect(&socket).is_ok());
    assert!(!reached);
    // A client that is sent to another's socket says whose folder it found.
    let theirs = ASKER.does(|| {
        let folder = world.rig.home(ASKER).join("open");
        fs::create_dir(&folder).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&folder, open).unwrap();
        folder.join("agent.sock")
    });
    let _listener = ASKER.does(|| UnixListener::bind(&theirs).unwrap());
    let address = format!("unix:{}", theirs.display());
    let output = world
        .rig
        .command(ASKER, &["mcp", "--agent", &address])
        .output();
    super::rig::Said::of(&output.unwrap()).refused(1, "can be changed by other users");
    world.stands().await;
}

#[tokio::test]
async fn another_user_gains_nothing_by_naming_the_agents_folders() {
    let Some(world) = World::new("separated::folders").await else {
        return;
    };
    let (state, config) = (world.rig.state(), world.rig.path("etc/secondkey.toml"));
    let (state, config) = (state.to_str().unwrap(), config.to_str().unwrap());
    let trust = world.rig.path("trust.json");
    for arguments in [
        &["requests", "list", "--state", state][..],
        &["approve", "--state", state],
        &["trust", "show", "--state", state],
        &[
            "trust",
            "install",
            trust.to_str().unwrap(),
            "--state",
            state,
        ],
        &["audit", "list", "--state", state],
        &["keys", "rotate", "token", "--state", state],
        &["page", "--link", "--state", state],
        &["mcp", "--config", config, "--state", state],
        &["doctor", "--config", config],
        &[
            "agent",
            "--socket",
            world.rig.socket().to_str().unwrap(),
            "--config",
            config,
            "--state",
            state,
        ],
    ] {
        let output = world.rig.command(ATTACKER, arguments).output().unwrap();
        let said = super::rig::Said::of(&output);
        assert!(
            ![Some(0), None].contains(&said.code),
            "{arguments:?}: {said:?}"
        );
        assert!(!said.out.contains("shop"), "{arguments:?}: {said:?}");
    }
    // The database by its file, past the agent.
    let url = format!("sqlite:{}", world.rig.path("var/shop.db").display());
    let own = world.rig.home(ATTACKER).join("state").display().to_string();
    let direct = ["doctor", "--database-url", &url, "--state", &own];
    let output = world.rig.command(ATTACKER, &direct).output().unwrap();
    assert_eq!(super::rig::Said::of(&output).code, Some(1));
    world.stands().await;
}

#[tokio::test]
async fn hellos_that_are_none_are_refused_in_time() {
    let Some(world) = World::new("separated::hellos").await else {
        return;
    };
    let rig = &world.rig;
    let say = |bytes: &[u8]| -> String {
        ATTACKER.does(|| {
            let mut stream = UnixStream::connect(rig.socket()).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            // The agent may have heard enough before all is said.
            drop(stream.write_all(bytes));
            let mut answer = Vec::new();
            drop(stream.read_to_end(&mut answer));
            String::from_utf8_lossy(&answer).into_owned()
        })
    };
    for hello in [
        &b"hello\n"[..],
        b"\n",
        b"\xff\xfe\x00\n",
        b"{\"secondkey\":1,\"for\":\"root\"}\n",
        b"{\"secondkey\":\"1\",\"for\":\"mcp\"}\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n",
    ] {
        let answer = say(hello);
        assert!(answer.contains("the hello cannot be read"), "{answer}");
    }
    assert!(say(b"{\"secondkey\":2,\"for\":\"mcp\"}\n").contains("agent_unavailable"));
    // Far too much, and far too little.
    assert!(!say(&vec![b'x'; 1024 * 1024]).contains("\"ok\""));
    let begun = Instant::now();
    assert!(say(b"{\"secondkey\":").contains("did not come in time"));
    assert!(begun.elapsed() < Duration::from_secs(15));
    // Knocking is recorded, and does not fill the log.
    let recorded = rig.logged("connection.refused");
    assert_eq!(recorded.len(), 1, "{recorded:#?}");
    assert_eq!(recorded[0]["facts"]["uid"], ATTACKER.0);
    // Calls that are none.
    let calls = [
        json!({"call": "approve"}),
        json!([1]),
        json!({"call": "list", "limit": -1}),
    ];
    for answer in &rig.talk(ATTACKER, &calls)[1..] {
        assert_eq!(refused(answer), "invalid_argument");
    }
    world.stands().await;
}

#[tokio::test]
async fn a_name_of_anothers_is_only_a_name() {
    let Some(mut world) = World::new("separated::names").await else {
        return;
    };
    for name in ["raw", "../nobody/raw", "nobody/raw", "ai:nobody/raw"] {
        let mut thief = world.rig.client(ATTACKER, name).await;
        let who = thief.call("whoami", &json!({})).await;
        let who = content(&who)["principal"].as_str().unwrap().to_owned();
        assert_eq!(who, format!("ai:{}/{name}", ATTACKER.name()));
        let listed = thief.call("request", &json!({"action": "list"})).await;
        assert_eq!(content(&listed)["requests"], json!([]));
        for action in ["show", "wait", "cancel"] {
            let ask = json!({"action": action, "id": world.id.as_str()});
            let refused = refusal(&thief.call("request", &ask).await);
            assert_eq!(refused["code"], "unknown_request", "{refused}");
        }
        // There is no call that takes a token, whoever signed it.
        let forged =
            json!({"token": "eyJhIjoxfQ.AAAA", "sql": "DELETE FROM products", "target": "shop"});
        let answer = thief.call("sql_execute", &forged).await;
        assert!(crate::support::raw::is_refusal(&answer), "{answer}");
        let answer = thief.request("execution/run", forged).await;
        assert!(answer.get("error").is_some(), "{answer}");
        thief.finish().await;
    }
    let read = world.victim.call("health", &json!({})).await;
    assert!(content(&read).is_object());
    world.stands().await;
}

#[tokio::test]
async fn verdicts_count_by_their_signature_whoever_carries_them() {
    let Some(mut world) = World::new("separated::verdicts").await else {
        return;
    };
    // Another request of the victim's, which Ada approves: her verdict is what the attacker replays.
    refusal(&world.victim.call("sql_execute", &update(1.0)).await);
    let listed = world
        .victim
        .call("request", &json!({"action": "list"}))
        .await;
    let other: RequestId =
        serde_json::from_value(content(&listed)["requests"][0]["id"].clone()).unwrap();
    assert_ne!(other, world.id);
    let shown = world
        .rig
        .ask(ASKER, json!({"call": "show", "request": other}));
    let text = shown["ok"]["shown"]["request"]["document"]
        .as_str()
        .unwrap();
    let signed = vote(&other, &other, Digest::of(&[text.as_bytes()]), &key());
    // Ada's own is good, even from the attacker's hands: it is hers, and says what she said.
    let counted = world.rig.ask(ATTACKER, signed.clone());
    assert_eq!(
        counted["ok"]["request"]["state"]["is"], "approved",
        "{counted}"
    );

    let mut elsewhere = signed.clone();
    elsewhere["request"] = json!(world.id);
    let mut changed = vote(&world.id, &world.id, world.document, &key());
    let text = changed["signed"]["verdict"]
        .as_str()
        .unwrap()
        .replace("terminal", "own_page");
    changed["signed"]["verdict"] = json!(text);
    for (attack, what) in [
        (
            vote(&world.id, &world.id, world.document, &strange_key()),
            "a stranger's key",
        ),
        (signed, "replayed"),
        (elsewhere, "a verdict on another request"),
        (
            vote(&world.id, &other, world.document, &key()),
            "that names another request",
        ),
        (changed, "changed after it was signed"),
    ] {
        let answer = world.rig.ask(ATTACKER, attack);
        assert!(answer.get("refused").is_some(), "{what}: {answer}");
        assert!(world.rig.costs(20.0), "{what}");
    }
    assert!(world.rig.logged("vote.refused").len() >= 5);
    world.stands().await;
}

#[tokio::test]
async fn another_user_does_not_change_whom_the_agent_trusts() {
    let Some(world) = World::new("separated::trust").await else {
        return;
    };
    let first = SignedTrust::parse(&fs::read(world.rig.path("trust.json")).unwrap()).unwrap();
    let next = |signer: &ed25519_dalek::SigningKey, version: u64| {
        let mut trust = trust_of(&strange_key()).trust;
        trust.version = version;
        trust.previous = Some(first.trust.digest());
        let mut signed = SignedTrust::unsigned(trust);
        signed.sign(signer).unwrap();
        signed
    };
    for (signed, what) in [
        (trust_of(&strange_key()), "a first version of one's own"),
        (first.clone(), "the pinned version once more"),
        (
            next(&strange_key(), 2),
            "a next version that its own signer signed",
        ),
        (next(&strange_key(), 3), "a version after the next"),
    ] {
        let answer = world
            .rig
            .ask(ATTACKER, json!({"call": "install_trust", "signed": signed}));
        assert_eq!(refused(&answer), "trust_refused", "{what}: {answer}");
        assert_eq!(trusted(&world.rig), first.trust.digest(), "{what}");
    }
    world.stands().await;
}

#[tokio::test]
async fn the_first_trust_file_does_not_come_by_the_socket_and_a_next_one_does() {
    let Some(mut rig) = Rig::separated("separated::first").map(Rig::started) else {
        return;
    };
    let install = |rig: &Rig, signed: &SignedTrust| {
        rig.ask(ATTACKER, json!({"call": "install_trust", "signed": signed}))
    };
    assert_eq!(
        refused(&install(&rig, &trust_of(&strange_key()))),
        "trust_refused"
    );
    let none = rig.ask(ATTACKER, json!({"call": "trust"}));
    assert_eq!(none["ok"]["trust"], json!([]));
    rig.trust_ada();
    let first = SignedTrust::parse(&fs::read(rig.path("trust.json")).unwrap()).unwrap();
    let mut next = first.clone();
    next.trust.version = 2;
    next.trust.previous = Some(first.trust.digest());
    next.trust.signers[0].groups.insert("dba".into());
    next.signatures.clear();
    next.sign(&key()).unwrap();
    // Anybody may carry it, nobody else can make it, and the old one does not come back.
    assert!(install(&rig, &next).get("ok").is_some());
    assert_eq!(trusted(&rig), next.trust.digest());
    assert_eq!(refused(&install(&rig, &first)), "trust_refused");
    assert_eq!(trusted(&rig), next.trust.digest());
    assert!(rig.is_alive());
}
