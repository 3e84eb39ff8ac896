//! What a relay has shown of its audit log is held, on a client's side, against what it shows later.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use rusqlite::Connection;
use secondkey::core::audit::entry::{leaf, link};
use secondkey::core::audit::first_link;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::spawn_blocking;

use super::rig::{Fleet, UPDATE, content, result};
use crate::support::binary;
use crate::support::http::{Answer, send};
use crate::support::raw::{Era, Raw};

/// Where a bridge keeps what it was shown, in the home folder.
const CACHE: &str = ".local/state/secondkey/relays";
const COUNT: &str = "SELECT count(*) FROM orders";

/// A command of Ada's machine, where the bridge has its state folder, too.
fn command(fleet: &Fleet, arguments: &[&str], port: u16) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .args(["--relay", &format!("http://127.0.0.1:{port}")])
        .env_clear()
        .env("HOME", fleet.folder.path())
        .env("SECONDKEY_API_KEY", &fleet.key)
        .current_dir(fleet.folder.path())
        .kill_on_drop(true);
    command
}

async fn bridge(fleet: &Fleet, port: u16) -> Raw {
    let mut command = command(fleet, &["mcp"], port);
    command.stderr(std::process::Stdio::null());
    Raw::start_over("raw", command, Era::Modern).await
}

/// The ids of the requests of a few statements, asked over a bridge that then ends in good order.
async fn worked(fleet: &Fleet, port: u16) -> Vec<String> {
    asked(fleet, port, &json!({ "sql": COUNT })).await
}

/// The same with this statement.
pub(super) async fn asked(fleet: &Fleet, port: u16, statement: &Value) -> Vec<String> {
    let mut client = bridge(fleet, port).await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        let answer = client.call("sql_execute", statement).await;
        let answer = content(&answer["result"]);
        requests.push(answer["request"].as_str().unwrap().to_owned());
    }
    assert_eq!(client.finish().await.code(), Some(0));
    requests
}

