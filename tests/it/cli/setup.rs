//! Claude Code's and Cursor's lists of servers, before and after `secondkey setup`.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{answer, code, secondkey, text};
use crate::support::{binary, checkout};

/// Each client's name, and its file in a project.
const CLIENTS: [(&str, &str); 2] = [("claude-code", ".mcp.json"), ("cursor", ".cursor/mcp.json")];

/// A list with everything that a careful editor could spoil.
const OTHERS: &str = "{\n\t\"inputs\": [1e3, 0.10,  \"\\u00e9\"],\n\t\"mcpServers\": {\n\t\t\"zeta\": { \"url\": \"https://z\", \
    \"headers\": {\"A\": \"b\"} },\n\t\t\"alpha\": {\"command\":\"a\",\n  \"args\":[ ]}\n\t},\n\t\"after\": null\n}";

/// The program, in a project, with itself on the `PATH`.
fn setup(project: &Path, words: &[&str]) -> Command {
    let mut command = secondkey(project);
    command
        .env("PATH", Path::new(binary()).parent().unwrap())
        .env("HOME", "/nowhere")
        .arg("setup")
        .args(words);
    command
}

fn done(project: &Path, words: &[&str]) -> String {
    let (said, code) = answer(&mut setup(project, words));
    assert_eq!(code, 0, "{words:?}: {said}");
    said
}

/// Its exit code, with what it complains of.
fn refused(project: &Path, words: &[&str]) -> (i32, String) {
    let output = setup(project, words).output().unwrap();
    assert_eq!(text(&output.stdout), "");
    (code(&output), text(&output.stderr))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn servers(path: &Path) -> Value {
    serde_json::from_str::<Value>(&read(path)).unwrap()["mcpServers"].clone()
}

/// Every file of a folder with its content, and every folder and link.
fn state(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let facts = path.symlink_metadata().unwrap();
        if facts.is_dir() {
            found.extend(state(&path));
            found.insert(path, "folder".to_owned());
        } else if facts.is_symlink() {
            let to = std::fs::read_link(&path).unwrap();
            found.insert(path, format!("to {}", to.display()));
        } else {
            let mode = facts.permissions().mode();
            let content = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.insert(path, format!("{mode:o} {content}"));
        }
    }
    found
}

#[test]
fn a_fresh_project_gets_a_file_and_loses_it_again() {
    for (client, file) in CLIENTS {
        let project = TempDir::new().unwrap();
        let file = project.path().join(file);
        let said = done(project.path(), &[client, "--config", "secondkey.toml"]);
        assert!(said.contains("Wrote server `secondkey`"), "{said}");
        assert!(said.contains(&file.display().to_string()), "{said}");
        assert!(said.contains("Next: "), "{said}");
        let entry = &servers(&file)["secondkey"];
        assert_eq!(entry["command"], "secondkey");
        let before = state(project.path());
        let said = done(project.path(), &[client, "--config", "secondkey.toml"]);
        assert!(said.contains("nothing was changed"), "{said}");
        assert_eq!(state(project.path()), before);
        let said = done(project.path(), &[client, "--undo"]);
        assert!(said.contains("Removed"), "{said}");
        assert_eq!(state(project.path()), BTreeMap::new());
        let said = done(project.path(), &[client, "--undo"]);
        assert!(said.contains("nothing was changed"), "{said}");
        assert_eq!(state(project.path()), BTreeMap::new());
    }
}

#[test]
fn everything_else_in_a_file_keeps_its_bytes_and_its_permissions() {
    for (client, file) in CLIENTS {
        let project = TempDir::new().unwrap();
        let file = project.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, OTHERS).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let before = state(project.path());
        done(project.path(), &[client]);
        let written = read(&file);
        let (start, rest) = written.split_once(",\n\t\t\"secondkey\": {").unwrap();
        let (entry, end) = rest.split_once("\n\t\t}").unwrap();
        assert_eq!(format!("{start}{end}"), OTHERS);
        assert!(entry.lines().skip(1).all(|line| line.starts_with("\t\t\t")));
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        // One more beside it, and each goes alone.
        done(
            project.path(),
            &[client, "--name", "second", "--state", "s"],
        );
        done(project.path(), &[client, "--undo"]);
        assert_eq!(servers(&file)["second"]["args"][1], "--state");
        done(project.path(), &[client, "--undo", "--name", "second"]);
        assert_eq!(state(project.path()), before);
    }
}

