//! People are told that something waits: by a signed webhook that survives bad receivers, dying
//! processes and several of them, goes nowhere it must not, and says nothing of what is asked.

mod recipes;
mod tls;

use std::collections::BTreeSet;
use std::time::Duration;

use secondkey::core::approval::Decision;
use serde_json::{Value, json};

use super::approval::{World, update};
use super::{count, entries, refusal, wait_for};
use crate::support::binary;
use crate::support::raw::{Era, Raw};
use crate::support::receiver::{Message, Receiver, Reply, SECRET};

/// Long enough for a first attempt.
const SOON: Duration = Duration::from_secs(15);

/// A shop whose people are told at this address.
async fn told_at(url: &str, allow_private: &str) -> World {
    let more = format!(
        "[notify.webhook]\nurl = \"{url}\"\nsecret = \"file:webhook.secret\"\nallow_private = {allow_private}\n"
    );
    let world = World::with("0s", &more).await;
    let secret = world.program.folder.path().join("webhook.secret");
    std::fs::write(secret, format!("{SECRET}\n")).unwrap();
    world
}

async fn told_here(receiver: &Receiver) -> World {
    let url = format!(
        "http://127.0.0.1:{}/hooks/path-canary?key=query-canary",
        receiver.port
    );
    told_at(&url, "[\"127.0.0.1/32\"]").await
}

/// Asks for a change that has to wait.
async fn ask(server: &mut Raw) {
    let pending = refusal(&server.call("sql_execute", &update(15.5)).await);
    assert_eq!(pending["code"], "approval_pending", "{pending}");
}