pub(super) async fn reconciled(fleet: &Fleet, port: u16) -> (Option<i32>, String) {
    let mut command = command(fleet, &["audit", "reconcile"], port);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

/// Seals what is in a log anew, as somebody can who has it in their hands: each leaf and link fits again, and the
/// heads that were signed beside it are gone.
fn resealed(state: &Path, change: &str) {
    let mut log = Connection::open(state.join("state.db")).unwrap();
    let all = log.transaction().unwrap();
    all.execute_batch(change).unwrap();
    let rows: Vec<(i64, String)> = {
        let mut rows = all
            .prepare("SELECT sequence, body FROM audit ORDER BY sequence")
            .unwrap();
        let rows = rows
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    };
    let mut end = first_link("local");
    for (sequence, body) in rows {
        let leaf = leaf(body.as_bytes());
        end = link(&end, &leaf);
        let seal = "UPDATE audit SET leaf = ?2, link = ?3 WHERE sequence = ?1";
        all.execute(seal, (sequence, leaf.as_bytes(), end.as_bytes()))
            .unwrap();
    }
    all.commit().unwrap();
    std::fs::remove_file(state.join("audit.heads")).unwrap();
}

/// The first and the last entry of a request.
fn entries_of(state: &Path, request: &str) -> (i64, i64) {
    let log = Connection::open(state.join("state.db")).unwrap();
    let ends = "SELECT min(sequence), max(sequence) FROM audit WHERE request = ?1";
    log.query_row(ends, [request], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
}

fn own(fleet: &Fleet, key: &str) -> Value {
    let (host, bearer) = (format!("127.0.0.1:{}", fleet.port), format!("Bearer {key}"));
    let headers = [("Host", host.as_str()), ("Authorization", &bearer)];
    let answer = send(fleet.port, "GET", "/v1/audit/own", &headers, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_relay_that_shows_the_same_log_is_believed_and_one_that_rewrote_it_is_not() {
    let mut fleet = Fleet::start().await;
    let requests = worked(&fleet, fleet.port).await;
    let (code, said) = reconciled(&fleet, fleet.port).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("It has all 3 requests that were answered here."),
        "{said}"
    );
    assert!(!said.contains("Nothing of it was kept"), "{said}");
    // Started anew, it goes on with the same log.
    fleet.stop_relay();
    fleet.start_relay();
    fleet.wait_until_ready();
    worked(&fleet, fleet.port).await;
    let (code, said) = reconciled(&fleet, fleet.port).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("all 6 requests"), "{said}");

    let state = fleet.path("relay");
    let (first, last) = entries_of(&state, &requests[1]);
    let cases = [
        (
            "an own entry says something else",
            format!("UPDATE audit SET body = replace(body, 'ai:ada', 'ai:eve') WHERE sequence = {first}"),
            format!("entry {first} was edited"),
        ),
        (
            "an entry of somebody else says something else",
            "UPDATE audit SET body = replace(body, '\"version\":1', '\"version\":2') WHERE sequence = 2".to_owned(),
            "the log was rewritten".to_owned(),
        ),
        (
            "the end is gone",
            format!("DELETE FROM audit WHERE sequence > {last}"),
            // What stands there now is about the relay's new start.
            "was edited".to_owned(),
        ),
    ];
    fleet.stop_relay();
    let kept = fleet.path("relay-before");
    copy(&state, &kept);
    let (cache, cached) = (fleet.path(CACHE), fleet.path("cached"));
    copy(&cache, &cached);
    for (what, change, shown) in cases {
        std::fs::remove_dir_all(&state).unwrap();
        copy(&kept, &state);
        // What a relay signs in between would be held against it as well.
        std::fs::remove_dir_all(&cache).unwrap();
        copy(&cached, &cache);
        resealed(&state, &change);
        fleet.start_relay();
        fleet.wait_until_ready();
        // To whoever has only what the relay has, the log is whole.
        let verified = fleet.run(&["audit", "verify"], "relay");
        assert!(
            verified.contains("The audit log is whole"),
            "{what}: {verified}"
        );
        let (code, said) = reconciled(&fleet, fleet.port).await;
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(
            said.contains("is not the one that it showed before"),
            "{what}: {said}"
        );
        assert!(said.contains(&shown), "{what}: {said}");
        fleet.stop_relay();
    }
    // Whoever has kept nothing believes it.
    std::fs::remove_dir_all(fleet.path(CACHE)).unwrap();
    fleet.start_relay();
    fleet.wait_until_ready();
    let (code, said) = reconciled(&fleet, fleet.port).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("Nothing of it was kept here before"),
        "{said}"
    );
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
}

/// A relay in the wrong hands: it leaves out of what it shows what it does not want anybody to see.
async fn hiding(fleet: &Fleet) -> u16 {
    let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = door.local_addr().unwrap().port();
    let pass = async |State(relay): State<u16>,
                      method: Method,
                      uri: Uri,
                      headers: HeaderMap,
                      body: Bytes| {
        let path = uri.path_and_query().unwrap().to_string();
        let hides = path.starts_with("/v1/audit/own");
        let passed = spawn_blocking(move || {
            let host = format!("127.0.0.1:{relay}");
            let mut all = vec![("host", host.as_str())];
            all.extend(headers.iter().filter_map(|(name, value)| {
                let kept = !["host", "content-length", "connection"].contains(&name.as_str());
                kept.then(|| (name.as_str(), value.to_str().unwrap()))
            }));
            let body = String::from_utf8(body.to_vec()).unwrap();
            send(relay, method.as_str(), &path, &all, &body)
        });
        answered(&passed.await.unwrap(), hides)
    };
    let app = Router::new().fallback(pass).with_state(fleet.port);
    tokio::spawn(async move { axum::serve(door, app).await.unwrap() });
    port
}

fn answered(answer: &Answer, hides: bool) -> Response {
    let mut body = answer.body.clone();
    if hides && answer.status == 200 {
        let mut own: Value = serde_json::from_str(&body).unwrap();
        own["entries"] = json!([]);
        body = own.to_string();
    }
    let mut headers = HeaderMap::new();
    for name in ["content-type", "mcp-session-id", "www-authenticate"] {
        if let Some(value) = answer.header(name) {
            headers.insert(name, value.parse().unwrap());
        }
    }
    (StatusCode::from_u16(answer.status).unwrap(), headers, body).into_response()
}

#[tokio::test]
async fn a_request_that_was_answered_and_is_in_no_log_is_named() {
    let fleet = Fleet::start().await;
    let port = hiding(&fleet).await;
    let requests = worked(&fleet, port).await;
    let (code, said) = reconciled(&fleet, port).await;
    assert_eq!(code, Some(1), "{said}");
    for request in requests {
        assert!(
            said.contains(&format!("does not have request {request}")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_was_answered_is_kept_while_the_client_is_still_there() {
    let fleet = Fleet::start().await;
    let mut client = bridge(&fleet, fleet.port).await;
    let answer = client.call("sql_execute", &json!({ "sql": COUNT })).await;
    let request = content(&answer["result"])["request"].clone();
    let file = format!("{CACHE}/127.0.0.1_{}.db", fleet.port);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let open = Connection::open(fleet.path(&file)).unwrap();
        let kept = "SELECT count(*) FROM entries JOIN answered USING (workspace, request) WHERE request = ?1";
        let kept = open.query_row(kept, [request.as_str().unwrap()], |row| {
            row.get::<_, i64>(0)
        });
        if kept.is_ok_and(|count| count > 0) {
            break;
        }
        assert!(Instant::now() < deadline, "nothing is kept of {request}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(fleet.path(&file)).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(client.finish().await.code(), Some(0));
}

#[tokio::test]
async fn somebody_sees_their_own_entries_and_those_about_their_requests_alone() {
    let fleet = Fleet::start().await;
    let bea = fleet.issue(&["--for", "ai:bea", "--role", "developer"]);
    let change = json!({"sql": UPDATE, "params": [15.5, "lamp"]});
    let key = fleet.key.clone();
    let waiting = fleet.call_with(&key, "sql_execute", &change);
    let approving = async {
        let person = fleet.relay_state();
        let id = fleet.pending(&person).await;
        person.close().await.unwrap();
        // Whoever tries their luck with another's request does not make it their own.
        for action in ["cancel", "show", "wait"] {
            let meddling = json!({"action": action, "id": id.as_str()});
            let refused = result(&fleet.call_with(&bea, "request", &meddling).await);
            assert_eq!(refused["isError"], true, "{refused}");
        }
        fleet.approve().await
    };
    let (answer, id) = tokio::join!(waiting, approving);
    assert_eq!(content(&result(&answer))["affected"], 1);
    fleet
        .call_with(&bea, "sql_execute", &json!({ "sql": COUNT }))
        .await;

    let kinds = |shown: &Value| -> BTreeSet<String> {
        let entries = shown["entries"].as_array().unwrap().iter();
        let of = entries.filter(|one| one["body"]["request"] == id.as_str());
        of.map(|one| one["body"]["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let shown = own(&fleet, &fleet.key);
    assert_eq!(shown["principal"], "ai:ada");
    let theirs = own(&fleet, &bea);
    for entry in theirs["entries"].as_array().unwrap() {
        let by = entry["body"]["principal"].as_str().unwrap();
        assert!(by.starts_with("ai:bea"), "{entry}");
    }
    assert!(kinds(&shown).contains("vote.cast"), "{shown}");
    assert!(!theirs.to_string().contains("products"), "{theirs}");
}
