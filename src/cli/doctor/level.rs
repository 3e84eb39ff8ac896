//! Which of the two levels of `docs/security.md` this set-up is, from who really owns what.

use std::path::Path;

use crate::cli::doctor::report::Level;
use crate::config::{Config, Surroundings, user_id};

/// Says which level a set-up is.
///
/// *Separated* needs an agent that runs as its own user, which this version does not have: broker
/// and agent are one process, so whoever owns the process owns the credentials.
pub(super) fn of(config: &Config, around: &Surroundings) -> Level {
    let user = around.os_user();
    let mut because = vec![format!(
        "SecondKey runs as `{user}`, in a process that the client starts and that holds the credentials"
    )];
    if user_id() == Some(0) {
        because.push("this is the superuser; a user of its own would be better".to_owned());
    }
    because.extend(owner("state folder", &config.home.state_dir));
    because.extend(
        config
            .file
            .as_deref()
            .and_then(|file| owner("configuration", file)),
    );
    Level {
        name: "Guarded",
        means: "stops mistakes and injected text, not a hostile shell",
        because,
    }
}

/// Who owns a file, where the platform says so.
#[cfg(unix)]
fn owner(what: &str, path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(path).ok()?.uid();
    Some(match user_id() {
        Some(user) if user == owner => format!("the {what} belongs to the same user"),
        Some(_) | None => format!("the {what} belongs to the user with the id {owner}"),
    })
}

#[cfg(not(unix))]
fn owner(_what: &str, _path: &Path) -> Option<String> {
    None
}
