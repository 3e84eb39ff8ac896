//! Serving.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::boot;
use crate::broker::fleet::Fleet;
use crate::cli::mcp::{close_when_asked, serve_page};
use crate::cli::relay::{Clock, Desk, ServeArgs};
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Surroundings};
use crate::core::audit::{Draft, EventKind};
use crate::core::level::Level;
use crate::core::refusal::{Code, Refusal};
use crate::mcp::Server;
use crate::relay::{self, Certificates, Relay, Tls};

/// How long a call waits for a person.
const APPROVAL_WAIT: Duration = Duration::from_secs(45);

pub(super) async fn run(args: ServeArgs, shared: Shared) -> Result<Exit, Failure> {
    refuse_plain(&args)?;
    refuse_open_numbers(&args)?;
    let around = Surroundings::of_process();
    let flags = shared.into_flags(Databases::default());
    let [policy, _] = config::load_policies(&flags, &around)?;
    let desk = Desk::open(Shared {
        config: flags.config,
        state: flags.state,
        log: flags.log,
    })?;
    let done = served(&desk, args, policy).await;
    let closed = desk.place.state.close().await.map_err(Refusal::from);
    done?;
    closed?;
    Ok(Exit::Done)
}

/// What is said in the clear where others can listen has to be asked for in so many words.
fn refuse_plain(args: &ServeArgs) -> Result<(), Failure> {
    let ip = args.listen.ip();
    if args.tls_certificate.is_some() || ip.is_loopback() || args.plain_http_on_the_network {
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
fn refuse_open_numbers(args: &ServeArgs) -> Result<(), Failure> {
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

async fn served(desk: &Desk, args: ServeArgs, policy: Option<PathBuf>) -> Result<(), Failure> {
    let tls = match (args.tls_certificate, args.tls_key) {
        (Some(certificate), Some(key)) => Some(Certificates::open(Tls { certificate, key })?),
        _ => None,
    };
    let state = &desk.place.state;
    let clock: Clock = Arc::new(SystemClock);
    let known = desk.members.members().await?;
    let known = known
        .into_iter()
        .filter(|member| member.revoked_ms.is_none());
    let known = known.map(|member| {
        // What an older version has written is said anew when the agent is back.
        let served = serde_json::from_str(&member.served).unwrap_or_default();
        (member.id, served)
    });
    let fleet = Arc::new(Fleet::new(state.clone(), known));
    let broker = boot::hub((state, &fleet), (policy, APPROVAL_WAIT), &clock)?;
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
    let event = |kind| Draft::new(clock.now(), kind).text("version", env!("CARGO_PKG_VERSION"));
    let started = event(EventKind::ServerStarted).text("relay", &address.to_string());
    state.log().append(started).await.map_err(Refusal::from)?;
    let closing = CancellationToken::new();
    close_when_asked(closing.clone());
    // Nobody sits in front of a relay's account; whoever has a shell on it can open the page.
    serve_page(state, ("", Level::Guarded), closing.child_token());
    let mut hosts = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "[::1]".to_owned(),
    ];
    hosts.extend(
        hosts
            .clone()
            .iter()
            .map(|host| format!("{host}:{}", address.port())),
    );
    hosts.push(address.to_string());
    hosts.extend(args.hosts);
    let server = Server::new(Arc::new(broker), "");
    let members = (state.clone(), desk.members.clone());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let relay = Relay::new(members, fleet, (server, hosts), tls, closing);
    output::say(&format!("The relay serves {scheme}://{address}/mcp."))?;
    if let Some(numbers) = &numbers {
        let at = numbers.local_addr()?;
        output::say(&format!("Its numbers are at http://{at}/metrics."))?;
    }
    relay::serve(Arc::new(relay), listener, numbers).await;
    state.log().append_soon(event(EventKind::ServerStopped));
    Ok(())
}

fn cannot_listen(address: std::net::SocketAddr, error: &io::Error) -> Failure {
    let sentence = format!("cannot listen at {address}: {error}");
    Failure::Refused(
        Refusal::new(Code::InvalidArgument, sentence).hint("name another address with --listen"),
    )
}
