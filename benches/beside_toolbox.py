#!/usr/bin/env python3
"""The same point select through SecondKey and through Google's MCP Toolbox, by turns, from one client.

    npm install --prefix /tmp/toolbox @toolbox-sdk/server@1.12.0
    cargo build --release
    TEST_POSTGRES_URL=... benches/beside_toolbox.py        # ./tests/run --serve starts a server and prints this

Prints, for each round, the driver alone (pgbench), and for each server the median, the 95th and 99th
percentile of one call at a time, the processor time of its process per call, and calls per second with 32
under way. Makes the table `users` in that database, if it is not there.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlparse

URL = os.environ["TEST_POSTGRES_URL"]
ROUNDS, CALLS, ABREAST, WARM_UP = 3, 2_000, 32, 500
STATEMENT = "select id, name, email from users where id = $1"
TABLE = """create table if not exists users as select i as id, 'name' || i as name, 'u' || i || '@example.com' as email
    from generate_series(1, 1000) i; create unique index if not exists users_id on users (id); analyze users"""
TOOLBOX = """kind: source
name: bench
type: postgres
host: {host}
port: "{port}"
database: {database}
user: {user}
password: {password}
---
kind: tool
name: point
type: postgres-sql
source: bench
description: point select
parameters:
  - name: id
    type: integer
    description: id
statement: {statement}
"""


class Server:
    """An MCP server over stdio, and how it is asked for one row."""

    def __init__(self, name, command, call, environment):
        self.name, self.call = name, call
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | environment
        )
        client = {"name": "bench", "version": "1"}
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        self.ask(line({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}))
        self.send(line({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        for number in range(WARM_UP):
            answer = json.loads(self.ask(self.message(number)))
            if "error" in answer or answer["result"].get("isError"):
                sys.exit(f"{name}: {answer}")

    def message(self, number):
        params = self.call(number % 1000 + 1)
        return line({"jsonrpc": "2.0", "id": number + 1, "method": "tools/call", "params": params})

    def send(self, message):
        self.process.stdin.write(message)
        self.process.stdin.flush()

    def ask(self, message):
        self.send(message)
        return self.process.stdout.readline()

    def processor_us(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().split()
        return (int(fields[13]) + int(fields[14])) * 1_000_000 / os.sysconf("SC_CLK_TCK")

    def one_at_a_time(self):
        messages = [self.message(number) for number in range(CALLS)]
        taken, before = [], self.processor_us()
        for message in messages:
            start = time.perf_counter()
            self.ask(message)
            taken.append((time.perf_counter() - start) * 1000)
        taken.sort()
        return *(taken[CALLS * share // 100] for share in (50, 95, 99)), (self.processor_us() - before) / CALLS

    def abreast(self):
        messages = [self.message(number) for number in range(CALLS)]
        start = time.perf_counter()
        self.send(b"".join(messages[:ABREAST]))
        for number in range(CALLS):
            self.process.stdout.readline()
            if number + ABREAST < CALLS:
                self.send(messages[number + ABREAST])
        return CALLS / (time.perf_counter() - start)


def line(message):
    return json.dumps(message).encode() + b"\n"


def driver(script, clients):
    command = ["pgbench", "-n", "-M", "prepared", "-f", script, "-t", str(CALLS // clients), "-c", str(clients), URL]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(re.search(what, said)[1]) for what in (r"latency average = ([\d.]+)", r"tps = ([\d.]+)")]


def servers(folder):
    root = pathlib.Path(__file__).resolve().parent.parent
    (folder / "secondkey.toml").write_text('[targets.bench]\nurl = "env:BENCH_URL"\nallow_privileged_login = true\n')
    ours = [root / "target/release/secondkey", "mcp", "--config", folder / "secondkey.toml", "--state", folder / "state"]
    sql = lambda number: {"name": "sql_execute", "arguments": {"sql": STATEMENT, "params": [number]}}
    yield Server("SecondKey", ours, sql, {"BENCH_URL": URL})
    toolbox = shutil.which("toolbox") or "/tmp/toolbox/node_modules/@toolbox-sdk/server-linux-x64/bin/toolbox"
    url = urlparse(URL)
    parts = {"host": url.hostname, "port": url.port, "database": url.path[1:], "user": url.username, "password": url.password}
    (folder / "tools.yaml").write_text(TOOLBOX.format(statement=STATEMENT, **parts))
    point = lambda number: {"name": "point", "arguments": {"id": number}}
    yield Server("Toolbox", [toolbox, "--config", folder / "tools.yaml", "--stdio"], point, {})


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run(["psql", "-q", URL, "-c", TABLE], check=True, capture_output=True)
        script = folder / "point.sql"
        script.write_text(f"\\set id random(1, 1000)\n{STATEMENT.replace('$1', ':id')};\n")
        running = list(servers(folder))
        for _ in range(ROUNDS):
            (mean, rate), (_, crowded) = driver(script, 1), driver(script, ABREAST)
            print(f"driver     mean {mean:.2f} ms, {rate:,.0f}/s; {ABREAST} abreast {crowded:,.0f}/s")
            for server in running:
                p50, p95, p99, processor = server.one_at_a_time()
                print(
                    f"{server.name:10} p50 {p50:.2f}  p95 {p95:.2f}  p99 {p99:.2f} ms, {processor:.0f} us of processor;"
                    f" {ABREAST} abreast {server.abreast():,.0f}/s",
                    flush=True,
                )
        for server in running:
            server.process.stdin.close()
            server.process.wait()


if __name__ == "__main__":
    main()
