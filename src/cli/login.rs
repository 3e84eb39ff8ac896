//! `secondkey login`: keeps a person's API key for a relay, for the commands that go there.
//!
//! `logins/<host>.json` in the user's config folder, readable by nobody else.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::cli::errand::AwayArgs;
use crate::cli::{Exit, Failure, output};
use crate::config::{self, Surroundings};
use crate::core::refusal::{Code, Refusal};
use crate::reach::{Address, Reach};
use crate::wire::people::Call;

const EXAMPLES: &str = "\
Examples:
  SECONDKEY_API_KEY=skey_... secondkey login --relay https://relay.example.com
  secondkey login --relay https://relay.example.com --relay-key keyring:secondkey/relay
  secondkey requests list --relay https://relay.example.com
  secondkey login --relay https://relay.example.com --forget";

/// Keep your API key for a team's relay, so that `requests` and `approve` can go there
///
/// The key is one that was made for `human:` and your name. What counts when you approve is your signature, made on
/// this machine; the key only lets you see what waits.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct LoginArgs {
    #[command(flatten)]
    away: AwayArgs,
    /// Forget the key that is kept
    #[arg(long, conflicts_with_all = ["relay_key", "relay_ca", "allow_insecure"])]
    forget: bool,
}

/// What is kept for one relay.
pub(super) struct Kept {
    /// The key.
    pub(super) key: SecretString,
    /// The certificates that are trusted besides the system's.
    pub(super) authority: Option<PathBuf>,
}

/// The same, as it is written.
#[derive(Deserialize, Serialize)]
struct Written {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority: Option<PathBuf>,
}

pub(super) async fn run(args: LoginArgs) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let relay = args.away.relay(&around, false).ok_or_else(|| {
        Failure::Misused(
            Refusal::new(Code::InvalidArgument, "which relay is not said")
                .hint("add `--relay https://relay.example.com`"),
        )
    })?;
    let path = path(&relay, &around)?;
    if args.forget {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => {
                output::say(&format!("No key for {relay} is kept."))?;
                Ok(Exit::Done)
            }
        };
    }
    let key = config::secret_of(&args.away.key(), &around).map_err(Failure::Misused)?;
    let errand = args.away.errand_with(&relay, &key, None)?;
    // Nothing is kept that does not work.
    errand.ask(&Call::Trust {}).await?;
    let authority = args.away.authority().map(|path| around.folder.join(path));
    keep(&path, &key, authority)?;
    output::say(&format!(
        "The key for {relay} is kept in {}; `secondkey requests list --relay {relay}` uses it.",
        path.display()
    ))?;
    // Not every relay has a page, and not everybody may see it.
    if let Ok(link) = errand.page_link(None).await {
        output::say(&format!(
            "Its page is let into by {link}, once, within five minutes."
        ))?;
    }
    Ok(Exit::Done)
}

/// The file for a relay.
fn path(relay: &str, around: &Surroundings) -> Result<PathBuf, Failure> {
    let address = Address::parse(relay, Reach::default()).map_err(Failure::Misused)?;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
            c
        } else {
            '_'
        }
    };
    let host: String = address.host().chars().map(plain).collect();
    let folder = around.config_dir.clone().ok_or_else(|| {
        Refusal::new(
            Code::InvalidArgument,
            "there is no home folder to keep a key in",
        )
        .hint("name the key each time with `--relay-key`")
    })?;
    Ok(folder.join("logins").join(format!("{host}.json")))
}

/// What is kept for a relay. A file that others can read is refused.
pub(super) fn kept(relay: &str, around: &Surroundings) -> Result<Option<Kept>, Failure> {
    let path = path(relay, around)?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let open = path.metadata()?.permissions().mode() & 0o077 != 0;
    let written: Option<Written> = serde_json::from_str(&text).ok().filter(|_| !open);
    let written = written.ok_or_else(|| {
        let sentence = format!("`{}` can be read by others, or is damaged", path.display());
        Refusal::new(Code::InvalidArgument, sentence).hint("run `secondkey login` again")
    })?;
    Ok(Some(Kept {
        key: SecretString::from(written.key),
        authority: written.authority,
    }))
}

fn keep(path: &Path, key: &SecretString, authority: Option<PathBuf>) -> Result<(), Failure> {
    let written = Written {
        key: key.expose_secret().to_owned(),
        authority,
    };
    let text = serde_json::to_string(&written).map_err(std::io::Error::other)?;
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    // In place of the old one at once, or not at all.
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    Ok(())
}
