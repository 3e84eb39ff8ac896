//! `secondkey demo --team`: a relay, two agents with a database each, and a client that comes with an API key.
//! Everything lies in one temporary folder and is gone when the demo is stopped.

use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::demo::client::{Client, Said};
use crate::demo::desk::{Desk, not_started, said};
use crate::demo::script::{at, expect};
use crate::demo::second_key::decide;
use crate::demo::transcript::Transcript;
use crate::demo::{DemoError, NOBODY, POLICY, SHOP, Seat, Style, announce};
use crate::exec::sqlite::sample;

/// What the agents serve, one each.
const TARGETS: [&str; 2] = ["shop", "warehouse"];
/// How long everything together may take to be there.
const READY: Duration = Duration::from_secs(30);

/// The folder and the programs that run in it.
struct Team<'a> {
    binary: &'a Path,
    folder: &'a Path,
    running: Vec<Child>,
}

/// Runs the demo until the process is asked to stop.
pub async fn run(
    binary: &Path,
    (seat, style): (Seat, Style),
    out: &mut dyn Write,
) -> Result<(), DemoError> {
    let stop = stopped()?;
    let folder = tempfile::Builder::new()
        .prefix("secondkey-team-")
        .tempdir()?;
    let mut team = Team {
        binary,
        folder: folder.path(),
        running: Vec::new(),
    };
    let mut page = Transcript::new(out, style);
    let ended = tokio::select! {
        ended = team.play(seat, &mut page) => ended,
        () = stop => Ok(()),
    };
    for mut program in team.running {
        // Whoever was asked to stop along with us has ended already.
        drop(program.kill().await);
    }
    folder.close()?;
    ended
}

/// Comes when the process is asked to stop.
fn stopped() -> Result<impl Future<Output = ()>, DemoError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

