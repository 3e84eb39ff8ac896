//! `secondkey mcp`: serve one MCP client over standard input and output, or several over HTTP.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::boot;
use crate::broker::statements::ByTarget;
use crate::cli::audit::kept::Keeper;
use crate::cli::desk::AgentArgs;
use crate::cli::errand::Errand;
use crate::cli::{Databases, Exit, Failure, Shared, complain, output};
use crate::clock::SystemClock;
use crate::config::{self, Home, Surroundings};
use crate::core::audit::{Draft, EventKind};
use crate::core::ids::RequestId;
use crate::core::level::Level;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Clock;
use crate::ids::random;
use crate::mcp::bridge::{self, Ended};
use crate::mcp::http::Tokens;
use crate::mcp::{Server, http, remote, serve};
use crate::reach::{Address, Reach};
use crate::socket::{Link, link};
use crate::store::State;
use crate::store::audit_cache::AuditCache;
use crate::telemetry;
use crate::web::{self, Site};
use crate::wire::hello::Wants;

const EXAMPLES: &str = "\
Examples:
  secondkey mcp --database-url sqlite:shop.db
  secondkey mcp --database-url orders=env:ORDERS_URL --database-url stock=file:/run/secrets/stock
  secondkey mcp --config /etc/secondkey/secondkey.toml --http 127.0.0.1:7320
  secondkey mcp --agent unix:/run/secondkey/agent.sock
  secondkey mcp --relay https://relay.example.com --relay-key keyring:secondkey/relay

Exit code 5: the relay does not take the API key.";

/// The variable that names the bearer token of `--http`.
const TOKEN_VARIABLE: &str = "SECONDKEY_HTTP_TOKEN";
/// The variable that names the bearer token of `--person`.
const PERSON_VARIABLE: &str = "SECONDKEY_HTTP_PERSON_TOKEN";
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
    /// With `--http`: take a second token too, for a client that you drive yourself. Whoever shows it acts
    /// as `human:` and your user name, and has the tool `approval_decide`; no model may get it.
    /// `SECONDKEY_HTTP_PERSON_TOKEN` can set it
    #[arg(long, requires = "http")]
    person: bool,
    #[command(flatten)]
    agent: AgentArgs,
    /// Pass everything on to a team's relay, such as `https://relay.example.com`, and its answers back
    #[arg(long, value_name = "URL", conflicts_with_all = ["agent", "http", "person", "database_urls"])]
    relay: Option<String>,
    /// Where the API key for the relay is kept: `env:NAME`, `file:PATH` or `keyring:SERVICE/NAME`
    #[arg(
        long,
        value_name = "REFERENCE",
        requires = "relay",
        default_value = "env:SECONDKEY_API_KEY"
    )]
    relay_key: String,
    /// Trust the certificates of this PEM file too
    #[arg(long, value_name = "FILE", requires = "relay")]
    relay_ca: Option<PathBuf>,
    /// Speak without TLS even to an address that is neither this machine's nor private
    #[arg(long, requires = "relay")]
    allow_insecure: bool,
}

impl McpArgs {
    /// Whether it serves standard input and output.
    pub(super) fn is_for_one_client(&self) -> bool {
        self.http.is_none()
    }
}