#[test]
fn a_server_of_the_same_name_is_replaced_only_on_demand() {
    let project = TempDir::new().unwrap();
    let file = project.path().join(".mcp.json");
    let theirs = json!({"mcpServers": {"secondkey": {"command": "npx", "args": ["mcp"]}, "b": 1}});
    std::fs::write(&file, theirs.to_string()).unwrap();
    let before = state(project.path());
    for words in [&["claude-code"][..], &["claude-code", "--undo"]] {
        let (code, said) = refused(project.path(), words);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("--force"), "{said}");
        assert_eq!(state(project.path()), before);
    }
    done(project.path(), &["claude-code", "--force"]);
    assert_eq!(servers(&file)["secondkey"]["command"], "secondkey");
    assert_eq!(servers(&file)["b"], 1);
    // What is ours but was written for other flags is somebody's too.
    let before = state(project.path());
    let (code, said) = refused(project.path(), &["claude-code", "--log", "info"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(state(project.path()), before);
    std::fs::write(&file, theirs.to_string()).unwrap();
    done(project.path(), &["claude-code", "--undo", "--force"]);
    assert_eq!(servers(&file), json!({"b": 1}));
}

#[test]
fn a_file_that_is_not_plain_json_is_left_alone() {
    let project = TempDir::new().unwrap();
    for content in [
        &b""[..],
        b"{\"mcpServers\": {}, // mine\n}",
        b"/* mine */ {}",
        b"[]",
        b"{\"mcpServers\": []}",
        b"{\"mcpServers\": {\"secondkey\": 1, \"secondkey\": 2}}",
        b"{\"mcpServers\": {}, \"mcpServers\": {}}",
        b"{\"a\": \"\xff\"}",
        b"not json",
    ] {
        std::fs::write(project.path().join(".mcp.json"), content).unwrap();
        let before = state(project.path());
        for words in [
            &["claude-code"][..],
            &["claude-code", "--force"],
            &["claude-code", "--undo"],
        ] {
            let (code, said) = refused(project.path(), words);
            assert_eq!(code, 1, "{said}");
            assert!(said.contains("was not changed"), "{said}");
            assert_eq!(state(project.path()), before);
        }
    }
}

#[test]
fn no_link_is_followed_and_nothing_but_a_file_is_written() {
    let elsewhere = TempDir::new().unwrap();
    let file = elsewhere.path().join("mcp.json");
    std::fs::write(&file, OTHERS).unwrap();
    let links: [(&str, &str, &Path); 4] = [
        ("claude-code", ".mcp.json", &file),
        ("claude-code", ".mcp.json", Path::new("gone.json")),
        ("cursor", ".cursor/mcp.json", &file),
        ("cursor", ".cursor", elsewhere.path()),
    ];
    for (client, link, to) in links {
        let project = TempDir::new().unwrap();
        let link = project.path().join(link);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(to, &link).unwrap();
        let before = [state(project.path()), state(elsewhere.path())];
        for words in [&[client][..], &[client, "--undo", "--force"]] {
            let (code, said) = refused(project.path(), words);
            assert_eq!(code, 1, "{said}");
            assert!(said.contains(&to.display().to_string()), "{said}");
            assert_eq!([state(project.path()), state(elsewhere.path())], before);
        }
    }
    let project = TempDir::new().unwrap();
    std::fs::create_dir(project.path().join(".mcp.json")).unwrap();
    assert_eq!(refused(project.path(), &["claude-code"]).0, 1);
    let gone = refused(project.path(), &["claude-code", "--dir", "gone"]);
    assert_eq!(gone.0, 1, "{}", gone.1);
}

#[test]
fn a_password_is_refused_and_no_reference_is_followed() {
    let project = TempDir::new().unwrap();
    for url in [
        "postgres://ada:hunter2@db/orders",
        "orders=mysql://ada@db/orders?password=hunter2",
        "orders=hunter2",
    ] {
        for print in [&[][..], &["--print"]] {
            let words = [&["cursor", "--database-url", url][..], print].concat();
            let (code, said) = refused(project.path(), &words);
            assert_eq!(code, 2, "{said}");
            assert!(!said.contains("hunter2"), "{said}");
            assert_eq!(url.contains("://"), said.contains("env:NAME"), "{said}");
        }
    }
    assert_eq!(state(project.path()), BTreeMap::new());

    let words = ["--database-url", "a=env:A_URL", "--env", "B_PASSWORD"];
    let mut command = setup(project.path(), &["cursor"]);
    let command = command
        .args(words)
        .env("A_URL", "hunter2")
        .env("B_PASSWORD", "hunter2");
    let (said, code) = answer(command);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("A_URL, B_PASSWORD"), "{said}");
    let entry = &servers(&project.path().join(".cursor/mcp.json"))["secondkey"];
    assert_eq!(
        entry["args"],
        json!(["mcp", "--database-url", "a=env:A_URL"])
    );
    let variables = json!({"A_URL": "${env:A_URL}", "B_PASSWORD": "${env:B_PASSWORD}"});
    assert_eq!(entry["env"], variables);
    assert!(!read(&project.path().join(".cursor/mcp.json")).contains("hunter2"));
}

