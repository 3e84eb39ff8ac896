//! Many processes vote on, dispatch and begin the same requests, one of them killed again and again:
//! nothing that was acknowledged is lost, nothing runs twice, and the log holds.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::clock::SystemClock;
use secondkey::core::audit::{Content, Draft, EventKind};
use secondkey::core::engine::Engine;
use secondkey::core::ids::{AgentId, RequestId, TokenId};
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::request::{
    Asked, Decision, Document, Ending, RecordedVote, Request, Standing, Status, Values,
};
use secondkey::core::signer::{Presence, Surface};
use secondkey::core::statement::Effect;
use secondkey::core::time::{Clock, Timestamp};
use secondkey::core::work::Digest;
use secondkey::store::log::Select;
use secondkey::store::{Dispatched, Start, State};

const FOLDER: &str = "SECONDKEY_TEST_STATE";
const ROLE: &str = "SECONDKEY_TEST_ROLE";
const REQUESTS: u32 = 60;
const PROCESSES: u8 = 3;
const KILLS: usize = 4;

#[tokio::test]
async fn processes_race_for_the_same_requests_and_one_is_killed_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let state = open(&path);
    for number in 0..REQUESTS {
        let values = Values {
            params: vec![number.into()],
            salt: [1; 16],
        };
        file(&state, number, &values).await;
    }
    let mut acknowledged = Vec::new();
    let children: Vec<Child> = (1..PROCESSES)
        .map(|process| spawn(&path, process))
        .collect();
    for _ in 0..KILLS {
        let mut victim = spawn(&path, 0);
        let mut out = BufReader::new(victim.stdout.take().unwrap());
        let mut lines = String::new();
        // SIGKILL on unix, in the middle of its work.
        while lines.matches("did ").count() < 6 && out.read_line(&mut lines).unwrap() > 0 {}
        victim.kill().unwrap();
        victim.wait().unwrap();
        out.read_to_end_into(&mut lines);
        acknowledged.extend(steps(&lines));
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(!errors.contains("locked"), "{errors}");
        acknowledged.extend(steps(&String::from_utf8(output.stdout).unwrap()));
    }
    check(&state, &path, &acknowledged);
}

/// Each acknowledged step is in the record and the log of its request, and no request ran twice.
fn check(state: &State, path: &Path, acknowledged: &[(String, u32)]) {
    let mut counts = BTreeMap::new();
    for (what, _) in acknowledged {
        *counts.entry(what.as_str()).or_insert(0) += 1;
    }
    eprintln!("acknowledged: {counts:?}");
    for number in 0..REQUESTS {
        let request = state.requests().get(&id(number)).unwrap();
        let entries = entries(state, number);
        let logged = |kind: &str| entries.iter().filter(|entry| *entry == kind).count();
        let told = |what: &str| {
            let of = |step: &&(String, u32)| step.0 == what && step.1 == number;
            acknowledged.iter().filter(of).count()
        };
        assert_eq!(
            logged("vote.cast"),
            request.state().votes().len(),
            "{number}"
        );
        assert_eq!(
            request.state().votes().len(),
            2,
            "{number}: {:?}",
            request.status()
        );
        for (what, kind) in [
            ("voted", "vote.cast"),
            ("dispatched", "request.dispatched"),
            ("begun", "execution.started"),
            ("ended", "execution.succeeded"),
        ] {
            assert!(told(what) <= logged(kind), "{number}: {what} was lost");
        }
        assert!(logged("execution.started") <= 1, "{number} ran twice");
        let begun = logged("execution.started") == 1;
        let running = [Status::Running, Status::Succeeded].contains(&request.status());
        assert_eq!(begun, running, "{number}: {:?}", request.status());
        let kept = state.requests().values(&id(number)).unwrap();
        assert_eq!(kept.is_some(), request.status() != Status::Succeeded);
    }
    let raw = super::raw(path);
    let count = |sql: &str| raw.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    let begun = count("select count(*) from journal");
    let moved = "select count(*) from requests where status in ('running', 'succeeded')";
    assert_eq!(begun, count(moved));
    assert!(begun > i64::from(REQUESTS) / 2, "{begun} were begun");
    assert!(state.log().verify(None).unwrap().outcome.is_ok());
}

