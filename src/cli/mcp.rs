//! `secondkey mcp`: serve one MCP client over standard input and output, or several over HTTP.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::boot;
use crate::cli::desk::AgentArgs;
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Home, Surroundings};
use crate::core::audit::{Draft, EventKind};
use crate::core::level::Level;
use crate::core::refusal::Refusal;
use crate::core::time::Clock;
use crate::ids::random;
use crate::mcp::bridge::{self, Ended};
use crate::mcp::{Server, http, serve};
use crate::socket::{Link, link};
use crate::store::State;
use crate::telemetry;
use crate::web::{self, Site};
use crate::wire::hello::Wants;

const EXAMPLES: &str = "\
Examples:
  secondkey mcp --database-url sqlite:shop.db
  secondkey mcp --database-url orders=env:ORDERS_URL --database-url stock=file:/run/secrets/stock
  secondkey mcp --config /etc/secondkey/secondkey.toml --http 127.0.0.1:7320
  secondkey mcp --agent unix:/run/secondkey/agent.sock";

/// The variable that names the bearer token of `--http`.
const TOKEN_VARIABLE: &str = "SECONDKEY_HTTP_TOKEN";
/// The fewest characters of a token that somebody sets.
const SHORTEST_TOKEN: usize = 16;

/// Serve MCP to a client that starts this command
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct McpArgs {
    #[command(flatten)]
    databases: Databases,
    /// Serve over HTTP on this loopback address instead; port 0 takes any free one. Prints the URL
    /// and a bearer token, which `SECONDKEY_HTTP_TOKEN` can set
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    agent: AgentArgs,
}

impl McpArgs {
    /// Whether it serves standard input and output.
    pub(super) fn is_for_one_client(&self) -> bool {
        self.http.is_none()
    }
}

pub(super) async fn run(args: McpArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let local = args.http.is_some() || !args.databases.database_urls.is_empty();
    if let Some(socket) = args.agent.socket(&shared, &around, local)? {
        return bridged(shared, &around, &socket).await;
    }
    let config = config::load(&shared.into_flags(args.databases), &around)?;
    telemetry::start(&config.home.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut local = boot::local(config, &clock)?;
    let log = local.state.log();
    let event = |kind| Draft::new(clock.now(), kind).text("version", env!("CARGO_PKG_VERSION"));
    log.append(event(EventKind::ServerStarted))
        .await
        .map_err(Refusal::from)?;
    let server = Server::new(Arc::clone(&local.broker), &around.os_user());
    let closing = CancellationToken::new();
    close_when_asked(closing.clone());
    let page = closing.child_token();
    serve_page(
        &local.state,
        (&around.os_user(), Level::Guarded),
        page.clone(),
    );
    if let Some(courier) = local.courier.take() {
        tokio::spawn(courier.run(page.clone()));
    }
    let outcome = match args.http {
        None => serve::stdio(server, closing).await,
        Some(address) => over_http(server, address, closing, &around).await,
    };
    page.cancel();
    local.close(event(EventKind::ServerStopped)).await?;
    outcome?;
    Ok(Exit::Done)
}

/// Passes this client's bytes on to an agent of another user, and its answers back.
async fn bridged(shared: Shared, around: &Surroundings, socket: &Path) -> Result<Exit, Failure> {
    let home = Home::find(&shared.into_flags(Databases::default()), around)?;
    telemetry::start(&home.log);
    let link = Link::open(socket, Wants::Mcp).await?;
    tracing::info!(agent = %link.welcome.agent, you = %link.welcome.you, "connected");
    let (reader, writer) = link.into_parts();
    let closing = CancellationToken::new();
    close_when_asked(closing.clone());
    let ended = tokio::select! {
        ended = bridge::bridge(reader, writer) => ended?,
        () = closing.cancelled() => Ended::Client,
    };
    match ended {
        Ended::Client => Ok(Exit::Done),
        Ended::Agent => Err(Failure::Refused(link::ended(socket))),
    }
}

/// Serves the web page beside everything else, while no other process does. A client is served whether
/// or not that works.
pub(super) fn serve_page(
    state: &State,
    (os_user, level): (&str, Level),
    closing: CancellationToken,
) {
    match Site::new(state.clone(), web::PORT, os_user, level) {
        Ok(site) => drop(tokio::spawn(web::keep_serving(site, closing))),
        Err(error) => tracing::warn!(%error, "the page is not served"),
    }
}

async fn over_http(
    server: Server,
    address: SocketAddr,
    closing: CancellationToken,
    around: &Surroundings,
) -> io::Result<()> {
    let given = around.environment.text(TOKEN_VARIABLE);
    if given
        .as_ref()
        .is_some_and(|token| token.len() < SHORTEST_TOKEN)
    {
        return Err(io::Error::other(format!(
            "{TOKEN_VARIABLE} is shorter than {SHORTEST_TOKEN} characters"
        )));
    }
    let made = match given {
        Some(_) => None,
        None => Some(hex::encode(random::<32>()?)),
    };
    let token = given.or_else(|| made.clone()).unwrap_or_default();
    let door = http::open(address, SecretString::from(token), closing).await?;
    let url = format!("http://{}/mcp", door.address()?);
    match made {
        // A token that somebody set is known to them, and shown to nobody else.
        None => output::say(&url)?,
        Some(token) => output::say(&format!("{url}\nAuthorization: Bearer {token}"))?,
    }
    http::serve(server, door).await
}

/// Closes when the system asks. Who asks twice does not want to wait for what is under way.
pub(super) fn close_when_asked(closing: CancellationToken) {
    tokio::spawn(async move {
        interrupted().await;
        closing.cancel();
        interrupted().await;
        std::process::exit(1);
    });
}

/// Waits until somebody wants this process to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
        }
        Err(_) => drop(interrupt.await),
    }
}
