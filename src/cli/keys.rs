//! `secondkey keys`: replace the keys of the state folder.

use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{Home, Surroundings};
use crate::core::refusal::{Code, Refusal};
use crate::store::{KeyKind, State};
use crate::telemetry;

/// Replace the keys that sign execution tokens and heads of the audit log
#[derive(Args, Debug)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: Command,
}

/// One thing to do with the keys.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new key and delete the private half of the old one
    ///
    /// Running servers take the new key with their next call. Tokens of the old token key are accepted for two
    /// more minutes; heads of the old audit key stay valid.
    Rotate(RotateArgs),
}

/// What to replace.
#[derive(Args, Debug)]
struct RotateArgs {
    /// Which key
    kind: Kind,
}

/// The keys there are.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The key that signs heads of the audit log
    Audit,
    /// The key that signs execution tokens
    Token,
}

pub(super) async fn run(args: KeysArgs, shared: Shared) -> Result<Exit, Failure> {
    let Command::Rotate(RotateArgs { kind }) = args.command;
    let home = Home::find(
        &shared.into_flags(Databases::default()),
        &Surroundings::of_process(),
    )?;
    telemetry::start(&home.log);
    if !State::exists(&home.state_dir) {
        return Err(Failure::Refused(
            Refusal::new(
                Code::InvalidArgument,
                format!("there are no keys in `{}`", home.state_dir.display()),
            )
            .hint("name the state folder with --state; a server makes it on its first run"),
        ));
    }
    let state = State::open(&home.state_dir, Arc::new(SystemClock)).map_err(Refusal::from)?;
    let kind = match kind {
        Kind::Audit => KeyKind::Audit,
        Kind::Token => KeyKind::Token,
    };
    let id = state.rotate_key(kind).await.map_err(Refusal::from)?;
    state.close().await.map_err(Refusal::from)?;
    output::say(&format!("The {} key is now {id}.", kind.as_str()))?;
    Ok(Exit::Done)
}
