#!/usr/bin/env python3
"""The same point select through a relay and an agent over HTTP, and by the driver alone, side by side.

    apt-get install wrk postgresql-15                      # and pgbench on the PATH
    cargo build --release
    TEST_POSTGRES_URL=... benches/fleet.py                 # ./tests/run --serve starts a server and prints this

Prints, for each number of callers, the driver's mean and rate (pgbench) and then median, 95th and 99th percentile and
rate through the relay (wrk), in rounds by turns; then what one answer of 10,000 rows takes, and the memory of both
processes before and after 20 of them. Makes the tables `users` and `wide` in that database, if they are not there.

With `--cluster` the same through two relays on one store, in a new database of that server: at the relay that the agent
has dialed, and at the other one.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

URL = os.environ["TEST_POSTGRES_URL"]
ROUNDS, SECONDS, CALLERS, WIDE = 3, "3s", (1, 8, 32, 128), 20
STATEMENT = "select id, name, email from users where id = $1"
TABLES = """create table if not exists users as select i as id, 'name' || i as name, 'u' || i || '@example.com' as email
    from generate_series(1, 1000) i; create unique index if not exists users_id on users (id); analyze users;
    create table if not exists wide as select i as a, i as b, i as c, i as d, i as e, 'value ' || i as f, 'value ' || i as g,
    'value ' || i as h, 'value ' || i as i, 'value ' || i as j from generate_series(1, 10000) i"""
LOAD = """wrk.method = "POST"
wrk.body = [==[{body}]==]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
done = function(summary, latency)
    local ms = function(share) return latency:percentile(share) / 1000 end
    io.write(string.format("taken %.3f %.3f %.3f %.0f\\n", ms(50), ms(95), ms(99), summary.requests / summary.duration * 1e6))
end
"""
PROGRAM = pathlib.Path(os.environ.get("SECONDKEY") or pathlib.Path(__file__).resolve().parent.parent / "target/release/secondkey")


class Fleet:
    """A relay and an agent on loopback, with state folders of their own, and a key for both measurements."""

    def __init__(self, folder, store=None):
        self.folder, self.others = folder, []
        at = []
        if store:
            (folder / "store.url").write_text(store)
            at = ["--store", "file:store.url"]
        self.run("relay", "init", "--state", "relay", *at)
        (folder / "join").write_text(self.run("relay", "join-token", "--serves", "bench", "--state", "relay"))
        made = self.run(*"relay keys create --for ai:bench --role developer --per-minute 1000000 --at-once 256 --state relay".split())
        self.key = re.search(r"skey_\S+", made)[0]
        beside = ["--advertise", "127.0.0.1:0"] if store else []
        self.relay, said = self.start("relay", "--listen", "127.0.0.1:0", "--state", "relay", *beside)
        self.url = re.search(r"http://127.0.0.1:\d+", said)[0]
        if store:
            (folder / "relay2").mkdir(mode=0o700)
            shutil.copytree(folder / "relay/keys", folder / "relay2/keys")
            shutil.copy(folder / "relay/store", folder / "relay2/store")
            other, said = self.start("relay", "--listen", "127.0.0.1:0", "--state", "relay2", *beside)
            self.others = [other]
            self.other_url = re.search(r"http://127.0.0.1:\d+", said)[0]
        (folder / "agent.toml").write_text(
            '[targets.bench]\nurl = "env:BENCH_URL"\nallow_privileged_login = true\nlimits = { rows = 10000, bytes = "8MiB" }\n'
        )
        agent = ["agent", "--relay", self.url, "--join", "file:join", "--config", "agent.toml", "--state", "agent"]
        self.agent, _ = self.start(*agent)
        for _ in range(100):
            try:
                urllib.request.urlopen(self.url + "/readyz").close()
                if store:
                    urllib.request.urlopen(self.other_url + "/readyz").close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("the agent has not come")

    def run(self, *arguments):
        done = subprocess.run([PROGRAM, *arguments], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def start(self, *arguments):
        environment = os.environ | {"BENCH_URL": URL}
        process = subprocess.Popen(
            [PROGRAM, *arguments], cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return process, process.stdout.readline()

    def post(self, body):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + "/v1/sql/execute", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def load(self, callers, url=None):
        """Median, 95th, 99th percentile in milliseconds, and calls per second."""
        (self.folder / "call.lua").write_text(LOAD.format(key=self.key, body=json.dumps({"sql": STATEMENT, "params": [7]})))
        command = ["wrk", "-t", "1", "-c", str(callers), "-d", SECONDS, "-s", self.folder / "call.lua", (url or self.url) + "/v1/sql/execute"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in said or "Socket errors" in said:
            sys.exit(said)
        return [float(number) for number in re.search(r"taken ([\d. ]+)", said)[1].split()]

    def memory_mb(self):
        for process in (self.relay, self.agent):
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            yield int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        for process in (self.agent, self.relay, *self.others):
            process.send_signal(signal.SIGTERM)
            process.wait()


def driver(script, callers):
    """Mean in milliseconds, and calls per second."""
    command = ["pgbench", "-n", "-M", "prepared", "-f", script, "-T", SECONDS[:-1], "-c", str(min(callers, 64)), URL]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(re.search(what, said)[1]) for what in (r"latency average = ([\d.]+)", r"tps = ([\d.]+)")]


def cluster():
    name = "secondkey_bench_store"
    for sql in (f"drop database if exists {name} with (force)", f"create database {name}"):
        subprocess.run(["psql", "-q", URL, "-c", sql], check=True, capture_output=True)
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(pathlib.Path(folder), URL.rsplit("/", 1)[0] + "/" + name)
        fleet.load(8), fleet.load(8, fleet.other_url)
        for _ in range(ROUNDS):
            for callers in CALLERS:
                for what, url in (("its own relay", fleet.url), ("another relay", fleet.other_url)):
                    p50, p95, p99, rate = fleet.load(callers, url)
                    print(f"{callers:4} callers: {what} p50 {p50:.2f}  p95 {p95:.2f}  p99 {p99:.2f} ms, {rate:,.0f}/s", flush=True)
        fleet.stop()


def main():
    if "--cluster" in sys.argv:
        subprocess.run(["psql", "-q", URL, "-c", TABLES], check=True, capture_output=True)
        return cluster()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run(["psql", "-q", URL, "-c", TABLES], check=True, capture_output=True)
        script = folder / "point.sql"
        script.write_text(f"\\set id random(1, 1000)\n{STATEMENT.replace('$1', ':id')};\n")
        fleet = Fleet(folder)
        fleet.load(8)
        for _ in range(ROUNDS):
            for callers in CALLERS:
                (mean, alone), (p50, p95, p99, rate) = driver(script, callers), fleet.load(callers)
                print(
                    f"{callers:4} callers: driver mean {mean:.2f} ms, {alone:,.0f}/s;"
                    f" fleet p50 {p50:.2f}  p95 {p95:.2f}  p99 {p99:.2f} ms, {rate:,.0f}/s",
                    flush=True,
                )
        before, taken = list(fleet.memory_mb()), []
        for _ in range(WIDE):
            start = time.perf_counter()
            answer = fleet.post({"sql": "select * from wide", "max_rows": 10_000})
            taken.append((time.perf_counter() - start) * 1000)
        memory = ", ".join(f"{what} {was:.0f} to {now:.0f} MB" for what, was, now in zip(("relay", "agent"), before, fleet.memory_mb()))
        print(f"10,000 rows: {statistics.median(taken):.0f} ms, {len(answer):,} bytes; {memory}")
        fleet.stop()


if __name__ == "__main__":
    main()
