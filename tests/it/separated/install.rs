//! `install.sh --separate`, into a folder of its own: accounts, folders and unit, and an agent that starts
//! from exactly these.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::{binary, checkout, skip};

/// A folder that stands for the root of a machine, with the accounts that any has.
fn machine(test: &str) -> Option<TempDir> {
    if !rustix::process::geteuid().is_root() {
        skip(test, "only root can make accounts and give files away");
        return None;
    }
    let tools = ["useradd", "groupadd", "usermod"];
    let there = |tool: &&str| Command::new(tool).arg("--help").output().is_ok();
    if !tools.iter().all(there) {
        skip(test, "there is no useradd here");
        return None;
    }
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let file =
        |name: &str, text: &str| fs::write(root.path().join("etc").join(name), text).unwrap();
    file(
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n",
    );
    file("group", "root:x:0:\nada:x:1000:\n");
    file(
        "shadow",
        "root:*:19000:0:99999:7:::\nada:*:19000:0:99999:7:::\n",
    );
    file("gshadow", "root:*::\nada:!::\n");
    Some(root)
}

fn install(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(checkout().join("install.sh"));
    command
        .arg("--separate")
        .args(arguments)
        .env("DESTDIR", root)
        .env("SECONDKEY_BINARY", binary());
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

/// The number in the third field of an account's line, and the line.
fn account(root: &Path, file: &str, name: &str) -> (u32, String) {
    let lines = fs::read_to_string(root.join("etc").join(file)).unwrap();
    let line = lines
        .lines()
        .find(|line| line.starts_with(&format!("{name}:")));
    let line = line
        .unwrap_or_else(|| panic!("no {name} in {lines}"))
        .to_owned();
    (line.split(':').nth(2).unwrap().parse().unwrap(), line)
}

#[test]
fn it_makes_user_folders_and_unit_twice_over_and_takes_down_what_holds_no_data() {
    let Some(root) = machine("separated::install") else {
        return;
    };
    let root = root.path();
    for _ in 0..2 {
        let output = install(root, &["--client", "ada"]);
        assert!(output.status.success(), "{}", text(&output));
        assert!(
            text(&output).contains("secondkey doctor --agent"),
            "{}",
            text(&output)
        );
        let (user, line) = account(root, "passwd", "secondkey");
        assert!(line.ends_with("/usr/sbin/nologin"), "{line}");
        let (own, _) = account(root, "group", "secondkey");
        let (clients, members) = account(root, "group", "secondkey-clients");
        assert!(members.ends_with(":ada"), "{members}");
        for (path, owner) in [
            ("etc/secondkey", (0, own, 0o750)),
            ("etc/secondkey/secondkey.toml", (0, own, 0o640)),
            ("var/lib/secondkey", (user, clients, 0o700)),
            ("run/secondkey", (user, clients, 0o750)),
            ("usr/local/bin/secondkey", (0, 0, 0o755)),
            ("etc/systemd/system/secondkey.service", (0, 0, 0o644)),
        ] {
            let facts = root.join(path).metadata().unwrap();
            assert_eq!(
                (facts.uid(), facts.gid(), facts.mode() & 0o7777),
                owner,
                "{path}"
            );
        }
        // What somebody wrote there survives the second run.
        let config = root.join("etc/secondkey/secondkey.toml");
        let mut text = fs::read_to_string(&config).unwrap();
        assert!(text.starts_with("# What the agent serves."));
        text.push_str("# mine\n");
        fs::write(&config, text).unwrap();
    }
    let config = fs::read_to_string(root.join("etc/secondkey/secondkey.toml")).unwrap();
    assert_eq!(config.matches("# mine").count(), 2);

    let output = install(root, &["--uninstall"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("Left alone: /etc/secondkey"),
        "{}",
        text(&output)
    );
    for (path, stays) in [
        ("usr/local/bin/secondkey", false),
        ("etc/systemd/system/secondkey.service", false),
        ("etc/secondkey/secondkey.toml", true),
        ("var/lib/secondkey", true),
    ] {
        assert_eq!(root.join(path).exists(), stays, "{path}");
    }
}

#[test]
fn a_dry_run_says_all_and_does_nothing() {
    let Some(root) = machine("separated::dry_run") else {
        return;
    };
    let output = install(root.path(), &["--dry-run"]);
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    for words in [
        "groupadd --prefix",
        "useradd --prefix",
        "chmod 0700",
        "| NoNewPrivileges=yes",
        "| ProtectSystem=strict",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let made: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(fs::read_dir(root.path().join("etc")).unwrap().count(), 4);
}

#[test]
fn its_flags_are_refused_without_it_and_an_unknown_user_too() {
    let mut command = Command::new(checkout().join("install.sh"));
    let output = command.arg("--dry-run").output().unwrap();
    assert!(!output.status.success() && text(&output).contains("belong to --separate"));
    let Some(root) = machine("separated::unknown_client") else {
        return;
    };
    let output = install(root.path(), &["--client", "nobody-here"]);
    assert!(!output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("there is no user nobody-here"),
        "{}",
        text(&output)
    );
}

/// What the unit says is what the program takes: the command line of the unit is understood, and fails for
/// want of a database and nothing else.
#[test]
fn the_units_command_line_is_one_that_the_program_takes() {
    let Some(root) = machine("separated::unit") else {
        return;
    };
    assert!(install(root.path(), &[]).status.success());
    let unit =
        fs::read_to_string(root.path().join("etc/systemd/system/secondkey.service")).unwrap();
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let mut words = start.split(' ');
    let program = root
        .path()
        .join(words.next().unwrap().trim_start_matches('/'));
    let below = |word: &str| match word.strip_prefix('/') {
        Some(path) => root.path().join(path).display().to_string(),
        None => word.to_owned(),
    };
    let output = Command::new(program)
        .args(words.map(below))
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(
        text(&output).contains("no target is configured"),
        "{}",
        text(&output)
    );
    if let Ok(checked) = Command::new("systemd-analyze")
        .arg("verify")
        .arg(root.path().join("etc/systemd/system/secondkey.service"))
        .output()
    {
        let said = text(&checked);
        let faults: Vec<_> = said
            .lines()
            .filter(|line| {
                line.contains("secondkey.service") && !line.contains("is not executable")
            })
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
    }
}
