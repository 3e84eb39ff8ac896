//! From a person's signature to the first row of the answer, in local mode: the server waits in one
//! process, the person signs in another.
//!
//! `cargo bench --bench approval`. Prints the median and the 95th percentile of [`ROUNDS`] requests.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints figures, and has nothing to say when it cannot go on"
)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use secondkey::broker::{requests, votes};
use secondkey::clock::SystemClock;
use secondkey::core::approval::sshsig::{PublicKey, SshSig};
use secondkey::core::approval::{APPROVAL, Decision, SignedVerdict, Verdict, verdict};
use secondkey::core::ids::RequestId;
use secondkey::core::principal::{Principal, PrincipalKind};
use secondkey::core::request::Status;
use secondkey::core::signer::{Presence, Surface};
use secondkey::core::time::Clock as _;
use secondkey::core::trust::{Origins, Purpose, SignedTrust, Signer, SignerKey, TrustFile};
use secondkey::store::State;
use secondkey::store::requests::Filter;
use serde_json::{Value, json};

const ROUNDS: usize = 60;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("shop.db");
    let database = rusqlite::Connection::open(&shop).unwrap();
    let rows = "CREATE TABLE products (id INTEGER PRIMARY KEY, price INTEGER);
        INSERT INTO products VALUES (1, 1);";
    database.execute_batch(rows).unwrap();
    let place = folder.path().join("state");
    let person = State::open(&place, Arc::new(SystemClock)).unwrap();
    person.install_trust(trust()).await.unwrap();
    let mut server = serve(folder.path(), &shop);
    let mut input = server.stdin.take().unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let mut receive = move || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        (Instant::now(), line)
    };
    let mut send = |message: &Value| writeln!(input, "{message}").unwrap();
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}});
    send(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}));
    receive();
    send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    let mut taken = Vec::new();
    for round in 1..=ROUNDS {
        let arguments = json!({"sql": "UPDATE products SET price = $1 WHERE id = 1 RETURNING price", "params": [round]});
        let call = json!({"name": "sql_execute", "arguments": arguments});
        send(&json!({"jsonrpc": "2.0", "id": round, "method": "tools/call", "params": call}));
        let id = pending(&person).await;
        let vote = approval(&person, &id);
        let signed = Instant::now();
        votes::cast(&person, &id, vote).await.unwrap();
        let (answered, line) = receive();
        assert!(line.contains(&format!("\"rows\":[[{round}]]")), "{line}");
        taken.push(answered.duration_since(signed));
    }
    drop(input);
    server.wait().unwrap();
    person.close().await.unwrap();
    taken.sort_unstable();
    let at = |share: usize| taken.get(ROUNDS * share / 100).copied().unwrap_or_default();
    println!(
        "signature to first row: p50 {:.1?}, p95 {:.1?} ({ROUNDS} requests)",
        at(50),
        at(95)
    );
}

fn serve(folder: &Path, shop: &Path) -> Child {
    let config = folder.join("secondkey.toml");
    let text = format!("[targets.shop]\nurl = \"sqlite:{}\"\n", shop.display());
    std::fs::write(&config, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_secondkey"))
        .arg("mcp")
        .arg("--config")
        .arg(&config)
        .arg("--state")
        .arg(folder.join("state"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The request that waits, as soon as its call has begun to wait for it as well.
async fn pending(person: &State) -> RequestId {
    let filter = Filter {
        statuses: vec![Status::Pending],
        ..Filter::default()
    };
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let waiting = requests::list(person, &filter).unwrap().requests;
        if let [one] = waiting.as_slice() {
            return one.id.clone();
        }
    }
}

fn ada() -> Principal {
    Principal::new(PrincipalKind::Human, "ada")
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn approval(person: &State, id: &RequestId) -> SignedVerdict {
    let said = Verdict {
        version: verdict::VERSION,
        decision: Decision::Approve,
        document: requests::show(person, id).unwrap().document.digest(),
        request: id.clone(),
        signer: ada(),
        surface: Surface::Terminal,
        comment: None,
        at_ms: SystemClock.now().unix_ms(),
    };
    let text = said.to_text();
    let signature = SshSig::sign_ed25519(&key(), APPROVAL, text.as_bytes()).unwrap();
    SignedVerdict {
        verdict: text,
        signature: signature.armored(),
    }
}

fn trust() -> SignedTrust {
    let now = SystemClock.now().unix_ms();
    let mut signed = SignedTrust::unsigned(TrustFile {
        format: 1,
        version: 1,
        previous: None,
        created_ms: now,
        admin_quorum: 1,
        origins: Origins::default(),
        signers: vec![Signer {
            name: ada(),
            groups: BTreeSet::from(["owner".to_owned()]),
            purposes: BTreeSet::from([Purpose::Approve, Purpose::Trust]),
            valid_from_ms: now - 1_000,
            valid_until_ms: None,
            keys: vec![SignerKey::ssh(
                PublicKey::ed25519(key().verifying_key()).unwrap(),
                Presence::Passphrase,
                "bench",
            )],
        }],
    });
    signed.sign(&key()).unwrap();
    signed
}
