//! Many processes on one folder, some of them killed: one unbroken chain, nothing lost, nobody told
//! about locks. The children are this very test binary, told by the environment what to do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use secondkey::core::audit::EventKind;
use secondkey::store::log::Select;
use secondkey::store::{BeginError, State};

use super::{draft, open, request, start};

const FOLDER: &str = "SECONDKEY_TEST_STATE";
const ROLE: &str = "SECONDKEY_TEST_ROLE";
const PROCESSES: u8 = 8;
const EACH: u32 = 400;

#[tokio::test]
async fn eight_processes_share_one_unbroken_log_although_two_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut children: Vec<Child> = (0..PROCESSES)
        .map(|process| spawn(&state, &format!("append {process}")))
        .collect();
    let readers: Vec<_> = children
        .iter_mut()
        .map(|child| {
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            std::thread::spawn(move || acknowledged(lines.map_while(Result::ok)))
        })
        .collect();
    let mut random = [0; 2];
    getrandom::fill(&mut random).unwrap();
    for (child, random) in children.iter_mut().zip(random) {
        wait_for_entries(&state, 200 + 4 * u64::from(random));
        // SIGKILL on unix.
        child.kill().unwrap();
    }
    for (index, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !errors.contains("locked") && !errors.contains("busy"),
            "{errors}"
        );
        assert!(index < 2 || output.status.success(), "{index}: {errors}");
    }
    let counts = check_all(
        &open(&state),
        readers.into_iter().map(|r| r.join().unwrap()),
    );
    eprintln!("killed after {random:?}; acknowledged {counts:?}");
    assert!(counts[2..].iter().all(|count| *count == 2 * EACH as usize));
    assert!(counts[..2].iter().any(|count| *count < 2 * EACH as usize));
}

/// Every acknowledged entry is there with its link, and the chain holds.
fn check_all(state: &State, all: impl Iterator<Item = Vec<Acknowledged>>) -> Vec<usize> {
    let links: Vec<String> = state
        .log()
        .export()
        .unwrap()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            line["link"].as_str().unwrap().to_owned()
        })
        .collect();
    let check = |acknowledged: Vec<Acknowledged>| {
        for entry in &acknowledged {
            assert_eq!(
                links[entry.sequence - 1],
                entry.link,
                "entry {}",
                entry.sequence
            );
        }
        acknowledged.len()
    };
    let counts = all.map(check).collect();
    let report = state.log().verify(None).unwrap();
    assert_eq!(report.outcome.unwrap().entries, links.len() as u64);
    assert_eq!(report.bad_heads, 0);
    counts
}

struct Acknowledged {
    sequence: usize,
    link: String,
}

fn acknowledged(lines: impl Iterator<Item = String>) -> Vec<Acknowledged> {
    let parse = |line: String| {
        let (sequence, link) = line.strip_prefix("sealed ")?.split_once(' ')?;
        // The last line of a killed process may be half a line.
        (link.len() == 64).then(|| Acknowledged {
            sequence: sequence.parse().unwrap(),
            link: link.to_owned(),
        })
    };
    lines.filter_map(parse).collect()
}

#[tokio::test]
async fn of_two_processes_that_begin_the_same_requests_exactly_one_wins_each() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let children = [spawn(&state, "race"), spawn(&state, "race")];
    let mut won = Vec::new();
    let mut winners = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let before = won.len();
        let text = String::from_utf8(output.stdout).unwrap();
        won.extend(
            text.lines()
                .filter_map(|l| l.strip_prefix("won ")?.parse::<u32>().ok()),
        );
        winners += usize::from(won.len() > before);
    }
    eprintln!("{winners} of 2 processes won requests");
    won.sort_unstable();
    assert_eq!(won, (0..EACH).collect::<Vec<_>>());
    let state = open(&state);
    for number in 0..EACH {
        let shown = state
            .log()
            .show(&Select::Request(request(0, number)))
            .unwrap();
        assert_eq!(shown.len(), 1, "request {number}");
    }
    assert!(state.log().verify(None).unwrap().outcome.is_ok());
}

#[tokio::test]
async fn whoever_holds_the_file_for_a_while_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let state = open(&path);
    let id = request(1, 1);
    state.log().begin(start(&id, true)).await.unwrap();
    let other = super::raw(&path);
    other.execute_batch("begin exclusive").unwrap();
    let waiting = state
        .log()
        .append(draft(EventKind::ExecutionSucceeded, &id));
    tokio::pin!(waiting);
    let patience = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(patience, &mut waiting).await.is_err());
    other.execute_batch("rollback").unwrap();
    assert_eq!(waiting.await.unwrap().sequence, 4);
}

fn spawn(state: &Path, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::processes::child", "--nocapture"])
        .env(FOLDER, state)
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for_entries(state: &Path, count: u64) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        let found = std::fs::exists(state.join("state.db")).unwrap()
            && super::raw(state)
                .query_row("select count(*) from audit", (), |row| row.get::<_, i64>(0))
                .is_ok_and(|found| found.unsigned_abs() >= count);
        if found {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the children do not write"
        );
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
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
    match role.to_str().unwrap().split_once(' ') {
        Some((_, process)) => runtime.block_on(append(&state, process.parse().unwrap())),
        None => runtime.block_on(race(&state)),
    }
    runtime.block_on(state.close()).unwrap();
}

/// Four callers at a time, each with an intent and an outcome for each request.
async fn append(state: &State, process: u8) {
    let caller = |first: u32| {
        let state = state.clone();
        async move {
            for number in (first..EACH).step_by(4) {
                let id = request(process, number);
                let synced = number % 50 == 0;
                let intent = state.log().begin(start(&id, synced)).await.unwrap();
                say(&format!("sealed {} {}", intent.sequence, intent.link));
                let outcome = draft(EventKind::ExecutionSucceeded, &id);
                let outcome = state.log().append(outcome).await.unwrap();
                say(&format!("sealed {} {}", outcome.sequence, outcome.link));
            }
        }
    };
    let callers: Vec<_> = (0..4).map(|first| tokio::spawn(caller(first))).collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

async fn race(state: &State) {
    for number in 0..EACH {
        match state.log().begin(start(&request(0, number), false)).await {
            Ok(_) => say(&format!("won {number}")),
            Err(error) => assert_eq!(error, BeginError::AlreadyUsed),
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // One write for each line, so that a kill leaves whole lines but for the last.
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}
