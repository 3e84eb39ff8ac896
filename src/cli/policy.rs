//! `secondkey policy`: check, explain and test what runs, what asks and what is refused.

mod asked;
mod cases;
mod check;
mod explain;
mod json;
pub(super) mod source;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::desk::AgentArgs;
use crate::cli::{Databases, Exit, Failure, Shared};
use crate::core::ids::RequestId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};

/// Check, explain and test what runs, what asks people and what is refused
#[derive(Args, Debug)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  secondkey policy check
  secondkey policy check policy.cedar";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  secondkey policy explain --target orders --sql 'delete from orders where id = 7'
  secondkey policy explain --sql 'select 1' --as human:ada
  secondkey policy explain req_019a1b2c3d4e5f60718293a4b5c6d7e8";

const TEST_EXAMPLES: &str = "\
A case beside `policy.cedar`, in `policy.cases.toml`:
  [[case]]
  name = \"deleting in production asks\"
  sql = \"delete from orders where id = 1\"
  environment = \"production\"
  expect = \"ask 1 of anyone\"";

/// One thing to do with a policy.
#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that is wrong with a policy, with line and column
    ///
    /// Ends with 1 when something is wrong. Groups are checked against the trust file of the state
    /// folder, where there is one; a quorum that its people can never meet is told. Cases beside the
    /// policy are run to find a plain permit that an @ask overshadows.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(FileArgs),
    /// Say what becomes of a statement, or became of a request, and which rules decide
    ///
    /// Judges the text alone: connects to no database, so a view or function that changes
    /// something is not seen. Of a request it says also what was asked of whom, and who has signed.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Run the cases beside a policy
    ///
    /// Ends with 1 when one comes out differently.
    #[command(after_help = TEST_EXAMPLES)]
    Test(FileArgs),
}

/// Which policy.
#[derive(Args, Debug)]
struct FileArgs {
    /// The policy [default: those of the configuration]
    file: Option<PathBuf>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// What to explain.
#[derive(Args, Debug)]
struct ExplainArgs {
    #[command(flatten)]
    databases: Databases,
    /// The request
    #[arg(conflicts_with_all = ["target", "sql", "principal"])]
    request: Option<RequestId>,
    /// The target's name, where there are several
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The statement
    #[arg(long, value_name = "SQL", required_unless_present = "request")]
    sql: Option<String>,
    /// Who asks: `ai:NAME`, `human:NAME` or `service:NAME` [default: an AI client of yours]
    #[arg(long = "as", value_name = "PRINCIPAL", value_parser = |text: &str| Principal::try_from(text.to_owned()))]
    principal: Option<Principal>,
    /// What it says when a person breaks the glass, by default you
    #[arg(long)]
    break_glass: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(super) async fn run(args: PolicyArgs, shared: Shared) -> Result<Exit, Failure> {
    match args.command {
        Command::Check(args) => check::run(args, shared).await,
        Command::Explain(ExplainArgs {
            databases,
            request: Some(request),
            json,
            agent,
            ..
        }) => asked::run(&request, (databases, &agent), json, shared).await,
        Command::Explain(args) if args.agent.is_given() => {
            let sentence = "over an agent's socket a request is explained, and no statement";
            Err(Failure::Misused(
                Refusal::new(Code::InvalidArgument, sentence)
                    .hint("name the request, or leave out `--agent`"),
            ))
        }
        Command::Explain(args) => explain::run(args, shared).await,
        Command::Test(args) => cases::run(args, shared).await,
    }
}
