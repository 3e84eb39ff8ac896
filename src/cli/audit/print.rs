//! Entries as text for a person.

use std::io::{self, Write};

use serde_json::Value;

use crate::core::audit::{Body, Content};
use crate::store::log::Record;

/// The widest statement in a table.
const STATEMENT: usize = 60;

/// One line for each entry, in columns.
pub(super) fn table(records: &[Record], out: &mut dyn Write) -> io::Result<()> {
    let header = ["entry", "time", "kind", "principal", "target", "what"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header)
        .chain(records.iter().map(row))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn row(record: &Record) -> [String; 6] {
    let sequence = record.stored.sequence.to_string();
    match &record.content {
        Content::Present(body) => [
            sequence,
            body.at.to_string(),
            plain(&body.kind),
            body.principal.as_deref().map_or_else(String::new, plain),
            body.target.as_deref().map_or_else(String::new, plain),
            gist(body),
        ],
        Content::Removed => lost(sequence, "(the body was removed)"),
        Content::Unreadable => lost(sequence, "(not readable; run `secondkey audit verify`)"),
    }
}

fn lost(sequence: String, why: &str) -> [String; 6] {
    let empty = String::new;
    [sequence, empty(), empty(), empty(), empty(), why.to_owned()]
}

/// The few facts that tell entries apart.
fn gist(body: &Body) -> String {
    let fact = |name: &str| body.facts.get(name).map(short);
    let code = fact("code");
    let rows = fact("rows").map(|rows| format!("{rows} rows"));
    let elapsed = fact("elapsed_ms").map(|ms| format!("{ms} ms"));
    let statement = fact("statement");
    let other = fact("key").or_else(|| fact("version"));
    let parts: Vec<String> = [code, rows, elapsed, statement, other]
        .into_iter()
        .flatten()
        .collect();
    parts.join(", ")
}

fn short(value: &Value) -> String {
    let text = text(value);
    if text.chars().count() <= STATEMENT {
        return text;
    }
    let cut: String = text.chars().take(STATEMENT).collect();
    format!("{cut}\u{2026}")
}

fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => plain(text),
        None => plain(&value.to_string()),
    }
}

/// Everything that is known of each entry.
pub(super) fn entries(records: &[Record], out: &mut dyn Write) -> io::Result<()> {
    for record in records {
        writeln!(out, "entry      {}", record.stored.sequence)?;
        match &record.content {
            Content::Present(body) => print_body(body, out)?,
            Content::Removed => writeln!(out, "           (the body was removed)")?,
            Content::Unreadable => writeln!(out, "           (the body is not readable)")?,
        }
        writeln!(out, "leaf       {}", record.stored.leaf)?;
        writeln!(out, "link       {}\n", record.stored.link)?;
    }
    Ok(())
}

fn print_body(body: &Body, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "time       {}", body.at)?;
    writeln!(out, "kind       {}", plain(&body.kind))?;
    let named = [
        ("principal", &body.principal),
        ("request", &body.request),
        ("target", &body.target),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            writeln!(out, "{name:<10} {}", plain(value))?;
        }
    }
    for (name, value) in &body.facts {
        writeln!(out, "{:<10} {}", plain(name), text(value))?;
    }
    Ok(())
}

/// One line, without anything that a terminal would act on.
fn plain(text: &str) -> String {
    let tame = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(tame).collect()
}
