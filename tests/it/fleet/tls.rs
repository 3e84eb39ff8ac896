//! Agents, bridges and people's commands under TLS: to the relay whose certificate they trust, and to no other.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secondkey::clock::SystemClock;
use secondkey::store::State;
use serde_json::json;

use super::certificates::make;
use super::rig::{Fleet, UPDATE, content};
use crate::stories::approval::trust;
use crate::support::http::send;
use crate::support::raw::{Era, Raw};
use crate::support::{binary, skip};

/// A relay that speaks TLS alone; nobody has joined it. `None` where no certificate can be made.
async fn relay() -> Option<Fleet> {
    let mut fleet = Fleet::alone();
    let folder = fleet.folder.path();
    if !make(folder, "ours") {
        skip("fleet::tls", "openssl is not installed");
        return None;
    }
    assert!(make(folder, "theirs"));
    for name in ["relay", "agent"] {
        let state = State::open(&fleet.path(name), Arc::new(SystemClock)).unwrap();
        state.install_trust(trust()).await.unwrap();
        state.close().await.unwrap();
    }
    let files = ["--tls-certificate", "ours.pem", "--tls-key", "ours.key"];
    fleet.besides = files.map(str::to_owned).to_vec();
    fleet.start_relay();
    Some(fleet)
}

fn url(fleet: &Fleet) -> String {
    format!("https://localhost:{}", fleet.port)
}

/// An agent that trusts this certificate, until it is killed.
fn agent(fleet: &Fleet, state: &str, trusts: &str) -> Killed {
    let shop = format!("shop=sqlite:{}", fleet.shop().display());
    let url = url(fleet);
    let arguments = [
        "agent",
        "--relay",
        &url,
        "--relay-ca",
        trusts,
        "--join",
        "file:join",
        "--database-url",
        &shop,
    ];
    let mut command = fleet.command(&arguments, state);
    Killed(command.stdout(Stdio::null()).spawn().unwrap())
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A person's or a client's command that trusts this certificate.
fn command(fleet: &Fleet, arguments: &[&str], (key, trusts): (&str, &str)) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .args(["--relay", &url(fleet), "--relay-ca", trusts])
        .env_clear()
        .env("HOME", fleet.folder.path())
        .env("SECONDKEY_API_KEY", key)
        .current_dir(fleet.folder.path());
    command
}

fn said(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(all).unwrap()
}

fn wait_for(what: &str, fleet: &Fleet, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(
            Instant::now() < deadline,
            "{what}: {} {}",
            fleet.log("agent"),
            fleet.log("stray")
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test]
async fn agents_clients_and_people_come_under_tls_and_to_no_other_relay() {
    let Some(fleet) = relay().await else {
        return;
    };
    let joined = |state: &str| {
        let list = fleet.run(&["relay", "agents", "list"], "relay");
        let id = State::open(&fleet.path(state), Arc::new(SystemClock)).unwrap();
        list.contains(id.agent().as_str())
    };
    // The relay's certificate is none that this agent trusts: it says so, and its token is not used up.
    let stray = agent(&fleet, "stray", "theirs.pem");
    wait_for("a complaint", &fleet, || {
        fleet.log("stray").contains("certificate")
    });
    assert!(!joined("stray"));
    drop(stray);
    let _agent = agent(&fleet, "agent", "ours.pem");
    wait_for("the agent", &fleet, || joined("agent"));

    let ada = fleet.issue(&["--for", "human:ada", "--role", "readonly"]);
    let refused = command(&fleet, &["requests", "list"], (&ada, "theirs.pem"))
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(said(&refused).contains("certificate"), "{}", said(&refused));
    assert!(!said(&refused).contains(&ada));

    let bridge = command(&fleet, &["mcp"], (&fleet.key, "ours.pem"));
    let mut bridge = tokio::process::Command::from(bridge);
    bridge.kill_on_drop(true).stderr(Stdio::null());
    let mut client = Raw::start_over("raw", bridge, Era::Modern).await;
    let change = json!({"sql": UPDATE, "params": [15.5, "lamp"]});
    let change = client.call_soon("sql_execute", &change).await;
    let id = fleet.approve().await;
    let answer = client.answer_to(change).await;
    assert_eq!(content(&answer["result"])["affected"], 1, "{answer}");
    assert!((fleet.price() - 15.5).abs() < 1e-9);
    assert_eq!(client.finish().await.code(), Some(0));
    let listed = command(&fleet, &["requests", "list"], (&ada, "ours.pem"))
        .output()
        .unwrap();
    assert!(said(&listed).contains(id.as_str()), "{}", said(&listed));
    let reconciled = command(&fleet, &["audit", "reconcile"], (&fleet.key, "ours.pem")).output();
    let reconciled = reconciled.unwrap();
    assert!(reconciled.status.success(), "{}", said(&reconciled));

    // In the clear there is nothing.
    let host = format!("localhost:{}", fleet.port);
    let (port, headers) = (fleet.port, [("Host", host.as_str())]);
    let plain = std::panic::catch_unwind(|| send(port, "GET", "/healthz", &headers, ""));
    assert!(plain.is_err());
}
