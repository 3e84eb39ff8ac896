//! The demo, as a newcomer runs it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::cli::{answer, code, secondkey};
use crate::support::http::send;

#[test]
fn the_demo_plays_to_its_end_twice_over() {
    let folder = TempDir::new().unwrap();
    for _ in 0..2 {
        let (said, code) = answer(demo(folder.path()).args(["--dir", "shop"]));
        assert_eq!(code, 0, "{said}");
        let scenes = [
            "forbidden",
            "multiple_statements",
            "made for this demo (unattended)",
            "approval_pending",
            "SK-0007 costs 1783 cents",
            "| update products set price_cents = $1 where sku = $2",
            "| 1 = 1290",
            "the demo signs with its own key",
            "SK-0007 costs 1290 cents",
            "update requests set status = 'approved'",
            "approval_refused",
            "SK-0007 costs 1290 cents",
            "ship_order",
            "invalid_parameter",
            "approval_pending",
            "capability ship_order of the bundle",
            "alter table products rename column stock to pieces",
            "capability_withdrawn",
            "back by itself",
            "The audit log is whole",
            "setup claude-code --config",
            "setup cursor --config",
            "secondkey trust init",
            "secondkey approve",
        ];
        let mut rest = said.as_str();
        for scene in scenes {
            let found = rest.split_once(scene);
            (_, rest) = found.unwrap_or_else(|| panic!("{scene} is missing in {said}"));
        }
    }
    // The key is nobody else's, and what was shown is so.
    let key = folder.path().join("shop/approver_ed25519");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    let shop = rusqlite::Connection::open(folder.path().join("shop/shop.db")).unwrap();
    let price = "select price_cents from products where sku = 'SK-0007'";
    let price: i64 = shop.query_row(price, [], |row| row.get(0)).unwrap();
    assert_eq!(price, 1290);
}

#[test]
fn a_demo_whose_key_is_another_ones_ends_with_an_error() {
    let folder = TempDir::new().unwrap();
    let (_, code) = answer(demo(folder.path()).args(["--dir", "shop"]));
    assert_eq!(code, 0);
    for half in ["approver_ed25519", "approver_ed25519.pub"] {
        std::fs::remove_file(folder.path().join("shop").join(half)).unwrap();
    }
    let (said, code) = answer(demo(folder.path()).args(["--dir", "shop"]));
    assert_eq!(code, 1, "{said}");
    assert!(!said.contains("1290 cents"), "{said}");
}

#[test]
fn without_ssh_keygen_the_demo_says_what_it_leaves_out() {
    let folder = TempDir::new().unwrap();
    let mut demo = demo(folder.path());
    let (said, code) = answer(demo.env("PATH", "/nowhere").args(["--dir", "shop"]));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("ssh-keygen is not installed"), "{said}");
    assert!(!said.contains("costs"), "{said}");
}

#[test]
fn a_demo_that_serves_announces_what_waits() {
    let folder = TempDir::new().unwrap();
    let mut command = demo(folder.path());
    let command = command.args(["--dir", "shop", "--serve"]);
    let mut demo = Stopped(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut told = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let mut until = |word: &str| loop {
        let line = told.next().expect("more").unwrap();
        if line.contains(word) {
            return line;
        }
    };
    until("until Ctrl-C");
    let shop = folder.path().join("shop");
    let mut command = secondkey(folder.path());
    let command = command.arg("mcp").arg("--state").arg(shop.join("state"));
    let command = command.arg("--config").arg(shop.join("secondkey.toml"));
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Stopped(command.spawn().unwrap());
    let sql = "update products set stock = 5 where sku = 'SK-0009'";
    let mut pipe = server.0.stdin.take().unwrap();
    for message in [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
            "capabilities": {}, "clientInfo": {"name": "mine", "version": "1"}}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": {"name": "sql_execute", "arguments": {"sql": sql}}}),
    ] {
        writeln!(pipe, "{message}").unwrap();
    }
    // The literals of a statement are not shown in passing.
    assert!(until("asks: update products").contains("ai:"));
    let line = until("approve req_");
    assert!(line.contains("--key"), "{line}");
    let pid = demo.0.id().to_string();
    let stopped = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(demo.0.wait().unwrap().code(), Some(0));
}

/// A process that does not outlive its test.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The demo. Without a `PATH`, the system looks for `ssh-keygen` where it usually is.
fn demo(folder: &Path) -> Command {
    let mut command = secondkey(folder);
    command.arg("demo");
    command
}

#[test]
fn the_demo_leaves_other_peoples_files_alone() {
    let folder = TempDir::new().unwrap();
    for name in ["shop.db", "secondkey.toml"] {
        let place = folder.path().join(name).with_extension("place");
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join(name), "mine").unwrap();
        let output = secondkey(folder.path())
            .args(["demo", "--dir"])
            .arg(&place)
            .output()
            .unwrap();
        assert_eq!(code(&output), 1);
        assert_eq!(std::fs::read_to_string(place.join(name)).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1);
    }
}

#[test]
fn a_team_is_there_until_it_is_stopped() {
    let home = TempDir::new().unwrap();
    let mut command = demo(home.path());
    command.arg("--team").env("TMPDIR", home.path());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = String::new();
    while !said.contains("which removes it") {
        said += &lines.next().unwrap_or_else(|| panic!("{said}")).unwrap();
        said.push('\n');
    }
    let folder = lines.next().unwrap().unwrap().trim().to_owned();
    for scene in [
        "an agent of its own serves `warehouse`",
        "the demo signs with its own key",
        "1 row changed",
        "setup claude-code --relay http://127.0.0.1:",
        "setup cursor --relay http://127.0.0.1:",
        "approve --state",
    ] {
        assert!(said.contains(scene), "{scene} is missing in {said}");
    }
    // What was said to be changed is, in one of the two databases.
    let stock = |target: &str| -> i64 {
        let file = Path::new(&folder).join(format!("{target}.db"));
        let database = rusqlite::Connection::open(file).unwrap();
        let stock = "select stock from products where sku = 'SK-0007'";
        database.query_row(stock, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(stock("warehouse"), stock("shop") + 40);
    // The lines are good: the key lets in whoever shows it, and nobody else.
    let word = |start: &str| {
        let found = said
            .split_whitespace()
            .find_map(|word| word.strip_prefix(start));
        found
            .unwrap_or_else(|| panic!("{start}: {said}"))
            .to_owned()
    };
    let port: u16 = word("http://127.0.0.1:")
        .trim_end_matches(',')
        .parse()
        .unwrap();
    let bearer = format!("Bearer {}", word("SECONDKEY_API_KEY="));
    let host = format!("127.0.0.1:{port}");
    let me = |bearer: &str| {
        let headers = [("Host", host.as_str()), ("Authorization", bearer)];
        send(port, "GET", "/v1/me", &headers, "").status
    };
    assert_eq!((me(&bearer), me("Bearer skey_no")), (200, 401));

    let asked = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(asked.unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(!Path::new(&folder).exists(), "{folder}");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    let left = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&folder)
        });
    assert_eq!(left.count(), 0);
}
