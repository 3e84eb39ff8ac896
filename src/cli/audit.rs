//! `secondkey audit`: read the audit log, check it, take it elsewhere.

pub(super) mod kept;
mod print;
mod reconcile;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::cli::files::read_text;
use crate::cli::{Databases, Exit, Failure, Shared};
use crate::clock::SystemClock;
use crate::config::{Home, Surroundings};
use crate::core::audit::{EventKind, Head};
use crate::core::ids::RequestId;
use crate::store::log::{Filter, Record, Report, Select};
use crate::store::{State, StoreError};
use crate::telemetry;

const EXAMPLES: &str = "\
Examples:
  secondkey audit list --kind request.refused
  secondkey audit checkpoint --to /mnt/elsewhere/head
  secondkey audit verify --head /mnt/elsewhere/head";

/// Read the audit log, check that nobody changed it, take it elsewhere
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: Command,
}

/// One thing to do with a log.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Here(Here),
    Reconcile(reconcile::ReconcileArgs),
}

/// One thing to do with the log of this state folder.
#[derive(Debug, Subcommand)]
enum Here {
    /// List entries, the newest first
    List(ListArgs),
    /// Show one entry, or all entries of a request
    Show(ShowArgs),
    /// Check that no entry was edited, removed or moved; exit code 1 if one was
    Verify(VerifyArgs),
    /// Write the whole log as JSON Lines
    Export(ExportArgs),
    /// Sign how far the log has come, to be kept where nobody here can change it
    Checkpoint(CheckpointArgs),
}

/// What to list.
#[derive(Args, Debug)]
struct ListArgs {
    /// How many entries at most
    #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT")]
    limit: u32,
    /// Only entries after this number, the oldest first
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
    /// Only this kind, such as `request.refused`
    #[arg(long, value_parser = kind, value_name = "KIND")]
    kind: Option<EventKind>,
    /// Only this request
    #[arg(long, value_name = "ID")]
    request: Option<RequestId>,
    /// Only this principal, such as `ai:ada/claude-code`
    #[arg(long, value_name = "WHO")]
    principal: Option<String>,
    /// Only this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Write JSON Lines instead of a table
    #[arg(long)]
    json: bool,
}

/// What to show.
#[derive(Args, Debug)]
struct ShowArgs {
    /// The number of an entry, or the id of a request
    #[arg(value_parser = select, value_name = "NUMBER|REQUEST")]
    entry: Select,
    /// Write JSON Lines instead of text
    #[arg(long)]
    json: bool,
}

/// What to check against.
#[derive(Args, Debug)]
struct VerifyArgs {
    /// A signed head that was kept elsewhere (see `secondkey audit checkpoint`)
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
}

/// Where to export to.
#[derive(Args, Debug)]
struct ExportArgs {
    /// Write to this file instead of standard output; it must not exist yet
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Where to keep the head.
#[derive(Args, Debug)]
struct CheckpointArgs {
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    /// A file could not be read or written.
    #[error("cannot use `{}`: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The head is not one of this log.
    #[error("`{}`: {source}", path.display())]
    Head {
        /// The file it is in.
        path: PathBuf,
        /// Why.
        source: crate::core::audit::HeadError,
    },
    /// A newer head would hide what an older one shows.
    #[error("the log does not hold against the head in `{}`, which is kept: {found}", path.display())]
    Replaced {
        /// The older head.
        path: PathBuf,
        /// What it shows.
        found: crate::core::audit::Break,
    },
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::Io(io::Error::other(error))
    }
}

pub(super) async fn run(args: AuditArgs, shared: Shared) -> Result<Exit, Failure> {
    let command = match args.command {
        Command::Here(command) => command,
        Command::Reconcile(args) => return reconcile::run(args, shared).await,
    };
    let around = Surroundings::of_process();
    let home = Home::find(&shared.into_flags(Databases::default()), &around)?;
    telemetry::start(&home.log);
    if !State::exists(&home.state_dir) {
        let sentence = format!("there is no audit log in `{}`", home.state_dir.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, sentence).into());
    }
    let state = State::open(&home.state_dir, Arc::new(SystemClock)).map_err(AuditError::from)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let answered = answer(&state, &command, &mut out).await;
    let answered = answered.and_then(|exit| Ok(out.flush().map(|()| exit)?));
    state.close().await.map_err(AuditError::from)?;
    match answered {
        // A reader that has gone away has read enough.
        Err(AuditError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(Exit::Done)
        }
        answered => Ok(answered?),
    }
}

/// Does what was asked and writes the answer to `out`.
async fn answer(state: &State, command: &Here, out: &mut dyn Write) -> Result<Exit, AuditError> {
    match command {
        Here::List(args) => list(state, args, out),
        Here::Show(args) => show(state, args, out),
        Here::Verify(args) => verify(state, args, out),
        Here::Export(args) => export(state, args, out),
        Here::Checkpoint(args) => checkpoint(state, args, out).await,
    }
}

