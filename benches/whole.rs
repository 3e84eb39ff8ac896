//! Whole-process figures: cold start, latency, calls per second, memory, large answers.
//!
//! `cargo bench --bench whole`, with `TEST_POSTGRES_URL` set for PostgreSQL as well
//! (`tests/run --serve` starts one and prints it). The driver runs the same statement directly in
//! the same run: compare ratios, not runs.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints figures, and has nothing to say when it cannot go on"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

const CALLS: usize = 4_000;
const ABREAST: usize = 32;
const POINT: &str = "select id, name, email from users where id = $1";
const WIDE: &str = "select * from wide";

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = folder.path().join("bench.db");
    make_sqlite(&sqlite);
    println!(
        "cold start to the first answer:     {}",
        cold_start(folder.path(), &sqlite)
    );
    measure(
        "SQLite",
        folder.path(),
        &format!("sqlite:{}", sqlite.display()),
    );
    direct_sqlite(&sqlite);
    match option_env_url() {
        Some(url) => {
            make_postgres(&url);
            measure("PostgreSQL", folder.path(), &url);
            direct_postgres(&url);
        }
        None => println!("PostgreSQL: skipped, TEST_POSTGRES_URL is not set"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark has no configuration but its environment"
)]
fn option_env_url() -> Option<String> {
    std::env::var("TEST_POSTGRES_URL").ok()
}

// --- the server ---------------------------------------------------------------------------------

struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: u64,
}

fn start(folder: &Path, url: &str, more: &[&str]) -> Child {
    let config = folder.join("secondkey.toml");
    let text = "[targets.bench]\nurl = \"env:BENCH_URL\"\nallow_privileged_login = true\nlimits = { rows = 10000, bytes = \"8MiB\" }\n";
    std::fs::write(&config, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_secondkey"))
        .args(["mcp", "--config"])
        .arg(&config)
        .arg("--state")
        .arg(folder.join("state"))
        .args(more)
        .env("BENCH_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

impl Server {
    fn start(folder: &Path, url: &str) -> Self {
        let mut child = start(folder, url, &[]);
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self {
            child,
            input,
            output,
            next: 1,
        };
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}});
        server.send("initialize", &hello);
        server.receive();
        writeln!(
            server.input,
            "{}",
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
        )
        .unwrap();
        server
    }

    fn send(&mut self, method: &str, params: &Value) {
        let message =
            json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        self.next += 1;
        writeln!(self.input, "{message}").unwrap();
        self.input.flush().unwrap();
    }

    fn receive(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(
            line.contains("\"result\"") && !line.contains("\"isError\":true"),
            "{line}"
        );
        line
    }

    fn call(&mut self, arguments: &Value) -> String {
        self.send(
            "tools/call",
            &json!({"name": "sql_execute", "arguments": arguments}),
        );
        self.receive()
    }

    fn peak_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap_or_default();
        let kb: String = line.chars().filter(char::is_ascii_digit).collect();
        kb.parse::<f64>().unwrap_or(0.0) / 1024.0
    }

    fn end(mut self) {
        drop(self.input);
        self.child.wait().unwrap();
    }
}

fn arguments(id: usize) -> Value {
    json!({"sql": POINT, "params": [id % 1000 + 1]})
}

// --- what is measured ---------------------------------------------------------------------------

fn cold_start(folder: &Path, sqlite: &Path) -> String {
    let url = format!("sqlite:{}", sqlite.display());
    let times = (0..20).map(|_| {
        let began = Instant::now();
        let server = Server::start(folder, &url);
        let took = began.elapsed();
        server.end();
        took
    });
    spread(times.collect())
}

fn measure(name: &str, folder: &Path, url: &str) {
    let mut server = Server::start(folder, url);
    (0..500).for_each(|id| drop(server.call(&arguments(id))));
    let one = timed(CALLS, |id| drop(server.call(&arguments(id))));
    println!("{name}, stdio, one at a time:     {}", spread(one));
    let began = Instant::now();
    for id in 0..ABREAST {
        server.send(
            "tools/call",
            &json!({"name": "sql_execute", "arguments": arguments(id)}),
        );
    }
    for id in 0..CALLS {
        server.receive();
        if id + ABREAST < CALLS {
            server.send(
                "tools/call",
                &json!({"name": "sql_execute", "arguments": arguments(id)}),
            );
        }
    }
    println!(
        "{name}, stdio, {ABREAST} abreast:          {}",
        rate(CALLS, began.elapsed())
    );
    println!(
        "{name}, peak memory:              {:.1} MB",
        server.peak_mb()
    );
    let wide = json!({"sql": WIDE, "max_rows": 10_000});
    let times = timed(20, |_| drop(server.call(&wide)));
    println!("{name}, 10,000 x 10 rows:         {}", spread(times));
    println!(
        "{name}, peak memory after that:   {:.1} MB",
        server.peak_mb()
    );
    server.end();
    over_http(name, folder, url);
}

