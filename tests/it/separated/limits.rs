//! Who may connect, and how often.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use super::rig::{AGENT, ASKER, ATTACKER, Rig};
use crate::stories::content;

#[tokio::test]
async fn one_users_connections_do_not_keep_another_out() {
    let Some(rig) = Rig::separated("separated::crowd").map(Rig::started) else {
        return;
    };
    let greet = || {
        let mut stream = UnixStream::connect(rig.socket()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // One that is turned away may be closed before it has spoken.
        drop(stream.write_all(b"{\"secondkey\":1,\"for\":\"people\"}\n"));
        let mut answer = String::new();
        drop(BufReader::new(stream.try_clone().unwrap()).read_line(&mut answer));
        (stream, answer)
    };
    let all: Vec<_> = ATTACKER.does(|| (0..100).map(|_| greet()).collect());
    let admitted = all
        .iter()
        .filter(|(_, answer)| answer.starts_with("{\"ok\""))
        .count();
    let told = all
        .iter()
        .filter(|(_, answer)| answer.contains("too many connections"))
        .count();
    assert_eq!((admitted, told), (32, 68));
    // Whoever is turned away is told without waiting for the record of it.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let recorded = loop {
        let recorded = rig.logged("connection.refused");
        if !recorded.is_empty() || std::time::Instant::now() > deadline {
            break recorded;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(recorded.len(), 1, "{recorded:#?}");
    assert_eq!(recorded[0]["facts"]["code"], "agent_unavailable");
    let mut client = rig.client(ASKER, "raw").await;
    let read = json!({"sql": "SELECT count(*) FROM products", "target": "shop"});
    let read = client.call("sql_execute", &read).await;
    assert_eq!(content(&read)["rows"], json!([[3]]));
    client.finish().await;
    // The attacker's own next client is told too, and gets in once there is room.
    let mcp = ["mcp", "--agent", &rig.address()];
    let output = rig.command(ATTACKER, &mcp).output().unwrap();
    super::rig::Said::of(&output).refused(1, "too many connections");
    drop(all);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !ATTACKER.does(greet).1.starts_with("{\"ok\"") {
        assert!(
            std::time::Instant::now() < deadline,
            "no room although all have left"
        );
    }
}

#[tokio::test]
async fn slow_reads_of_one_user_do_not_hold_up_anothers_people() {
    let Some(rig) = Rig::separated("separated::slow").map(Rig::started) else {
        return;
    };
    let mut slow = rig.client(ATTACKER, "slow").await;
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    for _ in 0..3 {
        slow.call_soon("sql_execute", &json!({"sql": endless, "target": "shop"}))
            .await;
    }
    let mut client = rig.client(ASKER, "raw").await;
    let read = json!({"sql": "SELECT 1 AS n", "target": "shop"});
    let read = tokio::time::timeout(Duration::from_secs(20), client.call("sql_execute", &read));
    assert_eq!(content(&read.await.unwrap())["rows"], json!([[1]]));
    // Who is gone takes their reads along.
    slow.kill().await;
    let deadline = std::time::Instant::now() + Duration::from_secs(15);
    while rig.logged("execution.cancelled").len() < 3 {
        assert!(std::time::Instant::now() < deadline, "the reads go on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.finish().await;
}

#[test]
fn only_those_named_in_the_configuration_are_served() {
    let more = "[agent]\nclients = [\"nobody\", \"uid:64777\"]";
    let Some(rig) = Rig::new("separated::clients", AGENT, more).map(Rig::started) else {
        return;
    };
    let level = json!({"call": "level"});
    assert!(rig.ask(ASKER, level.clone()).get("ok").is_some());
    assert!(rig.ask(super::rig::User(64_777), level).get("ok").is_some());
    let words = format!("does not serve the user `{}`", ATTACKER.name());
    for command in [
        &["requests", "list"][..],
        &["mcp"],
        &["doctor"],
        &["trust", "show"],
    ] {
        rig.run(ATTACKER, command).refused(1, &words);
    }
    let recorded = rig.logged("connection.refused");
    assert_eq!(recorded.len(), 1, "{recorded:#?}");
    assert_eq!(recorded[0]["facts"]["code"], "forbidden");
}

#[test]
fn an_account_that_is_none_is_a_mistake_of_the_configuration() {
    let more = "[agent]\nclients = [\"ada lovelace\"]\nusers = []";
    let Some(rig) = Rig::new("separated::accounts", AGENT, more) else {
        return;
    };
    let (config, state) = (rig.path("etc/secondkey.toml"), rig.state());
    let mut command = rig.command(AGENT, &["agent", "--socket"]);
    command
        .arg(rig.socket())
        .arg("--config")
        .arg(config)
        .arg("--state")
        .arg(state);
    let said = super::rig::Said::of(&command.output().unwrap());
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.err.contains("not an account") && said.err.contains("agent.users"),
        "{said:?}"
    );
    assert!(!rig.socket().exists() && !rig.state().exists());
}
