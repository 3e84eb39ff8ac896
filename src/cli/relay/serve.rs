//! Serving.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::broker::statements::ByTarget;
use crate::cli::mcp::{close_when_asked, serve_page};
use crate::cli::relay::opening::Opening;
use crate::cli::relay::{Clock, Desk, ServeArgs, store};
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Home, Oidc, RelayConfig, Surroundings};
use crate::core::audit::{Draft, EventKind};
use crate::core::level::Level;
use crate::core::notice::Network;
use crate::core::refusal::{Code, Refusal};
use crate::core::workspace::WorkspaceName;
use crate::reach::Reach;
use crate::relay::{self, Certificates, Cluster, Hall, Issuer, Relay, Tls};
use crate::store::Workspaces;
use crate::web::Address;

/// Where a relay listens if nobody says so: on this machine alone.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7330);
/// Connections from one address, if nobody says so.
const CONNECTIONS: u32 = 2_048;

pub(super) async fn run(args: ServeArgs, shared: Shared) -> Result<Exit, Failure> {
    if shared.workspace.is_some() {
        let sentence = "a relay serves all of its workspaces";
        let refusal = Refusal::new(Code::InvalidArgument, sentence);
        return Err(Failure::Misused(refusal.hint("leave out `--workspace`")));
    }
    let around = Surroundings::of_process();
    let mut flags = shared.into_flags(Databases::default());
    let own = Home::find(&flags, &around)?
        .state_dir
        .join(config::FILE_NAME);
    if !config::is_named(&flags, &around) && own.exists() {
        flags.config = Some(own);
    }
    let args = Serving::of(args, config::load_relay(&flags, &around)?);
    refuse_plain(&args)?;
    refuse_open_numbers(&args)?;
    let [policy, _] = config::load_policies(&flags, &around)?;
    let issuer = config::load_oidc(&flags, &around)?.map(issuer);
    let root = Home::find(&flags, &around)?.state_dir;
    if let Some(store) = &args.store {
        store::place(&root, store, &around)?;
    }
    let desk = Desk::open(Shared {
        config: flags.config,
        state: flags.state,
        workspace: None,
        log: flags.log,
    })?;
    let done = served(&desk, args, (root, policy, issuer)).await;
    let closed = desk.place.state.close().await.map_err(Refusal::from);
    done?;
    closed?;
    Ok(Exit::Done)
}

/// How it serves, by the flags, else by the file.
struct Serving {
    listen: SocketAddr,
    hosts: Vec<String>,
    page: Option<String>,
    tls: Option<(PathBuf, PathBuf)>,
    plain_http_on_the_network: bool,
    trusted_proxies: Vec<Network>,
    connections_per_address: u32,
    store: Option<String>,
    advertise: Option<String>,
    metrics: Option<SocketAddr>,
    metrics_on_the_network: bool,
}

impl Serving {
    fn of(args: ServeArgs, file: RelayConfig) -> Self {
        // A list that is said by flags stands for that of the file, and not beside it.
        let list = |flags: Vec<String>, file| if flags.is_empty() { file } else { flags };
        let tls = args.tls_certificate.zip(args.tls_key);
        // Whoever asks for the clear by a flag means it, whatever the file has.
        let tls = tls.or(file.tls.filter(|_| !args.plain_http_on_the_network));
        Self {
            listen: args.listen.or(file.listen).unwrap_or(LISTEN),
            hosts: list(args.hosts, file.hosts),
            page: args.page.or(file.page),
            tls,
            plain_http_on_the_network: args.plain_http_on_the_network
                || file.plain_http_on_the_network,
            trusted_proxies: if args.trusted_proxies.is_empty() {
                file.trusted_proxies
            } else {
                args.trusted_proxies
            },
            connections_per_address: args
                .connections_per_address
                .or(file.connections_per_address)
                .unwrap_or(CONNECTIONS),
            store: args.store.or(file.store),
            advertise: args.advertise.or(file.advertise),
            metrics: args.metrics.or(file.metrics),
            metrics_on_the_network: args.metrics_on_the_network || file.metrics_on_the_network,
        }
    }
}