fn over_http(name: &str, folder: &Path, url: &str) {
    let mut child = start(folder, url, &["--http", "127.0.0.1:0"]);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    };
    let address = line()
        .trim_start_matches("http://")
        .trim_end_matches("/mcp")
        .to_owned();
    let token = line();
    let mut first = Http::open(&address, &token);
    (0..500).for_each(|id| first.call(&arguments(id)));
    let one = timed(CALLS, |id| first.call(&arguments(id)));
    println!("{name}, HTTP, one at a time:      {}", spread(one));
    let began = Instant::now();
    let threads: Vec<_> = (0..ABREAST)
        .map(|_| {
            let mut http = Http::open(&address, &token);
            std::thread::spawn(move || {
                (0..CALLS / ABREAST).for_each(|id| http.call(&arguments(id)));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    println!(
        "{name}, HTTP, {ABREAST} connections:       {}",
        rate(CALLS, began.elapsed())
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

/// One kept-alive connection that speaks the newest protocol.
struct Http {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Http {
    fn open(address: &str, token: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {address}\r\n{token}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: tools/call\r\nMcp-Name: sql_execute\r\nContent-Length: "
        );
        Self {
            stream: BufReader::new(stream),
            head,
        }
    }

    fn call(&mut self, arguments: &Value) {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {}
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "sql_execute", "arguments": arguments, "_meta": meta}})
        .to_string();
        let request = format!("{}{}\r\n\r\n{body}", self.head, body.len());
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let answer = self.answer();
        assert!(answer.contains("structuredContent"), "{answer}");
    }

    fn answer(&mut self) -> String {
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse::<usize>().ok();
            }
            if line == "\r\n" {
                break;
            }
        }
        let Some(length) = length else {
            return self.chunks();
        };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }

    fn chunks(&mut self) -> String {
        let mut body = Vec::new();
        loop {
            let mut size = String::new();
            self.stream.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return String::from_utf8(body).unwrap();
            }
        }
    }
}

// --- the drivers alone --------------------------------------------------------------------------

fn direct_sqlite(path: &PathBuf) {
    let database = rusqlite::Connection::open(path).unwrap();
    let mut statement = database.prepare(POINT).unwrap();
    let times = timed(CALLS, |id| {
        statement
            .query_row([i64::try_from(id % 1000 + 1).unwrap()], |row| {
                row.get::<_, String>(1)
            })
            .unwrap();
    });
    println!("SQLite, driver alone:             {}", spread(times));
    let mut wide = database.prepare(WIDE).unwrap();
    let times = timed(20, |_| {
        let mut rows = wide.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..10 {
                std::hint::black_box(row.get::<_, rusqlite::types::Value>(column).unwrap());
            }
        }
    });
    println!("SQLite, driver, 10,000 x 10 rows: {}", spread(times));
}

fn direct_postgres(url: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let connect = || async {
            let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            let statement = client.prepare(POINT).await.unwrap();
            (client, statement)
        };
        let (client, statement) = connect().await;
        let mut times = Vec::new();
        for id in 0..CALLS {
            let began = Instant::now();
            client
                .query_one(&statement, &[&i32::try_from(id % 1000 + 1).unwrap()])
                .await
                .unwrap();
            times.push(began.elapsed());
        }
        println!("PostgreSQL, driver alone:             {}", spread(times));
        let began = Instant::now();
        join_all((0..8).map(|_| async {
            let (client, statement) = connect().await;
            for id in 0..CALLS / 8 {
                client
                    .query_one(&statement, &[&i32::try_from(id % 1000 + 1).unwrap()])
                    .await
                    .unwrap();
            }
        }))
        .await;
        println!(
            "PostgreSQL, driver, 8 connections:    {}",
            rate(CALLS, began.elapsed())
        );
        let mut times = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            assert_eq!(client.simple_query(WIDE).await.unwrap().len(), 10_002);
            times.push(began.elapsed());
        }
        println!("PostgreSQL, driver, 10,000 x 10 rows: {}", spread(times));
    });
}

// --- the data -----------------------------------------------------------------------------------

const TABLES: &str = "create table users(id int primary key, name text, email text);
    create table wide(a int, b int, c int, d int, e int, f text, g text, h text, i text, j text);";

fn make_sqlite(path: &Path) {
    let database = rusqlite::Connection::open(path).unwrap();
    database.execute_batch(TABLES).unwrap();
    database
        .execute_batch(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10000)
             insert into wide select i, i, i, i, i, 'value ' || i, 'value ' || i, 'value ' || i, 'value ' || i, 'value ' || i from n;
             insert into users select a, 'name ' || a, a || '@example.com' from wide;",
        )
        .unwrap();
}

fn make_postgres(url: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let fill = "insert into wide select i, i, i, i, i, 'value ' || i, 'value ' || i, 'value ' || i, 'value ' || i, 'value ' || i
            from generate_series(1, 10000) i;
            insert into users select a, 'name ' || a, a || '@example.com' from wide; analyze;";
        client.batch_execute(&format!("drop table if exists users, wide; {TABLES} {fill}")).await.unwrap();
    });
}

// --- figures ------------------------------------------------------------------------------------

fn timed(count: usize, mut what: impl FnMut(usize)) -> Vec<Duration> {
    (0..count)
        .map(|number| {
            let began = Instant::now();
            what(number);
            began.elapsed()
        })
        .collect()
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    format!(
        "p50 {:.3} ms  p95 {:.3} ms  p99 {:.3} ms",
        at(50),
        at(95),
        at(99)
    )
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand calls")]
fn rate(calls: usize, took: Duration) -> String {
    format!("{:.0} calls/s", calls as f64 / took.as_secs_f64())
}
