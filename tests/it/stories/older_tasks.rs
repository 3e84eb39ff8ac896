//! The experimental tasks of 2025-11-25: asked for with a call, followed by its id, and answered by
//! `tasks/result`, which waits.

use std::process::Stdio;
use std::time::{Duration, Instant};

use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use serde_json::{Value, json};
use tokio::process::Command;

use super::approval::{World, update};
use super::{count, entries};
use crate::mcp::conformance::Http;
use crate::support::raw::{Era, Raw};
use crate::support::{binary, checkout, client, path_with_node, skip, variable};

/// What tells that it ran twice.
fn dearer() -> Value {
    json!({"sql": "UPDATE products SET price = price + 1 WHERE name = $1", "params": ["lamp"]})
}

/// Calls a tool as a task, and gives the task.
async fn create(server: &mut Raw, arguments: &Value) -> Value {
    let params = json!({"name": "sql_execute", "arguments": arguments, "task": {"ttl": 60_000}});
    let answer = server.request("tools/call", params).await;
    let task = answer["result"]["task"].clone();
    assert_eq!(task["status"], "working", "{answer}");
    assert!(task["taskId"].is_string(), "{answer}");
    assert!(task["createdAt"].is_string() && task["lastUpdatedAt"].is_string());
    assert!(task["ttl"].as_u64().unwrap() >= 60 * 60 * 1_000, "{answer}");
    assert!(answer["result"].get("resultType").is_none(), "{answer}");
    task
}

async fn about(server: &mut Raw, method: &str, task: &Value) -> Value {
    server
        .request(method, json!({"taskId": task["taskId"]}))
        .await
}

