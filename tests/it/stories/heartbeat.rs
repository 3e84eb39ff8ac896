//! Signs of life during a long call.

use serde_json::{Value, json};

use super::{ENDLESS, World, refusal};
use crate::support::raw::{Era, Raw};

#[tokio::test]
async fn a_long_call_shows_that_it_lives() {
    let (older, newer) = tokio::join!(long_call(Era::Legacy), long_call(Era::Modern));
    for (era, messages) in [(Era::Legacy, older), (Era::Modern, newer)] {
        let (answer, before) = messages.split_last().unwrap();
        assert_eq!(refusal(answer)["code"], "time_limit", "{era:?}: {answer}");
        assert_eq!(before.len(), 1, "{era:?}: {before:?}");
        assert_eq!(before[0]["method"], "notifications/progress", "{era:?}");
        let params = &before[0]["params"];
        assert_eq!(params["progressToken"], "a token", "{era:?}: {params}");
        assert!(
            params["progress"].as_f64().unwrap() >= 5.0,
            "{era:?}: {params}"
        );
        assert!(
            params["message"]
                .as_str()
                .unwrap()
                .contains("still running")
        );
    }
}

async fn long_call(era: Era) -> Vec<Value> {
    let world = World::reads();
    let mut server = Raw::start(&world.program, era).await;
    let call = json!({
        "name": "sql_execute",
        "arguments": {"sql": ENDLESS, "timeout_ms": 6_000},
        "_meta": {"progressToken": "a token"},
    });
    let id = server.ask("tools/call", call).await;
    let mut messages = Vec::new();
    loop {
        let message = server.message().await.unwrap();
        let last = message["id"] == id;
        messages.push(message);
        if last {
            return messages;
        }
    }
}

#[tokio::test]
async fn a_client_that_wants_no_progress_gets_none() {
    let world = World::reads();
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let slow = json!({"sql": ENDLESS, "timeout_ms": 5_500});
    let id = server.call_soon("sql_execute", &slow).await;
    let message = server.message().await.unwrap();
    assert_eq!(message["id"], id, "{message}");
}
