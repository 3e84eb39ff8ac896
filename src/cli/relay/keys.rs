//! `secondkey relay keys`: API keys.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;

use crate::broker::holders::{self, holder, role};
use crate::cli::relay::{Desk, time};
use crate::cli::{Exit, Failure, Shared, output, table};
use crate::core::notice::Network;
use crate::core::principal::Principal;
use crate::core::quantity;
use crate::core::quota::Allowance;
use crate::store::members::{Issued, Wanted};

/// What to do with API keys.
#[derive(Args, Debug)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: Command,
}

/// One thing to do with API keys.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key, which is shown once
    Create(CreateArgs),
    /// Every key there ever was; no secrets
    List,
    /// Make a key like another, which counts for a while more
    Rotate {
        /// The key's id: what stands between the first and the second `_`
        id: String,
        /// How long the old one counts: a time with its unit, such as `10m`
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
        overlap: i64,
    },
    /// End a key; a running relay ends its sessions within a second
    Revoke {
        /// The key's id
        id: String,
    },
}

/// Whose key, and what for.
#[derive(Args, Debug)]
struct CreateArgs {
    /// Who acts by it: `ai:NAME` for a model's client, `human:NAME`, or `service:NAME`
    #[arg(long = "for", value_name = "PRINCIPAL", value_parser = holder)]
    holder: Principal,
    /// `developer` runs what the policies allow, `readonly` reads, `admin` runs nothing; or a role of your own
    /// for the policies, which alone reads. Repeatable
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = role)]
    roles: Vec<String>,
    /// How long it counts: a time with its unit, such as `90d`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires_in: Option<i64>,
    /// Take it from these addresses alone, such as `10.1.0.0/16`. Repeatable
    #[arg(long = "from", value_name = "CIDR")]
    from: Vec<Network>,
    /// Requests that it may make in a minute; more are answered with 429
    #[arg(long, value_name = "N", default_value_t = Allowance::DEFAULT.per_minute, value_parser = at_least_one())]
    per_minute: u32,
    /// Bytes of answers that it may fetch in a minute, such as `64MiB`; then 429, until they are worked off
    #[arg(long, value_name = "SIZE", default_value = "1024MiB", value_parser = size)]
    bytes_per_minute: u64,
    /// Statements that it may have under way at the same time
    #[arg(long, value_name = "N", default_value_t = Allowance::DEFAULT.at_once, value_parser = at_least_one())]
    at_once: u32,
    /// Requests of its holder that may wait for people at the same time
    #[arg(long, value_name = "N", default_value_t = Allowance::DEFAULT.waiting, value_parser = at_least_one())]
    waiting: u32,
}

/// A number that leaves something to do, and that a semaphore can count.
fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(holders::MOST))
}

fn size(text: &str) -> Result<u64, String> {
    let size = quantity::bytes(text).filter(|size| (1..=holders::MOST_BYTES).contains(size));
    size.ok_or_else(|| "expected a size of at least one byte, such as `64MiB`".to_owned())
}

/// Milliseconds; hours and days too, which keys live for.
fn duration(text: &str) -> Result<i64, String> {
    let long = [("h", 3_600_000), ("d", 86_400_000)].into_iter();
    let long = long.filter_map(|(unit, ms)| {
        let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(ms)
    });
    let short = || i64::try_from(quantity::milliseconds(text)?).ok();
    let found = long.into_iter().next().or_else(short);
    found
        .filter(|ms| *ms >= 0)
        .ok_or_else(|| "expected a time with its unit, such as `10m`, `12h` or `90d`".to_owned())
}

pub(super) async fn run(args: KeysArgs, shared: Shared) -> Result<Exit, Failure> {
    let desk = Desk::open(shared)?;
    match args.command {
        Command::Create(args) => {
            let roles: BTreeSet<String> = args.roles.into_iter().collect();
            let now = desk.place.state.now().unix_ms();
            let expires = args.expires_in.map(|life| now.saturating_add(life));
            let wanted = Wanted {
                principal: args.holder,
                roles,
                allowance: Allowance {
                    per_minute: args.per_minute,
                    bytes_per_minute: args.bytes_per_minute,
                    at_once: args.at_once,
                    waiting: args.waiting,
                },
                from: args.from,
                expires_ms: expires,
            };
            let issued = desk.members.issue(wanted, &desk.by).await;
            show(&desk.close(issued).await?)?;
        }
        Command::Rotate { id, overlap } => {
            let issued = desk.members.rotate(&id, overlap, &desk.by).await;
            show(&desk.close(issued).await?)?;
        }
        Command::Revoke { id } => {
            let revoked = desk.members.revoke(&id, None, &desk.by).await;
            let key = desk.close(revoked).await?;
            output::say(&format!(
                "The key {} of `{}` counts no more.",
                key.id, key.principal
            ))?;
        }
        Command::List => list(desk).await?,
    }
    Ok(Exit::Done)
}

async fn list(desk: Desk) -> Result<(), Failure> {
    let now = desk.place.state.now().unix_ms();
    let keys = desk.members.api_keys().await;
    let keys = desk.close(keys).await?;
    let head = [
        "KEY",
        "OF",
        "ROLES",
        "MADE",
        "LAST USED",
        "EXPIRES",
        "PER MINUTE",
        "AT ONCE",
        "FROM",
        "COUNTS",
    ];
    let rows = keys.into_iter().map(|key| {
        let counts = if key.counts(now) { "yes" } else { "no" };
        let roles: Vec<_> = key.roles.into_iter().collect();
        [
            key.id,
            key.principal.to_string(),
            roles.join(","),
            time(Some(key.created_ms)),
            time(key.used_ms),
            time(key.expires_ms),
            key.allowance.per_minute.to_string(),
            key.allowance.at_once.to_string(),
            everywhere(&key.from),
            counts.to_owned(),
        ]
    });
    output::say(&table::table(head, rows.collect()))?;
    Ok(())
}

/// From where something may be used, in words.
pub(super) fn everywhere(networks: &[Network]) -> String {
    if networks.is_empty() {
        return "everywhere".to_owned();
    }
    let words: Vec<_> = networks.iter().map(ToString::to_string).collect();
    words.join(",")
}

/// The one time that a key is shown: alone on standard output, so that it can be piped to where it is kept.
fn show(issued: &Issued) -> Result<(), Failure> {
    output::complain(&format!(
        "The key {} of `{}`, shown once:",
        issued.key.id, issued.key.principal
    ));
    output::say(issued.secret.expose_secret())?;
    Ok(())
}
