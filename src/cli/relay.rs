//! `secondkey relay`: what a team's clients and agents meet at, and who may come to it.

mod backup;
mod keys;
mod opening;
mod principals;
mod serve;
mod store;
mod workspaces;

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;

use crate::cli::place::{Place, person};
use crate::cli::{Exit, Failure, Shared, output, table};
use crate::config::{self, Flags, Home, Surroundings};
use crate::core::ids::AgentId;
use crate::core::notice::Network;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::quota::Allowance;
use crate::core::refusal::{Code, Refusal};
use crate::core::target::TargetName;
use crate::core::time::Timestamp;
use crate::store::members::Wanted;
use crate::store::{Members, State};
use backup::{BackupArgs, RestoreArgs};
use keys::KeysArgs;
use principals::PrincipalsArgs;
use workspaces::WorkspacesArgs;

const EXAMPLES: &str = "\
Examples:
  secondkey relay init --state /var/lib/secondkey-relay
  secondkey relay --state /var/lib/secondkey-relay --listen 0.0.0.0:7330 --host relay.example.com \\
      --tls-certificate relay.pem --tls-key relay.key
  secondkey relay join-token --serves orders --state /var/lib/secondkey-relay
  secondkey relay keys create --for ai:ada --role developer --state /var/lib/secondkey-relay";

/// Serve a team: clients with API keys, and agents that dial in from beside the databases
///
/// Decides, keeps requests, signs execution tokens. It holds no database credential and opens no
/// connection to a database; each agent verifies and judges everything again.
///
/// What the flags below say can stand in the `secondkey.toml` that `secondkey relay init` puts into the state folder, too.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct RelayArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// How to serve.
#[derive(Args, Debug)]
struct ServeArgs {
    /// Listen here; port 0 takes any free one [default: 127.0.0.1:7330]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// A name under which clients reach it, besides this machine's own. Repeatable
    #[arg(long = "host", value_name = "NAME[:PORT]")]
    hosts: Vec<String>,
    /// Serve the web page to people's browsers at this address, as they see it: `https://relay.example.com`. They come in
    /// with `secondkey page --link --relay URL`
    #[arg(long, value_name = "URL")]
    page: Option<String>,
    /// The certificate, with those between it and its authority, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Listen without TLS on an address that others reach: API keys and rows can be read on the way, unless a
    /// proxy on this machine or in its own network does the TLS
    #[arg(long, conflicts_with = "tls_certificate")]
    plain_http_on_the_network: bool,
    /// Believe these addresses when they say in `X-Forwarded-For` where a client is: your proxy's. Repeatable
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    trusted_proxies: Vec<Network>,
    /// Connections from one address at the same time, but for trusted proxies [default: 2048]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    connections_per_address: Option<u32>,
    /// Keep requests, keys and the audit log in this PostgreSQL: `env:NAME` or `file:PATH` of its URL. Once is enough:
    /// the state folder remembers it
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Be one of several relays on one store, which reach this one here: an address of this machine in a network
    /// that is theirs. They know each other by `keys/cluster.key`
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Serve numbers for Prometheus at `/metrics` here, without a key: on this machine alone, unless
    /// `--metrics-on-the-network` is given
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Let whoever reaches the address of `--metrics` read them
    #[arg(long, requires = "metrics")]
    metrics_on_the_network: bool,
}

/// Who may come, and how a relay begins.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a relay's state folder and its first API key, which is shown once
    Init(InitArgs),
    /// Make a token by which one agent can join, once, within an hour
    JoinToken(JoinTokenArgs),
    /// API keys of clients
    Keys(KeysArgs),
    /// Agents that have joined
    Agents(AgentsArgs),
    /// Who acts here: suspend them, let them go on, retire them
    Principals(PrincipalsArgs),
    /// Workspaces: tenants that know nothing of each other
    Workspaces(WorkspacesArgs),
    /// Copy the whole relay, with all workspaces and keys, while it runs or not
    Backup(BackupArgs),
    /// Make a relay's state folder of a backup, once everything in it is found to be whole
    Restore(RestoreArgs),
}

/// How a relay begins.
#[derive(Args, Debug)]
struct InitArgs {
    /// Keep requests, keys and the audit log in this PostgreSQL, for several relays at once, instead of in files. Best
    /// by reference: `env:NAME` or `file:PATH` of its URL
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// Whom a token is for.
#[derive(Args, Debug)]
struct JoinTokenArgs {
    /// The targets that the agent may serve, by name
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    serves: Vec<TargetName>,
}

/// What to do with agents.
#[derive(Args, Debug)]
struct AgentsArgs {
    #[command(subcommand)]
    command: AgentsCommand,
}

/// One thing to do with agents.
#[derive(Debug, Subcommand)]
enum AgentsCommand {
    /// Every agent that ever joined
    List,
    /// Let an agent serve further targets, from its next connection on
    Allow {
        /// The agent
        agent: AgentId,
        /// The targets, by name
        #[arg(required = true)]
        names: Vec<TargetName>,
    },
    /// Put an agent out; a running relay lets it go within a second
    Remove {
        /// The agent
        agent: AgentId,
    },
}

pub(super) async fn run(args: RelayArgs, shared: Shared) -> Result<Exit, Failure> {
    match args.command {
        None => serve::run(args.serve, shared).await,
        Some(Command::Init(args)) => init(args, shared).await,
        Some(Command::JoinToken(args)) => {
            let desk = Desk::open(shared)?;
            let may_serve = args.serves.into_iter().collect();
            let made = desk.members.join_token(&may_serve, &desk.by).await;
            let token = desk.close(made).await?;
            output::say(token.expose_secret())?;
            Ok(Exit::Done)
        }
        Some(Command::Keys(args)) => keys::run(args, shared).await,
        Some(Command::Agents(args)) => agents(args.command, shared).await,
        Some(Command::Principals(args)) => principals::run(args, shared).await,
        Some(Command::Workspaces(args)) => workspaces::run(args, shared).await,
        Some(Command::Backup(args)) => backup::back_up(args, shared).await,
        Some(Command::Restore(args)) => backup::restore(args, shared).await,
    }
}

/// The members of a relay, for a command beside it.
struct Desk {
    place: Place,
    members: Members,
    by: Principal,
}

impl Desk {
    /// Those of the state folder that the flags name, which `relay init` has made.
    fn open(shared: Shared) -> Result<Self, Failure> {
        let place = Place::open(shared)?;
        if !Members::exist(&place.state) {
            let sentence = "this state folder is no relay's";
            return Err(Failure::Refused(
                Refusal::new(Code::InvalidArgument, sentence)
                    .hint("name the relay's with --state, or make one with `secondkey relay init`"),
            ));
        }
        Self::of(place)
    }