pub(super) async fn run(args: McpArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    if let Some(relay) = &args.relay {
        let reach = Reach {
            allow_insecure: args.allow_insecure,
            authority: args.relay_ca,
        };
        let address = Address::parse(relay, reach).map_err(Failure::Misused)?;
        return relayed(shared, &around, (address, &args.relay_key)).await;
    }
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
    let known = (local.state.clone(), local.broker.link.capabilities());
    serve_page(known, (&around.os_user(), Level::Guarded), page.clone());
    if let Some(courier) = local.courier.take() {
        tokio::spawn(courier.run(page.clone()));
    }
    let outcome = match args.http {
        None => serve::stdio(server, closing).await,
        Some(address) => over_http(server, (address, args.person), closing, &around).await,
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

/// Passes this client's messages on to a team's relay, and its answers back.
async fn relayed(
    shared: Shared,
    around: &Surroundings,
    (address, key): (Address, &str),
) -> Result<Exit, Failure> {
    if shared.state.is_some() || shared.workspace.is_some() || shared.config.is_some() {
        let sentence = "a relay has its own state and configuration";
        let refusal = Refusal::new(Code::InvalidArgument, sentence);
        let hint = "leave out `--state` and `--config`, or `--relay`";
        return Err(Failure::Misused(refusal.hint(hint)));
    }
    let home = Home::find(&shared.into_flags(Databases::default()), around)?;
    telemetry::start(&home.log);
    let key = config::secret_of(key, around).map_err(Failure::Misused)?;
    let closing = CancellationToken::new();
    close_when_asked(closing.clone());
    let over = CancellationToken::new();
    let (named, answered) = unbounded_channel();
    let keeping = keep_audit(&home, (address.clone(), &key), answered, over.clone()).await;
    let ended = remote::bridge(address, &key, named, closing).await;
    over.cancel();
    if let Some(keeping) = keeping {
        drop(keeping.await);
    }
    match ended.map_err(Failure::Misused)? {
        remote::Ended::Client => Ok(Exit::Done),
        remote::Ended::Stranger(refusal) => {
            complain(&refusal);
            Ok(Exit::Stranger)
        }
    }
}

/// Keeps what the relay shows of its audit log, beside everything else, until it is over. A client is served whether
/// or not that works.
async fn keep_audit(
    home: &Home,
    (address, key): (Address, &SecretString),
    answered: UnboundedReceiver<RequestId>,
    over: CancellationToken,
) -> Option<JoinHandle<()>> {
    let path = AuditCache::path(&home.state_dir, address.host());
    let keeper = match Errand::new(address, key) {
        Ok(errand) => Keeper::new(errand, path).await,
        Err(refusal) => Err(refusal),
    };
    match keeper {
        Ok(keeper) => Some(tokio::spawn(keeper.run(answered, over))),
        Err(refusal) => {
            tracing::warn!(%refusal, "what the relay shows of its audit log is not kept");
            None
        }
    }
}

/// Serves the web page beside everything else, while no other process does. A client is served whether
/// or not that works.
pub(super) fn serve_page(
    known: (State, ByTarget),
    (os_user, level): (&str, Level),
    closing: CancellationToken,
) {
    match Site::new(known, web::PORT, os_user, level) {
        Ok(site) => drop(tokio::spawn(web::keep_serving(site, closing))),
        Err(error) => tracing::warn!(%error, "the page is not served"),
    }
}

async fn over_http(
    server: Server,
    (address, person): (SocketAddr, bool),
    closing: CancellationToken,
    around: &Surroundings,
) -> io::Result<()> {
    let client = Token::of(TOKEN_VARIABLE, around)?;
    let person = person.then(|| Token::of(PERSON_VARIABLE, around));
    let person = person.transpose()?;
    if person.as_ref().is_some_and(|one| one.text == client.text) {
        return Err(io::Error::other(format!(
            "{TOKEN_VARIABLE} and {PERSON_VARIABLE} are the same; a model would pass for a person"
        )));
    }
    let tokens = Tokens {
        client: SecretString::from(client.text.clone()),
        person: person
            .as_ref()
            .map(|one| SecretString::from(one.text.clone())),
    };
    let door = http::open(address, tokens, closing).await?;
    let mut said = vec![format!("http://{}/mcp", door.address()?)];
    // A token that somebody set is known to them, and shown to nobody else.
    if client.made {
        said.push(format!("Authorization: Bearer {}", client.text));
    }
    if let Some(Token { text, made: true }) = person {
        said.push(format!("for yourself alone: Authorization: Bearer {text}"));
    }
    output::say(&said.join("\n"))?;
    http::serve(server, door).await
}

/// A bearer token.
struct Token {
    text: String,
    /// Nobody set it: it was made here.
    made: bool,
}

impl Token {
    /// The one that a variable names, else one that nobody could guess.
    fn of(variable: &str, around: &Surroundings) -> io::Result<Self> {
        match around.environment.text(variable) {
            Some(text) if text.len() < SHORTEST_TOKEN => Err(io::Error::other(format!(
                "{variable} is shorter than {SHORTEST_TOKEN} characters"
            ))),
            Some(text) => Ok(Self { text, made: false }),
            None => Ok(Self {
                text: hex::encode(random::<32>()?),
                made: true,
            }),
        }
    }
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
