//! The protocol's own conformance suite over HTTP: the scenarios that need no fixtures.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::ShopServer;
use crate::support::program::Program;
use crate::support::{client, path_with_node, skip};

/// `secondkey mcp --http 127.0.0.1:0`, running.
pub(super) struct Http {
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
        ],
    ),
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
    let scenario = async |name: &str, version: &str| {
        let mut command = Command::new(&suite);
        command
            .args(["server", "--url", &url, "--scenario", name])
            .args(["--spec-version", version, "--verbose"])
            .env("PATH", &path)
            .current_dir(shop.program.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_mins(2), command.output()).await;
        output.expect("the suite ends in time").unwrap()
    };
    // The server has none of the suite's own tools, so this one must fail: the suite can.
    let control = scenario("tools-call-simple-text", "2025-11-25").await;
    assert!(
        !control.status.success(),
        "a suite that finds nothing wrong"
    );

    let mut faults = Vec::new();
    for (version, names) in SCENARIOS {
        for name in *names {
            let output = scenario(name, version).await;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stdout);
                faults.push(format!("{name} {version}: {text}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
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
