//! `secondkey relay principals`: who acts at a relay, and where each of them stands.

use clap::{Args, Subcommand};

use crate::broker::holders::principal;
use crate::cli::relay::{Desk, time};
use crate::cli::{Exit, Failure, Shared, output, table};
use crate::core::life::Life;
use crate::core::principal::Principal;

/// What to do with principals.
#[derive(Args, Debug)]
pub(super) struct PrincipalsArgs {
    #[command(subcommand)]
    command: Command,
}

/// One thing to do with principals.
#[derive(Debug, Subcommand)]
enum Command {
    /// Everybody who has or had a key
    List,
    /// Have the keys of somebody count for nothing: a running relay ends their sessions and stops what they run
    /// within a second
    Suspend {
        /// Who, such as `ai:ada`
        #[arg(value_parser = principal)]
        who: Principal,
    },
    /// Let somebody who was suspended go on
    Resume {
        /// Who
        #[arg(value_parser = principal)]
        who: Principal,
    },
    /// End all keys of somebody, for good
    Retire {
        /// Who
        #[arg(value_parser = principal)]
        who: Principal,
    },
}

pub(super) async fn run(args: PrincipalsArgs, shared: Shared) -> Result<Exit, Failure> {
    let desk = Desk::open(shared)?;
    let (who, life) = match args.command {
        Command::List => return list(desk).await,
        Command::Suspend { who } => (who, Life::Suspended),
        Command::Resume { who } => (who, Life::Active),
        Command::Retire { who } => (who, Life::Retired),
    };
    let done = desk.members.set_life(&who, life, &desk.by).await;
    desk.close(done).await?;
    output::say(&format!("`{who}` is {life}."))?;
    Ok(Exit::Done)
}

async fn list(desk: Desk) -> Result<Exit, Failure> {
    let known = desk.members.principals().await;
    let known = desk.close(known).await?;
    let rows = known.into_iter().map(|known| {
        [
            known.name.to_string(),
            known.life.to_string(),
            time(known.since_ms),
            known.keys.to_string(),
        ]
    });
    let head = ["PRINCIPAL", "IS", "SINCE", "KEYS THAT COUNT"];
    output::say(&table::table(head, rows.collect()))?;
    Ok(Exit::Done)
}