impl Team<'_> {
    async fn play(&mut self, seat: Seat, page: &mut Transcript<'_>) -> Result<(), DemoError> {
        page.scene("A relay, and beside each of two databases an agent that dials it.")?;
        self.told(&["relay", "init"], "relay").await?;
        let desk = Desk::prepare(self.binary, (self.folder, "relay")).await?;
        if desk.is_some() {
            let trust = self.told(&["trust", "export", "--json"], "relay").await?;
            self.write("trust.json", &trust)?;
        }
        let relay = self.start_relay().await?;
        page.note(&format!(
            "the relay listens at {relay}, on this machine alone"
        ))?;
        for target in TARGETS {
            self.start_agent(target, (&relay, desk.is_some())).await?;
            page.note(&format!("an agent of its own serves `{target}`"))?;
        }
        let create = [
            "relay",
            "keys",
            "create",
            "--for",
            "ai:demo",
            "--role",
            "developer",
        ];
        let key = self.told(&create, "relay").await?;
        let client = self.client(&relay, &key).await?;
        let shown = self.scenes(&client, (desk.as_ref(), seat), page).await;
        client.stop().await?;
        shown?;
        let approve = desk.as_ref().map(|desk| desk.approve_line(""));
        let approve = approve.unwrap_or_default();
        page.join_in(self.binary, (&relay, &key), &approve)?;
        page.scene(
            "All of it runs until Ctrl-C, which removes it. What waits for you is shown here.",
        )?;
        page.note(&self.folder.display().to_string())?;
        page.flush()?;
        match desk {
            Some(desk) => announce(&desk, page).await,
            None => std::future::pending().await,
        }
    }

    async fn scenes(
        &self,
        client: &Client,
        (desk, seat): (Option<&Desk>, Seat),
        page: &mut Transcript<'_>,
    ) -> Result<(), DemoError> {
        page.scene("A client comes to the relay with an API key, and asks each database.")?;
        for target in TARGETS {
            let sql = json!({"sql": "select count(*) as products from products", "target": target});
            page.call("sql_execute", &sql)?;
            let answer = there(client, &sql).await?;
            page.rows(&answer.content)?;
        }
        let Some(desk) = desk else {
            page.scene("A change would wait for a person with a second key.")?;
            return page.note(NOBODY);
        };
        page.scene("A change waits at the relay for a person, and runs at the agent, which checks their signature itself.")?;
        let change = json!({
            "sql": "update products set stock = stock + $1 where sku = $2", "params": [40, "SK-0007"],
            "target": "warehouse", "reason": "delivery of Monday",
        });
        page.call("sql_execute", &change)?;
        let mut watch = desk.watch()?;
        let call = client.call("sql_execute", &change);
        tokio::pin!(call);
        let request = tokio::select! {
            answer = &mut call => return Err(surprise(&answer?)),
            request = watch.next() => request?,
        };
        let id = request
            .as_ref()
            .and_then(|request| request.get("request")?.as_str());
        let signed = tokio::select! {
            answer = &mut call => return Err(surprise(&answer?)),
            signed = decide(page, desk, seat, id.unwrap_or_default()) => signed?,
        };
        if !signed {
            return page.note("nobody signed, so it does not run");
        }
        let answer = call.await?;
        expect(
            at(&answer.content, "/affected") == json!(1),
            "one row is changed",
        )?;
        page.answer("1 row changed")
    }

    async fn start_relay(&mut self) -> Result<String, DemoError> {
        self.write("policy.cedar", POLICY)?;
        self.write("relay.toml", "policy = \"policy.cedar\"\n")?;
        let serve = ["relay", "--listen", "127.0.0.1:0", "--config", "relay.toml"];
        let mut command = self.command(&serve, "relay");
        let mut relay = start(command.stdout(Stdio::piped()))?;
        let out = relay.stdout.take();
        self.running.push(relay);
        let mut lines = BufReader::new(out.ok_or_else(mute)?).lines();
        let line = lines.next_line().await?.ok_or_else(mute)?;
        // Nobody reads on, and nobody has to: the relay says no more there.
        let address = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        let address = address.map(|word| word.trim_end_matches('.').trim_end_matches("/mcp"));
        address.map(str::to_owned).ok_or(DemoError::Surprise(line))
    }

    async fn start_agent(
        &mut self,
        target: &str,
        (relay, trusted): (&str, bool),
    ) -> Result<(), DemoError> {
        let state = format!("agent-{target}");
        sample::create(&self.folder.join(format!("{target}.db")), SHOP)?;
        let config = format!("{target}.toml");
        self.write(
            &config,
            &format!("agent_policy = \"policy.cedar\"\n\n[targets.{target}]\nurl = \"sqlite:{target}.db\"\nenvironment = \"demo\"\n"),
        )?;
        let token = ["relay", "join-token", "--serves", target];
        let token = self.told(&token, "relay").await?;
        let join = format!("join-{target}");
        self.write(&join, &token)?;
        if trusted {
            self.told(&["trust", "install", "trust.json"], &state)
                .await?;
        }
        let join = format!("file:{join}");
        let dial = [
            "agent", "--relay", relay, "--join", &join, "--config", &config,
        ];
        let mut command = self.command(&dial, &state);
        self.running.push(start(command.stdout(Stdio::null()))?);
        Ok(())
    }

    async fn client(&self, relay: &str, key: &str) -> Result<Client, DemoError> {
        let mut command = self.stateless(&["mcp", "--relay", relay]);
        command.env("SECONDKEY_API_KEY", key);
        Client::start(command).await
    }

    /// What a command says that ends well.
    async fn told(&self, words: &[&str], state: &str) -> Result<String, DemoError> {
        said(&mut self.command(words, state)).await
    }

    fn command(&self, words: &[&str], state: &str) -> Command {
        let mut command = self.stateless(words);
        command.arg("--state").arg(self.folder.join(state));
        command
    }

    fn stateless(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        command
            .args(words)
            .current_dir(self.folder)
            .kill_on_drop(true);
        // What is set for the user's own SecondKey is not for this one.
        for name in ["AGENT", "CONFIG", "DATABASE_URL", "STATE", "API_KEY"] {
            command.env_remove(format!("SECONDKEY_{name}"));
        }
        command
    }

    /// A file for nobody else to read: the folder is this user's alone, and so is the file.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf, DemoError> {
        use std::os::unix::fs::OpenOptionsExt as _;

        let path = self.folder.join(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file?.write_all(text.as_bytes())?;
        Ok(path)
    }
}

/// The answer of a target, as soon as its agent is there.
async fn there(client: &Client, sql: &Value) -> Result<Said, DemoError> {
    let deadline = Instant::now() + READY;
    loop {
        let answer = client.call("sql_execute", sql).await?;
        if !answer.refused {
            return Ok(answer);
        }
        let code = at(&answer.content, "/error/code");
        let comes = code == json!("unknown_target") || code == json!("agent_unavailable");
        if !comes || Instant::now() > deadline {
            return Err(surprise(&answer));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn start(command: &mut Command) -> Result<Child, DemoError> {
    command.stdin(Stdio::null()).spawn().map_err(not_started)
}

fn surprise(answer: &Said) -> DemoError {
    DemoError::Surprise(answer.content.to_string())
}

fn mute() -> DemoError {
    DemoError::Surprise("the relay does not say where it listens".to_owned())
}
