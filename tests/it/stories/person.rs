//! A client that can open a page opens that of a request that waits; what it answers decides nothing.

use std::process::Stdio;
use std::time::Duration;

use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::approval::{World, update};
use super::{content, count, entries, refusal};
use crate::support::http::{Answer, send};
use crate::support::raw::{Era, Raw};

/// A client that opens pages.
fn opens() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}})
}

/// The next question of the server's.
async fn question(server: &mut Raw) -> Value {
    loop {
        let message = server.message().await.expect("the server goes on");
        assert!(message.get("result").is_none(), "{message}");
        if message["method"] == "elicitation/create" {
            return message;
        }
    }
}

/// It shows where to look, and nothing of what is asked.
fn assert_is_about(question: &Value, id: &str) {
    assert_eq!(question["mode"], "url", "{question}");
    assert_eq!(
        question["url"],
        format!("http://localhost:7321/r/{id}"),
        "{question}"
    );
    for hidden in ["UPDATE", "15.5", "lamp", "spring"] {
        assert!(!question.to_string().contains(hidden), "{question}");
    }
}

/// Whatever a client answered, nobody has decided and nothing has changed.
fn assert_undecided(world: &World, id: &secondkey::core::ids::RequestId) {
    let request = world.person.requests().get(id).unwrap();
    assert_eq!(request.status(), Status::Pending);
    assert!(request.state().votes().is_empty());
    assert!((world.price() - 20.0).abs() < 1e-9);
}

