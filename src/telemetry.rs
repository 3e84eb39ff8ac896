//! Logs: to standard error only, because standard output belongs to MCP and to answers.
//!
//! Libraries print whole messages, statements and rows once they are asked to be talkative, so
//! whatever filter the user sets, they are heard from warnings up only.

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};

use crate::config::{Log, LogFormat};

/// Starts logging for this process. A second call changes nothing.
pub fn start(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
    };
    let started = registry()
        .with(filter)
        .with(filter_fn(harmless))
        .with(lines)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging had been started already");
    }
}

/// Whether an event can be trusted to hold no value, row or credential.
fn harmless(event: &Metadata<'_>) -> bool {
    let target = event.target();
    let ours = target == "secondkey" || target.starts_with("secondkey::");
    // sqlx warns of slow statements with their text.
    ours || (*event.level() <= Level::WARN && !target.starts_with("sqlx"))
}