/// The task once it stands otherwise than working.
async fn over(server: &mut Raw, task: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = about(server, "tasks/get", task).await;
        let task = &answer["result"];
        if task["status"] != "working" {
            assert!(task["status"].is_string(), "{answer}");
            return task.clone();
        }
        assert!(Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_call_asked_for_as_a_task_is_fetched_by_a_result_that_waits_for_people() {
    let world = World::new("30s").await;
    let mut undeclared = Raw::start(&world.program, Era::Legacy).await;
    let tools = undeclared.request("tools/list", json!({})).await;
    assert!(!tools.to_string().contains("taskSupport"), "{tools}");
    undeclared.finish().await;
    let able = json!({"tasks": {}});
    let mut server = Raw::start_able(able, &world.program, Era::Legacy).await;
    let offered = &server.server["result"]["capabilities"];
    let tasks = json!({"cancel": {}, "list": {}, "requests": {"tools": {"call": {}}}});
    assert_eq!(offered["tasks"], tasks, "{offered}");
    assert!(offered["tools"].is_object(), "{offered}");
    let tools = server.request("tools/list", json!({})).await;
    for tool in tools["result"]["tools"].as_array().unwrap() {
        let support = &tool["execution"]["taskSupport"];
        let can = tool["name"] == "sql_execute";
        assert_eq!(support == "optional", can, "{tool}");
    }

    let task = create(&mut server, &dearer()).await;
    let id = world.pending().await;
    assert_eq!(task["taskId"], id.as_str());
    let waits = about(&mut server, "tasks/get", &task).await;
    let link = format!("http://localhost:7321/r/{id}");
    let message = waits["result"]["statusMessage"].as_str().unwrap();
    assert!(message.contains(&link), "{waits}");
    let listed = server.request("tasks/list", json!({})).await;
    assert_eq!(
        listed["result"]["tasks"][0]["taskId"], task["taskId"],
        "{listed}"
    );
    server.kill().await;

    // It outlives the server. The result is asked for before anybody has decided.
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let asked = server
        .ask("tasks/result", json!({"taskId": task["taskId"]}))
        .await;
    let early = tokio::time::timeout(Duration::from_millis(700), server.message()).await;
    assert!(early.is_err(), "{early:?}");
    assert!((world.price() - 20.0).abs() < 1e-9);
    world.say(&id, Decision::Approve).await.unwrap();
    let answer = server.answer_to(asked).await;
    let result = &answer["result"];
    assert_eq!(result["structuredContent"]["affected"], 1, "{answer}");
    let related = &result["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(related["taskId"], id.as_str(), "{answer}");
    assert!((world.price() - 21.0).abs() < 1e-9);
    // Again: the same answer, and no second run.
    assert_eq!(
        about(&mut server, "tasks/result", &task).await["result"],
        *result
    );
    assert_eq!(over(&mut server, &task).await["status"], "completed");
    let late = about(&mut server, "tasks/cancel", &task).await;
    assert_eq!(late["error"]["code"], -32602, "{late}");
    assert!((world.price() - 21.0).abs() < 1e-9);
    assert_eq!(count(&entries(&world.program), "execution.started"), 1);
    server.finish().await;
}

#[tokio::test]
async fn what_waits_for_nobody_is_a_task_that_is_over() {
    let world = World::new("0s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let read = create(&mut server, &json!({"sql": "SELECT 1 AS one"})).await;
    assert_eq!(over(&mut server, &read).await["status"], "completed");
    let answer = about(&mut server, "tasks/result", &read).await;
    assert_eq!(
        answer["result"]["structuredContent"]["rows"],
        json!([[1]]),
        "{answer}"
    );
    let refused = create(
        &mut server,
        &json!({"sql": "SELECT nonsense FROM products"}),
    )
    .await;
    let failed = over(&mut server, &refused).await;
    assert_eq!(failed["status"], "failed");
    assert!(
        failed["statusMessage"]
            .as_str()
            .unwrap()
            .contains("nonsense"),
        "{failed}"
    );
    let answer = about(&mut server, "tasks/result", &refused).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let cancelled = about(&mut server, "tasks/cancel", &read).await;
    assert_eq!(cancelled["error"]["code"], -32602, "{cancelled}");
    let listed = server.request("tasks/list", json!({})).await;
    let listed = listed["result"]["tasks"].as_array().unwrap();
    let ids: Vec<&Value> = listed.iter().map(|task| &task["taskId"]).collect();
    assert_eq!(ids, [&refused["taskId"], &read["taskId"]]);

    // Other tools are no tasks, and a call without `task` is answered as ever.
    let params = json!({"name": "whoami", "arguments": {}, "task": {}});
    let other = server.request("tools/call", params).await;
    assert_eq!(other["error"]["code"], -32601, "{other}");
    let params = json!({"name": "sql_execute", "arguments": {"sql": "SELECT 1"}, "task": 7});
    let broken = server.request("tools/call", params).await;
    assert_eq!(broken["error"]["code"], -32602, "{broken}");
    let plain = server
        .call("sql_execute", &json!({"sql": "SELECT 1"}))
        .await;
    assert!(plain["result"]["structuredContent"].is_object(), "{plain}");
    server.finish().await;
}

#[tokio::test]
async fn a_cancelled_task_takes_its_request_back_and_stays_cancelled() {
    let world = World::new("0s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let task = create(&mut server, &update(15.5)).await;
    let id = world.pending().await;
    let cancelled = about(&mut server, "tasks/cancel", &task).await;
    assert_eq!(cancelled["result"]["status"], "cancelled", "{cancelled}");
    world.say(&id, Decision::Approve).await.unwrap_err();
    assert_eq!(over(&mut server, &task).await["status"], "cancelled");
    let result = about(&mut server, "tasks/result", &task).await;
    assert_eq!(result["error"]["code"], -32602, "{result}");

    let task = create(&mut server, &update(15.5)).await;
    let id = world.pending().await;
    world.say(&id, Decision::Reject).await.unwrap();
    assert_eq!(over(&mut server, &task).await["status"], "failed");
    let result = about(&mut server, "tasks/result", &task).await;
    assert!(result.to_string().contains("approval_rejected"), "{result}");
    assert!((world.price() - 20.0).abs() < 1e-9);
    server.finish().await;
}

#[tokio::test]
async fn a_change_that_has_begun_is_not_said_to_be_cancelled() {
    let world = World::new("0s").await;
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let task = create(&mut server, &dearer()).await;
    let id = world.pending().await;
    let before = world.price();
    // It begins, and waits for somebody else's transaction.
    let other = world.open();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.say(&id, Decision::Approve).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.person.requests().get(&id).unwrap().status() != Status::Running {
        let begun = about(&mut server, "tasks/get", &task).await;
        assert_eq!(begun["result"]["status"], "working", "{begun}");
        assert!(Instant::now() < deadline);
    }
    let refused = about(&mut server, "tasks/cancel", &task).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    let request = world.person.requests().get(&id).unwrap();
    assert_eq!(request.status(), Status::Running, "{refused}");
    other.execute_batch("COMMIT").unwrap();
    let done = about(&mut server, "tasks/result", &task).await;
    assert_eq!(done["result"]["structuredContent"]["affected"], 1, "{done}");
    assert!((world.price() - before - 1.0).abs() < 1e-9);
    server.finish().await;
}

#[tokio::test]
async fn a_task_is_nobody_elses_and_of_no_use_to_newer_clients() {
    let world = World::new("0s").await;
    let mut mine = Raw::start(&world.program, Era::Legacy).await;
    let waits = create(&mut mine, &update(15.5)).await;
    let read = create(&mut mine, &json!({"sql": "SELECT 1"})).await;
    let mut theirs = Raw::start_as("theirs", &world.program, Era::Legacy).await;
    let mut newer = Raw::start(&world.program, Era::Modern).await;
    for task in [&waits, &read] {
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            let refused = about(&mut theirs, method, task).await;
            assert_eq!(refused["error"]["code"], -32602, "{method}: {refused}");
            let refused = about(&mut newer, method, task).await;
            let code = if method == "tasks/result" {
                -32601
            } else {
                -32021
            };
            assert_eq!(refused["error"]["code"], code, "{method}: {refused}");
        }
    }
    let listed = theirs.request("tasks/list", json!({})).await;
    assert_eq!(listed["result"]["tasks"], json!([]), "{listed}");
    // The names under which requests are set aside are no door of their own.
    for method in ["tools/call", "tools/list", "tasks/get", "tasks/cancel"] {
        let params = json!({"name": "sql_execute", "arguments": dearer(), "task": {}});
        let refused = newer
            .request(&format!("dev.secondkey/{method}"), params)
            .await;
        assert_eq!(refused["error"]["code"], -32601, "{refused}");
    }
    let id = waits["taskId"].as_str().unwrap().parse().unwrap();
    let request = world.person.requests().get(&id).unwrap();
    assert_eq!(request.status(), Status::Pending);
    for server in [mine, theirs, newer] {
        server.finish().await;
    }
}

/// A client that is not ours, over both transports.
#[tokio::test]
async fn the_first_typescript_client_follows_an_older_task_to_its_answer() {
    if client("node_modules/@modelcontextprotocol/sdk").is_none() {
        return skip(
            "stories::older_tasks",
            "no TypeScript client (tests/run fetches it)",
        );
    }
    let Some(node) = client("node_modules/node/bin/node") else {
        return skip("stories::older_tasks", "no node (tests/run fetches it)");
    };
    let sql = "UPDATE products SET price = price + 1 WHERE name = 'lamp'";
    for transport in ["stdio", "http"] {
        let mut world = World::new("0s").await;
        let mut command = Command::new(&node);
        command
            .arg(checkout().join("tests/clients/older_tasks.mjs"))
            .args([transport, sql])
            .env(
                "TEST_CLIENTS_DIR",
                variable("TEST_CLIENTS_DIR").unwrap_or_default(),
            )
            .env("PATH", path_with_node().unwrap_or_default())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let mut serves = None;
        if transport == "http" {
            world.program = world.program.flags(&["--http", "127.0.0.1:0"]);
            let http = Http::start(&world.program).await;
            command.args([&http.url, &http.token]);
            serves = Some(http);
        } else {
            command.arg(binary()).args(world.program.arguments());
            command.current_dir(world.program.folder.path());
        }
        let person = async {
            let id = world.pending().await;
            // It has looked once, and looks again.
            tokio::time::sleep(Duration::from_millis(500)).await;
            world.say(&id, Decision::Approve).await.unwrap();
        };
        let output = tokio::time::timeout(Duration::from_secs(90), command.output());
        let (output, ()) = tokio::join!(output, person);
        let output = output.expect("the client ends in time").unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{transport}: {errors}{printed}");
        let met: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        assert_eq!(met["execution"]["taskSupport"], "optional", "{met}");
        let last = |name: &str| met[name].as_array().unwrap().last().unwrap().clone();
        assert_eq!(met["write"][0]["type"], "taskCreated", "{met}");
        assert_eq!(
            last("write")["result"]["structuredContent"]["affected"],
            1,
            "{met}"
        );
        assert!(last("read")["result"]["structuredContent"]["rows"][0][0].as_u64() > Some(0));
        assert_eq!(last("refused")["type"], "error", "{met}");
        assert!(met["why"].to_string().contains("nonsense"), "{met}");
        assert_eq!(met["listed"].as_array().unwrap().len(), 3, "{met}");
        assert!((world.price() - 21.0).abs() < 1e-9, "{transport}");
        assert_eq!(count(&entries(&world.program), "server.started"), 1);
        drop(serves);
    }
}
