//! A state folder that cannot be written to: nothing runs, and everything does again afterwards.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::{World, content, count, refusal, sql};
use crate::support::raw::{Era, Raw};
use crate::support::{shop, skip};

const INSERT: &str = "INSERT INTO products (name, price) VALUES ('new', 1)";

#[tokio::test]
async fn on_a_full_disk_nothing_runs_until_there_is_room() {
    let world = World::writes();
    let Some(disk) = SmallDisk::mount(&world.program.state()) else {
        return skip("stories::audit_disk", "this user may not mount a tmpfs");
    };
    let mut server = Raw::start(&world.program, Era::Modern).await;
    assert_eq!(content(&sql(&mut server, INSERT).await)["affected"], 1);
    disk.fill();
    for attempt in ["SELECT name FROM products", INSERT, "DELETE FROM products"] {
        let answer = sql(&mut server, attempt).await;
        let refusal = refusal(&answer);
        assert_eq!(refusal["code"], "audit_unavailable", "{refusal}");
        assert!(
            refusal["message"].as_str().unwrap().contains("full"),
            "{refusal}"
        );
        assert!(!answer.to_string().contains("lamp"), "{answer}");
    }
    let tables = server.call("list_tables", &json!({})).await;
    assert_eq!(refusal(&tables)["code"], "audit_unavailable");
    let health = server.call("health", &json!({})).await;
    assert_eq!(content(&health)["audit"], false, "{health}");
    assert_eq!(world.products(), shop::PRODUCTS + 1);
    disk.clear();
    works_again(&mut server).await;
    assert_eq!(world.products(), shop::PRODUCTS + 2);
    assert!(server.finish().await.success());
    world.verify().await;
}

#[tokio::test]
async fn a_change_under_way_when_the_disk_fills_is_recorded_later() {
    let world = World::writes();
    let Some(disk) = SmallDisk::mount(&world.program.state()) else {
        return skip("stories::audit_disk", "this user may not mount a tmpfs");
    };
    let mut server = Raw::start(&world.program, Era::Legacy).await;
    let slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500000) \
                INSERT INTO products (name, price) SELECT 'slow', i FROM n";
    let id = server.call_soon("sql_execute", &json!({"sql": slow})).await;
    world.wait_for("execution.started").await;
    disk.fill();
    let refusal = refusal(&server.answer_to(id).await);
    assert_eq!(refusal["code"], "audit_unavailable", "{refusal}");
    let message = refusal["message"].as_str().unwrap();
    assert!(
        message.starts_with("the change was made and stands"),
        "{message}"
    );
    assert_eq!(world.products(), shop::PRODUCTS + 1_500_000);
    disk.clear();
    works_again(&mut server).await;
    let entries = world.audit();
    assert_eq!(count(&entries, "execution.succeeded"), 2, "{entries:#?}");
    assert!(server.finish().await.success());
    world.verify().await;
}

#[tokio::test]
async fn a_log_that_was_taken_away_is_noticed() {
    let world = World::writes();
    let mut server = Raw::start(&world.program, Era::Modern).await;
    assert_eq!(content(&sql(&mut server, INSERT).await)["affected"], 1);
    let log = world.program.state().join("state.db");
    let aside = world.program.state().join("aside");
    for file in [log.clone(), world.program.state().join("state.db-wal")] {
        std::fs::rename(&file, &aside).unwrap();
        for attempt in [INSERT, "SELECT name FROM products"] {
            let refusal = refusal(&sql(&mut server, attempt).await);
            assert_eq!(refusal["code"], "audit_unavailable", "{refusal}");
            let message = refusal["message"].as_str().unwrap();
            assert!(message.contains("removed or replaced"), "{message}");
        }
        assert_eq!(world.products(), shop::PRODUCTS + 1);
        std::fs::rename(&aside, &file).unwrap();
    }
    works_again(&mut server).await;
    assert!(server.finish().await.success());
    world.verify().await;
}

#[tokio::test]
async fn without_a_log_the_server_does_not_start() {
    let world = World::reads();
    std::fs::write(world.program.state(), "no folder").unwrap();
    let mut command = world.program.command();
    let status = command.stdin(std::process::Stdio::null()).status().await;
    assert_eq!(status.unwrap().code(), Some(1));
    let said = world.program.log();
    assert!(said.contains("audit_unavailable"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

/// A change works, within a few attempts.
async fn works_again(server: &mut Raw) {
    for _ in 0..50 {
        let answer = sql(server, INSERT).await;
        if answer["result"]["isError"] != true {
            assert_eq!(content(&answer)["affected"], 1);
            return;
        }
        assert_eq!(refusal(&answer)["code"], "audit_unavailable");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it does not recover");
}

/// A tmpfs of 2 MiB.
/// A disk of two megabytes.
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// At a folder that is not there yet; nothing where this user may not.
    pub(crate) fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs"])
            .arg(path)
            .output();
        let path = path.to_owned();
        mounted.ok()?.status.success().then_some(Self { path })
    }

    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.path.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    pub(crate) fn clear(&self) {
        std::fs::remove_file(self.path.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
        assert!(unmounted.unwrap().success());
    }
}
