//! What comes in on standard input and is no message.

use serde_json::{Value, json};

use super::{World, assert_serves};
use crate::support::raw::{Era, Raw};

/// What the program may use at most, whatever is thrown at it, in KiB.
const MEMORY_KIB: u64 = 120 * 1024;

#[tokio::test]
async fn a_line_of_100_mb_is_refused_without_being_kept() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let (last, ping) = server.request_line("ping", json!({}));
    let mut input =
        b"{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"tools/call\",\"params\":\"".to_vec();
    input.resize(100 * 1024 * 1024, b'x');
    input.extend_from_slice(b"\"}\n");
    input.extend_from_slice(ping.as_bytes());
    input.push(b'\n');
    let heard = server.pour(&input, last).await;
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[0]["error"]["code"], -32600, "{}", heard[0]);
    let message = heard[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("longer than 4 MiB"), "{message}");
    let used = most_memory(server.pid());
    assert!(used < MEMORY_KIB, "{used} KiB");
    assert_serves(&mut server).await;
    assert!(server.finish().await.success());
}

#[tokio::test]
async fn ten_thousand_malformed_messages_each_have_their_answer() {
    for era in [Era::Legacy, Era::Modern] {
        let world = World::reads();
        let mut server = Raw::start(&world.program, era).await;
        let (mut input, mut answered) = (Vec::new(), 0);
        for number in 0..10_000 {
            let (line, wants_answer) = malformed(number);
            input.extend_from_slice(&line);
            input.push(b'\n');
            answered += usize::from(wants_answer);
        }
        let (last, ping) = server.request_line("tools/list", json!({}));
        input.extend_from_slice(ping.as_bytes());
        input.push(b'\n');
        let heard = server.pour(&input, last).await;
        // Answers to well-formed requests may come after the last one's.
        let late = answered + 1 - heard.len();
        for _ in 0..late {
            let message = server.message().await.unwrap();
            assert!(message["error"].is_object(), "{message}");
        }
        let errors = heard.iter().filter(|message| message["error"].is_object());
        assert_eq!(errors.count() + late, answered);
        let used = most_memory(server.pid());
        assert!(used < MEMORY_KIB, "{used} KiB");
        assert_serves(&mut server).await;
        assert!(server.finish().await.success(), "{}", world.program.log());
    }
}

/// A bad message, and whether it deserves an answer.
fn malformed(number: u64) -> (Vec<u8>, bool) {
    let id = 1_000_000 + number;
    let good = json!({
        "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": "sql_execute", "arguments": {"sql": "SELECT 1"}},
    });
    let text = good.to_string();
    let cut = usize::try_from(number).unwrap() % (text.len() - 2) + 1;
    let with = |key: &str, value: Value| {
        let mut message = good.clone();
        message[key] = value;
        (message.to_string().into_bytes(), true)
    };
    match number % 14 {
        0 => (text.as_bytes()[..cut].to_vec(), true),
        1 => (text.as_bytes()[cut..].to_vec(), true),
        2 => with("id", json!(1e300)),
        3 => with("id", json!([id])),
        4 => with("id", Value::Null),
        5 => with("method", json!(7)),
        6 => with("method", json!("tools/explode")),
        7 => with("params", json!("SELECT 1")),
        8 => with("params", json!({"name": 5})),
        9 => with("jsonrpc", json!("1.0")),
        10 => (format!("[{text},{text}]").into_bytes(), true),
        11 => (
            [&text.as_bytes()[..cut], b"\xff\xfe\x00\xc3\x28"].concat(),
            true,
        ),
        12 => ("{\"a\":".repeat(2_000).into_bytes(), true),
        _ => (
            json!({"jsonrpc": "2.0", "method": "notifications/none"})
                .to_string()
                .into(),
            false,
        ),
    }
}

#[tokio::test]
async fn deep_values_in_a_call_are_refused() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Modern).await;
    for depth in [100, 127, 200, 100_000] {
        let deep = [b"[".repeat(depth), b"]".repeat(depth)].concat();
        let arguments = [
            b"{\"sql\":\"SELECT $1\",\"params\":".as_slice(),
            &deep,
            b"}",
        ]
        .concat();
        let answer = server.call_text("sql_execute", &arguments).await;
        let refused = answer["error"].is_object() || answer["result"]["isError"] == true;
        assert!(refused, "{depth}: {answer}");
    }
    assert_serves(&mut server).await;
}

#[tokio::test]
async fn a_request_under_way_keeps_its_id() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let slow = json!({"sql": super::ENDLESS, "timeout_ms": 1_500});
    let id = server.call_soon("sql_execute", &slow).await;
    let again = json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    server.send(again.to_string().as_bytes()).await;
    let refused = server.message().await.unwrap();
    assert_eq!(refused["error"]["code"], -32600, "{refused}");
    let answer = server.answer_to(id).await;
    assert_eq!(super::refusal(&answer)["code"], "time_limit");
}

#[tokio::test]
async fn a_client_may_talk_before_it_greets() {
    let world = World::reads();
    let mut server = Raw::connect(&world.program, Era::Legacy);
    for early in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 9, "result": {}}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}}),
    ] {
        server.send(early.to_string().as_bytes()).await;
    }
    server.send(b"GET / HTTP/1.1").await;
    let refused = server.message().await.unwrap();
    assert_eq!(refused["error"]["code"], -32700, "{refused}");
    server.introduce().await;
    assert_serves(&mut server).await;
    assert!(server.finish().await.success(), "{}", world.program.log());
}

/// The most that a process ever had in memory, in KiB.
fn most_memory(pid: u32) -> u64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return 0;
    };
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
