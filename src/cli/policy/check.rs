//! `secondkey policy check`.

use crate::boot;
use crate::cli::policy::cases::{answers, cases_file, title};
use crate::cli::policy::source::{Named, Trust, chosen, refusal};
use crate::cli::policy::{FileArgs, json};
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Surroundings};
use crate::core::target::Target;
use crate::core::time::Clock as _;
use crate::exec::ParsePool;

pub(super) async fn run(args: FileArgs, shared: Shared) -> Result<Exit, Failure> {
    let (flags, around) = (
        shared.into_flags(Databases::default()),
        Surroundings::of_process(),
    );
    let trust = Trust::find(&flags, &around);
    // A policy that stands alone is for targets that nobody knows here.
    let config = args.file.is_none().then(|| config::load(&flags, &around));
    let targets = config.and_then(Result::ok).map(|config| config.targets);
    let targets: Option<Vec<&Target>> = targets
        .as_ref()
        .map(|targets| targets.iter().map(|one| &one.target).collect());
    let sources = chosen(args.file, &flags, &around)?;
    say(args.json, &trust.to_string(), || json::trust(&trust))?;
    let parser = boot::parse_pool()?;
    let (mut bad, mut malformed) = (Vec::new(), None);
    for source in sources {
        match source.load(trust.file()) {
            Ok(named) => {
                good(&named, args.json)?;
                out_of_reach(&named, (&trust, targets.as_deref()), args.json)?;
                let idle = idle(&named, &parser, args.json).await;
                malformed = malformed.or(idle.err());
            }
            Err(problems) => bad.push(problems),
        }
    }
    if args.json {
        for problem in json::problems(&bad) {
            output::say(&problem)?;
        }
    }
    match (bad.is_empty(), malformed) {
        (true, None) => Ok(Exit::Done),
        (true, Some(failure)) => Err(failure),
        (false, _) if args.json => Ok(Exit::Failed),
        (false, _) => Err(refusal(&bad).into()),
    }
}

fn good(one: &Named, json: bool) -> Result<(), Failure> {
    let rules = match one.policy.len() {
        1 => "1 rule".to_owned(),
        several => format!("{several} rules"),
    };
    let digest = one.policy.digest();
    let text = format!("{}: {rules}, nothing wrong; digest {digest}", one.shown);
    say(json, &text, || json::good(one))
}

/// Quorums that nobody can ever meet: not wrong, but nothing that they guard will run.
fn out_of_reach(
    one: &Named,
    (trust, targets): (&Trust, Option<&[&Target]>),
    json: bool,
) -> Result<(), Failure> {
    let Some(trust) = trust.file() else {
        return Ok(());
    };
    for short in one.policy.out_of_reach(trust, SystemClock.now(), targets) {
        let text = format!("{}: warning: {short}", one.shown);
        say(json, &text, || json::out_of_reach(one, &short))?;
    }
    Ok(())
}

/// Plain permits that an `@ask` overshadows in a case.
async fn idle(one: &Named, parser: &ParsePool, json: bool) -> Result<(), Failure> {
    let cases = one.file.as_deref().and_then(cases_file);
    let Some(cases) = cases.filter(|file| file.exists()) else {
        return Ok(());
    };
    for (case, answer) in answers(&one.policy, &cases, parser).await? {
        if answer.overshadowed.is_empty() {
            continue;
        }
        let text = format!(
            "{}: in the case \"{}\" the permit `{}` does nothing, because `{}` asks",
            one.shown,
            title(&case),
            answer.overshadowed.join("`, `"),
            answer.judgement.rules.join("`, `")
        );
        say(json, &text, || json::overshadowed(one, &case, &answer))?;
    }
    Ok(())
}

fn say(json: bool, text: &str, object: impl FnOnce() -> String) -> Result<(), Failure> {
    let line = if json { object() } else { text.to_owned() };
    Ok(output::say(&line)?)
}
