//! How the demo looks on a terminal.

use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use crate::demo::DemoError;

/// Whether colours help or hurt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// A terminal.
    Colour,
    /// A file or a pipe.
    Plain,
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
        let tool = self.paint(CYAN, tool);
        self.line(&format!("  > {tool} {shown}"))
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

    pub(super) fn connect(&mut self, binary: &Path, config: &Path) -> Result<(), DemoError> {
        let (binary, config) = (binary.display().to_string(), config.display().to_string());
        self.scene("Your turn. Claude Code:")?;
        self.line(&format!(
            "  claude mcp add secondkey -- {} mcp --config {}",
            quoted(&binary),
            quoted(&config)
        ))?;
        self.scene("Cursor, in .cursor/mcp.json of a project:")?;
        let arguments = serde_json::json!(["mcp", "--config", config]);
        let server = serde_json::json!({ "secondkey": { "command": binary, "args": arguments } });
        self.line(&format!(
            "  {}",
            serde_json::json!({ "mcpServers": server })
        ))
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