/// What is said in the clear where others can listen has to be asked for in so many words.
fn refuse_plain(args: &Serving) -> Result<(), Failure> {
    let ip = args.listen.ip();
    if args.tls.is_some() || ip.is_loopback() || args.plain_http_on_the_network {
        return Ok(());
    }
    let sentence = format!("{ip} is reached by others, and there is no TLS");
    Err(Failure::Misused(
        Refusal::new(Code::InvalidArgument, sentence).hint(
            "add `--tls-certificate` and `--tls-key`; behind a proxy that does the TLS, `--plain-http-on-the-network`",
        ),
    ))
}

/// Numbers are given to whoever asks for them.
fn refuse_open_numbers(args: &Serving) -> Result<(), Failure> {
    let Some(at) = args.metrics else {
        return Ok(());
    };
    if at.ip().is_loopback() || args.metrics_on_the_network {
        return Ok(());
    }
    let sentence = format!(
        "{} is reached by others, and numbers are read without a key",
        at.ip()
    );
    Err(Failure::Misused(
        Refusal::new(Code::InvalidArgument, sentence)
            .hint("name an address of this machine such as 127.0.0.1:7331, or add `--metrics-on-the-network`"),
    ))
}

/// The identity provider, reached without TLS on this machine and in its own network alone.
pub(super) fn issuer(oidc: Oidc) -> Issuer {
    let reach = Reach {
        allow_insecure: false,
        authority: oidc.authority,
    };
    Issuer::new(oidc.settings, oidc.keys, reach)
}

async fn served(
    desk: &Desk,
    args: Serving,
    (root, policy, issuer): (PathBuf, Option<PathBuf>, Option<Issuer>),
) -> Result<(), Failure> {
    let tls = args.tls.map(|(certificate, key)| Tls { certificate, key });
    let tls = tls.map(Certificates::open).transpose()?;
    let state = &desk.place.state;
    let clock: Clock = Arc::new(SystemClock);
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.map_err(|error| cannot_listen(args.listen, &error))?;
    let address = listener.local_addr()?;
    let numbers = match args.metrics {
        Some(at) => {
            let bound = TcpListener::bind(at).await;
            Some(bound.map_err(|error| cannot_listen(at, &error))?)
        }
        None => None,
    };
    let cluster = Cluster::enter(state, args.advertise).await?;
    let event = |kind| Draft::new(clock.now(), kind).text("version", env!("CARGO_PKG_VERSION"));
    let started = event(EventKind::ServerStarted).text("relay", &address.to_string());
    state.log().append(started).await.map_err(Refusal::from)?;
    let closing = CancellationToken::new();
    close_when_asked(closing.clone());
    let page = args.page.as_deref().map(Address::public).transpose()?;
    if page.is_none() {
        // Nobody sits in front of a relay's account; whoever has a shell on it can open the page.
        let known = (state.clone(), ByTarget::new());
        serve_page(known, ("", Level::Guarded), closing.child_token());
    }
    let opening = Opening {
        page,
        workspaces: Workspaces::of(&root),
        hosts: hosts(address, args.hosts),
        clock: Arc::clone(&clock),
    };
    let members = (state.clone(), desk.members.clone());
    let first = WorkspaceName::first();
    let first = opening.opened(&first, members, (policy, issuer)).await?;
    let hall = Hall::new(
        opening.workspaces.clone(),
        first,
        Arc::new(opening).opener(),
    );
    hall.follow().await;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let crowd = (args.trusted_proxies, args.connections_per_address as usize);
    let relay = Relay::new(hall, tls, crowd, closing);
    output::say(&format!("The relay serves {scheme}://{address}/mcp."))?;
    if let Some(numbers) = &numbers {
        let at = numbers.local_addr()?;
        output::say(&format!("Its numbers are at http://{at}/metrics."))?;
    }
    relay::serve(Arc::new(relay), (listener, numbers), cluster).await;
    state.log().append_soon(event(EventKind::ServerStopped));
    Ok(())
}

/// The names that clients may ask for: this machine's own, with and without the port, and these.
fn hosts(address: SocketAddr, more: Vec<String>) -> Vec<String> {
    let own = ["localhost", "127.0.0.1", "[::1]"];
    let with_port = own.map(|host| format!("{host}:{}", address.port()));
    let mut hosts: Vec<String> = own.map(str::to_owned).into();
    hosts.extend(with_port);
    hosts.push(address.to_string());
    hosts.extend(more);
    hosts
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let sentence = format!("cannot listen at {address}: {error}");
    Failure::Refused(
        Refusal::new(Code::InvalidArgument, sentence).hint("name another address with --listen"),
    )
}
