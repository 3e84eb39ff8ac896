//! A relay's key is rotated: its agents go on to the new one, because the old one says so, and to no other.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use secondkey::core::succession::Succession;
use serde_json::json;

use super::rig::{Fleet, UPDATE, content};

impl Fleet {
    fn pin(&self) -> String {
        std::fs::read_to_string(self.path("agent/relay.pin")).unwrap()
    }

    fn rotate(&self) {
        self.run(&["keys", "rotate", "token"], "relay");
    }
}

/// The key that signs tokens in a state folder, and its file.
fn token_key(keys: PathBuf) -> (SigningKey, PathBuf) {
    let files = std::fs::read_dir(keys).unwrap().flatten();
    let file = files.map(|file| file.path()).find(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("token-") && path.extension().is_some_and(|end| end == "pem")
    });
    let file = file.unwrap();
    let key = SigningKey::from_pkcs8_pem(&std::fs::read_to_string(&file).unwrap()).unwrap();
    (key, file)
}

#[tokio::test]
async fn agents_go_on_to_the_key_that_follows() {
    let mut fleet = Fleet::start().await;
    let first = fleet.pin();
    // While it is connected, and in the midst of reads.
    fleet.rotate();
    content(&fleet.sql("SELECT count(*) FROM products").await);
    let second = fleet.pin();
    assert_ne!(first, second);
    assert_eq!(first.lines().nth(1), second.lines().nth(1));
    let record = fleet.run(&["audit", "list", "-n", "50"], "agent");
    assert_eq!(record.matches("relay.followed").count(), 1, "{record}");
    let wanted = json!({"sql": UPDATE, "params": [9.5, "lamp"]});
    let (answer, _) = tokio::join!(fleet.call("sql_execute", &wanted), fleet.approve());
    assert_eq!(content(&answer)["affected"], 1, "{answer}");
    assert!((fleet.price() - 9.5).abs() < 1e-9);

    // While it is away, more than once.
    fleet.kill_agent();
    fleet.rotate();
    fleet.rotate();
    fleet.start_agent();
    content(&fleet.sql("SELECT count(*) FROM products").await);
    let last = fleet.pin();
    assert_ne!(second, last);
    // By a token to join that names the key before.
    let token = fleet.run(&["relay", "join-token", "--serves", "shop"], "relay");
    std::fs::write(fleet.path("join-late"), token).unwrap();
    fleet.rotate();
    fleet.start_another("late", "join-late", &fleet.shop());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fleet.path("late/relay.pin").exists() {
        assert!(Instant::now() < deadline, "{}", fleet.log("late"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    content(&fleet.sql("SELECT count(*) FROM products").await);
    let late = || std::fs::read_to_string(fleet.path("late/relay.pin")).unwrap();
    while late() != fleet.pin() {
        assert!(Instant::now() < deadline, "{} {}", late(), fleet.pin());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_key_that_the_pinned_one_has_not_signed_is_not_followed() {
    let mut fleet = Fleet::start().await;
    let pinned = fleet.pin();
    let (key, _) = token_key(fleet.path("relay/keys"));
    // Another relay in its place, which says that its key follows.
    fleet.kill_relay();
    fleet.kill_agent();
    std::fs::rename(fleet.path("relay"), fleet.path("true-relay")).unwrap();
    fleet.run(&["relay", "init"], "relay");
    let (impostor, file) = token_key(fleet.path("relay/keys"));
    let step = file.with_file_name("token-0000.next");
    let forged = Succession {
        from: Succession::sign(&key, &key.verifying_key()).from,
        ..Succession::sign(&impostor, &impostor.verifying_key())
    };
    let write = |step: &Succession, path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(path, serde_json::to_string(step).unwrap()).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(&forged, &step);
    fleet.start_relay();
    fleet.start_agent_again();
    let said = |fleet: &Fleet, what: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !fleet.log("agent").contains(what) {
            assert!(Instant::now() < deadline, "{}", fleet.log("agent"));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    said(&fleet, "not the relay that this agent knows");
    assert_eq!(fleet.pin(), pinned);
    assert!(!fleet.log("agent").contains("does not know the agent"));
    // Signed by the pinned key, the same is believed: the impostor has to turn the agent away itself.
    write(&Succession::sign(&key, &impostor.verifying_key()), &step);
    said(&fleet, "does not know the agent");
}
