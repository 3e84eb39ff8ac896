//! `secondkey relay backup` and `restore`: a relay's whole state, to be kept elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::cli::place::person;
use crate::cli::relay::Desk;
use crate::cli::{Databases, Exit, Failure, Shared, output, table};
use crate::clock::SystemClock;
use crate::config::{Flags, Home, Surroundings};
use crate::core::audit::{Draft, EventKind};
use crate::core::refusal::{Code, Refusal};
use crate::store::{State, backup};

/// Where to.
#[derive(Args, Debug)]
pub(super) struct BackupArgs {
    /// The folder to make; it must not be there yet
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

/// Where from.
#[derive(Args, Debug)]
pub(super) struct RestoreArgs {
    /// What `secondkey relay backup` has made
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
}

pub(super) async fn back_up(args: BackupArgs, shared: Shared) -> Result<Exit, Failure> {
    let flags = whole(shared.clone())?;
    let root = Home::find(&flags, &Surroundings::of_process())?.state_dir;
    if State::is_shared(&root).map_err(Refusal::from)? {
        let sentence =
            "the tables of this relay are at a PostgreSQL server, and not in its state folder";
        return Err(Failure::Refused(
            Refusal::new(Code::InvalidArgument, sentence).hint(
                "back that database up with its own means (`pg_dump`), and keep a copy of the folder `keys` elsewhere",
            ),
        ));
    }
    let desk = Desk::open(shared)?;
    let (state, to) = (desk.place.state.clone(), args.to.clone());
    let made = async {
        let draft = Draft::new(state.now(), EventKind::StateBackedUp).by(&desk.by);
        state.log().append(draft).await?;
        let now = state.now();
        let copying = tokio::task::spawn_blocking(move || backup::back_up(&root, &to, now));
        copying.await.map_err(|_| broken())??;
        Ok(())
    };
    let made = made.await;
    desk.close(made).await?;
    output::say(&format!(
        "The backup is in `{}`. It holds the relay's private keys and everything that its state folder holds: keep it as you keep that.",
        args.to.display()
    ))?;
    Ok(Exit::Done)
}

pub(super) async fn restore(args: RestoreArgs, shared: Shared) -> Result<Exit, Failure> {
    let flags = whole(shared)?;
    let around = Surroundings::of_process();
    let to = Home::find(&flags, &around)?.state_dir;
    let by = person(&around);
    let restored = backup::restore(&args.from, &to, &by, Arc::new(SystemClock)).await;
    let restored = restored.map_err(Refusal::from)?;
    let rows = restored.workspaces.into_iter().map(|(name, verified)| {
        [
            name.to_string(),
            verified.entries.to_string(),
            verified.link.to_string(),
        ]
    });
    output::say(&format!(
        "{}\n\nThis is the relay as of {}, in `{}`. Every log holds up to that entry; hold a head that was kept elsewhere against it with \
         `secondkey audit verify --head`.\n\
         What was ended after that time counts again: look through `secondkey relay keys list`, `relay agents list` and `relay principals list`.",
        table::table(["WORKSPACE", "ENTRIES", "LAST LINK"], rows.collect()).trim_end(),
        restored.made,
        to.display()
    ))?;
    Ok(Exit::Done)
}

/// The flags of a command that is about all workspaces.
fn whole(shared: Shared) -> Result<Flags, Failure> {
    if shared.workspace.is_some() {
        let refusal = Refusal::new(Code::InvalidArgument, "a backup is of the whole relay");
        return Err(Failure::Misused(refusal.hint("leave out `--workspace`")));
    }
    Ok(shared.into_flags(Databases::default()))
}

fn broken() -> Refusal {
    Refusal::new(Code::Internal, "the copying broke; see the log on stderr")
}
