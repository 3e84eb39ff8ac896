//! What the doctor says of the state folder: whether it is there, whose it is, who can read it.

use std::fs::{self, OpenOptions};
use std::path::Path;

use crate::clock::SystemClock;
use crate::core::mode::Mode;
use crate::core::time::Clock as _;
use crate::exec::Check;
use crate::store::{State, open_reviews};

/// A review that is open for longer than this is warned about, in milliseconds: a day.
const LONG_OPEN_MS: i64 = 24 * 60 * 60 * 1_000;

/// Examines a state folder without making or changing it.
pub(super) fn examine(folder: &Path) -> Vec<Check> {
    let shown = folder.display();
    let facts = match fs::metadata(folder) {
        Ok(facts) => facts,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![to_be_made(folder)];
        }
        Err(error) => {
            return vec![Check::bad(
                format!("{shown} cannot be read: {}", error.kind()),
                "without its state folder nothing runs; mend that, or name another with --state",
            )];
        }
    };
    if !facts.is_dir() {
        return vec![Check::bad(
            format!("{shown} is not a folder"),
            "name another with --state",
        )];
    }
    let mut checks = vec![writable(folder)];
    checks.extend(private(folder));
    checks.extend(reviews(folder));
    checks.extend(waiting(folder));
    checks.push(mode(folder));
    checks
}

/// In which of the modes of `docs/deploy.md` it is used.
fn mode(folder: &Path) -> Check {
    Check::good(match State::mode_of(folder) {
        Mode::Local => "mode: local",
        Mode::Fleet => "mode: fleet, by a relay or an agent that has joined one",
        Mode::Cluster => "mode: cluster, by a relay whose tables are at a PostgreSQL server",
    })
}

/// How many requests wait for people.
fn waiting(folder: &Path) -> Option<Check> {
    State::exists(folder).then(|| match State::waiting_in(folder, SystemClock.now()) {
        Ok(0) => Check::good("no request waits for people"),
        Ok(1) => {
            Check::good("1 request waits for people: `secondkey requests list --status pending`")
        }
        Ok(many) => Check::good(format!(
            "{many} requests wait for people: `secondkey requests list --status pending`"
        )),
        Err(error) => Check::bad(
            error.to_string(),
            "see whether the file `state.db` in the state folder is whole",
        ),
    })
}

/// A folder that is not there yet, judged by the nearest one above it.
fn to_be_made(folder: &Path) -> Check {
    let above = folder.ancestors().skip(1).find(|above| above.exists());
    let probed = above.map(|above| tempfile::Builder::new().prefix("doctor-").tempdir_in(above));
    match probed {
        Some(Ok(_)) => Check::good(format!("{} is made on first use", folder.display())),
        Some(Err(_)) | None => Check::bad(
            format!("{} cannot be made", folder.display()),
            "name another state folder with --state",
        ),
    }
}

/// Whether somebody still has to look at what was run ahead of its review.
fn reviews(folder: &Path) -> Option<Check> {
    let open = match open_reviews(folder) {
        Ok(open) => open,
        Err(error) => {
            return Some(Check::bad(
                format!("the requests cannot be read: {error}"),
                "see whether the disk is full, or another program holds the file",
            ));
        }
    };
    let oldest = open.iter().min()?;
    let age = SystemClock.now().unix_ms().saturating_sub(oldest.unix_ms());
    let said = match open.len() {
        1 => "the review of 1 request that broke the glass is open".to_owned(),
        several => format!("the reviews of {several} requests that broke the glass are open"),
    };
    if age < LONG_OPEN_MS {
        return Some(Check::good(said));
    }
    Some(Check::warning(
        format!("{said}, since {oldest}"),
        "`secondkey requests list --reviews` shows them; somebody else than whoever broke the glass closes them with `secondkey requests review`",
    ))
}

fn writable(folder: &Path) -> Check {
    let probe = folder.join(format!("doctor-{}.probe", std::process::id()));
    match OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(file) => {
            drop(file);
            // A probe that stays is an empty file; it must not hide what was found.
            let _stays = fs::remove_file(&probe);
            Check::good(format!("{} can be written", folder.display()))
        }
        Err(error) => Check::bad(
            format!("{} cannot be written: {}", folder.display(), error.kind()),
            "nothing runs unless it can be recorded there; mend that, or name another with --state",
        ),
    }
}

#[cfg(unix)]
fn private(folder: &Path) -> Vec<Check> {
    use std::os::unix::fs::PermissionsExt as _;
    let open = |path: &Path| {
        let facts = fs::metadata(path).ok()?;
        Some(facts.permissions().mode() & 0o077).filter(|others| *others != 0)
    };
    let mut checks = Vec::new();
    if open(folder).is_some() {
        checks.push(Check::bad(
            "other users can enter the state folder",
            format!("chmod 700 '{}'", folder.display()),
        ));
    } else {
        checks.push(Check::good("no other user can enter it"));
    }
    let keys = folder.join("keys");
    let files = fs::read_dir(&keys).into_iter().flatten().flatten();
    let exposed: Vec<_> = files
        .map(|entry| entry.path())
        .filter(|path| open(path).is_some())
        .map(|path| format!("'{}'", path.display()))
        .collect();
    if !exposed.is_empty() {
        checks.push(Check::bad(
            format!("{} key file(s) can be read by other users", exposed.len()),
            format!("chmod 600 {}; then replace the keys", exposed.join(" ")),
        ));
    } else if keys.is_dir() {
        checks.push(Check::good("the key files are private"));
    }
    checks
}

#[cfg(not(unix))]
fn private(_folder: &Path) -> Vec<Check> {
    Vec::new()
}
