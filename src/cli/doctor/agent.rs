//! What the doctor says of an agent of another user: what the agent says of itself, and what the user
//! who asks can really do to its files.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::cli::Failure;
use crate::cli::desk::standing;
use crate::cli::doctor::report::{Level, Report, Section};
use crate::core::level;
use crate::exec::Check;
use crate::socket::Link;
use crate::wire::hello::Wants;
use crate::wire::people::{Standby, Standing};

/// Examines the agent at a socket, as the user who asks.
pub(super) async fn examine(socket: &Path) -> Result<Report, Failure> {
    let mut link = Link::open(socket, Wants::People).await?;
    let standing = standing(&mut link).await?;
    let welcome = &link.welcome;
    let mut agent = vec![Check::good(format!(
        "it listens at {} as `{}`, and takes you for `{}`",
        link.path().display(),
        welcome.agent,
        welcome.you
    ))];
    agent.push(same_version(&welcome.version));
    agent.extend(standing.spoilt.iter().map(|why| {
        Check::bad(
            why.as_str(),
            "give it to the agent's user or root alone: chown, then chmod go-rwx",
        )
    }));
    let tried = standing.files.iter().map(|file| tried(file, &welcome.you));
    let tried: Vec<Check> = tried.collect();
    let level = level_of(&standing, &tried, &welcome.agent);
    let sections = vec![
        Section::new("agent", agent),
        Section::new("what you can do to its files", tried),
    ];
    Ok(Report::new(sections, Some(level)))
}

fn same_version(agent: &str) -> Check {
    let own = env!("CARGO_PKG_VERSION");
    if agent == own {
        return Check::good(format!("both sides are version {own}"));
    }
    Check::warning(
        format!("it is version {agent}, and this is version {own}"),
        "install the same version on both sides",
    )
}

/// Tries a file as the system would let this process, access lists and all.
fn tried(file: &Standby, you: &str) -> Check {
    let path = Path::new(&file.path);
    let can = |how| access(path, how).is_ok();
    let named = format!("the {} `{}`", file.what.as_str(), file.path);
    let mend = "give it to the agent's user or root alone: chown, then chmod go-rwx";
    if can(AccessFlags::W_OK) {
        return Check::bad(format!("{named} can be changed by `{you}`"), mend);
    }
    let seen = can(AccessFlags::R_OK) || (path.is_dir() && can(AccessFlags::X_OK));
    match (file.what.is_private(), seen) {
        (true, true) => Check::bad(format!("{named} can be read by `{you}`"), mend),
        (true, false) => Check::good(format!("{named} is out of your reach")),
        (false, _) => Check::good(format!("{named} cannot be changed by you")),
    }
}

fn level_of(standing: &Standing, tried: &[Check], agent: &str) -> Level {
    let bad = |check: &&Check| check.verdict == crate::exec::check::Verdict::Bad;
    let spoilt = standing.spoilt.iter().cloned();
    let mut because: Vec<String> = spoilt
        .chain(tried.iter().filter(bad).map(|check| check.found.clone()))
        .collect();
    let level = if because.is_empty() {
        because.push(format!(
            "the agent runs as `{agent}`, in a process of its own"
        ));
        because.push(
            "nothing that it stands on can be changed by you, nor its secrets read".to_owned(),
        );
        level::Level::Separated
    } else {
        level::Level::Guarded
    };
    Level {
        name: level.name(),
        means: level.means(),
        because,
    }
}
