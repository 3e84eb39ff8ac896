//! Which of the two levels of `docs/security.md` this set-up is, from who really owns what.

use std::path::Path;

use crate::cli::doctor::report::Level;
use crate::config::{Config, Surroundings, user_id};
use crate::core::level;

/// Says which level a set-up is.
///
/// This is about a client that starts `secondkey mcp` with this configuration: broker and agent are one
/// process then, so whoever owns the process owns the credentials. *Separated* is what
/// `secondkey doctor --agent` can find.
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
    because.push("`secondkey agent` as a user of its own would separate them".to_owned());
    Level {
        name: level::Level::Guarded.name(),
        means: level::Level::Guarded.means(),
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
