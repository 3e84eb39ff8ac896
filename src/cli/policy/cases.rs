//! `secondkey policy test`, and the cases beside a policy.

use std::fs;
use std::path::{Path, PathBuf};

use crate::boot;
use crate::cli::policy::source::{chosen, loaded};
use crate::cli::policy::{FileArgs, json};
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::config::Surroundings;
use crate::core::policy::PolicySet;
use crate::core::policy::cases::{Case, Cases};
use crate::core::policy::set::Explanation;
use crate::core::refusal::{Code, Refusal};
use crate::exec::ParsePool;

pub(super) async fn run(args: FileArgs, shared: Shared) -> Result<Exit, Failure> {
    let flags = shared.into_flags(Databases::default());
    let sources = chosen(args.file, &flags, &Surroundings::of_process())?;
    let parser = boot::parse_pool()?;
    let (mut run, mut wrong) = (0_usize, 0_usize);
    // Cases are about rules, whoever is in which group.
    for one in loaded(sources, None)? {
        let Some(cases) = one.file.as_deref().and_then(cases_file) else {
            continue;
        };
        for (case, answer) in answers(&one.policy, &cases, &parser).await? {
            run += 1;
            let objection = case.objection(&answer.judgement);
            wrong += usize::from(objection.is_some());
            if args.json {
                output::say(&json::case(&one, &case, &answer, objection.as_deref()))?;
            } else if let Some(objection) = objection {
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
    if args.json {
        output::say(&json::summary(run, wrong))?;
    } else {
        output::say(&format!("{run} cases, {wrong} wrong"))?;
    }
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

/// `policy.cases.toml` for `policy.cedar`.
pub(super) fn cases_file(policy: &Path) -> Option<PathBuf> {
    let mut name = policy.file_stem()?.to_owned();
    name.push(".cases.toml");
    Some(policy.with_file_name(name))
}

pub(super) fn title(case: &Case) -> &str {
    if case.name.is_empty() {
        &case.sql
    } else {
        &case.name
    }
}

/// Each case with the policy's answer. A file that is not there has no case. Refused with everything
/// that is wrong with any of them.
pub(super) async fn answers(
    policy: &PolicySet,
    file: &Path,
    parser: &ParsePool,
) -> Result<Vec<(Case, Explanation)>, Failure> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let malformed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let refused = |problems: &[String]| Refusal::new(Code::InvalidArgument, problems.join("\n"));
    let cases = Cases::parse(&text).map_err(|error| refused(&[malformed(&error)]))?;
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for case in cases.list {
        let statement = match parser.parse(case.engine, &case.sql).await {
            Ok(statement) => statement,
            Err(refusal) => {
                problems.push(malformed(&format!("{}: {}", title(&case), refusal.message)));
                continue;
            }
        };
        match case.ask(policy, &statement) {
            Ok(answer) => answers.push((case, answer)),
            Err(error) => problems.push(malformed(&error)),
        }
    }
    if problems.is_empty() {
        Ok(answers)
    } else {
        Err(refused(&problems).into())
    }
}
