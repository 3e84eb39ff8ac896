//! `secondkey requests`: what waits for people, what exactly it asks, and what becomes of it.

mod json;
mod look;
mod print;
mod review;
pub(super) mod vote;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::desk::{Desk, WhereArgs};
use crate::cli::{Exit, Failure, Shared, output};
use crate::core::approval::Decision;
use crate::core::approval::verdict::LONGEST_COMMENT;
use crate::core::ids::RequestId;
use crate::core::quantity;
use crate::core::request::{Request, Settlement, Status};
use crate::core::visible::visible;
use crate::store::requests::Filter;

const EXIT_CODES: &str = "\
Exit codes of wait, approve, reject and cancel:
  0  the request may run, runs or has run well; or it was rejected or cancelled as asked
  1  refused or failed
  2  wrong usage or configuration
  3  it waits for people
  4  it will not run (any more): denied, rejected, expired, cancelled, failed or unknown";

/// The longest wait that makes sense: longer than any request waits.
const LONGEST_WAIT: Duration = Duration::from_hours(48);

/// List, read, approve, reject, review, cancel and await requests that wait for people
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct RequestsArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(subcommand)]
    command: Command,
}

/// One thing to do with requests.
#[derive(Debug, Subcommand)]
enum Command {
    /// List requests, the newest first
    List(ListArgs),
    /// Show one request: all that a signature covers, and where it stands
    Show(ShowArgs),
    /// Wait until a request is decided
    #[command(after_help = EXIT_CODES)]
    Wait(WaitArgs),
    /// Look at a request, and sign that it may run
    #[command(after_help = EXIT_CODES)]
    Approve(DecideArgs),
    /// Look at a request, and sign that it must not run
    #[command(after_help = EXIT_CODES)]
    Reject(DecideArgs),
    /// Look at what was run ahead of its review, and sign that you have
    Review(review::ReviewArgs),
    /// Say what became of a request that is *unknown*, once you have looked into the data
    Settle(SettleArgs),
    /// Take a request back before it runs
    #[command(after_help = EXIT_CODES)]
    Cancel(CancelArgs),
    /// Print a line and ring the bell for each request that begins to wait, until stopped
    Watch(WatchArgs),
}

/// What to list.
#[derive(Args, Debug)]
struct ListArgs {
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 50, value_name = "COUNT")]
    limit: usize,
    /// Only those in this state, such as `pending`; repeatable
    #[arg(long, value_name = "STATE", value_parser = status)]
    status: Vec<Status>,
    /// Only those that broke the glass and whose review is open
    #[arg(long)]
    reviews: bool,
    /// Only those for this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only those older than this one
    #[arg(long, value_name = "REQUEST")]
    before: Option<RequestId>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// What to show.
