//! `secondkey trust install`: pins a version that others have signed, or all that follow in an export.

use std::path::Path;

use crate::cli::desk::Desk;
use crate::cli::trust::{about, pin, read};
use crate::cli::{Exit, Failure, files, output};
use crate::core::refusal::{Code, Refusal};
use crate::core::trust::{LONGEST, SignedTrust};

/// The most versions in one export.
const MOST: usize = 1_000;

pub(super) async fn install(desk: &Desk, file: &Path) -> Result<Exit, Failure> {
    let longest = LONGEST.saturating_mul(MOST) as u64;
    let bytes = files::read(file, longest).map_err(|error| about(file, &error))?;
    // A file of one version is written over many lines, an export has one for each version.
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    let all: Option<Vec<_>> = lines.map(|line| SignedTrust::parse(line).ok()).collect();
    match all {
        Some(all) if all.len() > 1 => follow(desk, all).await,
        Some(_) | None => pin(desk, read(file)?).await,
    }
}

/// Pins those that follow the one that is pinned, one after another. What is pinned already has to be the same.
async fn follow(desk: &Desk, all: Vec<SignedTrust>) -> Result<Exit, Failure> {
    let pinned = desk.trust_versions().await?;
    let mut news = false;
    for signed in all {
        let version = signed.trust.version;
        let known = pinned.iter().find(|one| one.trust.version == version);
        match known {
            Some(known) if known.trust.digest() == signed.trust.digest() => {}
            Some(_) => {
                let sentence =
                    format!("another version {version} of the trust file is pinned here");
                return Err(Refusal::new(Code::TrustRefused, sentence)
                    .hint("compare both with `secondkey trust export --json`, and ask the trust admins")
                    .into());
            }
            None => {
                pin(desk, signed).await?;
                news = true;
            }
        }
    }
    if !news {
        output::say("Every version in the file is pinned here already.")?;
    }
    Ok(Exit::Done)
}