/// Lists entries.
fn list(state: &State, args: &ListArgs, out: &mut dyn Write) -> Result<Exit, AuditError> {
    let records = state.log().list(&Filter {
        since: args.since.unwrap_or(0),
        before: None,
        limit: args.limit,
        kind: args.kind,
        request: args.request.clone(),
        principal: args.principal.clone(),
        target: args.target.clone(),
        newest_first: args.since.is_none(),
    })?;
    if args.json {
        lines(&records, out)?;
    } else if records.is_empty() {
        writeln!(out, "No entry matches.")?;
    } else {
        print::table(&records, out)?;
    }
    Ok(Exit::Done)
}

/// Shows one entry or those of a request.
fn show(state: &State, args: &ShowArgs, out: &mut dyn Write) -> Result<Exit, AuditError> {
    let records = state.log().show(&args.entry)?;
    if args.json {
        lines(&records, out)?;
    } else {
        print::entries(&records, out)?;
    }
    if records.is_empty() {
        if !args.json {
            writeln!(out, "The audit log has no such entry.")?;
        }
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

/// Checks the log, and says against what.
fn verify(state: &State, args: &VerifyArgs, out: &mut dyn Write) -> Result<Exit, AuditError> {
    let head = match &args.head {
        Some(path) => Some(read_head(state, path)?),
        None => None,
    };
    let report = state.log().verify(head)?;
    write_report(&report, out)?;
    Ok(match report.outcome {
        Ok(_) => Exit::Done,
        Err(_) => Exit::Failed,
    })
}

fn write_report(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    match &report.outcome {
        Err(found) => writeln!(out, "The audit log is broken: {found}.")?,
        Ok(verified) => {
            writeln!(
                out,
                "The audit log is whole: {} entries, each in its place.",
                verified.entries
            )?;
            match &verified.against {
                Some(head) => writeln!(
                    out,
                    "Checked against the head of {} entries signed at {}. What was written after that head could be cut off unseen.",
                    head.count, head.at
                )?,
                None => writeln!(
                    out,
                    "There was no signed head to check it against, so a cut tail or a rewrite cannot be seen."
                )?,
            }
            if verified.removed > 0 {
                writeln!(
                    out,
                    "The bodies of {} entries were removed; their places in the chain are kept.",
                    verified.removed
                )?;
            }
        }
    }
    if report.bad_heads > 0 {
        writeln!(
            out,
            "{} of the heads kept beside the log are cut short or not signed by a key of this log; they were left out.",
            report.bad_heads
        )?;
    }
    Ok(())
}

/// Writes the whole log as JSON Lines.
fn export(state: &State, args: &ExportArgs, out: &mut dyn Write) -> Result<Exit, AuditError> {
    let Some(path) = &args.to else {
        for line in state.log().export()? {
            writeln!(out, "{}", line?)?;
        }
        return Ok(Exit::Done);
    };
    let failed = |source| AuditError::File {
        path: path.clone(),
        source,
    };
    let mut file = io::BufWriter::new(std::fs::File::create_new(path).map_err(failed)?);
    let mut count = 0_u64;
    for line in state.log().export()? {
        writeln!(file, "{}", line?).map_err(failed)?;
        count = count.saturating_add(1);
    }
    let file = file
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    writeln!(out, "Wrote {count} entries to `{}`.", path.display())?;
    Ok(Exit::Done)
}

/// Signs a head and prints or writes it.
async fn checkpoint(
    state: &State,
    args: &CheckpointArgs,
    out: &mut dyn Write,
) -> Result<Exit, AuditError> {
    let note = state.log().checkpoint().await?;
    match &args.to {
        None => write!(out, "{note}")?,
        Some(path) => {
            if path.exists() {
                let older = read_head(state, path)?;
                let report = state.log().verify(Some(older))?;
                report.outcome.map_err(|found| AuditError::Replaced {
                    path: path.clone(),
                    found,
                })?;
            }
            std::fs::write(path, &note).map_err(|source| AuditError::File {
                path: path.clone(),
                source,
            })?;
            writeln!(out, "Wrote a signed head to `{}`.", path.display())?;
        }
    }
    Ok(Exit::Done)
}

/// The longest signed head, in bytes.
const LONGEST_HEAD: u64 = 64 * 1024;

fn read_head(state: &State, path: &Path) -> Result<Head, AuditError> {
    let note = read_text(path, LONGEST_HEAD).map_err(|source| AuditError::File {
        path: path.to_owned(),
        source,
    })?;
    let opened = state.log().open_head(&note)?;
    opened.map_err(|source| AuditError::Head {
        path: path.to_owned(),
        source,
    })
}

fn lines(records: &[Record], out: &mut dyn Write) -> io::Result<()> {
    for record in records {
        writeln!(out, "{}", crate::store::log::reading::line(&record.stored))?;
    }
    Ok(())
}

fn kind(text: &str) -> Result<EventKind, String> {
    let named = EventKind::ALL.iter().find(|kind| kind.as_str() == text);
    named.copied().ok_or_else(|| {
        let all: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("the kinds are {}", all.join(", "))
    })
}

fn select(text: &str) -> Result<Select, String> {
    if let Ok(sequence) = text.parse() {
        return Ok(Select::Sequence(sequence));
    }
    let request = text.parse().map(Select::Request);
    request.map_err(|_| "expected the number of an entry or a request id (`req_...`)".to_owned())
}

#[cfg(test)]
mod tests;
