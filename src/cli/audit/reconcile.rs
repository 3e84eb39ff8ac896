//! `secondkey audit reconcile`: does a relay still show the history that was kept here?

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use clap::Args;

use crate::cli::audit::kept::{look, open, with};
use crate::cli::errand::{AwayArgs, Errand};
use crate::cli::{Databases, Exit, Failure, Shared};
use crate::config::{Home, Surroundings};
use crate::core::audit::entry::link;
use crate::core::audit::{Break, Checker, Head, Stored, Verified, first_link};
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Timestamp;
use crate::store::audit_cache::{Answered, AuditCache, Whose};
use crate::telemetry;
use crate::wire::audit::{LEAVES, Leaves, MOST_LEAVES};

const EXAMPLES: &str = "\
Examples:
  secondkey audit reconcile --relay https://relay.example.com
  secondkey audit reconcile --relay https://relay.example.com --relay-key file:/run/secrets/key

Exit code 1: the relay shows another history than it did.";

/// Prove that a relay still shows the history that it showed before, or show where it does not
///
/// `secondkey mcp --relay` keeps, beside the client, the entries of its own requests and the signed heads that the
/// relay gave out. This reads the digests of the whole log and holds them against all that.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    away: AwayArgs,
}

/// What is kept of a log.
struct Kept {
    bodies: BTreeMap<u64, String>,
    heads: Vec<Head>,
    keys: Vec<Timestamp>,
    answered: u64,
    without_entry: Vec<Answered>,
}

/// How a log stands to what is kept of it.
struct Found {
    outcome: Result<Verified, Break>,
    kept: Kept,
    /// Nothing was kept before.
    is_new: bool,
}

pub(super) async fn run(args: ReconcileArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let home = Home::find(&shared.into_flags(Databases::default()), &around)?;
    telemetry::start(&home.log);
    let relay = args.away.relay(&around, false).ok_or_else(|| {
        let refusal = Refusal::new(Code::InvalidArgument, "which relay is not said");
        Failure::Misused(refusal.hint("add `--relay https://relay.example.com`"))
    })?;
    let errand = args.away.errand(&relay, &around)?;
    let path = AuditCache::path(&home.state_dir, errand.host());
    let cache = open(path.clone()).await?;
    let found = reconcile(&errand, &cache).await?;
    let mut out = io::stdout().lock();
    write_report(&found, &path, &mut out)?;
    let same = found.outcome.is_ok() && found.kept.without_entry.is_empty();
    Ok(if same { Exit::Done } else { Exit::Failed })
}

async fn reconcile(errand: &Errand, cache: &Arc<AuditCache>) -> Result<Found, Refusal> {
    let is_new = with(cache, AuditCache::is_empty).await?;
    // What has come since is kept first: it is held against the rest, too.
    let (whose, _) = look(errand, cache, None).await?;
    let workspace = whose.workspace.clone();
    let kept = with(cache, move |cache| kept(cache, &whose)).await?;
    let outcome = retrace(errand, &workspace, &kept).await?;
    Ok(Found {
        outcome,
        kept,
        is_new,
    })
}

fn kept(cache: &AuditCache, whose: &Whose) -> Result<Kept, crate::store::StoreError> {
    let workspace = &whose.workspace;
    let keys = cache.keys(workspace)?;
    let public: Vec<_> = keys.iter().map(|(key, _)| *key).collect();
    let notes = cache.notes(workspace)?;
    // Each was opened when it came.
    let heads = notes
        .iter()
        .filter_map(|note| Head::open(note, &public).ok());
    Ok(Kept {
        bodies: cache.bodies(workspace)?.into_iter().collect(),
        heads: heads.collect(),
        keys: keys.into_iter().map(|(_, since)| since).collect(),
        answered: cache.count_answered(whose)?,
        without_entry: cache.without_entry(whose)?,
    })
}

/// Walks the chain that the relay shows now, from its beginning to the last head that is kept.
async fn retrace(
    errand: &Errand,
    workspace: &str,
    kept: &Kept,
) -> Result<Result<Verified, Break>, Refusal> {
    let mut checker = Checker::new(workspace, kept.heads.iter().cloned());
    let wanted = kept.heads.iter().map(|head| head.count).max();
    let wanted = wanted.unwrap_or_default();
    let (mut sequence, mut end) = (0_u64, first_link(workspace));
    while sequence < wanted {
        let limit = MOST_LEAVES.min(wanted.saturating_sub(sequence));
        let path = format!("{LEAVES}?since={sequence}&limit={limit}");
        let shown: Leaves = errand.get(&path).await?;
        let is_last = shown.leaves.is_empty();
        for leaf in shown
            .leaves
            .into_iter()
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
        {
            sequence = sequence.saturating_add(1);
            end = link(&end, &leaf);
            let body = kept.bodies.get(&sequence);
            let pushed = checker.push(&Stored {
                sequence,
                body: body.map(|body| body.as_bytes().to_vec()),
                leaf,
                link: end,
            });
            if let Err(found) = pushed {
                return Ok(Err(found));
            }
        }
        if is_last {
            break;
        }
    }
    Ok(checker.finish())
}

fn write_report(found: &Found, path: &Path, out: &mut dyn Write) -> io::Result<()> {
    let kept = &found.kept;
    match &found.outcome {
        Err(broken) => {
            writeln!(
                out,
                "The relay's audit log is not the one that it showed before: {broken}.\n\
                 Keep `{}`: it holds the heads that the relay has signed, and {} entries.",
                path.display(),
                kept.bodies.len()
            )?;
        }
        Ok(verified) => {
            writeln!(
                out,
                "The relay shows the log that it showed before: {} entries. {} of them and {} signed heads are kept here.",
                verified.entries,
                kept.bodies.len(),
                kept.heads.len()
            )?;
        }
    }
    if found.is_new {
        writeln!(
            out,
            "Nothing of it was kept here before; from now on there is something to hold it against."
        )?;
    }
    for one in &kept.without_entry {
        writeln!(
            out,
            "The log does not have request {}, which was answered here at {}.",
            one.request, one.at
        )?;
    }
    if found.outcome.is_ok() && kept.without_entry.is_empty() && kept.answered > 0 {
        writeln!(
            out,
            "It has all {} requests that were answered here.",
            kept.answered
        )?;
    }
    if let [_, .., newest] = kept.keys.as_slice() {
        writeln!(
            out,
            "Its heads are signed by {} keys, the newest seen first at {newest}; somebody has to have rotated the relay's audit key before that.",
            kept.keys.len()
        )?;
    }
    Ok(())
}
