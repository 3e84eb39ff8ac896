//! `secondkey page`: serve the web page alone, or print a link that lets a browser in.

use std::io;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::boot;
use crate::broker::statements::ByTarget;
use crate::cli::desk::{self, AgentArgs};
use crate::cli::errand::AwayArgs;
use crate::cli::mcp::close_when_asked;
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::clock::SystemClock;
use crate::config::{self, Flags, Home, Surroundings};
use crate::core::ids::RequestId;
use crate::core::level::Level;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Clock;
use crate::socket::Link;
use crate::store::{Members, State};
use crate::telemetry;
use crate::web::{self, Site};
use crate::wire::hello::Wants;

const EXAMPLES: &str = "\
Examples:
  secondkey page
  secondkey page --link
  secondkey page --link --request req_018bcfe5680077078707070707070707
  secondkey page --link --relay https://relay.example.com";

/// Serve the web page: requests, approvals by passkey, history, audit
///
/// Any running `secondkey mcp` serves the page too; this serves it while none does. It prints a link
/// that lets one browser in, once, within five minutes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct PageArgs {
    /// Print a link to the page that is being served, and end
    #[arg(long)]
    link: bool,
    /// Let the link open this request
    #[arg(long, value_name = "ID")]
    request: Option<RequestId>,
    /// Serve on another port. Passkeys are bound to the port that they were made on
    #[arg(long, value_name = "PORT", default_value_t = web::PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    away: AwayArgs,
}

pub(super) async fn run(args: PageArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    if let Some(relay) = args.away.relay(&around, !args.link) {
        return of_relay(&args, &relay, &around).await;
    }
    if let Some(socket) = args.agent.socket(&shared, &around, false)? {
        return of_agent(&args, &socket).await;
    }
    let flags = shared.into_flags(Databases::default());
    let home = Home::find(&flags, &around)?;
    telemetry::start(&home.log);
    let state = State::open(&home.state_dir, Arc::new(SystemClock)).map_err(Refusal::from)?;
    if let Some(origin) = state.page_origin().filter(|_| Members::exist(&state)) {
        let sentence = "the relay serves its page itself, to people that it knows";
        let hint = format!("run `secondkey page --link --relay {origin}` with an API key of yours");
        let refusal = Refusal::new(Code::InvalidArgument, sentence).hint(hint);
        if origin != web::Address::local(args.port).origin() {
            return Err(Failure::Misused(refusal));
        }
    }
    let link = || web::link(&state, args.port, args.request.as_ref()).map_err(Refusal::from);
    if args.link {
        output::say(&link()?)?;
        state.close().await.map_err(Refusal::from)?;
        return Ok(Exit::Done);
    }
    let known = (state.clone(), offered(&flags, &around, &state));
    let site =
        Site::new(known, args.port, &around.os_user(), Level::Guarded).map_err(Refusal::from)?;
    let closing = CancellationToken::new();
    close_when_asked(closing.clone());
    tell_people(&flags, &around, &state, closing.clone());
    if state.page_origin().is_some() {
        output::say(&link()?)?;
    }
    let mut told = state.page_origin().is_some();
    let served = web::serve_alone(site, closing, || {
        if !told {
            told = true;
            let said = link().map_err(io::Error::other);
            if let Err(error) = said.and_then(|link| output::say(&link)) {
                tracing::error!(%error, "the link cannot be printed");
            }
        }
    });
    let served = served.await;
    state.close().await.map_err(Refusal::from)?;
    served.map_err(|error| port_taken(&error, args.port))?;
    Ok(Exit::Done)
}

/// The capabilities of the configuration, whose statements are shown. The page is served without them, too.
fn offered(flags: &Flags, around: &Surroundings, state: &State) -> ByTarget {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = config::load(flags, around).map_err(|problems| problems.to_string());
    let offered = config.and_then(|config| {
        boot::offered(&config, state, &clock).map_err(|refusal| refusal.to_string())
    });
    offered.unwrap_or_else(|why| {
        tracing::info!("the page shows no statements of capabilities: {why}");
        ByTarget::new()
    })
}

/// Tells people of what happens while the page is served. The page is served whether or not that works:
/// a secret of the configuration may be known only where the MCP server runs.
fn tell_people(flags: &Flags, around: &Surroundings, state: &State, closing: CancellationToken) {
    match config::load_notify(flags, around) {
        Err(problems) => tracing::warn!("this process tells nobody of requests:\n{problems}"),
        Ok(notify) => match boot::courier(notify, state) {
            Err(refusal) => tracing::warn!(%refusal, "this process tells nobody of requests"),
            Ok(courier) => {
                courier.map(|courier| tokio::spawn(courier.run(closing)));
            }
        },
    }
}

/// An agent serves its page itself; what it gives out is a link.
async fn of_agent(args: &PageArgs, socket: &Path) -> Result<Exit, Failure> {
    if !args.link {
        let sentence = "the agent serves its page itself";
        let refusal = Refusal::new(Code::InvalidArgument, sentence);
        return Err(Failure::Misused(
            refusal.hint("add `--link` for a link that lets this browser in"),
        ));
    }
    let mut link = Link::open(socket, Wants::People).await?;
    output::say(&desk::page_link(&mut link, args.request.clone()).await?)?;
    Ok(Exit::Done)
}

/// A relay serves its page itself, too.
async fn of_relay(args: &PageArgs, relay: &str, around: &Surroundings) -> Result<Exit, Failure> {
    if !args.link {
        let refusal = Refusal::new(Code::InvalidArgument, "a relay serves its page itself");
        return Err(Failure::Misused(
            refusal.hint("add `--link` for a link that lets this browser in"),
        ));
    }
    let errand = args.away.errand(relay, around)?;
    output::say(&errand.page_link(args.request.clone()).await?)?;
    Ok(Exit::Done)
}

fn port_taken(error: &io::Error, port: u16) -> io::Error {
    if error.kind() == io::ErrorKind::AddrInUse {
        let sentence = format!(
            "port {port} of this machine is taken by another program; end it, or wait until it ends"
        );
        return io::Error::new(io::ErrorKind::AddrInUse, sentence);
    }
    io::Error::new(error.kind(), format!("cannot serve the page: {error}"))
}
