//! `secondkey policy`: check, explain and test what runs, what asks and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::boot;
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Config, Surroundings};
use crate::core::approval::DocumentError;
use crate::core::policy::cases::{Case, Cases, written};
use crate::core::policy::decide::describe;
use crate::core::policy::set::Explanation;
use crate::core::policy::{Facts, Judgement, PolicySet, Standing, strictest};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::review::Level;
use crate::core::statement::Statement;
use crate::core::target::Target;
use crate::core::time::Clock as _;
use crate::exec::ParsePool;

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
  secondkey policy explain --sql 'select 1' --as human:ada";

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
    /// Ends with 1 when something is wrong. Cases beside the policy are run to find a plain permit
    /// that an @ask overshadows.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(FileArgs),
    /// Say what becomes of a statement, and which rules decide
    ///
    /// Judges the text alone: connects to no database, so a view or function that changes
    /// something is not seen.
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
}

/// What to explain.
#[derive(Args, Debug)]
struct ExplainArgs {
    #[command(flatten)]
    databases: Databases,
    /// The target's name, where there are several
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The statement
    #[arg(long, value_name = "SQL")]
    sql: String,
    /// Who asks: `ai:NAME`, `human:NAME` or `service:NAME` [default: an AI client of yours]
    #[arg(long = "as", value_name = "PRINCIPAL", value_parser = |text: &str| Principal::try_from(text.to_owned()))]
    principal: Option<Principal>,
    /// What it says when a person breaks the glass, by default you
    #[arg(long)]
    break_glass: bool,
}

pub(super) async fn run(args: PolicyArgs, shared: Shared) -> Result<Exit, Failure> {
    match args.command {
        Command::Check(FileArgs { file }) => check(file, shared).await,
        Command::Explain(args) => explain(args, shared).await,
        Command::Test(FileArgs { file }) => test(file, shared).await,
    }
}

/// A policy and the name it is shown by.
struct Named {
    shown: String,
    file: Option<PathBuf>,
    policy: Arc<PolicySet>,
}

fn built_in(shown: &str, policy: Arc<PolicySet>) -> Named {
    Named {
        shown: format!("{shown} (built in)"),
        file: None,
        policy,
    }
}

fn named(file: PathBuf) -> Result<Named, Failure> {
    let shown = file.display().to_string();
    let text = fs::read_to_string(&file)
        .map_err(|error| std::io::Error::new(error.kind(), format!("{shown}: {error}")))?;
    let policy = PolicySet::load(&text, &shown, None).map_err(|problems| {
        Refusal::new(Code::PolicyUnavailable, problems.to_string())
            .hint("nothing of this policy is in force until all of that is mended")
    })?;
    Ok(Named {
        shown,
        file: Some(file),
        policy: Arc::new(policy),
    })
}

/// The workspace's policy and the agent's own.
fn both(config: &Config) -> Result<[Named; 2], Failure> {
    let either = |file: &Option<PathBuf>, shown: &str, policy: Arc<PolicySet>| match file {
        Some(file) => named(file.clone()),
        None => Ok(built_in(shown, policy)),
    };
    Ok([
        either(&config.policy, "workspace policy", PolicySet::starter())?,
        either(
            &config.agent_policy,
            "agent policy",
            PolicySet::agent_default(),
        )?,
    ])
}

/// The policy that was named, else those of the configuration.
fn chosen(file: Option<PathBuf>, shared: Shared) -> Result<Vec<Named>, Failure> {
    if let Some(file) = file {
        return Ok(vec![named(file)?]);
    }
    let flags = shared.into_flags(Databases::default());
    let config = config::load(&flags, &Surroundings::of_process())?;
    Ok(both(&config)?.into())
}

