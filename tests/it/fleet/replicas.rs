//! Several relays on one PostgreSQL, behind something that hands each connection to any of them.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use secondkey::clock::SystemClock;
use secondkey::store::State;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::rig::{Fleet, begun, database_at, run_in};
use crate::stories::approval::trust;
use crate::support::http::send;
use crate::support::variable;

/// Relays on one store, an agent that dials any of them, and a shop. Clients of `fleet` come to any of them, too.
pub(super) struct Replicas {
    pub(super) fleet: Fleet,
    pub(super) all: Vec<Replica>,
    /// What each is started with besides.
    pub(super) besides: Vec<String>,
    /// Where they are, for whoever hands connections to them.
    ports: Arc<Mutex<Vec<u16>>>,
}

/// One of the relays.
pub(super) struct Replica {
    /// Its state folder.
    pub(super) name: String,
    /// Where clients and agents reach it; 0 while it does not run.
    pub(super) port: u16,
    child: Option<Child>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Replica {
    fn new(name: String) -> Self {
        Self {
            name,
            port: 0,
            child: None,
        }
    }

    /// Kills it as the system does when it has no memory left.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Ends it as an administrator does, and waits for that.
    pub(super) fn stop(&mut self) {
        self.signal("-TERM");
        let mut child = self.child.take().unwrap();
        assert!(child.wait().unwrap().success());
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub(super) fn get(&self, path: &str) -> u16 {
        let host = format!("127.0.0.1:{}", self.port);
        send(self.port, "GET", path, &[("Host", &host)], "").status
    }
}

impl Replicas {
    /// So many, an agent that has joined, and Ada trusted by all; nothing without a PostgreSQL.
    pub(super) async fn start(count: usize, besides: &[&str]) -> Option<Self> {
        let mut these = Self::without_agent(count, besides).await?;
        these.fleet.start_agent();
        these.wait_until_ready();
        Some(these)
    }

    /// The same, without the agent.
    pub(super) async fn without_agent(count: usize, besides: &[&str]) -> Option<Self> {
        let mut these = Self::prepare(count).await?;
        these.besides = besides.iter().map(ToString::to_string).collect();
        for name in ["relay", "agent"] {
            let state = State::open(&these.fleet.path(name), Arc::new(SystemClock)).unwrap();
            state.install_trust(trust()).await.unwrap();
            state.close().await.unwrap();
        }
        these.run_all();
        Some(these)
    }

    /// So many that were made and do not run; nobody is trusted yet.
    pub(super) async fn prepare(count: usize) -> Option<Self> {
        let server = variable("TEST_POSTGRES_URL")?;
        Some(Self::prepare_at(database_at(&server), count).await)
    }

    /// The same on this store.
    pub(super) async fn prepare_at(store: String, count: usize) -> Self {
        let mut fleet = Fleet::alone_at(Some(store));
        let mut all = vec![Replica::new("relay".into())];
        for number in 1..count {
            let name = format!("relay{number}");
            // What a team gives each from outside: the keys, and where the store is.
            run_in(&fleet, "mkdir", &["-m", "700", &name]);
            run_in(&fleet, "cp", &["-a", "relay/keys", "relay/store", &name]);
            all.push(Replica::new(name));
        }
        let ports: Arc<Mutex<Vec<u16>>> = Arc::default();
        fleet.port = balance(Arc::clone(&ports)).await;
        Self {
            fleet,
            all,
            besides: Vec::new(),
            ports,
        }
    }

    /// Starts all of them.
    pub(super) fn run_all(&mut self) {
        for number in 0..self.all.len() {
            self.run(number);
        }
    }

    /// Starts one of them.
    pub(super) fn run(&mut self, number: usize) {
        let name = &self.all[number].name;
        let (listen, advertise) = ("127.0.0.1:0", "127.0.0.1:0");
        let arguments = ["relay", "--listen", listen, "--advertise", advertise];
        let mut command = self.fleet.command(&arguments, name);
        command.args(&self.besides);
        let (child, said) = begun(command.stdout(Stdio::piped()));
        assert!(said.contains("serves"), "{said} {}", self.fleet.log(name));
        let port = said.trim_end_matches("/mcp.").rsplit(':').next().unwrap();
        self.all[number].port = port.parse().unwrap();
        self.all[number].child = Some(child);
        *self.ports.lock().unwrap() = self.all.iter().map(|one| one.port).collect();
    }

    /// Waits until every one that runs knows the agent.
    pub(super) fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(40);
        let ready = |one: &Replica| one.child.is_none() || one.get("/readyz") == 200;
        while !self.all.iter().all(ready) {
            assert!(Instant::now() < deadline, "not ready: {}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn logs(&self) -> String {
        let names = self.all.iter().map(|one| one.name.as_str());
        names
            .chain(["agent"])
            .map(|name| self.fleet.log(name))
            .collect()
    }
}

/// Hands each connection to the next of these that takes one.
async fn balance(ports: Arc<Mutex<Vec<u16>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let next = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut one, _)) = listener.accept().await {
            let (ports, next) = (ports.lock().unwrap().clone(), Arc::clone(&next));
            tokio::spawn(async move {
                for _ in 0..ports.len() {
                    let port = ports[next.fetch_add(1, Ordering::Relaxed) % ports.len()];
                    if let Ok(mut other) = TcpStream::connect(("127.0.0.1", port)).await {
                        drop(copy_bidirectional(&mut one, &mut other).await);
                        return;
                    }
                }
            });
        }
    });
    port
}