#[tokio::test]
async fn the_older_generation_is_asked_while_the_call_waits() {
    for action in ["accept", "decline", "cancel"] {
        let world = World::new("30s").await;
        let mut server = Raw::start_able(opens(), &world.program, Era::Legacy).await;
        let call = server.call_soon("sql_execute", &update(15.5)).await;
        let asked = question(&mut server).await;
        let id = world.pending().await;
        assert_is_about(&asked["params"], id.as_str());
        assert_eq!(asked["params"]["elicitationId"], id.as_str());
        let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": action}});
        server.send(answer.to_string().as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_undecided(&world, &id);
        world.say(&id, Decision::Approve).await.unwrap();
        let answer = server.answer_to(call).await;
        assert_eq!(content(&answer)["affected"], 1, "{action}: {answer}");
        assert!((world.price() - 15.5).abs() < 1e-9);
        server.finish().await;
    }
}

#[tokio::test]
async fn a_question_is_taken_back_once_it_is_decided_and_asked_once() {
    let world = World::new("2s").await;
    let mut server = Raw::start_able(opens(), &world.program, Era::Legacy).await;
    let call = server.call_soon("sql_execute", &update(15.5)).await;
    let asked = question(&mut server).await;
    let id = world.pending().await;
    let mut taken_back = Value::Null;
    let answer = loop {
        let message = server.message().await.unwrap();
        if message["method"] == "notifications/cancelled" {
            taken_back = message["params"]["requestId"].clone();
        } else if message["id"] == call {
            break message;
        }
    };
    assert_eq!(refusal(&answer)["code"], "approval_pending", "{answer}");
    assert_eq!(taken_back, asked["id"]);
    // Waiting on asks nobody a second time: the first message is the answer.
    world.say(&id, Decision::Approve).await.unwrap();
    let wait = json!({"action": "wait", "id": id.as_str()});
    let again = server.call_soon("request", &wait).await;
    let first = server.message().await.unwrap();
    assert_eq!(first["id"], again, "{first}");
    assert_eq!(content(&first)["result"]["affected"], 1);
    server.finish().await;
}

#[tokio::test]
async fn a_client_that_opens_no_pages_gets_the_link_in_the_answer() {
    for era in [Era::Legacy, Era::Modern] {
        for able in [json!({}), json!({"elicitation": {"form": {}}})] {
            let world = World::new("0s").await;
            let mut server = Raw::start_able(able, &world.program, era).await;
            let call = server.call_soon("sql_execute", &update(15.5)).await;
            let first = server.message().await.unwrap();
            assert_eq!(first["id"], call, "{first}");
            let pending = refusal(&first);
            let id = world.pending().await;
            let link = format!("http://localhost:7321/r/{id}");
            assert!(pending["hint"].as_str().unwrap().contains(&link));
            server.finish().await;
        }
    }
}

#[tokio::test]
async fn the_newer_generation_opens_the_page_and_calls_again() {
    let world = World::new("0s").await;
    let mut server = Raw::start_able(opens(), &world.program, Era::Modern).await;
    let asks = server.call("sql_execute", &update(15.5)).await;
    let id = world.pending().await;
    let result = &asks["result"];
    assert_eq!(result["resultType"], "input_required", "{asks}");
    let asked = &result["inputRequests"]["page"];
    assert_eq!(asked["method"], "elicitation/create");
    assert_is_about(&asked["params"], id.as_str());
    let again = |price: f64, action: &str| {
        json!({"name": "sql_execute", "arguments": update(price), "requestState": result["requestState"],
            "inputResponses": {"page": {"action": action}}})
    };
    for action in ["accept", "decline", "cancel"] {
        let pending = server.request("tools/call", again(15.5, action)).await;
        assert_eq!(refusal(&pending)["code"], "approval_pending", "{pending}");
        assert_undecided(&world, &id);
    }
    world.say(&id, Decision::Approve).await.unwrap();
    // Another statement does not pass for the approved one, nor another client for this one.
    let other = server.request("tools/call", again(1.0, "accept")).await;
    assert_eq!(refusal(&other)["code"], "invalid_argument", "{other}");
    let mut theirs = Raw::start_as("theirs", &world.program, Era::Modern).await;
    let other = theirs.request("tools/call", again(15.5, "accept")).await;
    assert_eq!(refusal(&other)["code"], "unknown_request", "{other}");
    theirs.finish().await;
    assert!((world.price() - 20.0).abs() < 1e-9);

    let ran = server.request("tools/call", again(15.5, "cancel")).await;
    assert_eq!(content(&ran)["affected"], 1, "{ran}");
    assert_eq!(content(&ran)["request"], id.as_str());
    assert!((world.price() - 15.5).abs() < 1e-9);
    let replayed = server.request("tools/call", again(15.5, "accept")).await;
    assert_eq!(refusal(&replayed)["code"], "request_state", "{replayed}");
    let mut forged = again(15.5, "accept");
    forged["requestState"] = json!("approved");
    let forged = server.request("tools/call", forged).await;
    assert_eq!(refusal(&forged)["code"], "invalid_argument", "{forged}");
    server.finish().await;
    assert_eq!(count(&entries(&world.program), "request.submitted"), 1);
}

/// `secondkey mcp --http --person`, with both its tokens.
struct Http {
    _child: Child,
    port: u16,
    client: String,
    person: String,
}

impl Http {
    async fn start(world: &World) -> Self {
        let mut command = world.program.command();
        command.args(["--http", "127.0.0.1:0", "--person"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        while said.len() < 3 {
            let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await;
            let line = line.expect("where it is, in time").unwrap();
            said.push(line.unwrap_or_else(|| panic!("it ended: {}", world.program.log())));
        }
        let [url, client, person] = said.as_slice() else {
            unreachable!()
        };
        let url: url::Url = url.parse().unwrap();
        let client = client.strip_prefix("Authorization: Bearer ").unwrap();
        let person = person.strip_prefix("for yourself alone: Authorization: Bearer ");
        Self {
            _child: child,
            port: url.port().unwrap(),
            client: client.to_owned(),
            person: person.unwrap().to_owned(),
        }
    }

    fn post(&self, token: &str, more: &[(&str, &str)], message: &Value) -> Answer {
        let authorization = format!("Bearer {token}");
        let host = format!("127.0.0.1:{}", self.port);
        let fixed = [
            ("Host", host.as_str()),
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        let headers = [&fixed[..], more].concat();
        send(self.port, "POST", "/mcp", &headers, &message.to_string())
    }

    /// A request of the newer generation, by a client that can do this.
    fn ask(&self, token: &str, able: &Value, method: &str, mut params: Value) -> Value {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": able,
        });
        let name = params["name"].as_str().unwrap_or_default().to_owned();
        let mut headers = vec![
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", method),
        ];
        if !name.is_empty() {
            headers.push(("Mcp-Name", &name));
        }
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.post(token, &headers, &message);
        let data = answer.body.lines().filter_map(|line| {
            serde_json::from_str::<Value>(line.strip_prefix("data:").unwrap_or(line).trim()).ok()
        });
        let mut answers = data.filter(|message| message["id"] == 1);
        answers.next().unwrap_or_else(|| panic!("{answer:?}"))
    }
}

fn decide(id: &str) -> Value {
    json!({"name": "approval_decide", "arguments": {"id": id}})
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_person_opens_a_request_to_decide_and_the_client_decides_nothing() {
    let world = World::new("0s").await;
    let http = Http::start(&world).await;
    let (client, person) = (http.client.as_str(), http.person.as_str());
    let call = json!({"name": "sql_execute", "arguments": update(15.5)});
    refusal(&http.ask(client, &json!({}), "tools/call", call));
    let id = world.pending().await;

    // A model is not shown the tool; a call of it is refused and recorded.
    let listed =
        |token| http.ask(token, &json!({}), "tools/list", json!({}))["result"]["tools"].to_string();
    assert!(!listed(client).contains("approval_decide"));
    assert!(listed(person).contains("\"approval_decide\""));
    let refused = refusal(&http.ask(client, &opens(), "tools/call", decide(id.as_str())));
    assert_eq!(refused["code"], "forbidden", "{refused}");
    let recorded = entries(&world.program);
    let recorded = recorded
        .iter()
        .find(|entry| entry["kind"] == "vote.refused");
    let recorded = recorded.expect("the refusal is in the log").to_string();
    assert!(
        recorded.contains("/raw") && recorded.contains(id.as_str()),
        "{recorded}"
    );
    assert_undecided(&world, &id);

    // A person gets the link, or has it opened; their client's word decides nothing.
    let linked = http.ask(person, &json!({}), "tools/call", decide(id.as_str()));
    assert_eq!(content(&linked)["status"], "pending", "{linked}");
    assert_eq!(
        content(&linked)["page"],
        format!("http://localhost:7321/r/{id}")
    );
    let asks = http.ask(person, &opens(), "tools/call", decide(id.as_str()));
    assert_eq!(asks["result"]["resultType"], "input_required", "{asks}");
    let mut again = decide(id.as_str());
    again["requestState"] = asks["result"]["requestState"].clone();
    again["inputResponses"] = json!({"page": {"action": "accept", "content": {"approve": true}}});
    let after = http.ask(person, &opens(), "tools/call", again.clone());
    assert_eq!(content(&after)["status"], "pending", "{after}");
    assert_undecided(&world, &id);
    world.say(&id, Decision::Approve).await.unwrap();
    let after = http.ask(person, &opens(), "tools/call", again);
    assert_eq!(content(&after)["status"], "approved", "{after}");
    assert!((world.price() - 20.0).abs() < 1e-9, "a look runs nothing");

    // Who the person is, is said everywhere; their requests are not the model's.
    let whoami = http.ask(person, &json!({}), "tools/call", json!({"name": "whoami"}));
    let principal = content(&whoami)["principal"].as_str().unwrap();
    assert!(principal.starts_with("human:"), "{whoami}");
    let wait = json!({"name": "request", "arguments": {"action": "wait", "id": id.as_str()}});
    let foreign = refusal(&http.ask(person, &json!({}), "tools/call", wait.clone()));
    assert_eq!(foreign["code"], "unknown_request");
    let ran = http.ask(client, &json!({}), "tools/call", wait);
    assert_eq!(content(&ran)["result"]["affected"], 1, "{ran}");
    assert!((world.price() - 15.5).abs() < 1e-9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_found_with_the_other_token() {
    let world = World::new("0s").await;
    let http = Http::start(&world).await;
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}});
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}});
    let opened = http.post(&http.person, &[], &hello);
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let headers = [
        ("Mcp-Session-Id", session.as_str()),
        ("MCP-Protocol-Version", "2025-11-25"),
    ];
    assert_eq!(http.post(&http.client, &headers, &list).status, 404);
    assert_eq!(http.post("", &headers, &list).status, 401);
    assert_eq!(http.post(&"0".repeat(64), &headers, &list).status, 401);
    assert_eq!(http.post(&http.person, &headers, &list).status, 200);
}