/// The server speaks for the webhook only some moments after it began.
async fn serving(world: &World) -> Raw {
    let server = Raw::start(&world.program, Era::Legacy).await;
    let path = world.program.state().join("state.db");
    let database = rusqlite::Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    for _ in 0..500 {
        let count = "select count(*) from notice_destinations";
        let count: i64 = database.query_row(count, [], |row| row.get(0)).unwrap();
        if count > 0 {
            return server;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server speaks for no webhook");
}

#[tokio::test]
async fn a_request_and_its_end_are_told_without_saying_what_is_asked() {
    let receiver = Receiver::start(vec![]);
    let world = told_here(&receiver).await;
    let mut server = serving(&world).await;
    let sql = "UPDATE products SET price = 4711.25 WHERE name = $1 AND name <> 'literal-canary'";
    let wanted = json!({"sql": sql, "params": ["param-canary"], "reason": "reason-canary"});
    let pending = refusal(&server.call("sql_execute", &wanted).await);
    assert_eq!(pending["code"], "approval_pending", "{pending}");
    let first = receiver.wait_for(1, SOON).await;
    let id = world.pending().await;
    let body = first[0].json();
    assert_eq!(body["type"], "request.pending");
    let data = &body["data"];
    assert_eq!(data["request"], id.as_str());
    assert_eq!(data["link"], format!("http://localhost:7321/requests/{id}"));
    let facts = [
        &data["target"],
        &data["effect"],
        &data["kind"],
        &data["relations"],
    ];
    assert_eq!(
        json!(facts),
        json!(["shop", "write", "update", ["products"]])
    );
    world.say(&id, Decision::Reject).await.unwrap();
    let both = receiver.wait_for(2, SOON).await;
    assert_eq!(both[1].json()["type"], "request.rejected");
    assert_ne!(both[0].id(), both[1].id());
    for message in &both {
        message.verify();
        for canary in [
            "4711",
            "literal-canary",
            "param-canary",
            "reason-canary",
            "seen by Ada",
        ] {
            assert!(
                !message.body.contains(canary) && !message.head.contains(canary),
                "{message:#?}"
            );
        }
    }
    wait_until_settled(&world, 2).await;
    server.finish().await;
    let log = json!(entries(&world.program)).to_string() + &world.program.log();
    for canary in ["path-canary", "query-canary", "whsec_"] {
        assert!(!log.contains(canary), "{log}");
    }
}

/// Waits until so many deliveries are in the log.
async fn wait_until_settled(world: &World, deliveries: usize) -> Vec<Value> {
    for _ in 0..1_500 {
        let all = entries(&world.program);
        if count(&all, "notification.delivered") >= deliveries {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not delivered: {:#?}", entries(&world.program));
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_with_the_same_message() {
    let failing = Reply::Text("HTTP/1.1 500 Oh\r\n\r\n".into());
    let receiver = Receiver::start(vec![failing]);
    let world = told_here(&receiver).await;
    let mut server = serving(&world).await;
    ask(&mut server).await;
    let both = receiver.wait_for(2, Duration::from_secs(30)).await;
    assert_eq!(both[0].id(), both[1].id());
    assert_eq!(both[0].body, both[1].body);
    both[1].verify();
    let log = wait_until_settled(&world, 1).await;
    let failed = wait_for(&world.program, "notification.failed").await;
    assert_eq!(failed["facts"]["status"], 500, "{failed}");
    assert_eq!(failed["facts"]["host"], "127.0.0.1", "{failed}");
    assert_eq!(failed["request"], world.pending().await.as_str());
    assert_eq!(count(&log, "notification.failed"), 1);
    server.finish().await;
}

#[tokio::test]
async fn several_processes_tell_everything_once() {
    let receiver = Receiver::start(vec![]);
    let world = told_here(&receiver).await;
    let mut servers = vec![serving(&world).await];
    for _ in 0..2 {
        servers.push(Raw::start(&world.program, Era::Legacy).await);
    }
    for _ in 0..4 {
        for server in &mut servers {
            ask(server).await;
        }
    }
    let log = wait_until_settled(&world, 12).await;
    // Long enough for one who sends what another has sent.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let taken = receiver.taken();
    let ids: BTreeSet<&str> = taken.iter().map(Message::id).collect();
    assert_eq!((taken.len(), ids.len()), (12, 12), "{taken:#?}");
    assert_eq!(count(&log, "notification.failed"), 0, "{log:#?}");
    for server in servers {
        server.finish().await;
    }
}

#[tokio::test]
async fn a_message_outlives_the_process_that_was_sending_it() {
    let receiver = Receiver::start(vec![Reply::Silence]);
    let world = told_here(&receiver).await;
    let mut server = serving(&world).await;
    ask(&mut server).await;
    let first = receiver.wait_for(1, SOON).await;
    server.kill().await;
    let server = Raw::start(&world.program, Era::Legacy).await;
    // The lease of the dead lapses after fifteen seconds.
    let both = receiver.wait_for(2, Duration::from_secs(40)).await;
    assert_eq!(both[1].id(), first[0].id());
    both[1].verify();
    let delivered = wait_until_settled(&world, 1).await;
    let delivered = delivered
        .iter()
        .find(|entry| entry["kind"] == "notification.delivered");
    assert_eq!(delivered.unwrap()["facts"]["attempt"], 2);
    server.finish().await;
}

#[tokio::test]
async fn what_happens_while_nothing_runs_is_told_later_and_by_the_page_too() {
    let receiver = Receiver::start(vec![]);
    let world = told_here(&receiver).await;
    let mut server = serving(&world).await;
    ask(&mut server).await;
    wait_until_settled(&world, 1).await;
    server.finish().await;
    let id = world.pending().await;
    world.say(&id, Decision::Approve).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.taken().len(), 1, "nobody is there to send it");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let folder = world.program.folder.path();
    let mut page = tokio::process::Command::new(binary())
        .args([
            "page",
            "--port",
            &port,
            "--config",
            "secondkey.toml",
            "--state",
        ])
        .arg(world.program.state())
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .current_dir(folder)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let both = receiver.wait_for(2, SOON).await;
    both[1].verify();
    assert_eq!(both[1].json()["type"], "request.approved");
    wait_until_settled(&world, 2).await;
    page.kill().await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let inside = Receiver::start(vec![]);
    let answer = |location: &str| {
        Reply::Text(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\n\r\n"
        ))
    };
    let receiver = Receiver::start(vec![
        answer(&format!("http://127.0.0.1:{}/inside", inside.port)),
        answer("http://169.254.169.254/latest/meta-data/"),
    ]);
    let world = told_here(&receiver).await;
    let mut server = serving(&world).await;
    ask(&mut server).await;
    ask(&mut server).await;
    receiver.wait_for(2, SOON).await;
    let failed = wait_for(&world.program, "notification.failed").await;
    assert_eq!(failed["facts"]["status"], 307, "{failed}");
    server.finish().await;
    assert!(inside.taken().is_empty(), "{:#?}", inside.taken());
    assert_eq!(count(&entries(&world.program), "notification.delivered"), 0);
}

#[tokio::test]
async fn this_machine_is_not_told_unless_it_is_named_and_the_request_waits_all_the_same() {
    let receiver = Receiver::start(vec![]);
    let port = receiver.port;
    for (url, allowed) in [
        (format!("https://localhost:{port}/"), "[]"),
        (format!("http://127.0.0.1:{port}/"), "[\"10.0.0.0/8\"]"),
    ] {
        let world = told_at(&url, allowed).await;
        let mut server = serving(&world).await;
        ask(&mut server).await;
        let failed = wait_for(&world.program, "notification.failed").await;
        let why = failed["facts"]["why"].as_str().unwrap();
        assert_eq!(why, "a loopback address, which is not sent to", "{failed}");
        world.pending().await;
        server.finish().await;
    }
    assert!(receiver.taken().is_empty(), "{:#?}", receiver.taken());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_desktop_shows_a_request_once_and_as_plain_text() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut world = World::with("0s", "").await;
    let folder = world.program.folder.path().to_owned();
    let shown = folder.join("shown");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{}'\n",
        shown.display()
    );
    std::fs::write(folder.join("notify-send"), script).unwrap();
    let runs = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(folder.join("notify-send"), runs).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    world.program = world
        .program
        .variable("PATH", &path)
        .variable("DISPLAY", ":0");
    let mut first = serving(&world).await;
    let second = Raw::start_as("<b>&second</b>", &world.program, Era::Legacy).await;
    ask(&mut first).await;
    let mut second = second;
    ask(&mut second).await;
    let lines = || std::fs::read_to_string(&shown).unwrap_or_default();
    for _ in 0..500 {
        if lines().matches("A request waits").count() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = lines();
    assert_eq!(
        said.matches("A request waits for approval").count(),
        2,
        "{said}"
    );
    assert!(
        said.starts_with("--app-name=SecondKey\n--\nSecondKey: "),
        "{said}"
    );
    assert!(said.contains("/raw\n") && !said.contains("<b>"), "{said}");
    assert!(
        !said.contains("15.5") && !said.contains("spring sale"),
        "{said}"
    );
    first.finish().await;
    second.finish().await;
}
