//! Two workspaces of one relay in which everything is called the same: what one has is not there for whoever
//! comes with the other's credential.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::broker::requests;
use secondkey::clock::SystemClock;
use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use secondkey::store::State;
use serde_json::{Value, json};

use super::openapi::{described, operations};
use super::rest::{ask, get, json_of};
use super::rest_capabilities::wait_until_offered;
use super::rig::{Fleet, UPDATE, content, refusal, result};
use crate::stories::approval::{say, signed, trust};
use crate::support::http::{Answer, send};
use crate::support::shop;

/// What only the first workspace offers.
const ONLY_WORD: &str = "\
service: { title: First, version: 1.0.0 }
capabilities:
  only_word:
    description: CANARY-of-the-first
    sql: select word from only_here
    result: { word: { type: string } }
";
/// What only the first workspace's database holds.
const SECRET: &str = "CANARY-of-the-first";

/// A relay with two workspaces, each with an agent of the same id that serves a `shop`, and a key of `ai:ada`.
struct Twins {
    fleet: Fleet,
    other: String,
}

impl Twins {
    async fn start() -> Self {
        let mut fleet = Fleet::start().await;
        let database = rusqlite::Connection::open(fleet.shop()).unwrap();
        let only = format!(
            "CREATE TABLE only_here (word TEXT); INSERT INTO only_here VALUES ('{SECRET}')"
        );
        database.execute_batch(&only).unwrap();
        // The relay runs, and takes the new workspace in.
        let made = fleet.run(&["relay", "workspaces", "create", "twin"], "relay");
        assert!(made.contains("skey_"), "{made}");
        let of_twin = ["--workspace", "twin"];
        let token = ["relay", "join-token", "--serves", "shop"];
        let token = fleet.run(&[&token[..], &of_twin].concat(), "relay");
        std::fs::write(fleet.path("join-twin"), token).unwrap();
        let other = fleet.issue(&[
            "--for",
            "ai:ada",
            "--role",
            "developer",
            "--workspace",
            "twin",
        ]);
        for path in ["relay/workspaces/twin", "agent-twin"] {
            let state = State::open(&fleet.path(path), Arc::new(SystemClock)).unwrap();
            state.install_trust(trust()).await.unwrap();
            state.close().await.unwrap();
        }
        // Even their ids are the same.
        let id = |agent: &str| fleet.path(agent).join("keys/agent.id");
        std::fs::copy(id("agent"), id("agent-twin")).unwrap();
        shop::create(&fleet.path("shop-twin.db"));
        let file = fleet.path("shop-twin.db");
        wait_until_it_counts(&fleet, &other).await;
        fleet.start_another("agent-twin", "join-twin", &file);
        let twins = Self { fleet, other };
        twins.wait_for_the_other().await;
        twins
    }

