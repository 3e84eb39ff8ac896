//! `secondkey agent`: hold everything in an OS user of its own and serve others over a Unix socket, or hold it
//! beside a team's database and dial its relay.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::boot;
use crate::cli::mcp::{close_when_asked, serve_page};
use crate::cli::place::{Place, person};
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Surroundings};
use crate::core::audit::{Draft, EventKind};
use crate::core::handshake::Hex32;
use crate::core::level::What;
use crate::core::refusal::Refusal;
use crate::core::time::Clock;
use crate::dial::{self, Dialer};
use crate::mcp::Server;
use crate::reach::{Address, Reach};
use crate::socket::{self, Door, Serving};
use crate::store::State;
use crate::system::{Peer, Setup};
use crate::telemetry;

const EXAMPLES: &str = "\
Examples:
  secondkey agent --socket /run/secondkey/agent.sock --config /etc/secondkey/secondkey.toml
  secondkey mcp --agent unix:/run/secondkey/agent.sock        (as any user that may use the socket)
  secondkey agent --relay https://relay.example.com --join file:/run/secrets/join      (the first time)
  secondkey agent --relay https://relay.example.com
  secondkey agent freeze
  secondkey agent key";

/// Hold credentials, policy, trust file, journal and audit log, and run what they allow
///
/// With `--socket`: as an OS user that no client and no person works as; `install.sh --separate` sets that up.
/// Clients come in by the socket, with `secondkey mcp --agent unix:PATH`, people with the same flag of
/// `requests`, `approve` and `trust`. The kernel says who they are.
///
/// With `--relay`: beside the database of a team. It dials out, and nobody can dial it. It takes the orders of the
/// one relay that it has joined, and believes nothing else of it: its own policy and trust file decide.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct AgentArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    databases: Databases,
    /// Listen here; the folder has to be the agent's own
    #[arg(long, value_name = "PATH", required_unless_present = "relay")]
    socket: Option<PathBuf>,
    /// Dial this relay
    #[arg(long, value_name = "URL", conflicts_with = "socket")]
    relay: Option<String>,
    /// Join the relay first, by a token of `secondkey relay join-token`: where it is kept, as `env:NAME`,
    /// `file:PATH` or `keyring:SERVICE/NAME`
    #[arg(long, value_name = "REFERENCE", requires = "relay")]
    join: Option<String>,
    /// Trust the certificates of this PEM file too
    #[arg(long, value_name = "FILE", requires = "relay")]
    relay_ca: Option<PathBuf>,
    /// Speak without TLS even to an address that is neither this machine's nor private
    #[arg(long, requires = "relay")]
    allow_insecure: bool,
}

/// What to do with the agent of a state folder.
#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Let it run nothing new from now on, whoever asks; what is under way goes on
    ///
    /// Takes effect at once and needs no relay. Stays until `thaw`, whatever is started anew.
    Freeze,
    /// Let it work again
    Thaw,
    /// Print its id and its public key: what it says of its capabilities is signed with it
    Key,
}

pub(super) async fn run(args: AgentArgs, shared: Shared) -> Result<Exit, Failure> {
    match (args.command, args.socket, args.relay) {
        (Some(command), ..) => with_state(command, shared).await,
        (None, Some(socket), _) => listen((args.databases, socket), shared).await,
        (None, None, Some(relay)) => {
            let reach = Reach {
                allow_insecure: args.allow_insecure,
                authority: args.relay_ca,
            };
            let address = Address::parse(&relay, reach)?;
            dial((args.databases, address, args.join), shared).await
        }
        (None, None, None) => Ok(Exit::Misused),
    }
}

async fn with_state(command: Command, shared: Shared) -> Result<Exit, Failure> {
    let place = Place::open(shared)?;
    let by = person(&place.around);
    let done = match command {
        Command::Freeze => place.state.freeze(&by).await,
        Command::Thaw => place.state.thaw(&by).await,
        Command::Key => Ok(()),
    };
    let said = match command {
        Command::Freeze => "Frozen: nothing new runs here until `secondkey agent thaw`.".to_owned(),
        Command::Thaw => "Thawed: work runs again.".to_owned(),
        Command::Key => {
            let key = Hex32::of_key(
                &place
                    .state
                    .dial_key()
                    .map_err(Refusal::from)?
                    .verifying_key(),
            );
            format!("{} {key}", place.state.agent())
        }
    };
    place.state.close().await.map_err(Refusal::from)?;
    done?;
    output::say(&said)?;
    Ok(Exit::Done)
}

