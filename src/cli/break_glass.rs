//! `secondkey break-glass`: run a statement at once, on one signature, ahead of its review.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::boot::{self, Local};
use crate::broker::submit::{Ask, Wanted};
use crate::broker::{Caller, approvals, break_glass};
use crate::cli::desk::{AgentArgs, Desk};
use crate::cli::mcp::close_when_asked;
use crate::cli::place::{Place, person};
use crate::cli::requests::vote::{self, Signing};
use crate::cli::table::columns_of;
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Surroundings};
use crate::core::approval::Decision;
use crate::core::ids::RequestId;
use crate::core::refusal::Refusal;
use crate::core::time::Clock;
use crate::core::visible::on_one_line;
use crate::socket::ran_as;
use crate::telemetry;
use crate::wire::people::Call;
use crate::wire::ran::{Given, Ran};

const EXAMPLES: &str = "\
Examples:
  secondkey break-glass --reason 'orders are stuck since 02:10, INC-4711' \\
      --params '[\"open\", 7]' 'update orders set state = $1 where id = $2'
  secondkey break-glass --target orders --reason 'the disk is full' --yes - < free.sql

Ends with 0 when it has run well, and with 1 when it was refused or has failed. Somebody else then
closes its review with `secondkey requests review`.";

/// Run a statement at once, on your signature alone; somebody else reviews it afterwards
///
/// For people only, and for those whom the trust file marks for it. What a policy forbids stays
/// forbidden. Everything about it is marked in the audit log, and its review stays open until
/// somebody else has signed it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct BreakGlassArgs {
    /// The statement; `-` reads it from standard input
    #[arg(value_name = "SQL")]
    sql: String,
    /// Why it cannot wait, for whoever reviews it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The target's name, where there are several
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The values of the statement's placeholders, as a JSON array
    #[arg(long, value_name = "JSON", value_parser = values)]
    params: Option<Values>,
    /// The key to sign with [default: the strongest of yours that the trust file holds]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign without being asked; needed where no terminal is
    #[arg(long)]
    yes: bool,
    /// Answer with one JSON object; needs `--yes`
    #[arg(long, requires = "yes")]
    json: bool,
    #[command(flatten)]
    databases: Databases,
    #[command(flatten)]
    agent: AgentArgs,
}

/// The values of the placeholders.
#[derive(Clone, Debug)]
struct Values(Vec<Value>);

fn values(text: &str) -> Result<Values, String> {
    serde_json::from_str(text)
        .map(Values)
        .map_err(|_| "expected a JSON array, such as `[\"open\", 7]`".to_owned())
}

pub(super) async fn run(mut args: BreakGlassArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let local = !args.databases.database_urls.is_empty();
    if args.agent.socket(&shared, &around, local)?.is_some() {
        let desk = Desk::open(&args.agent, shared).await?;
        let done = Box::pin(there(&args, &desk)).await;
        return desk.close(done).await;
    }
    let databases = std::mem::take(&mut args.databases);
    let config = config::load(&shared.into_flags(databases), &around)?;
    telemetry::start(&config.home.log);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let local = boot::local(config, &clock)?;
    let place = Place {
        state: local.state.clone(),
        around,
    };
    let done = Box::pin(in_place(&args, &local, &place)).await;
    // Work above `read` goes on without its caller, and is recorded before this process ends.
    local.broker.link.finish().await;
    place.close(done).await
}

async fn in_place(args: &BreakGlassArgs, local: &Local, place: &Place) -> Result<Exit, Failure> {
    let caller = Caller::of(person(&place.around));
    let ask = Ask {
        what: Wanted::Sql {
            text: statement(&args.sql)?,
            params: values_of(args),
        },
        target: args.target.clone(),
        reason: Some(args.reason.clone()),
        max_rows: None,
        timeout_ms: None,
        key: None,
    };
    let id = break_glass::file(&local.broker, &caller, ask).await?;
    let desk = Desk::at(Place {
        state: place.state.clone(),
        around: Surroundings::of_process(),
    });
    sign(args, &desk, &id).await?;
    let stopped = CancellationToken::new();
    close_when_asked(stopped.clone());
    let ran = approvals::settle(&local.broker, &caller, &id, stopped).await;
    let status = desk.show(&id).await?.request.status();
    let ran = ran.map(|answer| ran_as(answer, status));
    tell(args, &desk, &id, ran).await
}

