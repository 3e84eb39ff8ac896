//! The person's side: this very binary, started as a person starts it, with a key made for the demo.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::demo::DemoError;

/// The file of the demo's own key, in the demo's folder.
pub(super) const KEY: &str = "approver_ed25519";

/// Where a person decides.
#[derive(Debug)]
pub(super) struct Desk {
    binary: PathBuf,
    state: PathBuf,
    key: PathBuf,
}

impl Desk {
    /// Makes the key and the trust file of a state folder, unless an earlier demo has. Nothing without `ssh-keygen`.
    pub(super) async fn prepare(
        binary: &Path,
        (folder, state): (&Path, &str),
    ) -> Result<Option<Self>, DemoError> {
        let desk = Self {
            binary: binary.to_owned(),
            state: folder.join(state),
            key: folder.join(KEY),
        };
        if !desk.key.exists() && !desk.make_key().await? {
            return Ok(None);
        }
        if desk.trust().await.is_err() {
            let key = desk.key.as_os_str();
            desk.said(&["trust", "init", "--key"].map(OsStr::new), &[key])
                .await?;
        }
        Ok(Some(desk))
    }

    /// A key without a passphrase, as nobody may be there to type one. False without `ssh-keygen`.
    async fn make_key(&self) -> Result<bool, DemoError> {
        let mut command = Command::new("ssh-keygen");
        command.args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "secondkey demo",
            "-f",
        ]);
        match command.arg(&self.key).stdin(Stdio::null()).status().await {
            Ok(status) if status.success() => Ok(true),
            Ok(_) => Err(DemoError::Surprise("ssh-keygen made no key".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(not_started(source)),
        }
    }

    /// Who is trusted, and what the trust file says about their key.
    pub(super) async fn trust(&self) -> Result<(String, String), DemoError> {
        let shown = self.json(&["trust", "show", "--json"]).await?;
        let text = |place: &str| {
            let text = shown.pointer(place).and_then(Value::as_str);
            text.map(str::to_owned).ok_or_else(|| {
                DemoError::Surprise(format!("the trust file has nothing at {place}"))
            })
        };
        Ok((
            text("/trust/signers/0/name")?,
            text("/trust/signers/0/keys/0/presence")?,
        ))
    }

    /// What `secondkey requests show` prints.
    pub(super) async fn show(&self, id: &str) -> Result<String, DemoError> {
        self.said(&["requests", "show", id].map(OsStr::new), &[])
            .await
    }

    /// Lets the person in front of the terminal read and sign. False if they did not.
    pub(super) async fn ask(&self, id: &str) -> Result<bool, DemoError> {
        let mut command = self.command(&["approve", id, "--key"].map(OsStr::new));
        let status = command.arg(&self.key).status().await;
        Ok(status.map_err(not_started)?.success())
    }

    /// Signs with nobody there, naming the document by its digest.
    pub(super) async fn sign_alone(&self, id: &str) -> Result<(), DemoError> {
        let shown = self.json(&["requests", "show", id, "--json"]).await?;
        let digest = shown.get("document_digest").and_then(Value::as_str);
        let digest = OsStr::new(digest.unwrap_or_default());
        let words = [
            "approve",
            id,
            "--json",
            "--comment",
            "the demo's own signature",
        ];
        let more = [
            OsStr::new("--key"),
            self.key.as_os_str(),
            OsStr::new("--document"),
            digest,
        ];
        self.said(&words.map(OsStr::new), &more).await?;
        Ok(())
    }

    /// Watches for requests that begin to wait.
    pub(super) fn watch(&self) -> Result<Watch, DemoError> {
        let mut command = self.command(&["requests", "watch", "--json"].map(OsStr::new));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(not_started)?;
        let out = child.stdout.take().ok_or_else(|| {
            DemoError::Surprise("`requests watch` has no standard output".to_owned())
        })?;
        Ok(Watch {
            lines: BufReader::new(out).lines(),
            _child: child,
        })
    }

    /// What a person types to decide about a request; without an id, about the only one.
    pub(super) fn approve_line(&self, id: &str) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut words = vec![path(&self.binary), "approve".to_owned()];
        words.extend((!id.is_empty()).then(|| id.to_owned()));
        words.extend(["--state".to_owned(), path(&self.state)]);
        words.extend(["--key".to_owned(), path(&self.key)]);
        words
    }

    async fn json(&self, words: &[&str]) -> Result<Value, DemoError> {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let text = self.said(&words, &[]).await?;
        serde_json::from_str(&text)
            .map_err(|_| DemoError::Surprise(format!("expected JSON: {text}")))
    }

    async fn said(&self, words: &[&OsStr], more: &[&OsStr]) -> Result<String, DemoError> {
        let mut command = self.command(words);
        said(command.args(more)).await
    }

    fn command(&self, words: &[&OsStr]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--state").arg(&self.state).args(words);
        command
    }
}

/// Requests as they begin to wait.
#[derive(Debug)]
pub(super) struct Watch {
    lines: Lines<BufReader<ChildStdout>>,
    /// Ends when this is dropped.
    _child: Child,
}

impl Watch {
    /// The next request, as `requests watch --json` prints it; nothing when that has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, DemoError> {
        let line = self.lines.next_line().await?;
        Ok(line.and_then(|line| serde_json::from_str(&line).ok()))
    }
}

/// Runs `secondkey audit verify`, as anybody else would.
pub(super) async fn verify_log(binary: &Path, state: &Path) -> Result<String, DemoError> {
    let mut command = Command::new(binary);
    said(command.args(["audit", "verify", "--state"]).arg(state)).await
}

/// What a command prints, if it ends well.
pub(super) async fn said(command: &mut Command) -> Result<String, DemoError> {
    let output = command.stdin(Stdio::null()).output().await;
    let Output {
        status,
        stdout,
        stderr,
    } = output.map_err(not_started)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if status.success() {
        return Ok(text(&stdout));
    }
    let all = [text(&stdout), text(&stderr)].join("\n");
    Err(DemoError::Surprise(all.trim().to_owned()))
}

pub(super) fn not_started(source: io::Error) -> DemoError {
    DemoError::Io {
        doing: "a command could not be started",
        source,
    }
}
