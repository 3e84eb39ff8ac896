//! `secondkey doctor`, except what it says of each engine.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use tempfile::TempDir;

use crate::cli::{answer, secondkey};
use crate::support::receiver::{Receiver, Reply, SECRET};

/// A folder with a SQLite database, and a file that allows what is given.
fn shop(allow: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    database
        .execute_batch("create table items (id integer primary key)")
        .unwrap();
    let file = format!("[targets.shop]\nurl = \"sqlite:shop.db\"\nallow = [{allow}]\n");
    fs::write(folder.path().join("secondkey.toml"), file).unwrap();
    folder
}

fn findings(folder: &TempDir) -> (serde_json::Value, i32) {
    let (json, code) =
        answer(secondkey(folder.path()).args(["doctor", "--json", "--state", "state"]));
    (serde_json::from_str(&json).unwrap(), code)
}

#[test]
fn a_good_set_up_is_guarded_and_ends_with_0() {
    let folder = shop("\"read\"");
    let (report, code) = findings(&folder);
    assert_eq!((code, &report["bad"]), (0, &0.into()), "{report:#}");
    assert_eq!(report["level"]["name"], "Guarded");
    assert_eq!(
        report["level"]["means"],
        "stops mistakes and injected text, not a hostile shell"
    );
    assert!(
        !folder.path().join("state").exists(),
        "looking must not make the state folder"
    );
}

#[test]
fn what_runs_without_approval_is_warned_of() {
    let (report, _) = findings(&shop("\"read\", \"write\", \"schema\""));
    let text = report.to_string();
    assert!(
        text.contains("`write`, `schema` runs here without anybody's approval"),
        "{text}"
    );
    let (report, _) = findings(&shop("\"read\""));
    assert!(!report.to_string().contains("without anybody's approval"));
}

#[cfg(unix)]
#[test]
fn a_state_folder_and_keys_that_others_can_read_have_to_be_mended() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = shop("\"read\"");
    let keys = folder.path().join("state/keys");
    fs::create_dir_all(&keys).unwrap();
    fs::write(keys.join("token-0001.pem"), "not a key").unwrap();
    let mode = |path: &str, mode| {
        let path = folder.path().join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("state", 0o755);
    mode("state/keys/token-0001.pem", 0o644);
    let (report, code) = findings(&folder);
    assert_eq!((code, &report["bad"]), (1, &2.into()), "{report:#}");
    mode("state", 0o700);
    mode("state/keys/token-0001.pem", 0o600);
    let (report, code) = findings(&folder);
    assert_eq!((code, &report["bad"]), (0, &0.into()), "{report:#}");
    assert_eq!(
        fs::read_dir(folder.path().join("state")).unwrap().count(),
        1
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = shop("\"read\"");
    let mut child = secondkey(folder.path())
        .arg("doctor")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut complaints = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaints)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{complaints}");
    assert_eq!(complaints, "");
}

/// A set-up with a webhook at this address; `notify` sends a test message.
fn with_webhook(url: &str, allow_private: &str) -> (serde_json::Value, serde_json::Value) {
    let folder = shop("\"read\"");
    let file = folder.path().join("secondkey.toml");
    let mut text = fs::read_to_string(&file).unwrap();
    text += &format!(
        "[notify.webhook]\nurl = \"{url}\"\nsecret = \"env:HOOK\"\nallow_private = {allow_private}\n"
    );
    fs::write(&file, text).unwrap();
    let doctor = |more: &[&str]| {
        let mut command = secondkey(folder.path());
        command
            .env("HOOK", SECRET)
            .args(["doctor", "--json", "--state", "state"]);
        let (json, _) = answer(command.args(more));
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        let sections = report["sections"].as_array().unwrap();
        let section = sections.iter().find(|one| one["about"] == "notifications");
        section.unwrap()["findings"].clone()
    };
    (doctor(&[]), doctor(&["--notify"]))
}

#[test]
fn the_webhook_is_looked_up_and_tried_only_when_asked() {
    let receiver = Receiver::start(vec![]);
    let url = format!("http://127.0.0.1:{}/path-canary", receiver.port);
    let (looked, tried) = with_webhook(&url, "[\"127.0.0.1\"]");
    assert!(
        looked
            .to_string()
            .contains("host 127.0.0.1 has an address that may be sent to"),
        "{looked}"
    );
    assert!(
        tried
            .to_string()
            .contains("127.0.0.1 took a test message: HTTP 204"),
        "{tried}"
    );
    assert!(!tried.to_string().contains("path-canary"), "{tried}");
    let [message] = receiver.taken().try_into().unwrap();
    message.verify();
    assert_eq!(message.json()["type"], "notification.test");

    let teapot = Reply::Text("HTTP/1.1 418 No\r\n\r\n".into());
    let receiver = Receiver::start(vec![teapot]);
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    let (_, tried) = with_webhook(&url, "[\"127.0.0.1\"]");
    assert!(
        tried
            .to_string()
            .contains("did not take a test message: HTTP 418"),
        "{tried}"
    );

    let (looked, tried) = with_webhook("https://localhost/", "[]");
    for found in [looked, tried] {
        let last = found.as_array().unwrap().last().unwrap();
        assert_eq!(last["verdict"], "bad", "{found}");
        assert!(
            last["found"]
                .as_str()
                .unwrap()
                .contains("a loopback address"),
            "{found}"
        );
    }
}
