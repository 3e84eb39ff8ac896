//! `secondkey policy explain` of a statement.

use crate::boot;
use crate::cli::policy::source::{Named, Trust, both, loaded};
use crate::cli::policy::{ExplainArgs, json};
use crate::cli::{Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Config, Surroundings};
use crate::core::approval::DocumentError;
use crate::core::policy::cases::written;
use crate::core::policy::decide::describe;
use crate::core::policy::set::Explanation;
use crate::core::policy::{Facts, Judgement, strictest};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::review::Level;
use crate::core::target::Target;
use crate::core::time::Clock as _;

pub(super) async fn run(args: ExplainArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let config = config::load(&shared.into_flags(args.databases), &around)?;
    let target = target(&config, args.target.as_deref())?;
    let principal = args.principal.unwrap_or_else(|| {
        let user = around.os_user();
        if args.break_glass {
            Principal::new(PrincipalKind::Human, &user)
        } else {
            Principal::client_of(&user, "claude-code")
        }
    });
    if args.break_glass && principal.kind() != PrincipalKind::Human {
        return Err(Failure::Refused(DocumentError::BreakGlassRequester.into()));
    }
    let parser = boot::parse_pool()?;
    let sql = args.sql.unwrap_or_default();
    let statement = parser.parse(target.engine, &sql).await?;
    let found = statement.findings.iter().copied();
    let findings = config.review.apply(&target.environment, found);
    let standing = config.principals.of(&principal);
    let facts = Facts {
        principal: &principal,
        standing: &standing,
        target,
        effect: statement.effect,
        statement: &statement,
        capability: None,
        findings: &findings,
        rows: None,
        break_glass: args.break_glass,
        at: SystemClock.now(),
    };
    let question = if args.json {
        json::question(&facts)
    } else {
        subject(&facts)
    };
    output::say(&question)?;
    let judged = Judged::of(&config, &facts)?;
    judged.say(args.json)?;
    Ok(Exit::Done)
}

/// What both policies say.
pub(super) struct Judged {
    pub(super) by: [(String, Explanation); 2],
}

impl Judged {
    /// Asks the policies of a configuration.
    pub(super) fn of(config: &Config, facts: &Facts<'_>) -> Result<Self, Refusal> {
        let trust = Trust::at(&config.home.state_dir);
        let files = [config.policy.clone(), config.agent_policy.clone()];
        let named = loaded(both(files), trust.file())?;
        let named: [Named; 2] = named
            .try_into()
            .map_err(|_| Refusal::new(Code::Internal, "there are two policies"))?;
        let by = named.map(|one| {
            let answer = one.policy.explain(facts);
            (one.shown, answer)
        });
        Ok(Self { by })
    }

    /// Says what each says, and both together.
    pub(super) fn say(self, json: bool) -> Result<(), Failure> {
        let [(workspace, of_workspace), (agent, of_agent)] = self.by;
        let by = [
            ("workspace", &workspace, &of_workspace),
            ("agent", &agent, &of_agent),
        ];
        for (who, one, answer) in by {
            if json {
                output::say(&json::judgement(who, one, answer))?;
            } else {
                output::say(&format!("\n{one}"))?;
                output::say(&lines(&answer.judgement, &answer.overshadowed))?;
            }
        }
        let together = strictest(of_workspace.judgement, of_agent.judgement);
        Ok(output::say(&if json {
            json::together(together)
        } else {
            format!("\ntogether\n  {}", written(&together.outcome))
        })?)
    }
}

/// The target of this name, else the only one.
pub(super) fn target<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Target, Refusal> {
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
fn subject(facts: &Facts<'_>) -> String {
    let (target, statement) = (facts.target, facts.statement);
    let known = |what: &str, names: &std::collections::BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() {
            String::new()
        } else {
            format!(", {what} {}", names.join(" and "))
        }
    };
    format!(
        "{}{}{} asks on {} ({}, {}): {} statement, {}",
        facts.principal,
        known("role", &facts.standing.roles),
        known("group", &facts.standing.groups),
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