    /// Waits until the second workspace's agent serves.
    async fn wait_for_the_other(&self) {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let read = json!({"sql": "SELECT 1"});
            let answer = self
                .fleet
                .call_with(&self.other, "sql_execute", &read)
                .await;
            if answer.status == 200 && result(&answer)["isError"] != true {
                return;
            }
            let logs = ["relay", "agent-twin"].map(|name| self.fleet.log(name));
            assert!(Instant::now() < deadline, "{answer:?} {logs:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A call with the second workspace's key.
    async fn over_there(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.fleet.call_with(&self.other, tool, &arguments).await;
        assert!(!answer.body.contains(SECRET), "{answer:?}");
        assert!(!answer.body.contains("only_here"), "{answer:?}");
        result(&answer)
    }

    fn state(&self, path: &str) -> State {
        State::open(&self.fleet.path(path), Arc::new(SystemClock)).unwrap()
    }

    /// A request of the first workspace that waits; its id.
    async fn file(&self) -> String {
        let state = self.fleet.relay_state();
        let wanted = json!({"sql": UPDATE, "params": [9.5, "lamp"]});
        let id = tokio::select! {
            answer = self.fleet.call("sql_execute", &wanted) => panic!("{answer:?}"),
            id = self.fleet.pending(&state) => id,
        };
        state.close().await.unwrap();
        id.as_str().to_owned()
    }

    /// The price over there, on a connection of its own.
    fn price_over_there(&self) -> f64 {
        let database = rusqlite::Connection::open(self.fleet.path("shop-twin.db")).unwrap();
        let price = "SELECT price FROM products WHERE name = 'lamp'";
        database.query_row(price, [], |row| row.get(0)).unwrap()
    }
}

/// Waits until the running relay has taken a key's workspace in.
async fn wait_until_it_counts(fleet: &Fleet, key: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while fleet.call_with(key, "whoami", &json!({})).await.status == 401 {
        assert!(Instant::now() < deadline, "{}", fleet.log("relay"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The names in a list.
fn names(answer: &Answer, of: &str, key: &str) -> Vec<String> {
    let listed = result(answer)[of].as_array().cloned().unwrap();
    listed
        .iter()
        .map(|one| one[key].as_str().unwrap().to_owned())
        .collect()
}

fn is_error(answer: &Answer) -> bool {
    answer.body.contains("\"error\"") && !answer.body.contains("\"result\"")
}

#[tokio::test]
async fn every_tool_shows_the_holder_of_a_key_their_own_workspace_alone() {
    let twins = Twins::start().await;
    let fleet = &twins.fleet;
    let all = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i FROM n";
    let cut = content(&fleet.sql(all).await).clone();
    let handle = cut["truncated"]["handle"].as_str().unwrap().to_owned();
    let request = twins.file().await;
    let listed = fleet.ask(&fleet.key, ("tools/list", ""), json!({})).await;
    let mut tools = names(&listed, "tools", "name");
    // One that is listed to people alone can be called by its name.
    tools.push("approval_decide".to_owned());
    for tool in tools {
        match tool.as_str() {
            "sql_execute" => {
                let read = json!({"sql": "SELECT word FROM only_here"});
                let there = fleet.call_with(&twins.other, "sql_execute", &read).await;
                assert_eq!(refusal(&result(&there))["code"], "unknown_table");
                let here = result(&fleet.call_with(&fleet.key, "sql_execute", &read).await);
                assert_eq!(content(&here)["rows"], json!([[SECRET]]));
            }
            "sql_batch" => {
                let read = json!({"statements": [{"sql": "SELECT word FROM only_here"}]});
                let there = fleet.call_with(&twins.other, "sql_batch", &read).await;
                assert_eq!(refusal(&result(&there))["code"], "unknown_table");
                let here = result(&fleet.call_with(&fleet.key, "sql_batch", &read).await);
                assert!(content(&here).to_string().contains(SECRET), "{here}");
            }
            "list_tables" => {
                let there = twins.over_there("list_tables", json!({})).await;
                assert!(content(&there).to_string().contains("products"), "{there}");
            }
            "describe_table" => {
                let args = json!({"table": "only_here"});
                let there = fleet.call_with(&twins.other, "describe_table", &args).await;
                assert_eq!(refusal(&result(&there))["code"], "unknown_table");
            }
            "result_page" => {
                let args = json!({"handle": handle, "from": 200});
                let there = twins.over_there("result_page", args.clone()).await;
                assert_eq!(refusal(&there)["code"], "page_gone");
                let here = fleet.call("result_page", &args).await;
                assert!(
                    content(&here)["rows"]
                        .as_array()
                        .is_some_and(|rows| !rows.is_empty())
                );
            }
            "request" => {
                for action in ["show", "cancel", "wait"] {
                    let args = json!({"action": action, "id": request});
                    let there = twins.over_there("request", args).await;
                    assert_eq!(refusal(&there)["code"], "unknown_request", "{action}");
                }
                let there = twins.over_there("request", json!({"action": "list"})).await;
                assert_eq!(content(&there)["requests"], json!([]));
            }
            "approval_decide" => {
                let person = fleet.issue(&[
                    "--for",
                    "human:ada",
                    "--role",
                    "developer",
                    "--workspace",
                    "twin",
                ]);
                let args = json!({"id": request});
                let there = fleet.call_with(&person, "approval_decide", &args).await;
                assert_eq!(refusal(&result(&there))["code"], "unknown_request");
            }
            "whoami" => {
                let here = fleet.call("whoami", &json!({})).await;
                let there = twins.over_there("whoami", json!({})).await;
                assert_eq!(content(&here)["workspace"], "local");
                assert_eq!(content(&there)["workspace"], "twin");
                assert_eq!(content(&here)["principal"], content(&there)["principal"]);
            }
            "health" => {
                let there = twins.over_there("health", json!({})).await;
                assert!(!content(&there).to_string().contains("local"), "{there}");
            }
            other => panic!("`{other}` was not tried with the other workspace's key"),
        }
    }
    let kept = fleet
        .call("request", &json!({"action": "show", "id": request}))
        .await;
    assert_eq!(content(&kept)["requests"][0]["status"], "pending");
}

#[tokio::test]
async fn resources_tasks_and_sessions_are_those_of_the_key() {
    let twins = Twins::start().await;
    let fleet = &twins.fleet;
    let listed = fleet
        .ask(&fleet.key, ("resources/list", ""), json!({}))
        .await;
    let uris = names(&listed, "resources", "uri");
    assert!(
        uris.iter().any(|uri| uri.ends_with("/only_here")),
        "{uris:?}"
    );
    let there = fleet
        .ask(&twins.other, ("resources/list", ""), json!({}))
        .await;
    assert!(!there.body.contains("only_here"), "{there:?}");
    for uri in &uris {
        let read = fleet
            .ask(&twins.other, ("resources/read", uri), json!({"uri": uri}))
            .await;
        // The name of what was asked for comes back; what stands in it does not.
        assert!(!read.body.contains("word"), "{read:?}");
        assert_eq!(is_error(&read), uri.ends_with("/only_here"), "{read:?}");
    }
    let request = twins.file().await;
    for method in ["tasks/get", "tasks/cancel"] {
        let args = json!({"taskId": request});
        let there = fleet.ask(&twins.other, (method, &request), args).await;
        assert!(is_error(&there), "{method}: {there:?}");
    }
    let args = json!({"taskId": request});
    let here = fleet.ask(&fleet.key, ("tasks/get", &request), args).await;
    assert!(!is_error(&here), "{here:?}");

    let host = format!("127.0.0.1:{}", fleet.port);
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"},
    }});
    let with = |key: &str, session: Option<&str>, message: &Value| {
        let bearer = format!("Bearer {key}");
        let mut headers = vec![
            ("Host", host.as_str()),
            ("Authorization", &bearer),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        if let Some(session) = session {
            headers.push(("Mcp-Session-Id", session));
            headers.push(("MCP-Protocol-Version", "2025-11-25"));
        }
        send(fleet.port, "POST", "/mcp", &headers, &message.to_string())
    };
    let opened = with(&fleet.key, None, &hello);
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(with(&twins.other, Some(&session), &list).status, 404);
    assert_eq!(with(&fleet.key, Some(&session), &list).status, 200);
}

#[tokio::test]
async fn a_signature_counts_in_the_workspace_of_the_request_alone() {
    let twins = Twins::start().await;
    let fleet = &twins.fleet;
    let request = twins.file().await.parse().unwrap();
    // What Ada signs for the first workspace's request is carried to the other.
    let (here, there) = (fleet.relay_state(), twins.state("relay/workspaces/twin"));
    let refused = say(&there, &request, Decision::Approve).await.unwrap_err();
    assert_eq!(refused.code.as_str(), "unknown_request");
    assert_eq!(
        requests::show(&here, &request).unwrap().request.status(),
        Status::Pending
    );
    say(&here, &request, Decision::Approve).await.unwrap();
    // The call that waits runs it.
    let deadline = Instant::now() + Duration::from_secs(20);
    while (fleet.price() - 9.5).abs() > 1e-9 {
        assert!(Instant::now() < deadline, "{}", fleet.log("relay"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!((twins.price_over_there() - 20.0).abs() < 1e-9);
    here.close().await.unwrap();
    there.close().await.unwrap();

    // Neither log says a word of the other's, and both are whole.
    for (workspace, knows) in [("local", true), ("twin", false)] {
        let of = ["--workspace", workspace];
        let log = fleet.run(&[&["audit", "list", "--json"][..], &of].concat(), "relay");
        assert_eq!(log.contains(request.as_str()), knows, "{workspace}");
        fleet.run(&[&["audit", "verify"][..], &of].concat(), "relay");
    }
}

/// Puts one agent's files in another folder.
fn copied(twins: &Twins, from: &str, to: &str) -> PathBuf {
    let (from, to) = (twins.fleet.path(from), twins.fleet.path(to));
    let done = std::process::Command::new("cp")
        .arg("-r")
        .args([&from, &to])
        .status();
    assert!(done.unwrap().success());
    to
}

#[tokio::test]
async fn an_agent_of_one_workspace_is_nobody_in_the_other() {
    let mut twins = Twins::start().await;
    // The second workspace's agent, with the id that the first knows, asks for the first.
    let stray = copied(&twins, "agent-twin", "stray");
    std::fs::copy(twins.fleet.path("agent/relay.pin"), stray.join("relay.pin")).unwrap();
    let file = twins.fleet.path("stray.db");
    shop::create(&file);
    rusqlite::Connection::open(&file)
        .unwrap()
        .execute_batch("UPDATE products SET price = 1")
        .unwrap();
    twins.fleet.start_another("stray", "join-twin", &file);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !twins.fleet.log("stray").contains("does not know the agent") {
        assert!(Instant::now() < deadline, "{}", twins.fleet.log("stray"));
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = twins.fleet.run(&["audit", "list"], "relay");
    assert!(log.contains("agent.refused"), "{log}");
    let price = twins
        .fleet
        .sql("SELECT price FROM products WHERE name = 'lamp'")
        .await;
    assert_eq!(content(&price)["rows"], json!([[20]]));
    // A token of one is no token of the other.
    let token = std::fs::read_to_string(twins.fleet.path("join-twin")).unwrap();
    let (_, key) = token.trim().rsplit_once('.').unwrap();
    let foreign = ["relay", "join-token", "--serves", "shop"];
    let foreign = twins.fleet.run(&foreign, "relay");
    let mixed = format!("{}.{key}", foreign.rsplit_once('.').unwrap().0);
    std::fs::write(twins.fleet.path("mixed"), mixed).unwrap();
    let relay = format!("http://127.0.0.1:{}", twins.fleet.port);
    let shop = format!("shop=sqlite:{}", file.display());
    let arguments = [
        "agent",
        "--relay",
        &relay,
        "--join",
        "file:mixed",
        "--database-url",
        &shop,
    ];
    let refused = twins
        .fleet
        .command(&arguments, "newcomer")
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let said = twins.fleet.log("newcomer");
    assert!(said.contains("does not know the agent"), "{said}");
}

#[tokio::test]
async fn a_workspace_that_is_taken_away_is_gone_within_a_second_and_nothing_else_is() {
    let twins = Twins::start().await;
    let fleet = &twins.fleet;
    let read = json!({"sql": "SELECT 1"});
    let said = fleet.run(&["relay", "workspaces", "remove", "twin"], "relay");
    assert!(said.contains("removed/twin-"), "{said}");
    let answer = fleet.call_with(&twins.other, "sql_execute", &read).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(content(&fleet.sql("SELECT 1").await)["rows"], json!([[1]]));
    let list = fleet.run(&["relay", "workspaces", "list"], "relay");
    assert!(list.contains("local") && !list.contains("twin"), "{list}");
    let log = fleet.run(&["audit", "list"], "relay");
    assert!(
        log.contains("workspace.created") && log.contains("workspace.removed"),
        "{log}"
    );
    // Its name can be used again, by others.
    fleet.run(&["relay", "workspaces", "create", "twin"], "relay");
    let answer = fleet.call_with(&twins.other, "sql_execute", &read).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    for wrong in ["local", "twin", "../x"] {
        let create = ["relay", "workspaces", "create", wrong];
        assert!(
            !fleet
                .command(&create, "relay")
                .output()
                .unwrap()
                .status
                .success(),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn every_operation_over_rest_shows_the_holder_of_a_key_their_own_workspace_alone() {
    let mut twins = Twins::start().await;
    twins.fleet.start_agent_offering(ONLY_WORD, "");
    wait_until_offered(&twins.fleet).await;
    let fleet = &twins.fleet;
    let run = ("POST", "/v1/sql/execute");
    let wanted = json!({"sql": UPDATE, "params": [9.5, "lamp"]});
    let filed = json_of(&ask(fleet, &fleet.key, run, &wanted), 202);
    let request = filed["id"].as_str().unwrap();
    let all = json!({"sql": "SELECT name FROM products", "max_rows": 1});
    let cut = json_of(&ask(fleet, &fleet.key, run, &all), 200);
    let handle = cut["truncated"]["handle"].as_str().unwrap();
    let key = fleet.key.split('_').nth(1).unwrap();
    let shown = json_of(
        &get(
            fleet,
            &fleet.key,
            &format!("/v1/requests/{request}/document"),
        ),
        200,
    );
    let id = request.parse().unwrap();
    let verdict = json!(signed(
        &id,
        shown["digest"].as_str().unwrap(),
        Decision::Approve
    ));
    let of_twin = |whose: &str, role: &str| {
        fleet.issue(&["--for", whose, "--role", role, "--workspace", "twin"])
    };
    let others = [
        twins.other.clone(),
        of_twin("human:ada", "developer"),
        of_twin("human:eve", "admin"),
    ];
    let here = ask(
        fleet,
        &fleet.key,
        ("POST", "/v1/capabilities/only_word"),
        &json!({}),
    );
    assert!(here.body.contains(SECRET), "{here:?}");
    let every = operations(&described(fleet, None));
    assert!(every.contains(&"post /v1/capabilities/{name}".to_owned()));
    for operation in every {
        let (method, path) = operation.split_once(' ').unwrap();
        let named = ["/{id}", "{handle}", "{name}"]
            .iter()
            .any(|it| path.contains(it));
        let at = path
            .replace("/requests/{id}", &format!("/requests/{request}"))
            .replace("/keys/{id}", &format!("/keys/{key}"))
            .replace("{handle}", handle)
            .replace("{target}", "shop")
            .replace("{table}", "only_here")
            .replace("{name}", "only_word");
        let body = match path {
            "/v1/sql/batch" => json!({"statements": [{"sql": "SELECT word FROM only_here"}]}),
            "/v1/capabilities/{name}" => json!({}),
            "/v1/sql/execute" => json!({"sql": "SELECT word FROM only_here"}),
            "/v1/vectors/search" => {
                json!({"table": "only_here", "column": "word", "embedding": [1], "k": 1})
            }
            "/v1/vectors/upsert" => json!({"table": "only_here", "rows": [{"word": "x"}]}),
            "/v1/keys" if method == "post" => json!({"for": "ai:new", "roles": ["readonly"]}),
            "/v1/keys/{id}/rotate" => json!({"overlap": 0}),
            "/v1/requests/{id}/verdicts" => verdict.clone(),
            _ => Value::Null,
        };
        for other in &others {
            let answer = ask(fleet, other, (&method.to_uppercase(), &at), &body);
            assert_ne!(answer.status, 401, "{operation}: {answer:?}");
            assert!(!answer.body.contains(SECRET), "{operation}: {answer:?}");
            if named {
                let refused = answer.status == 403 || answer.status == 404;
                assert!(refused, "{operation}: {answer:?}");
            } else {
                let shows = answer.body.contains(request) || answer.body.contains(key);
                assert!(!shows, "{operation}: {answer:?}");
            }
        }
    }
    // All of it is as it was, for whoever it belongs to.
    let mine = get(fleet, &fleet.key, &format!("/v1/requests/{request}"));
    assert_eq!(json_of(&mine, 200)["status"], "pending");
    assert!((fleet.price() - 20.0).abs() < 1e-9);
    assert!((twins.price_over_there() - 20.0).abs() < 1e-9);
}
