//! `secondkey relay workspaces`: tenants of one relay that know nothing of each other.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::cli::relay::keys::everywhere;
use crate::cli::relay::{Desk, first_key};
use crate::cli::{Databases, Exit, Failure, Shared, output, table};
use crate::clock::SystemClock;
use crate::config::{Home, Surroundings};
use crate::core::audit::{Draft, EventKind};
use crate::core::notice::Network;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::workspace::WorkspaceName;
use crate::store::{Members, State, Workspaces};

/// What to do with workspaces.
#[derive(Args, Debug)]
pub(super) struct WorkspacesArgs {
    #[command(subcommand)]
    command: Command,
}

/// One thing to do with workspaces.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a workspace and its first API key, which is shown once; a running relay serves it within a second
    Create {
        /// Its name
        name: WorkspaceName,
    },
    /// Every workspace, and the state folder of each
    List,
    /// Say from which addresses the API keys of a workspace are taken; without `--from`, from everywhere
    AllowFrom {
        /// Its name
        name: WorkspaceName,
        /// A block of addresses, such as `10.1.0.0/16`. Repeatable
        #[arg(long, value_name = "CIDR")]
        from: Vec<Network>,
    },
    /// Take a workspace away from the relay; its folder is kept under `removed`
    Remove {
        /// Its name
        name: WorkspaceName,
    },
}

pub(super) async fn run(args: WorkspacesArgs, shared: Shared) -> Result<Exit, Failure> {
    if shared.workspace.is_some() {
        let refusal = Refusal::new(Code::InvalidArgument, "workspaces are the whole relay's");
        return Err(Failure::Misused(refusal.hint("leave out `--workspace`")));
    }
    let flags = shared.clone().into_flags(Databases::default());
    let root = Home::find(&flags, &Surroundings::of_process())?.state_dir;
    let workspaces = Workspaces::of(&root);
    let desk = Desk::open(shared)?;
    let (state, by) = (desk.place.state.clone(), desk.by.clone());
    let done = match args.command {
        Command::Create { name } => create((&workspaces, &state), &name, &by).await,
        Command::Remove { name } => remove((workspaces, &state), name, &by).await,
        Command::AllowFrom { name, from } => allow((&workspaces, &state), &name, (from, &by)).await,
        Command::List => list(&workspaces),
    };
    let said = desk.close(done).await?;
    output::say(&said)?;
    Ok(Exit::Done)
}

fn list(workspaces: &Workspaces) -> Result<String, Refusal> {
    let mut names = vec![WorkspaceName::first()];
    names.extend(workspaces.further()?);
    let rows = names.into_iter().map(|name| {
        let folder = workspaces.path(&name).display().to_string();
        [name.to_string(), folder]
    });
    Ok(table::table(["WORKSPACE", "STATE FOLDER"], rows.collect()))
}

async fn allow(
    (workspaces, relay): (&Workspaces, &State),
    name: &WorkspaceName,
    (from, by): (Vec<Network>, &Principal),
) -> Result<String, Refusal> {
    if !workspaces.is_there(name) {
        return Err(unknown(name));
    }
    let state = if name.is_first() {
        relay.clone()
    } else {
        State::open(&workspaces.path(name), Arc::new(SystemClock))?
    };
    let allowed = Members::open(&state)?.allow_from(&from, by).await;
    if !name.is_first() {
        state.close().await?;
    }
    allowed?;
    Ok(format!(
        "API keys of the workspace `{name}` are taken from: {}.",
        everywhere(&from)
    ))
}

fn unknown(name: &WorkspaceName) -> Refusal {
    let sentence = format!("there is no workspace `{name}`");
    Refusal::new(Code::InvalidArgument, sentence)
        .hint("`secondkey relay workspaces list` shows them")
}

async fn create(
    (workspaces, relay): (&Workspaces, &State),
    name: &WorkspaceName,
    by: &Principal,
) -> Result<String, Refusal> {
    let taken = || {
        let sentence = format!("there is a workspace `{name}` already");
        Refusal::new(Code::InvalidArgument, sentence)
            .hint("make further keys with `secondkey relay keys create --workspace`")
    };
    if name.is_first() {
        return Err(taken());
    }
    let new = workspaces.make(name)?;
    let state = State::open(&workspaces.path(name), Arc::new(SystemClock))?;
    // One that was only half made, because somebody has pulled the plug, is finished.
    let key = if !new && Members::exist(&state) {
        Err(taken())
    } else {
        made((&state, relay), name, by).await
    };
    state.close().await?;
    key
}

async fn made(
    (state, relay): (&State, &State),
    name: &WorkspaceName,
    by: &Principal,
) -> Result<String, Refusal> {
    for log in [relay.log(), state.log()] {
        let draft = Draft::new(relay.now(), EventKind::WorkspaceCreated)
            .by(by)
            .text("workspace", name.as_str());
        log.append(draft).await?;
    }
    let key = first_key(&Members::open(state)?, by).await?;
    Ok(format!(
        "The workspace `{name}` is made. {key}\n\
         Next: `secondkey relay join-token --workspace {name}` for an agent, `secondkey relay keys create --workspace {name}` for a client."
    ))
}

async fn remove(
    (workspaces, relay): (Workspaces, &State),
    name: WorkspaceName,
    by: &Principal,
) -> Result<String, Refusal> {
    if name.is_first() {
        return Err(Refusal::new(
            Code::InvalidArgument,
            "the first workspace is the relay itself",
        )
        .hint("stop the relay, and keep its state folder for as long as its log is wanted"));
    }
    if !workspaces.is_there(&name) {
        return Err(unknown(&name));
    }
    let state = State::open(&workspaces.path(&name), Arc::new(SystemClock))?;
    let draft = || {
        Draft::new(relay.now(), EventKind::WorkspaceRemoved)
            .by(by)
            .text("workspace", name.as_str())
    };
    let recorded = state.log().append(draft()).await;
    state.close().await?;
    recorded?;
    relay.log().append(draft()).await?;
    let (now, gone) = (relay.now(), name.clone());
    let moved = tokio::task::spawn_blocking(move || workspaces.remove(&gone, now));
    let to: PathBuf = moved
        .await
        .map_err(|_| Refusal::new(Code::Internal, "the folder could not be moved"))??;
    let to = to.display();
    Ok(format!(
        "The workspace `{name}` is no more. Its folder is kept at {to}."
    ))
}