async fn check(file: Option<PathBuf>, shared: Shared) -> Result<Exit, Failure> {
    let parser = boot::parse_pool()?;
    for one in chosen(file, shared)? {
        let rules = match one.policy.len() {
            1 => "1 rule".to_owned(),
            several => format!("{several} rules"),
        };
        output::say(&format!(
            "{}: {rules}, nothing wrong; digest {}",
            one.shown,
            one.policy.digest()
        ))?;
        let Some(cases) = one
            .file
            .as_deref()
            .and_then(cases_file)
            .filter(|f| f.exists())
        else {
            continue;
        };
        for (case, answer) in answers(&one.policy, &cases, &parser).await? {
            if !answer.overshadowed.is_empty() {
                output::say(&format!(
                    "{}: in the case \"{}\" the permit `{}` does nothing, because `{}` asks",
                    one.shown,
                    title(&case),
                    answer.overshadowed.join("`, `"),
                    answer.judgement.rules.join("`, `")
                ))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn test(file: Option<PathBuf>, shared: Shared) -> Result<Exit, Failure> {
    let parser = boot::parse_pool()?;
    let (mut run, mut wrong) = (0_usize, 0_usize);
    for one in chosen(file, shared)? {
        let Some(cases) = one.file.as_deref().and_then(cases_file) else {
            continue;
        };
        for (case, answer) in answers(&one.policy, &cases, &parser).await? {
            run += 1;
            if let Some(objection) = case.objection(&answer.judgement) {
                wrong += 1;
                output::say(&format!("{}: {}: {objection}", one.shown, title(&case)))?;
            }
        }
    }
    if run == 0 {
        return Err(Failure::Refused(
            Refusal::new(Code::InvalidArgument, "there is no case to run")
                .hint("write cases beside the policy: `policy.cases.toml` for `policy.cedar`"),
        ));
    }
    output::say(&format!("{run} cases, {wrong} wrong"))?;
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

/// `policy.cases.toml` for `policy.cedar`.
fn cases_file(policy: &Path) -> Option<PathBuf> {
    let mut name = policy.file_stem()?.to_owned();
    name.push(".cases.toml");
    Some(policy.with_file_name(name))
}

fn title(case: &Case) -> &str {
    if case.name.is_empty() {
        &case.sql
    } else {
        &case.name
    }
}

/// Each case with the policy's answer. A file that is not there has no case.
async fn answers(
    policy: &PolicySet,
    file: &Path,
    parser: &ParsePool,
) -> Result<Vec<(Case, Explanation)>, Failure> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let malformed = |error: &dyn std::fmt::Display| {
        Refusal::new(
            Code::InvalidArgument,
            format!("{}: {error}", file.display()),
        )
    };
    let cases = Cases::parse(&text).map_err(|error| malformed(&error))?;
    let mut answers = Vec::new();
    for case in cases.list {
        let statement = parser
            .parse(case.engine, &case.sql)
            .await
            .map_err(|refusal| malformed(&format!("{}: {refusal}", title(&case))))?;
        let answer = case
            .ask(policy, &statement)
            .map_err(|error| malformed(&error))?;
        answers.push((case, answer));
    }
    Ok(answers)
}

async fn explain(args: ExplainArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let config = config::load(&shared.into_flags(args.databases), &around)?;
    let target = target(&config, args.target.as_deref())?;
    let principal = args.principal.unwrap_or_else(|| {
        let user = around.os_user();
        if args.break_glass {
            Principal::new(PrincipalKind::Human, &user)
        } else {
            Principal::new(PrincipalKind::Ai, &format!("{user}/claude-code"))
        }
    });
    if args.break_glass && principal.kind() != PrincipalKind::Human {
        return Err(Failure::Refused(DocumentError::BreakGlassRequester.into()));
    }
    let parser = boot::parse_pool()?;
    let statement = parser.parse(target.engine, &args.sql).await?;
    let found = statement.findings.iter().copied();
    let findings = config.review.apply(&target.environment, found);
    let facts = Facts {
        principal: &principal,
        standing: &Standing::NONE,
        target,
        effect: statement.effect,
        statement: &statement,
        capability: None,
        findings: &findings,
        rows: None,
        break_glass: args.break_glass,
        at: SystemClock.now(),
    };
    output::say(&subject(&facts, &statement))?;
    let [workspace, agent] = both(&config)?;
    let judged = [&workspace, &agent].map(|one| one.policy.explain(&facts));
    for (one, answer) in [&workspace, &agent].into_iter().zip(&judged) {
        output::say(&format!("\n{}", one.shown))?;
        output::say(&lines(&answer.judgement, &answer.overshadowed))?;
    }
    let [of_workspace, of_agent] = judged;
    let together = strictest(of_workspace.judgement, of_agent.judgement);
    output::say(&format!("\ntogether\n  {}", written(&together.outcome)))?;
    Ok(Exit::Done)
}

fn target<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Target, Refusal> {
    let mut named = config.targets.iter().map(|one| &one.target);
    let only = named.clone().count() == 1;
    let found = match name {
        Some(name) => named.find(|target| target.name.as_str() == name),
        None => named.next().filter(|_| only),
    };
    found.ok_or_else(|| {
        let all = config.targets.iter().map(|one| one.target.name.as_str());
        let all: Vec<_> = all.collect();
        Refusal::new(Code::UnknownTarget, "say which target")
            .hint(format!("set --target to one of: {}", all.join(", ")))
    })
}

/// What is asked, by whom, where.
fn subject(facts: &Facts<'_>, statement: &Statement) -> String {
    let target = facts.target;
    format!(
        "{} asks on {} ({}, {}): {} statement, {}",
        facts.principal,
        target.name,
        target.engine,
        target.environment,
        statement.kind,
        describe(statement, statement.effect)
    )
}

fn lines(judgement: &Judgement, overshadowed: &[String]) -> String {
    let mut lines = vec![format!("  {}", written(&judgement.outcome))];
    if !judgement.rules.is_empty() {
        lines.push(format!("  decided by {}", judgement.rules.join(", ")));
    }
    for reason in &judgement.reasons {
        lines.push(format!("  reason: {reason}"));
    }
    if !overshadowed.is_empty() {
        lines.push(format!("  matches too: {}", overshadowed.join(", ")));
    }
    for finding in &judgement.findings {
        let level = match finding.level {
            Level::Block => "blocks",
            Level::Off | Level::Warn => "warns",
        };
        lines.push(format!(
            "  review {level} ({}): {finding}",
            finding.rule.as_str()
        ));
    }
    lines.join("\n")
}
