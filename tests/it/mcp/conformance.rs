//! The protocol's own conformance suite over HTTP: the scenarios that need no fixtures.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::ShopServer;
use crate::support::program::Program;
use crate::support::{client, path_with_node, skip};

/// `secondkey mcp --http 127.0.0.1:0`, running.
pub(crate) struct Http {
    _child: Child,
    /// Where it answers.
    pub(crate) url: String,
    /// Its bearer token.
    pub(crate) token: String,
}

impl Http {
    /// Starts it and reads what it prints: where it is, and the header that it wants.
    pub(crate) async fn start(program: &Program) -> Self {
        let mut command = program.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut url, mut token) = (None, None);
        while url.is_none() || token.is_none() {
            let line = tokio::time::timeout(Duration::from_secs(20), printed.next_line()).await;
            let line = line.expect("where it is, in time").unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended: {}", program.log()));
            if line.starts_with("http://") {
                url = Some(line);
            } else if let Some(given) = line.strip_prefix("Authorization: Bearer ") {
                token = Some(given.to_owned());
            }
        }
        Self {
            _child: child,
            url: url.unwrap(),
            token: token.unwrap(),
        }
    }
}

/// Scenarios that a server passes without the suite's own tools, resources and prompts.
const SCENARIOS: &[(&str, &[&str])] = &[
    (
        "2025-11-25",
        &[
            "server-initialize",
            "ping",
            "completion-complete",
            "tools-list",
            "server-sse-multiple-streams",
            "resources-list",
            "prompts-list",
            "dns-rebinding-protection",
            "server-session-lifecycle",
            "server-sse-polling",
        ],
    ),
    (
        "2026-07-28",
        &[
            "completion-complete",
            "tools-list",
            "server-sse-multiple-streams",
            "resources-list",
            "sep-2164-resource-not-found",
            "prompts-list",
            "dns-rebinding-protection",
            "caching",
            "http-header-validation",
            "input-required-result-missing-input-response",
            "input-required-result-unsupported-methods",
            "input-required-result-ignore-extra-params",
            "input-required-result-validate-input",
            "server-stateless",
        ],
    ),
];

/// Checks inside those scenarios that want a tool of the suite after all.
const NEED_FIXTURES: &[&str] = &[
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
];

#[tokio::test]
async fn the_conformance_suite_passes_where_it_needs_no_fixtures() {
    let (Some(suite), Some(path)) = (client("node_modules/.bin/conformance"), path_with_node())
    else {
        return skip(
            "mcp::conformance",
            "no conformance suite (tests/run fetches it)",
        );
    };
    let shop = ShopServer::with_flags(&["--http", "127.0.0.1:0"]);
    let http = Http::start(&shop.program).await;
    let url = add_token(&http).await;
    let mut faults = Vec::new();
    for (version, scenarios) in SCENARIOS {
        let out = shop.program.folder.path().join(version);
        let mut command = Command::new(&suite);
        command
            .args(["server", "--url", &url, "--requirements", version, "-o"])
            .arg(&out)
            .env("PATH", &path)
            .current_dir(shop.program.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // Its exit code speaks of the scenarios with fixtures too.
        let output = tokio::time::timeout(Duration::from_mins(2), command.output()).await;
        output.expect("the suite ends in time").unwrap();

        for scenario in *scenarios {
            let failed = failed_checks(&out, scenario);
            faults.extend(
                failed
                    .iter()
                    .map(|check| format!("{version} {scenario}: {check}")),
            );
        }
        // The server has none of the suite's own tools, so this must fail: the suite can.
        let control = failed_checks(&out, "tools-call-simple-text");
        assert!(!control.is_empty(), "a suite that finds nothing wrong");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The checks of a scenario that failed, from the folder that the suite wrote for it.
fn failed_checks(out: &Path, scenario: &str) -> Vec<String> {
    let prefix = format!("server-{scenario}-20");
    let folders = std::fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders = folders.filter(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&prefix)
    });
    let folder = folders
        .next()
        .unwrap_or_else(|| panic!("{scenario} did not run"));
    let checks = std::fs::read_to_string(folder.join("checks.json")).unwrap();
    let checks: Vec<Value> = serde_json::from_str(&checks).unwrap();
    assert!(!checks.is_empty(), "{scenario} checked nothing");
    let failed = checks.iter().filter(|check| check["status"] == "FAILURE");
    let ids = failed.map(|check| check["id"].as_str().unwrap().to_owned());
    ids.filter(|id| !NEED_FIXTURES.contains(&id.as_str()))
        .collect()
}

/// The suite cannot send a bearer token, so this stands in front and adds it to each request.
async fn add_token(http: &Http) -> String {
    let server: url::Url = http.url.parse().unwrap();
    let server_at = format!("127.0.0.1:{}", server.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    let proxy = Arc::new(Proxy {
        server: server_at,
        own_port: own.port(),
        token: http.token.clone(),
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move { proxy.pass(stream).await });
        }
    });
    format!("http://{own}{}", server.path())
}

struct Proxy {
    server: String,
    own_port: u16,
    token: String,
}

impl Proxy {
    /// Passes one request on. The connection closes after it, so that each has its own head.
    async fn pass(&self, mut client: TcpStream) -> Option<()> {
        let mut head = Vec::new();
        let mut chunk = [0; 4096];
        let end = loop {
            let read = client.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
            head.extend_from_slice(&chunk[..read]);
            if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
        };
        let body = head.split_off(end + 2);
        let mut server = TcpStream::connect(&self.server).await.ok()?;
        server.write_all(self.head(&head).as_bytes()).await.ok()?;
        server.write_all(&body).await.ok()?;
        tokio::io::copy_bidirectional(&mut client, &mut server)
            .await
            .ok()?;
        Some(())
    }

    /// The head with the token; a `Host` that names this proxy names the server instead.
    fn head(&self, head: &[u8]) -> String {
        let head = String::from_utf8_lossy(head);
        let own = format!(":{}", self.own_port);
        let mut lines = Vec::new();
        for line in head.trim_end().lines() {
            let name = line
                .split(':')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            match name.as_str() {
                "connection" | "authorization" => {}
                "host" | "origin" => {
                    let port = self.server.trim_start_matches("127.0.0.1");
                    lines.push(line.replace(&own, port));
                }
                _ => lines.push(line.to_owned()),
            }
        }
        lines.push(format!("Authorization: Bearer {}", self.token));
        lines.push("Connection: close\r\n".to_owned());
        lines.join("\r\n")
    }
}
