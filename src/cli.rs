//! FACE: the command line. The clap tree and one file per command.
//!
//! Exit codes: 0 done; 1 failed or refused; 2 wrong usage or configuration; 3 waits for a person; 4
//! will not run any more; 5 a relay does not take the key.

mod agent;
mod approve;
mod audit;
mod break_glass;
mod capability;
mod demo;
mod desk;
mod doctor;
mod errand;
mod files;
mod keys;
mod known_agents;
mod login;
mod mcp;
pub mod output;
mod page;
mod place;
mod policy;
mod relay;
mod requests;
mod setup;
mod signing;
mod table;
mod trust;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use secrecy::SecretString;
use tokio::runtime::{Builder, Runtime};

use crate::config::{Flags, Problems};
use crate::core::refusal::Refusal;
use crate::core::workspace::WorkspaceName;

/// Lets AI clients run SQL under policy, signed execution tokens and an audit log.
#[derive(Debug, Parser)]
#[command(
    name = "secondkey",
    version,
    max_term_width = 100,
    propagate_version = false,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed or refused, 2 wrong usage or configuration, \
        3 a request waits for people, 4 a request will not run (any more), \
        5 a relay does not take the API key."
)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Args, Clone, Debug)]
struct Shared {
    /// Configuration file [default: secondkey.toml in the user's config folder]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Shared options"
    )]
    config: Option<PathBuf>,
    /// State folder: audit log, journal, keys [default: the platform's folder for user state]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Shared options"
    )]
    state: Option<PathBuf>,
    /// Of a relay's state folder, this workspace instead of the first
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Shared options"
    )]
    workspace: Option<WorkspaceName>,
    /// What is logged to standard error: a level, or a filter like `secondkey=debug,warn` [default: warn]
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        help_heading = "Shared options"
    )]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Agent(agent::AgentArgs),
    Approve(approve::ApproveArgs),
    Audit(audit::AuditArgs),
    BreakGlass(break_glass::BreakGlassArgs),
    Capability(capability::CapabilityArgs),
    Demo(demo::DemoArgs),
    Doctor(doctor::DoctorArgs),
    Keys(keys::KeysArgs),
    Login(login::LoginArgs),
    Mcp(mcp::McpArgs),
    Page(page::PageArgs),
    Policy(policy::PolicyArgs),
    Relay(Box<relay::RelayArgs>),
    Requests(requests::RequestsArgs),
    Setup(setup::SetupArgs),
    Trust(trust::TrustArgs),
}

/// The targets that the command line names.
#[derive(Args, Debug, Default)]
struct Databases {
    /// A database, or where its URL is kept: `env:NAME`, `file:PATH`, `keyring:SERVICE/NAME`.
    /// Repeatable; without NAME it is called `main`, then `main2`
    #[arg(
        long = "database-url",
        value_name = "[NAME=]URL",
        value_parser = |text: &str| Ok::<_, std::convert::Infallible>(SecretString::from(text))
    )]
    database_urls: Vec<SecretString>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Exit {
    /// As asked.
    Done,
    /// Refused, failed, or something found that has to be mended.
    Failed,
    /// Wrong usage or configuration.
    Misused,
    /// A request will not run any more, or has not run well.
    Over,
    /// A request waits for people.
    Pending,
    /// A relay does not take the key.
    Stranger,
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] Problems),
    /// It was refused.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The outside world did not play along.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The command line does not fit together.
    #[error("{0}")]
    Misused(Refusal),
    /// Nothing was signed.
    #[error("{0}")]
    Unsigned(#[from] signing::Unsigned),
}

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = match runtime(&cli.command) {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("cannot start: {error}"));
            return Exit::Failed.into();
        }
    };
    let exit = match runtime.block_on(run(cli)) {
        Ok(exit) => exit,
        Err(failure) => failure.report(),
    };
    // A thread that is still blocked, such as one reading standard input, must not hold us up.
    runtime.shutdown_background();
    exit.into()
}

/// One client waits for one answer most of the time: what works for it on one thread saves the
/// switches between several. Many clients, over HTTP, get all the threads there are.
fn runtime(command: &Command) -> std::io::Result<Runtime> {
    let mut builder = match command {
        Command::Mcp(args) if args.is_for_one_client() => Builder::new_current_thread(),
        Command::Agent(_)
        | Command::Approve(_)
        | Command::Audit(_)
        | Command::BreakGlass(_)
        | Command::Capability(_)
        | Command::Demo(_)
        | Command::Doctor(_)
        | Command::Keys(_)
        | Command::Login(_)
        | Command::Mcp(_)
        | Command::Page(_)
        | Command::Policy(_)
        | Command::Relay(_)
        | Command::Requests(_)
        | Command::Setup(_)
        | Command::Trust(_) => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

/// The whole command tree, for documentation.
pub fn command() -> clap::Command {
    Cli::command()
}

async fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Agent(args) => agent::run(args, cli.shared).await,
        Command::Approve(args) => approve::run(args, cli.shared).await,
        Command::Audit(args) => audit::run(args, cli.shared).await,
        Command::BreakGlass(args) => break_glass::run(args, cli.shared).await,
        Command::Capability(args) => capability::run(args, cli.shared).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Doctor(args) => doctor::run(args, cli.shared).await,
        Command::Keys(args) => keys::run(args, cli.shared).await,
        Command::Login(args) => login::run(args).await,
        Command::Mcp(args) => mcp::run(args, cli.shared).await,
        Command::Page(args) => page::run(args, cli.shared).await,
        Command::Policy(args) => policy::run(args, cli.shared).await,
        Command::Relay(args) => relay::run(*args, cli.shared).await,
        Command::Requests(args) => requests::run(args, cli.shared).await,
        Command::Setup(args) => setup::run(args, cli.shared).await,
        Command::Trust(args) => trust::run(args, cli.shared).await,
    }
}

impl Shared {
    /// These flags in the form that the configuration takes.
    fn into_flags(self, databases: Databases) -> Flags {
        Flags {
            config: self.config,
            state: self.state,
            workspace: self.workspace,
            log: self.log,
            database_urls: databases.database_urls,
        }
    }
}

impl Failure {
    /// Says what happened, on standard error.
    fn report(self) -> Exit {
        match self {
            Self::Config(problems) => {
                output::complain(&problems.to_string());
                Exit::Misused
            }
            Self::Refused(refusal) => {
                complain(&refusal);
                Exit::Failed
            }
            Self::Misused(refusal) => {
                complain(&refusal);
                Exit::Misused
            }
            Self::Io(error) => {
                output::complain(&error.to_string());
                Exit::Failed
            }
            Self::Unsigned(unsigned) => {
                output::complain(&format!("{}\nhint: {}", unsigned.message, unsigned.hint));
                Exit::Failed
            }
        }
    }
}

fn complain(refusal: &Refusal) {
    let hint = refusal.hint.as_ref();
    let hint = hint
        .map(|hint| format!("\nhint: {hint}"))
        .unwrap_or_default();
    output::complain(&format!("{}{hint} ({})", refusal.message, refusal.code));
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Misused => Self::from(2),
            Exit::Pending => Self::from(3),
            Exit::Over => Self::from(4),
            Exit::Stranger => Self::from(5),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_tree_is_sound() {
        super::command().debug_assert();
    }
}