    fn of(place: Place) -> Result<Self, Failure> {
        let members = Members::open(&place.state).map_err(Refusal::from)?;
        let by = person(&place.around);
        Ok(Self { place, members, by })
    }

    /// Closes the state folder, whatever became of what was done.
    async fn close<T>(self, done: Result<T, Refusal>) -> Result<T, Failure> {
        let closed = self.place.state.close().await.map_err(Refusal::from);
        let done = done?;
        closed?;
        Ok(done)
    }
}

/// The first key of a workspace, in words.
async fn first_key(members: &Members, by: &Principal) -> Result<String, Refusal> {
    let wanted = Wanted {
        principal: Principal::new(PrincipalKind::Human, by.name()),
        roles: [crate::broker::ADMIN.to_owned()].into(),
        allowance: Allowance::DEFAULT,
        from: Vec::new(),
        expires_ms: None,
    };
    let issued = members.issue(wanted, by).await?;
    Ok(format!(
        "This key of `{}` with the role `admin` is shown once:\n{}",
        issued.key.principal,
        issued.secret.expose_secret()
    ))
}

async fn init(args: InitArgs, shared: Shared) -> Result<Exit, Failure> {
    if shared.workspace.is_some() {
        let refusal = Refusal::new(
            Code::InvalidArgument,
            "this begins a relay with its first workspace",
        );
        let hint = "make a further one with `secondkey relay workspaces create`";
        return Err(Failure::Misused(refusal.hint(hint)));
    }
    let flags = Flags {
        state: shared.state.clone(),
        ..Flags::default()
    };
    let around = Surroundings::of_process();
    let folder = Home::find(&flags, &around)?.state_dir;
    if let Some(store) = &args.store {
        if State::exists(&folder) && !State::is_shared(&folder).map_err(Refusal::from)? {
            return Err(Failure::Refused(a_relay_already()));
        }
        store::place(&folder, store, &around)?;
    }
    let place = Place::open_or_make(shared)?;
    if Members::exist(&place.state) {
        place.state.close().await.map_err(Refusal::from)?;
        return Err(Failure::Refused(a_relay_already()));
    }
    let config = folder.join(config::FILE_NAME);
    let desk = Desk::of(place)?;
    let key = first_key(&desk.members, &desk.by).await;
    let key = desk.close(key).await?;
    // One that somebody has put there already is theirs.
    match File::create_new(&config) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made?.write_all(config::RELAY_TEMPLATE.as_bytes())?,
    }
    output::say(&format!(
        "The relay is made. {key}\n\
         How it serves can be written into `{}`.\n\
         Next: `secondkey relay join-token` for an agent, `secondkey relay keys create` for a client, then `secondkey relay`.",
        config.display()
    ))?;
    Ok(Exit::Done)
}

fn a_relay_already() -> Refusal {
    let sentence = "there is a relay in this folder already";
    Refusal::new(Code::InvalidArgument, sentence)
        .hint("make further keys with `secondkey relay keys create`")
}

async fn agents(command: AgentsCommand, shared: Shared) -> Result<Exit, Failure> {
    let desk = Desk::open(shared)?;
    match command {
        AgentsCommand::Allow { agent, names } => {
            let more = names.into_iter().collect();
            let allowed = desk.members.allow(&agent, more, &desk.by).await;
            desk.close(allowed).await?;
            output::say(&format!(
                "{agent} may serve them from its next connection on."
            ))?;
        }
        AgentsCommand::Remove { agent } => {
            let removed = desk.members.put_out(&agent, &desk.by).await;
            desk.close(removed).await?;
            output::say(&format!("{agent} is out."))?;
        }
        AgentsCommand::List => {
            let members = desk.members.members().await;
            let members = desk.close(members).await?;
            let rows = members.into_iter().map(|member| {
                let is = member.revoked_ms.map_or("a member", |_| "out");
                [
                    member.id.to_string(),
                    time(Some(member.joined_ms)),
                    time(member.seen_ms),
                    is.to_owned(),
                ]
            });
            let head = ["AGENT", "JOINED", "LAST CAME", "IS"];
            output::say(&table::table(head, rows.collect()))?;
        }
    }
    Ok(Exit::Done)
}

/// A time, or that there is none.
fn time(ms: Option<i64>) -> String {
    ms.map_or_else(
        || "-".to_owned(),
        |ms| Timestamp::from_unix_ms(ms).to_string(),
    )
}

/// For those below.
type Clock = Arc<dyn crate::core::time::Clock>;
