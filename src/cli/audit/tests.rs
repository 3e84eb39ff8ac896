//! What a person sees of the log.

use std::sync::Arc;

use clap::Parser;

use super::*;
use crate::core::audit::Draft;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::time::{Clock, Timestamp};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: AuditArgs,
}

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(1_700_000_000_000)
    }
}

fn request() -> RequestId {
    RequestId::new(1_700_000_000_000, [1; 10])
}

/// Two key entries, a refusal with an escape sequence in a relation's name, and an end.
async fn state(folder: &tempfile::TempDir) -> State {
    let state = State::open(&folder.path().join("state"), Arc::new(Noon)).unwrap();
    let draft = |kind| {
        Draft::new(Noon.now(), kind)
            .by(&Principal::new(PrincipalKind::Ai, "ada/claude-code"))
            .request(&request())
            .target("shop")
    };
    let refusal = Refusal::new(Code::Forbidden, "no");
    let refused = draft(EventKind::RequestRefused).refusal(&refusal);
    state.log().append(refused).await.unwrap();
    let ended = draft(EventKind::ExecutionSucceeded).rows(3).elapsed_ms(12);
    state.log().append(ended).await.unwrap();
    state
}

async fn answer(state: &State, line: &str) -> (Exit, String) {
    let words = std::iter::once("audit").chain(line.split(' '));
    let args = Line::try_parse_from(words).unwrap().args;
    let mut out = Vec::new();
    let Command::Here(command) = args.command else {
        panic!("{line} is not about a log of this folder")
    };
    let outcome = super::answer(state, &command, &mut out).await.unwrap();
    (outcome, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn list_is_a_table_newest_first_and_takes_filters() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(&folder).await;
    let (_, table) = answer(&state, "list").await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert_eq!(
        lines[1],
        "4      2023-11-14T22:13:20.000Z  execution.succeeded  ai:ada/claude-code  shop    3 rows, 12 ms"
    );
    let (_, table) = answer(&state, "list --kind request.refused --target shop").await;
    assert!(
        table.contains("forbidden") && table.lines().count() == 2,
        "{table}"
    );
    let (_, table) = answer(&state, "list --target other").await;
    assert_eq!(table.lines().count(), 1, "{table}");
    let (_, json) = answer(&state, "list --json --since 1 -n 2").await;
    let sequences = json.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["sequence"].as_u64().unwrap()
    });
    assert_eq!(sequences.collect::<Vec<_>>(), [2, 3]);
    let wrong = Line::try_parse_from(["audit", "list", "--kind", "x"]).unwrap_err();
    assert!(wrong.to_string().contains("request.refused"), "{wrong}");
}

#[tokio::test]
async fn show_takes_a_number_or_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(&folder).await;
    let (_, one) = answer(&state, "show 4").await;
    assert!(
        one.contains("kind       execution.succeeded\n") && one.contains("rows       3\n"),
        "{one}"
    );
    let (_, both) = answer(&state, &format!("show {}", request())).await;
    assert_eq!(both.matches("\nlink ").count(), 2, "{both}");
    assert_eq!(answer(&state, "show 99").await.0, Exit::Failed);
}

#[tokio::test]
async fn verify_says_against_what_and_finds_a_cut_tail_by_a_kept_head() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(&folder).await;
    let (good, text) = answer(&state, "verify").await;
    assert_eq!(good, Exit::Done);
    assert!(
        text.contains("4 entries") && text.contains("a cut tail"),
        "{text}"
    );

    let head = folder.path().join("head");
    answer(&state, &format!("checkpoint --to {}", head.display())).await;
    let verify = format!("verify --head {}", head.display());
    let (good, text) = answer(&state, &verify).await;
    assert_eq!(good, Exit::Done);
    assert!(
        text.contains("head of 4 entries signed at 2023-11-14T22:13:20.000Z"),
        "{text}"
    );

    // The log is lost, heads and all, but for the one that was kept elsewhere.
    state.close().await.unwrap();
    let path = folder.path().join("state");
    std::fs::remove_file(path.join("audit.heads")).unwrap();
    std::fs::remove_file(path.join("state.db")).unwrap();
    let state = State::open(&path, Arc::new(Noon)).unwrap();
    assert_eq!(answer(&state, "verify").await.0, Exit::Done);
    let (bad, text) = answer(&state, &verify).await;
    assert_eq!(bad, Exit::Failed);
    assert!(
        text.contains("it has 0 entries") && text.contains("says 4"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_exported_can_be_checked_without_us() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(&folder).await;
    let (_, text) = answer(&state, "export").await;
    let entries = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let digest = |name: &str| line[name].as_str().unwrap().to_owned().try_into().unwrap();
        crate::core::audit::Stored {
            sequence: line["sequence"].as_u64().unwrap(),
            body: Some(crate::core::work::canonical_json(&line["body"])),
            leaf: digest("leaf"),
            link: digest("link"),
        }
    });
    let verified = crate::core::audit::verify("local", entries, []).unwrap();
    assert_eq!(verified.entries, 4);
    let to = folder.path().join("log.jsonl");
    answer(&state, &format!("export --to {}", to.display())).await;
    assert_eq!(std::fs::read_to_string(to).unwrap(), text);
}