/// The same at an agent of another user, which files it and runs it; it is shown and signed here.
async fn there(args: &BreakGlassArgs, desk: &Desk) -> Result<Exit, Failure> {
    let call = Call::BreakGlass {
        sql: statement(&args.sql)?,
        params: Given(values_of(args)),
        target: args.target.clone(),
        reason: args.reason.clone(),
    };
    let id = desk.break_glass(&call).await?.id().clone();
    sign(args, desk, &id).await?;
    let ran = desk.run(&id).await;
    tell(args, desk, &id, ran).await
}

fn values_of(args: &BreakGlassArgs) -> Vec<Value> {
    let values = args.params.clone();
    values.map(|values| values.0).unwrap_or_default()
}

fn statement(given: &str) -> std::io::Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

/// Shows it and has it signed. Nothing that nobody has signed stays behind.
async fn sign(args: &BreakGlassArgs, desk: &Desk, id: &RequestId) -> Result<(), Failure> {
    let signed = shown_and_signed(args, desk, id).await;
    if signed.is_err() {
        // If even this fails, its time runs out soon.
        drop(desk.cancel(id).await);
    }
    signed
}

async fn shown_and_signed(
    args: &BreakGlassArgs,
    desk: &Desk,
    id: &RequestId,
) -> Result<(), Failure> {
    let shown = desk.show(id).await?;
    let signing = Signing {
        key: args.key.as_deref(),
        comment: None,
        decision: Decision::Approve,
        word: "break the glass",
        quiet: args.json,
        meant: args.yes.then_some(true),
        otherwise: "look at what is shown, in a terminal, or add `--yes`",
    };
    vote::sign(desk, &shown, &signing).await?;
    Ok(())
}

/// Says what came of it. That a review is open is said however it has ended.
async fn tell(
    args: &BreakGlassArgs,
    desk: &Desk,
    id: &RequestId,
    ran: Result<Ran, Refusal>,
) -> Result<Exit, Failure> {
    let request = desk.show(id).await?.request;
    if request.has_open_review() {
        output::complain(&format!(
            "BREAK GLASS: {id} is {}. Its review is open; somebody else closes it with\n  secondkey requests review {id} --comment TEXT",
            request.status()
        ));
    }
    let answer = ran?;
    let text = if args.json {
        in_json(&answer)
    } else {
        in_words(&answer)
    };
    output::say(&text)?;
    Ok(Exit::Done)
}

fn in_json(report: &Ran) -> String {
    let truncated = report.truncated.as_ref().map(|cut| {
        json!({ "by": cut.by, "shown": cut.shown, "at_least": cut.at_least, "exact": cut.exact })
    });
    json!({
        "request": report.request,
        "state": report.status.as_str(),
        "purpose": "break_glass",
        "review": "open",
        "effect": report.effect,
        "columns": report.columns,
        "rows": report.rows,
        "affected": report.affected,
        "truncated": truncated,
        "elapsed_ms": report.elapsed_ms,
    })
    .to_string()
}

fn in_words(report: &Ran) -> String {
    let mut parts = Vec::new();
    if !report.columns.is_empty() {
        let header = report.columns.iter().map(|column| column.name.clone());
        let row = |row: &Vec<Value>| row.iter().map(cell).collect();
        parts.push(columns_of(
            header.collect(),
            report.rows.iter().map(row).collect(),
        ));
    }
    if let Some(affected) = report.affected {
        parts.push(format!("{affected} rows changed."));
    }
    if let Some(cut) = &report.truncated {
        let exact = if cut.exact { "" } else { "at least " };
        parts.push(format!(
            "Cut by the limit on {}: {} of {exact}{} rows are shown.",
            on_one_line(&cut.by),
            cut.shown,
            cut.at_least
        ));
    }
    if parts.is_empty() {
        parts.push("It has run.".to_owned());
    }
    parts.join("\n")
}

fn cell(value: &Value) -> String {
    on_one_line(&match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    })
}
