//! Bad days: relay, agent and database are killed with SIGKILL at random points under load, and the line between
//! relay and agent is cut. A ledger in the database, written by nobody else, says what has run, and how often.
//!
//! `SECONDKEY_KILLS` says how many kills (200), `SECONDKEY_SEED` which; a failure prints both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand_like::Random;
use secondkey::broker::requests;
use secondkey::clock::SystemClock;
use secondkey::core::approval::Decision;
use secondkey::core::request::Status;
use secondkey::core::time::Clock as _;
use secondkey::store::State;
use secondkey::store::requests::Filter;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::replicas::Replicas;
use super::rig::{Fleet, ask};
use crate::stories::approval::{say, trust};
use crate::stories::database_down::server::{Kind, Server};
use crate::support::{skip, variable};

/// Relays on one store.
const RELAYS: usize = 3;
/// Clients that ask for changes at the same time.
const CLIENTS: usize = 4;

/// Chance, always the same for a seed (`SplitMix64`).
mod rand_like {
    pub(super) struct Random(pub(super) u64);

    impl Random {
        /// A number below `end`.
        pub(super) fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) % end
        }
    }
}

/// A line between agent and relay that can be cut.
struct Line {
    port: u16,
    cut: Arc<Notify>,
}

impl Line {
    async fn to(relay: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(Notify::new());
        let cutter = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((mut agent, _)) = listener.accept().await {
                let cutter = Arc::clone(&cutter);
                tokio::spawn(async move {
                    let Ok(mut relay) = TcpStream::connect(("127.0.0.1", relay)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut agent, &mut relay) => {}
                        () = cutter.notified() => {}
                    }
                });
            }
        });
        Self { port, cut }
    }
}

/// What goes on while things are killed.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    /// Clients that ask for changes, and Ada, who approves each.
    fn start(fleet: &Fleet) -> Self {
        let mut load = Self {
            stop: Arc::new(AtomicBool::new(false)),
            tasks: JoinSet::new(),
            answered: Arc::new(AtomicUsize::new(0)),
        };
        for client in 0..CLIENTS {
            let (port, key) = (fleet.port, fleet.key.clone());
            let (stop, answered) = (Arc::clone(&load.stop), Arc::clone(&load.answered));
            load.tasks.spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let sql = format!("INSERT INTO ledger (token) VALUES ('{client}-{number}')");
                    let key = key.clone();
                    let wanted = json!({ "sql": sql });
                    // It breaks where the relay does.
                    let asked =
                        spawn_blocking(move || ask(port, (&key, "raw"), "sql_execute", &wanted));
                    match asked.await {
                        Ok(_) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_) => sleep(Duration::from_millis(50)).await,
                    }
                }
            });
        }
        let (person, stop) = (fleet.relay_state(), Arc::clone(&load.stop));
        load.tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for request in listed(&person, &[Status::Pending]) {
                    // Somebody may have been killed under her hands.
                    drop(say(&person, &request, Decision::Approve).await);
                }
                sleep(Duration::from_millis(10)).await;
            }
            person.close().await.unwrap();
        });
        load
    }

    async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.answered.load(Ordering::Relaxed)
    }
}

fn listed(state: &State, statuses: &[Status]) -> Vec<secondkey::core::ids::RequestId> {
    let filter = Filter {
        statuses: statuses.to_vec(),
        limit: 100_000,
        ..Filter::default()
    };
    let all = requests::list(state, &filter).map(|list| list.requests);
    let all = all.unwrap_or_default().into_iter();
    all.map(|request| request.id).collect()
}