#[derive(Args, Debug)]
struct ShowArgs {
    /// The request
    request: RequestId,
    /// Of a call of a capability the statement, too: from the agent's own file, on its own machine
    #[arg(long, conflicts_with = "json")]
    statement: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// What to wait for.
#[derive(Args, Debug)]
struct WaitArgs {
    /// The request
    request: RequestId,
    /// How long at most, such as `45s` or `10m` [default: until it is decided]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// What to decide.
#[derive(Args, Debug)]
struct DecideArgs {
    /// The request
    request: RequestId,
    #[command(flatten)]
    vote: VoteArgs,
}

/// How a vote is given.
#[derive(Args, Debug)]
pub(super) struct VoteArgs {
    /// The key to sign with [default: the strongest of yours that the trust file holds]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What you have to say about it; it is signed too
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    comment: Option<String>,
    /// Sign without being asked, if the document has this digest; needed where no terminal is
    #[arg(long, value_name = "DIGEST")]
    document: Option<String>,
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// Refused before anything is signed, not after.
fn comment(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length <= LONGEST_COMMENT {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{length} characters, and a comment may have {LONGEST_COMMENT}"
        ))
    }
}

/// What to cancel.
#[derive(Args, Debug)]
struct CancelArgs {
    /// The request
    request: RequestId,
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// What was found out.
#[derive(Args, Debug)]
struct SettleArgs {
    /// The request
    request: RequestId,
    /// What the data shows: its change is there, or nothing of it is
    #[arg(long, value_name = "FOUND", value_parser = settlement)]
    found: Settlement,
    /// How you know; it is recorded
    #[arg(long, value_name = "TEXT", value_parser = comment)]
    comment: String,
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// How to watch.
#[derive(Args, Debug)]
struct WatchArgs {
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: RequestsArgs, shared: Shared) -> Result<Exit, Failure> {
    let desk = Desk::open_anywhere(&args.place, shared.clone()).await?;
    let done = match args.command {
        Command::List(args) => list(&desk, args).await,
        Command::Show(args) => show(&desk, &args, shared).await,
        Command::Wait(args) => wait(&desk, &args).await,
        Command::Approve(args) => {
            vote::cast(&desk, Some(args.request), &args.vote, Decision::Approve).await
        }
        Command::Reject(args) => {
            vote::cast(&desk, Some(args.request), &args.vote, Decision::Reject).await
        }
        Command::Review(args) => review::close(&desk, &args).await,
        Command::Settle(args) => settle(&desk, &args).await,
        Command::Cancel(args) => cancel(&desk, &args).await,
        Command::Watch(args) => watch::run(&desk, args.json).await,
    };
    desk.close(done).await
}

async fn list(desk: &Desk, args: ListArgs) -> Result<Exit, Failure> {
    let filter = Filter {
        statuses: args.status,
        target: args.target,
        open_reviews: args.reviews,
        before: args.before,
        limit: args.limit,
        ..Filter::default()
    };
    let page = desk.list(filter).await?;
    for damaged in &page.damaged {
        output::complain(damaged);
    }
    if args.json {
        for summary in &page.requests {
            output::say(&json::summary(summary))?;
        }
    } else if page.requests.is_empty() {
        output::say("There are no such requests.")?;
    } else {
        output::say(&print::list(&page.requests))?;
    }
    if let Some(next) = page.next.filter(|_| !args.json) {
        output::complain(&format!("There are more: add --before {next}"));
    }
    Ok(Exit::Done)
}

async fn show(desk: &Desk, args: &ShowArgs, shared: Shared) -> Result<Exit, Failure> {
    let shown = desk.show(&args.request).await?;
    let text = if args.json {
        json::shown(&shown)
    } else {
        print::whole(&shown, &look::Look::of_output())
    };
    output::say(&text)?;
    if args.statement {
        let statement = desk.statement((&args.request, &shown.document), shared);
        let statement = Box::pin(statement).await?;
        output::say(&format!(
            "Its statement, by the agent's own file of this bundle:\n{}",
            visible(&statement)
        ))?;
    }
    Ok(Exit::Done)
}

async fn wait(desk: &Desk, args: &WaitArgs) -> Result<Exit, Failure> {
    let decided = |request: &Request| exit(request.status()) != Exit::Pending;
    let timeout = args.timeout.unwrap_or(LONGEST_WAIT);
    let request = desk.wait(&args.request, timeout, decided).await?;
    let status = request.status();
    if args.json {
        output::say(&json::request(&request))?;
    } else {
        output::say(&format!("{} is {status}.", request.id()))?;
    }
    Ok(exit(status))
}

async fn settle(desk: &Desk, args: &SettleArgs) -> Result<Exit, Failure> {
    let found = (args.found, args.comment.as_str());
    let request = desk.settle(&args.request, found).await?;
    tell(&request, args.json)
}

async fn cancel(desk: &Desk, args: &CancelArgs) -> Result<Exit, Failure> {
    let request = desk.cancel(&args.request).await?;
    tell(&request, args.json)
}

/// Says where a request stands now.
fn tell(request: &Request, as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        output::say(&json::request(request))?;
    } else {
        output::say(&format!("{} is {}.", request.id(), request.status()))?;
    }
    Ok(Exit::Done)
}

/// The exit code that stands for a state.
fn exit(status: Status) -> Exit {
    match status {
        Status::Submitted | Status::Measuring | Status::Pending => Exit::Pending,
        Status::Approved | Status::Dispatched | Status::Running | Status::Succeeded => Exit::Done,
        Status::Denied
        | Status::Failed
        | Status::Cancelled
        | Status::Rejected
        | Status::Expired
        | Status::Unknown => Exit::Over,
    }
}

fn status(text: &str) -> Result<Status, String> {
    text.parse().map_err(|_| {
        let all: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
        format!("the states are {}", all.join(", "))
    })
}

fn settlement(text: &str) -> Result<Settlement, String> {
    match text {
        "succeeded" => Ok(Settlement::Succeeded),
        "failed" => Ok(Settlement::Failed),
        _ => Err("say `succeeded` or `failed`".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let ms = quantity::milliseconds(text);
    ms.map(Duration::from_millis)
        .ok_or_else(|| "expected a time like `500ms`, `45s` or `10m`".to_owned())
}
