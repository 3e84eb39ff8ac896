//! `secondkey doctor`: check a set-up from end to end and say what to mend.

mod agent;
mod capabilities;
mod level;
mod notify;
mod policies;
mod report;
mod state;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::future::join_all;

use crate::boot;
use crate::cli::desk::AgentArgs;
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::config::{self, Config, Place, Problem, Surroundings, TargetConfig};
use crate::core::statement::Effect;
use crate::core::target::Target;
use crate::exec::{Check, Executor, ParsePool};
use crate::telemetry;
use report::{Report, Section};

/// A target that has not answered all checks by then counts as unreachable.
const PATIENCE: Duration = Duration::from_mins(1);

const EXAMPLES: &str = "\
Examples:
  secondkey doctor
  secondkey doctor --database-url orders=env:ORDERS_URL
  secondkey doctor --agent unix:/run/secondkey/agent.sock
  secondkey doctor --json | jq '.sections[].findings[] | select(.verdict == \"bad\")'";

/// Check the set-up from end to end and say what to mend
///
/// Looks at the configuration, the state folder and each target: whether it is reached, what its
/// login may do, what runs there without approval; and whether people can be told that something waits.
/// Changes nothing, but that `--notify` sends a message. Ends with 1 when something has
/// to be mended, with 2 when the configuration cannot be read. With `--agent` it says which level an
/// agent of another user has, by what you can really do to its files.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    databases: Databases,
    /// Also send a test message to the webhook of `[notify.webhook]`, and say what came back
    #[arg(long)]
    notify: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(super) async fn run(args: DoctorArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let json = args.json;
    let local = !args.databases.database_urls.is_empty();
    let (report, exit) = if let Some(socket) = args.agent.socket(&shared, &around, local)? {
        let report = agent::examine(&socket).await?;
        let exit = exit(&report);
        (report, exit)
    } else {
        here(args, shared, &around).await?
    };
    if json {
        output::say(&serde_json::to_string_pretty(&report).map_err(std::io::Error::other)?)?;
    } else {
        output::say(&report.to_string())?;
    }
    Ok(exit)
}

fn exit(report: &Report) -> Exit {
    match report.bad() {
        0 => Exit::Done,
        _ => Exit::Failed,
    }
}

/// The set-up that the flags name, where the client starts the process that holds everything.
async fn here(
    args: DoctorArgs,
    shared: Shared,
    around: &Surroundings,
) -> Result<(Report, Exit), Failure> {
    Ok(
        match config::load(&shared.into_flags(args.databases), around) {
            Ok(config) => {
                telemetry::start(&config.home.log);
                let report = examine(config, around, args.notify).await?;
                let exit = exit(&report);
                (report, exit)
            }
            Err(problems) => {
                let bad = problems.iter().map(|problem| {
                    Check::bad(
                        format!("{}: {}", problem.place, problem.message),
                        &*problem.hint,
                    )
                });
                let sections = vec![Section::new("configuration", bad)];
                (Report::new(sections, None), Exit::Misused)
            }
        },
    )
}

async fn examine(config: Config, around: &Surroundings, notify: bool) -> Result<Report, Failure> {
    let parser = boot::parse_pool()?;
    let level = level::of(&config, around);
    let mut sections = vec![
        configuration(&config),
        Section::new("policies", policies::examine(&config)),
        Section::new("state folder", state::examine(&config.home.state_dir)),
    ];
    let offered = capabilities::examine(&config.targets, &config.home.state_dir);
    if !offered.is_empty() {
        sections.push(Section::new("capabilities", offered));
    }
    let told = notify::examine(config.notify, &config.home.state_dir, notify).await?;
    sections.push(Section::new("notifications", told));
    let targets = config.targets.into_iter();
    sections.extend(join_all(targets.map(|one| target(one, &parser))).await);
    Ok(Report::new(sections, Some(level)))
}

fn configuration(config: &Config) -> Section {
    let count = match config.targets.len() {
        1 => "1 target".to_owned(),
        several => format!("{several} targets"),
    };
    let read = match &config.file {
        Some(file) => format!("{count}; the file is {}", file.display()),
        None => format!("{count}; there is no configuration file"),
    };
    let warning = |problem: &Problem| {
        Check::warning(
            format!("{}: {}", problem.place, problem.message),
            &*problem.hint,
        )
    };
    let warnings = config.warnings.iter().map(warning);
    Section::new(
        "configuration",
        std::iter::once(Check::good(read)).chain(warnings),
    )
}

async fn target(config: TargetConfig, parser: &Arc<ParsePool>) -> Section {
    let target = &config.target;
    let title = format!(
        "target {} ({}, {})",
        target.name, target.engine, target.environment
    );
    let mut findings = vec![unasked(target, &config.origin)];
    match boot::executors(vec![config], parser) {
        Err(refusal) => findings.push(Check::bad(
            refusal.message,
            refusal.hint.unwrap_or_default(),
        )),
        Ok(executors) => {
            for executor in executors.values() {
                findings.extend(end_to_end(executor).await);
            }
        }
    }
    Section::new(title, findings)
}

async fn end_to_end(executor: &Executor) -> Vec<Check> {
    tokio::time::timeout(PATIENCE, executor.check())
        .await
        .unwrap_or_else(|_| {
            vec![Check::bad(
                "the checks were not over after a minute",
                "see whether the database hangs or a firewall swallows the connection",
            )]
        })
}

/// What runs on a target without anybody's approval.
fn unasked(target: &Target, origin: &Place) -> Check {
    let beyond: Vec<_> = target
        .allow
        .iter()
        .filter(|effect| **effect > Effect::Read)
        .map(|effect| format!("`{effect}`"))
        .collect();
    if beyond.is_empty() {
        return Check::good("nothing but reads runs without approval");
    }
    Check::warning(
        format!("{} runs here without anybody's approval", beyond.join(", ")),
        format!("unless that is meant, set `allow = [\"read\"]` ({origin})"),
    )
}