fn number(name: &str, usual: u64) -> u64 {
    variable(name).map_or(usual, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_is_killed_each_approved_change_runs_once_or_not_at_all() {
    let Some(mut database) = Server::install(Kind::Postgres) else {
        return skip("fleet::faults", "there is no PostgreSQL here");
    };
    let kills = number("SECONDKEY_KILLS", 200);
    let now = u64::try_from(SystemClock.now().unix_ms()).unwrap();
    let seed = number("SECONDKEY_SEED", now);
    eprintln!("SECONDKEY_KILLS={kills} SECONDKEY_SEED={seed}");
    let mut random = Random(seed);
    database.start();
    // Nothing in it keeps a token from standing there twice.
    database.run("CREATE TABLE ledger (token text NOT NULL); CREATE ROLE worker LOGIN; GRANT SELECT, INSERT ON ledger TO worker");

    let mut fleet = Fleet::alone();
    for name in ["relay", "agent"] {
        let state = State::open(&fleet.path(name), Arc::new(SystemClock)).unwrap();
        state.install_trust(trust()).await.unwrap();
        state.close().await.unwrap();
    }
    fleet.start_relay();
    let line = Line::to(fleet.port).await;
    fleet.dials = Some(line.port);
    fleet.target = Some(format!("shop={}", database.url_for("worker")));
    fleet.start_agent();
    let load = Load::start(&fleet);
    for _ in 0..kills {
        sleep(Duration::from_millis(random.below(400))).await;
        match random.below(8) {
            0 | 1 => {
                fleet.kill_relay();
                fleet.start_relay();
            }
            2 => {
                database.die();
                database.start();
            }
            _ => {
                fleet.kill_agent();
                sleep(Duration::from_millis(random.below(50))).await;
                fleet.start_agent_again();
            }
        }
        if random.below(4) == 0 {
            line.cut.notify_waiters();
        }
        if random.below(2) == 0 {
            fleet.wait_until_ready();
        }
    }
    fleet.wait_until_ready();
    let answered = load.end().await;
    judge(&fleet, &database, answered).await;
}

/// The store is not killed here: what a relay has not said there before it dies, nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whichever_relay_is_killed_each_approved_change_runs_once_or_not_at_all() {
    let Some(mut database) = Server::install(Kind::Postgres) else {
        return skip("fleet::faults", "there is no PostgreSQL here");
    };
    let Some(mut these) = Replicas::without_agent(RELAYS, &[]).await else {
        return skip("fleet::faults", "there is no PostgreSQL for a store here");
    };
    let kills = number("SECONDKEY_KILLS", 30);
    let now = u64::try_from(SystemClock.now().unix_ms()).unwrap();
    let seed = number("SECONDKEY_SEED", now);
    eprintln!("SECONDKEY_KILLS={kills} SECONDKEY_SEED={seed}");
    let mut random = Random(seed);
    database.start();
    database.run("CREATE TABLE ledger (token text NOT NULL); CREATE ROLE worker LOGIN; GRANT SELECT, INSERT ON ledger TO worker");
    these.fleet.target = Some(format!("shop={}", database.url_for("worker")));
    these.fleet.start_agent();
    these.wait_until_ready();
    let load = Load::start(&these.fleet);
    for _ in 0..kills {
        sleep(Duration::from_millis(random.below(300))).await;
        if random.below(4) == 0 {
            these.fleet.kill_agent();
            these.fleet.start_agent_again();
        } else {
            let killed = usize::try_from(random.below(RELAYS as u64)).unwrap();
            these.all[killed].kill();
            sleep(Duration::from_millis(random.below(200))).await;
            these.run(killed);
        }
    }
    these.wait_until_ready();
    let answered = load.end().await;
    judge(&these.fleet, &database, answered).await;
}

/// Waits until nothing is under way, and holds every request against the ledger.
async fn judge(fleet: &Fleet, database: &Server, answered: usize) {
    let state = fleet.relay_state();
    // What was ordered and never heard of again is not known from the end of its token on.
    let deadline = Instant::now() + Duration::from_mins(4);
    let under_way = [Status::Dispatched, Status::Running];
    while !listed(&state, &under_way).is_empty() {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            listed(&state, &under_way)
        );
        sleep(Duration::from_millis(200)).await;
    }
    let ledger = database.ask("SELECT token FROM ledger").unwrap();
    let mut ran: BTreeMap<&str, usize> = BTreeMap::new();
    for token in ledger.lines() {
        *ran.entry(token).or_default() += 1;
    }
    let twice: Vec<_> = ran.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut accounted = 0;
    for id in listed(&state, &[]) {
        let request = state.requests().get(&id).unwrap();
        let document = requests::show(&state, &id).unwrap().document;
        let token = document.statement.split('\'').nth(1).unwrap().to_owned();
        let stands = ran.contains_key(token.as_str());
        accounted += usize::from(stands);
        let status = request.status();
        *counts.entry(format!("{status}")).or_default() += 1;
        if status == Status::Unknown {
            // Nobody runs it again: somebody looks.
            let found = if stands { "succeeded" } else { "failed" };
            let settle = ["requests", "settle", id.as_str(), "--found", found];
            let said = fleet.run(&[&settle[..], &["--comment", "ledger"]].concat(), "relay");
            assert_eq!(said, format!("{id} is {found}."));
        } else {
            let succeeded = status == Status::Succeeded;
            assert_eq!(succeeded, stands, "{id} {token} is {status}");
        }
    }
    eprintln!("{answered} calls were answered; requests: {counts:?}");
    // Whatever stands was asked for, and is known to have been.
    assert_eq!(accounted, ran.len());
    assert!(ran.len() >= 10, "nothing much was going on: {counts:?}");
    state.close().await.unwrap();
    for log in ["relay", "agent"] {
        fleet.run(&["audit", "verify"], log);
    }
}
