//! What capabilities cost, at the built server over stdio: a call beside the same free SQL, and `tools/list`
//! with fifty of them (its bytes are printed).
//!
//! `cargo bench --bench capability`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints figures, and has nothing to say when it cannot go on"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};

const POINT: &str = "select id, name from users where id = ";

struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: u64,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_secondkey"))
            .args(["mcp", "--config", "secondkey.toml", "--state", "state"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self {
            child,
            input,
            output,
            next: 1,
        };
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}});
        server.ask("initialize", &hello);
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        writeln!(server.input, "{ready}").unwrap();
        server
    }

    fn ask(&mut self, method: &str, params: &Value) -> String {
        let id = self.next;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.next += 1;
        writeln!(self.input, "{message}").unwrap();
        self.input.flush().unwrap();
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            if line.contains("\"result\"") {
                assert!(!line.contains("\"isError\":true"), "{line}");
                return line;
            }
            assert!(!line.contains("\"error\""), "{line}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn make(folder: &Path) {
    let database = rusqlite::Connection::open(folder.join("bench.db")).unwrap();
    let made = "create table users (id integer primary key, name text not null);
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000)
        insert into users select i, 'user ' || i from n;";
    database.execute_batch(made).unwrap();
    let mut file = "capabilities:\n".to_owned();
    for n in 0..50 {
        write!(
            file,
            "  get_user_{n:02}:\n    description: One user of the bench by number, variant {n}\n    sql: {POINT}:id\n    \
             params: {{ id: {{ type: integer, required: true, minimum: 1, description: The user's number }} }}\n    \
             result: {{ id: {{ type: integer }}, name: {{ type: string }} }}\n"
        )
        .unwrap();
    }
    std::fs::write(folder.join("capability.yaml"), file).unwrap();
    let config = "capability_tools = \"each\"\n[targets.bench]\nurl = \"sqlite:bench.db\"\ncapabilities = \"capability.yaml\"\n";
    std::fs::write(folder.join("secondkey.toml"), config).unwrap();
}

fn capabilities(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let mut server = Server::start(folder.path());
    let listed = server.ask("tools/list", &json!({}));
    println!("tools/list with 50 capabilities: {} bytes", listed.len());
    c.bench_function("tools/list with 50 capabilities", |b| {
        b.iter(|| server.ask("tools/list", &json!({})));
    });
    let free =
        json!({"name": "sql_execute", "arguments": {"sql": format!("{POINT}$1"), "params": [7]}});
    c.bench_function("a point read as free SQL", |b| {
        b.iter(|| server.ask("tools/call", &free));
    });
    let named = json!({"name": "get_user_07", "arguments": {"id": 7}});
    c.bench_function("the same as a capability", |b| {
        b.iter(|| server.ask("tools/call", &named));
    });
}

criterion_group!(benches, capabilities);
criterion_main!(benches);