#[tokio::test]
async fn pending_and_approved_requests_survive_kill_9_of_whoever_filed_and_approved_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::requests::child", "--nocapture"])
        .env(FOLDER, &path)
        .env(ROLE, "file")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    while !lines.contains("did filed 1") {
        assert_ne!(out.read_line(&mut lines).unwrap(), 0, "{lines}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let state = open(&path);
    let status = |number| state.requests().get(&id(number)).unwrap().status();
    assert_eq!([status(0), status(1)], [Status::Pending, Status::Approved]);
    let kept = state.requests().values(&id(0)).unwrap().unwrap();
    assert_eq!(kept.params, [serde_json::Value::from("kept")]);
    assert!(state.log().verify(None).unwrap().outcome.is_ok());
}

/// What follows in the pipe of a process that is dead.
trait Rest {
    fn read_to_end_into(&mut self, lines: &mut String);
}

impl<R: std::io::BufRead> Rest for R {
    fn read_to_end_into(&mut self, lines: &mut String) {
        while self.read_line(lines).is_ok_and(|read| read > 0) {}
    }
}

fn open(path: &Path) -> State {
    State::open(path, Arc::new(SystemClock)).unwrap()
}

fn id(number: u32) -> RequestId {
    super::request(0, number)
}

fn token(process: u8, number: u32) -> TokenId {
    let [a, b, c, d] = number.to_be_bytes();
    TokenId::new(1, [process, a, b, c, d, 0, 0, 0, 0, 0])
}

async fn file(state: &State, number: u32, values: &Values) {
    let now = SystemClock.now();
    let asked = Asked {
        purpose: secondkey::core::approval::Purpose::Run,
        id: id(number),
        workspace: "local".into(),
        requester: Principal::new(PrincipalKind::Ai, "ada/test"),
        target: "shop".into(),
        environment: "test".into(),
        engine: Engine::Sqlite,
        agent: AgentId::new(1, [0; 10]),
        effect: Effect::Write,
        kind: "update".into(),
        statement: "update t set a = ?".into(),
        reason: None,
        work: Digest::of(&[b"work"]),
        document: Document::new("{}".into(), now.plus_ms(86_400_000)),
        requirements: "[]".into(),
        workspace_policy: Digest::of(&[]),
        agent_policy: Digest::of(&[]),
    };
    let change = Request::submit(asked, now)
        .then(|request| request.pend(now))
        .unwrap();
    state.requests().file(change, Some(values)).await.unwrap();
}

fn entries(state: &State, number: u32) -> Vec<String> {
    let shown = state.log().show(&Select::Request(id(number))).unwrap();
    let kind = |content| match content {
        Content::Present(body) => body.kind,
        Content::Removed | Content::Unreadable => panic!("{number}"),
    };
    shown
        .into_iter()
        .map(|record| kind(record.content))
        .collect()
}

fn steps(lines: &str) -> Vec<(String, u32)> {
    // The last line of a killed process may be half a line; whole ones end with a dot.
    let whole = lines
        .lines()
        .filter_map(|line| line.strip_prefix("did ")?.strip_suffix('.'));
    whole
        .map(|line| {
            let (what, number) = line.split_once(' ').unwrap();
            (what.to_owned(), number.parse().unwrap())
        })
        .collect()
}

fn spawn(state: &Path, process: u8) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::requests::child", "--nocapture"])
        .env(FOLDER, state)
        .env(ROLE, process.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what a child process does.
#[test]
fn child() {
    #[expect(clippy::disallowed_methods, reason = "the parent speaks through it")]
    let (Some(folder), Some(role)) = (std::env::var_os(FOLDER), std::env::var_os(ROLE)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let state = open(&PathBuf::from(folder));
    match role.to_str().unwrap().parse() {
        Ok(process) => runtime.block_on(work(&state, process)),
        Err(_) => runtime.block_on(file_and_approve(&state)),
    }
    runtime.block_on(state.close()).unwrap();
}

async fn file_and_approve(state: &State) {
    let values = Values {
        params: vec!["kept".into()],
        salt: [1; 16],
    };
    for number in 0..2 {
        file(state, number, &values).await;
    }
    for signer in 0..2 {
        assert!(vote(state, 1, signer).await);
    }
    say("filed", 1);
    std::thread::sleep(Duration::from_mins(1));
}

/// Goes round all requests until nothing is left to vote on, to dispatch or to begin.
async fn work(state: &State, process: u8) {
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut left = true;
    while left && Instant::now() < deadline {
        left = false;
        for number in 0..REQUESTS {
            if vote(state, number, process).await {
                say("voted", number);
            }
            let with = token(process, number);
            if dispatch(state, number, with.clone()).await {
                say("dispatched", number);
                begin_and_end(state, number, with).await;
            }
            left |= state.requests().get(&id(number)).unwrap().status() == Status::Pending;
        }
    }
}

async fn vote(state: &State, number: u32, signer: u8) -> bool {
    let decide = move |request: Request, now: Timestamp| {
        let vote = RecordedVote {
            signer: Principal::new(PrincipalKind::Human, &signer.to_string()),
            key: format!("key {signer}"),
            decision: Decision::Approve,
            comment: None,
            surface: Surface::Terminal,
            presence: Presence::Hardware,
            groups: ["dba".to_owned()].into(),
            at: now,
            verdict: Digest::of(&[&[signer]]),
            signed: "signed".into(),
        };
        let two = |votes: &[RecordedVote]| match votes.len() {
            0 | 1 => Standing::Open,
            _ => Standing::Met,
        };
        Ok(request.vote(vote, now, two)?)
    };
    state.requests().transact(&id(number), decide).await.is_ok()
}

async fn dispatch(state: &State, number: u32, token: TokenId) -> bool {
    let decide = move |request: Request, now: Timestamp| {
        Ok(request.dispatch(token, now.plus_ms(60_000), now)?)
    };
    state.requests().transact(&id(number), decide).await.is_ok()
}

async fn begin_and_end(state: &State, number: u32, token: TokenId) {
    let now = SystemClock.now();
    let start = Start {
        request: id(number),
        token_not_before: now,
        synced: number.is_multiple_of(10),
        intent: Draft::new(now, EventKind::ExecutionStarted).request(&id(number)),
        dispatched: Some(Dispatched {
            token,
            time_ms: 600_000,
        }),
    };
    state.log().begin(start).await.unwrap();
    say("begun", number);
    let outcome = Draft::new(now, EventKind::ExecutionSucceeded).request(&id(number));
    let request = id(number);
    let ended = state.log().end(&request, Ending::Succeeded, outcome);
    ended.await.unwrap();
    say("ended", number);
}

fn say(what: &str, number: u32) {
    let mut out = std::io::stdout().lock();
    // One write for each line, so that a kill leaves whole lines but for the last.
    out.write_all(format!("\ndid {what} {number}.\n").as_bytes())
        .unwrap();
    out.flush().unwrap();
}
