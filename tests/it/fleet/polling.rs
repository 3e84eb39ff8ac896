//! An agent on a network that lets no WebSocket through: the same work, carried by plain requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secondkey::clock::SystemClock;
use secondkey::store::State;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::rig::{Fleet, UPDATE, content, refusal};
use crate::stories::approval::trust;
use crate::support::http::send;

/// What becomes of a WebSocket on the way.
#[derive(Clone, Copy)]
enum Fate {
    /// It is answered with a refusal, as a proxy does that knows none.
    Refused,
    /// It is agreed on, and then nothing gets through.
    Swallowed,
}

/// A network between an agent and its relay.
struct Network {
    port: u16,
    cut: Arc<AtomicUsize>,
    polls: Arc<AtomicUsize>,
}

impl Network {
    async fn to(relay: u16, fate: Fate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Self {
            port,
            cut: Arc::default(),
            polls: Arc::default(),
        };
        let (cut, polls) = (Arc::clone(&network.cut), Arc::clone(&network.polls));
        tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                tokio::spawn(pass(
                    agent,
                    (relay, fate),
                    (Arc::clone(&cut), Arc::clone(&polls)),
                ));
            }
        });
        network
    }
}

async fn pass(
    mut agent: TcpStream,
    (relay, fate): (u16, Fate),
    (cut, polls): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut byte = [0];
        match agent.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let Ok(mut relay) = TcpStream::connect(("127.0.0.1", relay)).await else {
        return;
    };
    if text.contains("upgrade: websocket") {
        cut.fetch_add(1, Ordering::Relaxed);
        match fate {
            Fate::Refused => {
                let no =
                    b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                drop(agent.write_all(no).await);
            }
            Fate::Swallowed => {
                drop(relay.write_all(&head).await);
                let mut agreed = vec![0; 4096];
                let length = relay.read(&mut agreed).await.unwrap_or(0);
                drop(agent.write_all(&agreed[..length]).await);
                let mut rest = [0; 4096];
                while agent.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            }
        }
        return;
    }
    if text.contains(" /agent/poll") {
        polls.fetch_add(1, Ordering::Relaxed);
    }
    if relay.write_all(&head).await.is_ok() {
        drop(copy_bidirectional(&mut agent, &mut relay).await);
    }
}

/// A relay, and an agent that joins it over such a network.
async fn behind(fate: Fate) -> (Fleet, Network) {
    let mut fleet = Fleet::alone();
    for name in ["relay", "agent"] {
        let state = State::open(&fleet.path(name), Arc::new(SystemClock)).unwrap();
        state.install_trust(trust()).await.unwrap();
        state.close().await.unwrap();
    }
    fleet.start_relay();
    let network = Network::to(fleet.port, fate).await;
    fleet.dials = Some(network.port);
    tokio::task::block_in_place(|| fleet.start_agent());
    (fleet, network)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_websocket_gets_through_an_agent_works_by_long_polls() {
    let (mut fleet, network) = behind(Fate::Refused).await;
    assert!(network.cut.load(Ordering::Relaxed) > 0);
    assert!(network.polls.load(Ordering::Relaxed) > 0);
    let found = fleet.sql("SELECT count(*) FROM products").await;
    assert_eq!(content(&found)["rows"], json!([[3]]), "{found}");
    let failed = fleet.sql("SELECT missing FROM products").await;
    assert_eq!(refusal(&failed)["code"], "unknown_column");
    // More than one request carries at a time, in both directions.
    let long = "x".repeat(200_000);
    let wanted = json!({"sql": "SELECT substr($1, 1, 40000), length($1)", "params": [long]});
    let found = fleet.call("sql_execute", &wanted).await;
    let row = &content(&found)["rows"][0];
    assert_eq!(row[0].as_str().map(str::len), Some(40_000), "{found}");
    assert_eq!(row[1], 200_000);
    // Many at a time.
    let calls = (0..40).map(|i| {
        let sql = format!("SELECT {i}, name FROM products ORDER BY id LIMIT 1");
        let fleet = &fleet;
        async move { (i, fleet.sql(&sql).await) }
    });
    for (i, found) in futures::future::join_all(calls).await {
        assert_eq!(content(&found)["rows"][0][0], i, "{found}");
    }

    let wanted = json!({"sql": UPDATE, "params": [9.5, "lamp"]});
    let (changed, _) = tokio::join!(fleet.call("sql_execute", &wanted), fleet.approve());
    assert_eq!(content(&changed)["affected"], 1, "{changed}");
    assert!((fleet.price() - 9.5).abs() < 1e-9);

    // It comes back to a relay that was killed, and to one that was asked to end.
    for ends in [Fleet::kill_relay, Fleet::stop_relay] {
        ends(&mut fleet);
        fleet.start_relay();
        tokio::task::block_in_place(|| fleet.wait_until_ready());
        let found = fleet
            .sql("SELECT price FROM products WHERE name = 'lamp'")
            .await;
        assert_eq!(content(&found)["rows"], json!([[9.5]]), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_agrees_on_a_websocket_and_swallows_it_is_got_around() {
    let (fleet, network) = behind(Fate::Swallowed).await;
    assert!(network.cut.load(Ordering::Relaxed) > 0);
    let found = fleet.sql("SELECT count(*) FROM products").await;
    assert_eq!(content(&found)["rows"], json!([[3]]), "{found}");
}

/// Whoever polls and is no agent gets what a stranger on a WebSocket gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_polls_and_proves_nothing_is_let_go() {
    let mut fleet = Fleet::alone();
    fleet.besides = vec!["--connections-per-address".to_owned(), "40".to_owned()];
    fleet.start_relay();
    let (port, host) = (fleet.port, format!("127.0.0.1:{}", fleet.port));
    let ask =
        |method: &str, path: &str, body: &str| send(port, method, path, &[("Host", &host)], body);
    let none = format!("/agent/poll/{}", "0".repeat(64));
    assert_eq!(ask("GET", &none, "").status, 410);
    assert_eq!(ask("POST", &none, "x").status, 410);
    let opened = ask("POST", "/agent/poll", "");
    assert_eq!(opened.status, 201, "{}", opened.body);
    let path = opened.header("location").unwrap().to_owned();
    assert_eq!(ask("POST", &path, &"x".repeat(300_000)).status, 413);
    // No head of a request comes: it is answered with an error, or let go.
    assert_eq!(
        ask("POST", &path, "nothing that HTTP is made of\r\n\r\n").status,
        204
    );
    let answered = ask("GET", &path, "");
    assert!(
        answered.status == 410 || answered.body.contains("400"),
        "{}",
        answered.body
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask("GET", &path, "").status != 410 {
        assert!(Instant::now() < deadline, "it is still there");
    }
    // Other paths are not behind that door.
    let opened = ask("POST", "/agent/poll", "");
    let path = opened.header("location").unwrap().to_owned();
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {host}\r\n\r\n");
    assert_eq!(ask("POST", &path, &request).status, 204);
    let answered = ask("GET", &path, "");
    assert!(
        answered.body.starts_with("HTTP/1.1 404"),
        "{}",
        answered.body
    );
    // Nobody takes all the places.
    let opened: Vec<u16> = (0..60)
        .map(|_| ask("POST", "/agent/poll", "").status)
        .collect();
    assert!(opened.contains(&201) && opened.contains(&503), "{opened:?}");
}
