//! What the doctor says of the policies: whether they are good under the trust file, and whether
//! the people whom they ask exist.

use crate::cli::policy::source::{Named, Trust, both};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::core::target::Target;
use crate::core::time::Clock as _;
use crate::exec::Check;

/// Examines both policies.
pub(super) fn examine(config: &Config) -> Vec<Check> {
    let trust = Trust::at(&config.home.state_dir);
    let mut checks = vec![match &trust {
        Trust::Unknown(_) => Check::bad(
            trust.to_string(),
            "until the trust file is mended nobody can approve anything",
        ),
        Trust::Pinned(_) | Trust::None => Check::good(trust.to_string()),
    }];
    let targets: Vec<&Target> = config.targets.iter().map(|one| &one.target).collect();
    let files = [config.policy.clone(), config.agent_policy.clone()];
    for (whose, source) in ["workspace", "agent"].into_iter().zip(both(files)) {
        match source.load(trust.file()) {
            Err(problems) => checks.push(Check::bad(
                format!("the {whose} policy is broken:\n{problems}"),
                "nothing starts with it; where it was good before, that is still in force",
            )),
            Ok(named) => {
                checks.push(Check::good(match &named.file {
                    Some(file) => format!("the {whose}'s policy is {}", file.display()),
                    None => format!("the {whose}'s policy is the one built in"),
                }));
                checks.extend(out_of_reach(&named, &trust, &targets));
            }
        }
    }
    checks
}

/// Quorums that nobody can ever meet.
fn out_of_reach(named: &Named, trust: &Trust, targets: &[&Target]) -> Vec<Check> {
    let Some(trust) = trust.file() else {
        return Vec::new();
    };
    let short = named
        .policy
        .out_of_reach(trust, SystemClock.now(), Some(targets));
    let warning = |short: crate::core::policy::OutOfReach| {
        Check::warning(
            format!("{}: {short}", named.shown),
            "add people or keys with `secondkey trust add`, or ask fewer or others",
        )
    };
    short.into_iter().map(warning).collect()
}