/// Dials a relay, and does what it orders, until the system wants an end.
async fn dial(
    (databases, address, join): (Databases, Address, Option<String>),
    shared: Shared,
) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let config = config::load(&shared.into_flags(databases), &around)?;
    telemetry::start(&config.home.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let state = State::open(&config.home.state_dir, Arc::clone(&clock)).map_err(Refusal::from)?;
    let done = dialed((&state, &clock), config, (address, join), &around).await;
    let closed = state.close().await.map_err(Refusal::from);
    done?;
    closed?;
    Ok(Exit::Done)
}

async fn dialed(
    (state, clock): (&State, &Arc<dyn Clock>),
    config: config::Config,
    (address, join): (Address, Option<String>),
    around: &Surroundings,
) -> Result<(), Failure> {
    // Who has joined needs no token any more, and one that was used is of no use to anybody.
    let pinned = state.pinned_relay().map_err(Refusal::from)?;
    if let (None, Some(reference)) = (pinned, &join) {
        let token = config::secret_of(reference, around)?;
        dial::join(state, &address, &token).await?;
    }
    // One that has joined none ends here.
    state.relay_verifier()?;
    let agent = boot::dialing(config, state, clock)?;
    let event = |kind| Draft::new(clock.now(), kind).text("version", env!("CARGO_PKG_VERSION"));
    let started = event(EventKind::ServerStarted).text("relay", &address.to_string());
    state.log().append(started).await.map_err(Refusal::from)?;
    let closing = CancellationToken::new();
    close_when_asked(closing.clone());
    output::say(&format!("The agent {} dials {address}.", state.agent()))?;
    let dialer = Arc::new(Dialer::new(Arc::clone(&agent), state.clone(), address));
    dial::keep(dialer, closing).await;
    // What is above `read` goes on to its end.
    agent.finish().await;
    state.log().append_soon(event(EventKind::ServerStopped));
    Ok(())
}

/// Listens at a socket for the users of this machine.
async fn listen(
    (databases, socket): (Databases, PathBuf),
    shared: Shared,
) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let config = config::load(&shared.into_flags(databases), &around)?;
    telemetry::start(&config.home.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Whoever cannot listen touches nothing else.
    let door = Door::open(&around.folder.join(&socket))?;
    let setup = setup(&config, &door);
    let (clients, approvers) = (config.clients.clone(), config.approvers.clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut local = boot::local(config, &clock)?;
    let event = |kind| Draft::new(clock.now(), kind).text("version", env!("CARGO_PKG_VERSION"));
    let started = event(EventKind::ServerStarted);
    let started = started.text("socket", &door.path().display().to_string());
    local
        .state
        .log()
        .append(started)
        .await
        .map_err(Refusal::from)?;
    let found = setup.level(None);
    for why in &found.spoilt {
        tracing::warn!("not separated: {why}");
    }
    let closing = CancellationToken::new();
    close_when_asked(closing.clone());
    let page = closing.child_token();
    // Nobody sits in front of this user's account.
    let known = (local.state.clone(), local.broker.link.capabilities());
    serve_page(known, ("", found.level), page.clone());
    if let Some(courier) = local.courier.take() {
        tokio::spawn(courier.run(page));
    }
    let own = Peer::own();
    if own.is_superuser() {
        tracing::warn!("the agent runs as the superuser; a user of its own would be better");
    }
    let user = own.name;
    output::say(&format!(
        "The agent listens at {} as `{user}`. {}: {}.",
        door.path().display(),
        found.level.name(),
        found.level.means()
    ))?;
    let serving = Serving {
        server: Server::new(Arc::clone(&local.broker), &user),
        broker: Arc::clone(&local.broker),
        state: local.state.clone(),
        setup,
        clients,
        approvers,
        user,
    };
    socket::serve(door, serving, closing).await;
    local.close(event(EventKind::ServerStopped)).await?;
    Ok(Exit::Done)
}

/// Everything that the agent stands on.
fn setup(config: &config::Config, door: &Door) -> Setup {
    let mut files = config.files();
    files.extend(
        std::env::current_exe()
            .ok()
            .map(|path| (What::Program, path)),
    );
    let folder = door
        .path()
        .parent()
        .map(|path| (What::Socket, path.to_owned()));
    files.extend(folder);
    Setup {
        files,
        socket: Some(door.path().to_owned()),
    }
}
