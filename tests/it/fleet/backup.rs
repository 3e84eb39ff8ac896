//! A relay that is lost comes back from its backup, and nothing runs twice by that.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use super::rig::{Fleet, content, refusal};

const INSERT: &str = "INSERT INTO orders (product_id, placed) VALUES (2, '2026-03-01')";

impl Fleet {
    fn orders(&self) -> i64 {
        let database = rusqlite::Connection::open(self.shop()).unwrap();
        let count = database.query_row("SELECT count(*) FROM orders", [], |row| row.get(0));
        count.unwrap()
    }

    /// What a command says that is refused.
    fn refused(&self, arguments: &[&str], state: &str) -> String {
        let output = self.command(arguments, state).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        std::fs::read_to_string(self.path(&format!("{state}.log"))).unwrap()
    }
}

#[tokio::test]
async fn a_lost_relay_comes_back_from_its_backup_and_nothing_runs_twice() {
    let mut fleet = Fleet::start().await;
    fleet.run(&["relay", "workspaces", "create", "twin"], "relay");
    let twin = fleet.issue(&[
        "--for",
        "ai:bo",
        "--role",
        "developer",
        "--workspace",
        "twin",
    ]);
    let before = fleet.orders();
    let wanted = json!({"sql": INSERT});
    let key = fleet.key.clone();
    // Somebody agrees while the relay is down: so it stands in the backup.
    let id = {
        let call = fleet.call_with(&key, "sql_execute", &wanted);
        let state = fleet.relay_state();
        let id = tokio::select! {
            answer = call => panic!("{answer:?}"),
            id = fleet.pending(&state) => id,
        };
        state.close().await.unwrap();
        id
    };
    fleet.run(&["relay", "backup", "--to", "of-a-running-one"], "relay");
    fleet.run(&["relay", "restore", "--from", "of-a-running-one"], "copy");
    fleet.kill_relay();
    assert_eq!(fleet.approve().await, id);
    assert_eq!(fleet.orders(), before);
    let said = fleet.run(&["relay", "backup", "--to", "kept"], "relay");
    assert!(said.contains("private keys"), "{said}");
    // It runs after that, which the backup does not know.
    fleet.start_relay();
    fleet.wait_until_ready();
    let wait = json!({"action": "wait", "id": id.as_str()});
    let ran = fleet.call("request", &wait).await;
    assert_eq!(content(&ran)["result"]["affected"], 1, "{ran}");
    assert_eq!(fleet.orders(), before + 1);
    let later = fleet.issue(&["--for", "ai:eve", "--role", "developer"]);

    fleet.kill_relay();
    std::fs::remove_dir_all(fleet.path("relay")).unwrap();
    let said = fleet.run(&["relay", "restore", "--from", "kept"], "relay");
    assert!(said.contains("local") && said.contains("twin"), "{said}");
    for workspace in ["local", "twin"] {
        let verify = ["audit", "verify", "--workspace", workspace];
        let said = fleet.run(&verify, "relay");
        assert!(said.contains("The audit log is whole"), "{said}");
        let listed = ["audit", "list", "-n", "200", "--workspace", workspace];
        assert!(fleet.run(&listed, "relay").contains("state.restored"));
    }
    let modes = open_to_others(&fleet.path("relay"));
    assert_eq!(modes, Vec::<String>::new());

    // Agent and clients know it again by its key and theirs, also those of the other workspace.
    fleet.start_relay();
    fleet.wait_until_ready();
    let read = fleet.sql("SELECT count(*) FROM orders").await;
    assert_eq!(content(&read)["rows"], json!([[before + 1]]));
    assert_eq!(
        fleet.call_with(&twin, "whoami", &json!({})).await.status,
        200
    );
    assert_eq!(
        fleet.call_with(&later, "whoami", &json!({})).await.status,
        401
    );
    // To the relay it is still to be run. The agent knows better.
    let again = fleet.call("request", &wait).await;
    assert_eq!(refusal(&again)["code"], "token_refused", "{again}");
    assert_eq!(fleet.orders(), before + 1);
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_not_put_back() {
    let fleet = Fleet::alone();
    fleet.run(&["relay", "backup", "--to", "kept"], "relay");
    let refused = fleet.refused(&["relay", "backup", "--to", "kept"], "relay");
    assert!(refused.contains("is there already"), "{refused}");
    let refused = fleet.refused(&["relay", "restore", "--from", "kept"], "relay");
    assert!(refused.contains("is there already"), "{refused}");
    let refused = fleet.refused(&["relay", "restore", "--from", "relay"], "new");
    assert!(refused.contains("no backup"), "{refused}");

    // A file that is another, one too many, one too few.
    let members = fleet.path("kept/state/members.db");
    let whole = std::fs::read(&members).unwrap();
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&members, other).unwrap();
    let restore = ["relay", "restore", "--from", "kept"];
    assert!(fleet.refused(&restore, "new").contains("members.db"));
    std::fs::write(&members, &whole).unwrap();
    let frozen = fleet.path("kept/state/frozen");
    std::fs::write(&frozen, "").unwrap();
    assert!(fleet.refused(&restore, "new").contains("`frozen`"));
    std::fs::remove_file(&frozen).unwrap();
    std::fs::remove_file(&members).unwrap();
    assert!(fleet.refused(&restore, "new").contains("members.db"));
    std::fs::write(&members, &whole).unwrap();
    assert!(!fleet.path("new").exists());

    // A log with an entry less, in a backup that says that this is how it was.
    let log = fleet.path("kept/state/state.db");
    let connection = rusqlite::Connection::open(&log).unwrap();
    let cut = "DELETE FROM audit WHERE sequence = 2";
    connection.execute_batch(cut).unwrap();
    drop(connection);
    say_so(&fleet.path("kept"), "state.db");
    let refused = fleet.refused(&restore, "new");
    assert!(refused.contains("does not hold"), "{refused}");
    let left = std::fs::read_dir(fleet.folder.path()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().starts_with("new.part")),
        "{left:?}"
    );
    assert!(!fleet.path("new").exists());
}

/// Has the backup's own list say that a file is as it was written.
fn say_so(backup: &Path, name: &str) {
    let file = backup.join("backup.json");
    let text = std::fs::read(&file).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let content = std::fs::read(backup.join("state").join(name)).unwrap();
    let digest = secondkey::core::work::Digest::of(&[&content]);
    manifest["files"][name] = json!(digest.to_string());
    std::fs::write(&file, manifest.to_string()).unwrap();
}

/// The files and folders that others may look into.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.permissions().mode() & 0o077 != 0 {
            found.push(entry.path().display().to_string());
        }
        if metadata.is_dir() {
            found.extend(open_to_others(&entry.path()));
        }
    }
    found
}
