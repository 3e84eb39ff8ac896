//! `secondkey agent`: hold everything in an OS user of its own, and serve others over a Unix socket.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::boot;
use crate::cli::mcp::{close_when_asked, serve_page};
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Surroundings};
use crate::core::audit::{Draft, EventKind};
use crate::core::level::What;
use crate::core::refusal::Refusal;
use crate::core::time::Clock;
use crate::mcp::Server;
use crate::socket::{self, Door, Serving};
use crate::system::{Peer, Setup};
use crate::telemetry;

const EXAMPLES: &str = "\
Examples:
  secondkey agent --socket /run/secondkey/agent.sock --config /etc/secondkey/secondkey.toml
  secondkey mcp --agent unix:/run/secondkey/agent.sock        (as any user that may use the socket)";

/// Hold credentials, policy, trust file, journal and audit log as a user of its own
///
/// Run this as an OS user that no client and no person works as; `install.sh --separate` sets that up.
/// Clients come in by the socket, with `secondkey mcp --agent unix:PATH`, people with the same flag of
/// `requests`, `approve` and `trust`. The kernel says who they are.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct AgentArgs {
    #[command(flatten)]
    databases: Databases,
    /// Listen here; the folder has to be the agent's own
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
}

pub(super) async fn run(args: AgentArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let config = config::load(&shared.into_flags(args.databases), &around)?;
    telemetry::start(&config.home.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Whoever cannot listen touches nothing else.
    let door = Door::open(&around.folder.join(&args.socket))?;
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
    serve_page(&local.state, ("", found.level), page.clone());
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
