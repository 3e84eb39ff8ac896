//! Hundreds of agents come back at once, from one address, after their relay was killed, and as many clients wait
//! for one decision. `TEST_HERD=1000` makes them a thousand, which takes minutes of a build without optimisation.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::boot;
use secondkey::clock::SystemClock;
use secondkey::config::{self, Flags, Surroundings};
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::time::Clock;
use secondkey::dial::{self, Dialer};
use secondkey::reach::{Address, Reach};
use secondkey::store::State;
use secondkey::store::members::Members;
use secrecy::SecretString;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::metrics::{number, scrape};
use super::rig::{Fleet, UPDATE, content};
use crate::stories::approval::trust;
use crate::support::variable;

/// The most that a relay without optimisation may have in memory, in KiB: for itself, and for each agent that is
/// connected with a client that waits.
const MOST_KIB: (u64, u64) = (120 * 1024, 250);

/// How many come. Each agent has threads and files of its own, as if it were a process.
fn herd() -> usize {
    variable("TEST_HERD").map_or(200, |number| number.parse().unwrap())
}

/// An agent as `secondkey agent --relay` puts it together, which has joined.
async fn joined(folder: &Path, shop: &Path, (url, token): (&str, SecretString)) -> Arc<Dialer> {
    let reach = || Reach {
        allow_insecure: false,
        authority: None,
    };
    let flags = Flags {
        state: Some(folder.to_owned()),
        database_urls: vec![SecretString::from(format!(
            "shop=sqlite:{}",
            shop.display()
        ))],
        ..Flags::default()
    };
    let config = config::load(&flags, &Surroundings::of_process()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let state = State::open(folder, Arc::clone(&clock)).unwrap();
    let address = |url| Address::parse(url, reach()).unwrap();
    state.install_trust(trust()).await.unwrap();
    dial::join(&state, &address(url), &token).await.unwrap();
    let agent = boot::dialing(config, &state, &clock).unwrap();
    Arc::new(Dialer::new(agent, state, address(url)))
}

async fn all_are_there(herd: usize, metrics: u16, fleet: &Fleet) {
    let deadline = Instant::now() + Duration::from_mins(3);
    loop {
        let seen = number(&scrape(metrics), "secondkey_agents_connected").unwrap();
        if seen.to_string() == herd.to_string() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{seen} of {herd}: {}",
            fleet.log("relay")
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_of_agents_comes_back_to_a_relay_that_was_killed() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = free.local_addr().unwrap().port();
    drop(free);
    let (size, mut fleet) = (herd(), Fleet::alone());
    fleet.besides = vec!["--metrics".into(), format!("127.0.0.1:{metrics}")];
    fleet.start_relay();
    let url = format!("http://127.0.0.1:{}", fleet.port);
    let state = fleet.relay_state();
    state.install_trust(trust()).await.unwrap();
    let members = Members::open(&state).unwrap();
    let ada = Principal::new(PrincipalKind::Human, "ada");
    let shop = BTreeSet::from(["shop".parse().unwrap()]);
    let closing = CancellationToken::new();
    let mut herd = JoinSet::new();
    for number in 0..size {
        let token = members.join_token(&shop, &ada).await.unwrap();
        let folder = fleet.path(&format!("agent-{number}"));
        let dialer = joined(&folder, &fleet.shop(), (&url, token)).await;
        herd.spawn(dial::keep(dialer, closing.clone()));
    }
    all_are_there(size, metrics, &fleet).await;
    fleet.kill_relay();
    fleet.start_relay();
    all_are_there(size, metrics, &fleet).await;
    let kib = resident_kib(fleet.relay_pid());
    eprintln!("{size} agents: {kib} KiB");
    // None of them was taken for a stranger that is refused, and any of them can be asked.
    let page = scrape(metrics);
    let refused = "secondkey_agents_turned_away_total{why=\"refused\"}";
    assert_eq!(number(&page, refused), Some(0.0), "{page:?}");
    let answer = fleet.sql("SELECT count(*) FROM products").await;
    assert_eq!(
        content(&answer)["rows"].as_array().map(Vec::len),
        Some(1),
        "{answer}"
    );
    waiters(size, &fleet).await;
    closing.cancel();
    herd.join_all().await;
    state.close().await.unwrap();
    fleet.run(&["audit", "verify"], "relay");
}

/// So many clients wait for one request, and all of them learn that it was decided.
async fn waiters(size: usize, fleet: &Fleet) {
    let update = json!({"sql": UPDATE, "params": [9.5, "lamp"]});
    let state = fleet.relay_state();
    let call = fleet.call("sql_execute", &update);
    tokio::pin!(call);
    let id = tokio::select! {
        answer = &mut call => panic!("{answer}"),
        id = fleet.pending(&state) => id,
    };
    let person = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);
    let get = format!(
        "GET /v1/requests/{id}?wait=45 HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        fleet.port, person
    );
    let mut waiting = JoinSet::new();
    for _ in 0..size {
        let mut stream = TcpStream::connect(("127.0.0.1", fleet.port)).await.unwrap();
        stream.write_all(get.as_bytes()).await.unwrap();
        waiting.spawn(async move {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
    }
    // Agents and clients, each by a connection.
    let files = format!("/proc/{}/fd", fleet.relay_pid());
    while std::fs::read_dir(&files).unwrap().count() < 2 * size {
        if let Some(early) = waiting.try_join_next() {
            panic!("{early:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let kib = resident_kib(fleet.relay_pid());
    eprintln!("{size} agents and as many waiting clients: {kib} KiB");
    assert!(kib < MOST_KIB.0 + MOST_KIB.1 * size as u64, "{kib} KiB");
    let (answer, _) = tokio::join!(call, fleet.approve());
    assert_eq!(content(&answer)["affected"], 1, "{answer}");
    for answer in waiting.join_all().await {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!answer.contains("\"pending\""), "{answer}");
    }
    assert!((fleet.price() - 9.5).abs() < 1e-9);
    state.close().await.unwrap();
}

/// What a process has in memory.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