#[test]
fn a_relay_is_an_address_and_the_name_of_a_key() {
    let project = TempDir::new().unwrap();
    let relay = ["--relay", "https://relay.example/"];
    for (client, file) in CLIENTS {
        let mut command = setup(project.path(), &[client]);
        let (said, code) = answer(command.args(relay).env("SECONDKEY_API_KEY", "hunter2"));
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("SECONDKEY_API_KEY"), "{said}");
        let entry = &servers(&project.path().join(file))["secondkey"];
        assert_eq!(entry["url"], "https://relay.example/mcp");
        assert!(!read(&project.path().join(file)).contains("hunter2"));
        done(project.path(), &[client, "--undo"]);
    }
    for wrong in [
        &["--relay", "http://relay.example"][..],
        &["--relay", "https://u:hunter2@relay.example"],
        &["--relay", "relay.example"],
        &["--relay", "https://relay.example", "--state", "s"],
        &["--relay", "https://relay.example", "--env", "A"],
        &[
            "--relay",
            "https://relay.example",
            "--database-url",
            "sqlite:a",
        ],
    ] {
        let (code, said) = refused(project.path(), &[&["cursor"], wrong].concat());
        assert_eq!(code, 2, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert_eq!(state(project.path()), BTreeMap::new());
}

#[test]
fn wrong_usage_writes_nothing() {
    let project = TempDir::new().unwrap();
    for wrong in [
        &["vim"][..],
        &["cursor", "--name", "a b"],
        &["cursor", "--name", ""],
        &["cursor", "--config", "${HOME}/secondkey.toml"],
        &["cursor", "--env", "A=hunter2"],
        &["cursor", "--database-url", "env:A-B"],
        &["cursor", "--agent", "unix:/run/a", "--config", "a.toml"],
        &["cursor", "--undo", "--print"],
    ] {
        let (code, said) = refused(project.path(), wrong);
        assert_eq!(code, 2, "{said}");
    }
    assert_eq!(state(project.path()), BTreeMap::new());
}

/// Paths of the project move with it; others are whole.
#[test]
fn paths_and_the_program_are_written_so_that_the_client_finds_them() {
    let project = TempDir::new().unwrap();
    let words = [
        "--config",
        "secondkey.toml",
        "--state",
        "/var/lib/s",
        "--log",
        "info",
    ];
    let entry = |client, more: &[&str]| {
        let words = [&[client, "--print"][..], more].concat();
        let printed = done(project.path(), &words);
        serde_json::from_str::<Value>(&printed).unwrap()["mcpServers"]["secondkey"].clone()
    };
    let args = |config| {
        json!([
            "mcp",
            "--config",
            config,
            "--state",
            "/var/lib/s",
            "--log",
            "info"
        ])
    };
    assert_eq!(entry("claude-code", &words)["args"], args("secondkey.toml"));
    let config = "${workspaceFolder}/secondkey.toml";
    assert_eq!(entry("cursor", &words)["args"], args(config));
    let databases = [
        "--database-url",
        "sqlite:a.db",
        "--database-url",
        "b=file:b",
    ];
    let args = entry("cursor", &databases)["args"].clone();
    assert_eq!(args[2], "sqlite:${workspaceFolder}/a.db");
    assert_eq!(args[4], "b=file:${workspaceFolder}/b");
    let agent = entry("claude-code", &["--agent", "unix:/run/a.sock"]);
    assert_eq!(agent["args"], json!(["mcp", "--agent", "unix:/run/a.sock"]));
    let state_folder = project.path().join("s").display().to_string();
    let args = entry("cursor", &["--state", "s"])["args"].clone();
    assert_eq!(args, json!(["mcp", "--state", state_folder]));
    // Cursor's file in the home folder serves all projects.
    let mut command = setup(project.path(), &["cursor", "--print", "--config", "a.toml"]);
    let (printed, _) = answer(command.env("HOME", project.path()));
    let whole = project.path().join("a.toml").display().to_string();
    assert!(printed.contains(&format!("\"{whole}\"")), "{printed}");
    // Another program of this name comes first, or none is there at all.
    let other = TempDir::new().unwrap();
    std::fs::write(other.path().join("secondkey"), "").unwrap();
    let installed = Path::new(binary()).parent().unwrap();
    for path in [
        format!("{}:{}", other.path().display(), installed.display()),
        String::new(),
    ] {
        let mut command = setup(project.path(), &["cursor", "--print"]);
        let (printed, _) = answer(command.env("PATH", path));
        let own = Path::new(binary()).canonicalize().unwrap();
        assert!(
            printed.contains(&format!("\"{}\"", own.display())),
            "{printed}"
        );
    }
    assert_eq!(state(project.path()), BTreeMap::new());
}

#[test]
fn the_examples_are_what_it_prints() {
    let project = TempDir::new().unwrap();
    for (folder, words) in [
        (
            "claude/.mcp.json",
            &["claude-code", "--config", "secondkey.toml"][..],
        ),
        (
            "cursor/.cursor/mcp.json",
            &[
                "cursor",
                "--config",
                "secondkey.toml",
                "--env",
                "ORDERS_PASSWORD",
            ],
        ),
    ] {
        let printed = done(project.path(), &[words, &["--print"]].concat());
        let example = checkout().join("examples").join(folder);
        assert_eq!(printed, read(&example), "{}", example.display());
        // As it is written into a project.
        done(project.path(), words);
        let written = project.path().join(folder.split_once('/').unwrap().1);
        assert_eq!(printed, read(&written));
    }
}
