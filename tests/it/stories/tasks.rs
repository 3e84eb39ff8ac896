//! A call that waits for people is a task to clients that declare tasks: it outlives the server, and
//! what it stands for runs once.

use std::process::Stdio;
use std::time::{Duration, Instant};

use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use serde_json::{Value, json};
use tokio::process::Command;

use super::approval::{World, update};
use super::{count, entries, refusal};
use crate::support::raw::{Era, Raw};
use crate::support::{binary, client, path_with_node, skip};

fn able() -> Value {
    json!({"extensions": {"io.modelcontextprotocol/tasks": {}}})
}

/// What tells that it ran twice.
fn dearer() -> Value {
    json!({"sql": "UPDATE products SET price = price + 1 WHERE name = $1", "params": ["lamp"]})
}

async fn start(world: &World, era: Era) -> Raw {
    Raw::start_able(able(), &world.program, era).await
}

/// How the task stands.
async fn look(server: &mut Raw, task: &str) -> Value {
    let answer = server.request("tasks/get", json!({"taskId": task})).await;
    assert!(answer.get("result").is_some(), "{answer}");
    answer["result"].clone()
}

/// The task once it stands otherwise than working.
async fn over(server: &mut Raw, task: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let task = look(server, task).await;
        if task["status"] != "working" {
            return task;
        }
        assert!(Instant::now() < deadline, "{task}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Calls a tool that waits for people, and gives the task that it is answered with.
async fn created(server: &mut Raw, tool: &str, arguments: &Value) -> String {
    let answer = server.call(tool, arguments).await;
    let task = &answer["result"];
    assert_eq!(task["resultType"], "task", "{answer}");
    assert_eq!(task["status"], "working", "{answer}");
    // A day to approve, an hour to collect, and an hour for the answer.
    assert_eq!(task["ttlMs"], 26 * 60 * 60 * 1_000, "{answer}");
    assert!(
        task["pollIntervalMs"].as_u64().unwrap() >= 1_000,
        "{answer}"
    );
    task["taskId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_that_waits_is_a_task_that_outlives_the_server_in_both_generations() {
    for era in [Era::Legacy, Era::Modern] {
        let world = World::new("30s").await;
        let mut server = start(&world, era).await;
        let read = json!({"sql": "SELECT 1"});
        let read = server.call("sql_execute", &read).await;
        assert!(read["result"]["structuredContent"].is_object(), "{read}");
        let task = created(&mut server, "sql_execute", &dearer()).await;
        let id = world.pending().await;
        let waits = look(&mut server, &task).await;
        assert_eq!(waits["status"], "working", "{waits}");
        let link = format!("http://localhost:7321/r/{id}");
        assert!(
            waits["statusMessage"].as_str().unwrap().contains(&link),
            "{waits}"
        );
        server.kill().await;

        let mut server = start(&world, era).await;
        assert_eq!(look(&mut server, &task).await["status"], "working");
        world.say(&id, Decision::Approve).await.unwrap();
        assert!((world.price() - 20.0).abs() < 1e-9, "nobody has asked yet");
        let done = over(&mut server, &task).await;
        assert_eq!(done["status"], "completed", "{done}");
        let result = &done["result"];
        assert_eq!(result["structuredContent"]["affected"], 1, "{done}");
        assert_eq!(result["structuredContent"]["request"], id.as_str());
        assert!((world.price() - 21.0).abs() < 1e-9);
        // The same answer again, and no second run; nor by waiting, nor after a restart.
        assert_eq!(look(&mut server, &task).await["result"], *result);
        let wait = json!({"action": "wait", "id": id.as_str()});
        assert_eq!(
            refusal(&server.call("request", &wait).await)["code"],
            "request_state"
        );
        server.finish().await;
        let mut server = start(&world, era).await;
        let gone = over(&mut server, &task).await;
        assert_eq!(gone["status"], "completed", "{gone}");
        assert_eq!(gone["result"]["isError"], true, "{gone}");
        assert!(gone.to_string().contains("succeeded"), "{gone}");
        server.finish().await;
        assert!((world.price() - 21.0).abs() < 1e-9);
        assert_eq!(count(&entries(&world.program), "execution.started"), 2);
    }
}

#[tokio::test]
async fn two_servers_that_are_asked_at_once_run_it_once() {
    let world = World::new("0s").await;
    let mut one = start(&world, Era::Modern).await;
    let mut other = start(&world, Era::Legacy).await;
    let task = created(&mut one, "sql_execute", &dearer()).await;
    let id = world.pending().await;
    world.say(&id, Decision::Approve).await.unwrap();
    let (first, second) = tokio::join!(over(&mut one, &task), over(&mut other, &task));
    let ran = [&first, &second].map(|task| task["result"]["structuredContent"]["affected"] == 1);
    assert_eq!(
        ran.iter().filter(|ran| **ran).count(),
        1,
        "{first} {second}"
    );
    assert!((world.price() - 21.0).abs() < 1e-9);
    one.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn waiting_for_a_request_is_a_task_with_the_answer_of_that_tool() {
    let world = World::new("0s").await;
    let mut server = start(&world, Era::Modern).await;
    created(&mut server, "sql_execute", &update(15.5)).await;
    let id = world.pending().await;
    let wait = json!({"action": "wait", "id": id.as_str()});
    let task = created(&mut server, "request", &wait).await;
    world.say(&id, Decision::Approve).await.unwrap();
    let done = over(&mut server, &task).await;
    let content = &done["result"]["structuredContent"];
    assert_eq!(content["requests"][0]["status"], "succeeded", "{done}");
    assert_eq!(content["result"]["affected"], 1, "{done}");
    assert!((world.price() - 15.5).abs() < 1e-9);
    server.finish().await;
}

#[tokio::test]
async fn a_cancelled_task_takes_its_request_back() {
    let world = World::new("0s").await;
    let mut server = start(&world, Era::Modern).await;
    let task = created(&mut server, "sql_execute", &update(15.5)).await;
    let id = world.pending().await;
    let ack = server
        .request("tasks/cancel", json!({"taskId": task}))
        .await;
    assert!(ack.get("result").is_some(), "{ack}");
    assert_eq!(look(&mut server, &task).await["status"], "cancelled");
    world.say(&id, Decision::Approve).await.unwrap_err();
    assert_eq!(look(&mut server, &task).await["status"], "cancelled");
    assert!((world.price() - 20.0).abs() < 1e-9);
    assert_eq!(count(&entries(&world.program), "request.cancelled"), 1);

    // One that people said no to ends with what a call would have been told.
    let task = created(&mut server, "sql_execute", &update(15.5)).await;
    let id = world.pending().await;
    world.say(&id, Decision::Reject).await.unwrap();
    let rejected = over(&mut server, &task).await;
    assert_eq!(rejected["status"], "completed", "{rejected}");
    assert_eq!(rejected["result"]["isError"], true, "{rejected}");
    assert!(
        rejected.to_string().contains("approval_rejected"),
        "{rejected}"
    );
    assert!((world.price() - 20.0).abs() < 1e-9);
    server.finish().await;
}

#[tokio::test]
async fn a_change_that_has_begun_goes_on_when_its_task_is_cancelled() {
    let world = World::new("0s").await;
    let mut server = start(&world, Era::Modern).await;
    let slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000000) SELECT count(*) FROM n";
    let slow = format!("UPDATE products SET price = ({slow}) WHERE name = 'lamp'");
    let task = created(&mut server, "sql_execute", &json!({ "sql": slow })).await;
    let id = world.pending().await;
    world.say(&id, Decision::Approve).await.unwrap();
    let begun = look(&mut server, &task).await;
    assert_eq!(begun["status"], "working", "{begun}");
    let request = world.person.requests().get(&id).unwrap();
    assert_eq!(request.status(), Status::Running);
    let ack = server
        .request("tasks/cancel", json!({"taskId": task}))
        .await;
    assert!(ack.get("result").is_some(), "{ack}");
    let done = over(&mut server, &task).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert!((world.price() - 20_000_000.0).abs() < 1e-9, "{done}");
    let request = world.person.requests().get(&id).unwrap();
    assert_eq!(request.status(), Status::Succeeded);
    server.finish().await;
}

#[tokio::test]
async fn a_task_is_nobody_elses_and_of_no_use_to_who_declares_none() {
    let world = World::new("0s").await;
    let mut mine = start(&world, Era::Legacy).await;
    let task = created(&mut mine, "sql_execute", &update(15.5)).await;
    let id = world.pending().await;
    let mut theirs = Raw::start_named("theirs", able(), &world.program, Era::Modern).await;
    let mut undeclared = Raw::start(&world.program, Era::Modern).await;
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = json!({"taskId": task, "inputResponses": {}});
        let refused = theirs.request(method, params.clone()).await;
        assert_eq!(refused["error"]["code"], -32602, "{method}: {refused}");
        assert!(!refused.to_string().contains("products"), "{refused}");
        let refused = undeclared.request(method, params).await;
        assert_eq!(refused["error"]["code"], -32021, "{method}: {refused}");
    }
    let nonsense = mine.request("tasks/get", json!({"taskId": "task_1"})).await;
    assert_eq!(nonsense["error"]["code"], -32602, "{nonsense}");
    let request = world.person.requests().get(&id).unwrap();
    assert_eq!(request.status(), Status::Pending);
    mine.finish().await;
    theirs.finish().await;
    undeclared.finish().await;
}

#[tokio::test]
async fn a_task_has_the_page_opened_once_and_the_answer_decides_nothing() {
    let world = World::new("0s").await;
    let able =
        json!({"elicitation": {"url": {}}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
    let mut server = Raw::start_able(able, &world.program, Era::Modern).await;
    let task = created(&mut server, "sql_execute", &update(15.5)).await;
    let id = world.pending().await;
    let asks = look(&mut server, &task).await;
    assert_eq!(asks["status"], "input_required", "{asks}");
    let asked = &asks["inputRequests"]["page"]["params"];
    assert_eq!(
        asked["url"],
        format!("http://localhost:7321/r/{id}"),
        "{asks}"
    );
    let answer = json!({"taskId": task, "inputResponses": {"page": {"action": "accept"}}});
    let ack = server.request("tasks/update", answer).await;
    assert!(ack.get("result").is_some(), "{ack}");
    assert_eq!(look(&mut server, &task).await["status"], "working");
    let request = world.person.requests().get(&id).unwrap();
    assert!(request.status() == Status::Pending && request.state().votes().is_empty());
    world.say(&id, Decision::Approve).await.unwrap();
    let done = over(&mut server, &task).await;
    assert_eq!(done["result"]["structuredContent"]["affected"], 1, "{done}");
    assert!((world.price() - 15.5).abs() < 1e-9);
    server.finish().await;
}

/// A client that is not ours: it declares tasks, and looks again until there is an answer.
#[tokio::test]
async fn the_inspector_follows_a_task_to_its_answer() {
    let (Some(inspector), Some(path)) =
        (client("node_modules/.bin/mcp-inspector"), path_with_node())
    else {
        return skip("stories::tasks", "no Inspector (tests/run fetches it)");
    };
    let world = World::new("0s").await;
    let folder = world.program.folder.path();
    // It would take `--config` for its own.
    let arguments = world.program.arguments().join(" ");
    let script = format!(
        "#!/bin/sh\ncd '{}' && exec '{}' {arguments}\n",
        folder.display(),
        binary()
    );
    std::fs::write(folder.join("server"), script).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "chmod +x server && exec \"$0\" \"$@\""])
        .arg(&inspector)
        .args(["--cli", "--protocol-era", "modern", "./server"])
        .args(["--method", "tools/call", "--tool-name", "sql_execute"])
        .args(["--tool-args-json", &dearer().to_string()])
        .args(["--format", "json", "-q"])
        .current_dir(folder)
        .env("PATH", &path)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let person = async {
        let id = world.pending().await;
        // It has looked once, and looks again.
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.say(&id, Decision::Approve).await.unwrap();
    };
    let output = tokio::time::timeout(Duration::from_secs(90), command.output());
    let (output, ()) = tokio::join!(output, person);
    let output = output.expect("the Inspector ends in time").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("\"affected\""), "{text}{errors}");
    assert!((world.price() - 21.0).abs() < 1e-9);
    let started = count(&entries(&world.program), "server.started");
    assert_eq!(started, 1, "it was this server: {text}");
}
