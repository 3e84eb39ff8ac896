//! How the demo looks on a terminal.

use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use crate::core::visible::on_one_line;
use crate::demo::DemoError;

/// Whether colours help or hurt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// A terminal.
    Colour,
    /// A file or a pipe.
    Plain,
}

/// What a user goes on from.
#[derive(Debug)]
pub(super) struct Connect<'a> {
    /// This binary.
    pub(super) binary: &'a Path,
    /// The demo's configuration.
    pub(super) config: &'a Path,
    /// The demo's state folder.
    pub(super) state: &'a Path,
    /// The command that approves; empty where nobody can.
    pub(super) approve: &'a [String],
}

/// The page that the demo writes.
pub(super) struct Transcript<'a> {
    out: &'a mut dyn Write,
    style: Style,
}

impl<'a> Transcript<'a> {
    pub(super) fn new(out: &'a mut dyn Write, style: Style) -> Self {
        Self { out, style }
    }

    pub(super) fn opening(&mut self, shop: &Path) -> Result<(), DemoError> {
        let place = shop.display();
        self.line(&format!(
            "A sample shop is in {place}: 15,000 orders, 37,500 order lines."
        ))?;
        self.line("This binary now serves it over MCP, and a real MCP client talks to it.")
    }

    pub(super) fn scene(&mut self, title: &str) -> Result<(), DemoError> {
        let title = self.paint(BOLD, title);
        writeln!(self.out, "\n{title}")?;
        Ok(())
    }

    pub(super) fn note(&mut self, text: &str) -> Result<(), DemoError> {
        self.line(&format!("  {text}"))
    }

    pub(super) fn call(&mut self, tool: &str, arguments: &Value) -> Result<(), DemoError> {
        let sql = arguments.get("sql").and_then(Value::as_str);
        let shown = match (sql, arguments.get("params")) {
            (Some(sql), Some(params)) => format!("{sql}  {params}"),
            (Some(sql), None) => sql.to_owned(),
            (None, _) => arguments.to_string(),
        };
        self.tool(tool, &shown)
    }

    /// Something that is done, by whomever.
    pub(super) fn tool(&mut self, tool: &str, what: &str) -> Result<(), DemoError> {
        let tool = self.paint(CYAN, tool);
        self.line(&format!("  > {tool} {what}"))
    }

    pub(super) fn answer(&mut self, text: &str) -> Result<(), DemoError> {
        let mark = self.paint(GREEN, "ok");
        self.line(&format!("    {mark} {text}"))
    }

    pub(super) fn rows(&mut self, answer: &Value) -> Result<(), DemoError> {
        for row in answer
            .get("rows")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            self.answer(&row.to_string())?;
        }
        Ok(())
    }

    pub(super) fn refusal(&mut self, content: &Value) -> Result<(), DemoError> {
        let word = |name: &str| {
            content
                .get("error")
                .and_then(|error| error.get(name))
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let code = self.paint(RED, &word("code"));
        self.line(&format!("    {code}: {}", word("message")))
    }

    pub(super) fn audit(&mut self, verified: &str) -> Result<(), DemoError> {
        self.scene(
            "Every call and every refusal is in the audit log, and the log holds together.",
        )?;
        for line in verified.lines() {
            self.note(line)?;
        }
        Ok(())
    }

    /// How to go on from here with a client of one's own.
    pub(super) fn connect(&mut self, ways: &Connect<'_>) -> Result<(), DemoError> {
        let text = |path: &Path| path.display().to_string();
        let (binary, config) = (text(ways.binary), text(ways.config));
        let flags = ["--config", &config, "--state", &text(ways.state)];
        self.scene("Your turn. In a project of yours, for Claude Code and for Cursor:")?;
        for client in ["claude-code", "cursor"] {
            self.command([&[binary.as_str(), "setup", client][..], &flags].concat())?;
        }
        if !ways.approve.is_empty() {
            self.scene("What it wants to change waits until you run:")?;
            self.command(ways.approve.iter().map(String::as_str))?;
        }
        self.scene("With a database of your own, the second key is yours alone:")?;
        self.line("  secondkey trust init --new     once: your key, sealed with a passphrase")?;
        self.line("  secondkey approve              shows what waits, and signs it")
    }

    /// How to come to a relay with a client of one's own.
    pub(super) fn join_in(
        &mut self,
        binary: &Path,
        (relay, key): (&str, &str),
        approve: &[String],
    ) -> Result<(), DemoError> {
        let binary = binary.display().to_string();
        self.scene("Your turn. In a project of yours, for Claude Code and for Cursor:")?;
        self.line(&format!("  export SECONDKEY_API_KEY={key}"))?;
        for client in ["claude-code", "cursor"] {
            self.command([binary.as_str(), "setup", client, "--relay", relay])?;
        }
        if approve.is_empty() {
            return Ok(());
        }
        self.scene("What it wants to change waits until you run:")?;
        self.command(approve.iter().map(String::as_str))
    }

    /// A request that has begun to wait, and what decides it.
    pub(super) fn waiting(&mut self, request: &Value, approve: &[String]) -> Result<(), DemoError> {
        let word = |name: &str| {
            let word = request.get(name).and_then(Value::as_str);
            on_one_line(word.unwrap_or_default())
        };
        let said = format!("{} asks: {}", word("requester"), word("statement"));
        self.scene(&said)?;
        self.command(approve.iter().map(String::as_str))
    }

    /// Has everything be seen that was written so far.
    pub(super) fn flush(&mut self) -> Result<(), DemoError> {
        self.out.flush()?;
        Ok(())
    }

    /// A command to copy.
    fn command<'w>(&mut self, words: impl IntoIterator<Item = &'w str>) -> Result<(), DemoError> {
        let words: Vec<String> = words.into_iter().map(quoted).collect();
        self.line(&format!("  {}", words.join(" ")))?;
        self.out.flush()?;
        Ok(())
    }

    fn line(&mut self, text: &str) -> Result<(), DemoError> {
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        match self.style {
            Style::Colour => format!("{colour}{text}\u{1b}[0m"),
            Style::Plain => text.to_owned(),
        }
    }
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-:=,@%+".contains(&b);
    if word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

impl From<DemoError> for io::Error {
    fn from(error: DemoError) -> Self {
        Self::other(error)
    }
}

const BOLD: &str = "\u{1b}[1m";
const CYAN: &str = "\u{1b}[36m";
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
