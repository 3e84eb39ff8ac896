//! `secondkey mcp`: serve one MCP client over standard input and output, or several over HTTP.

use std::net::SocketAddr;

use clap::Args;

use crate::cli::{Databases, Exit, Failure, Shared};
use crate::config::{self, Surroundings};
use crate::telemetry;

const EXAMPLES: &str = "\
Examples:
  secondkey mcp --database-url sqlite:shop.db
  secondkey mcp --database-url orders=env:ORDERS_URL --database-url stock=file:/run/secrets/stock
  secondkey mcp --config /etc/secondkey/secondkey.toml --http 127.0.0.1:7320";

/// Serve MCP to a client that starts this command
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct McpArgs {
    #[command(flatten)]
    databases: Databases,
    /// Serve over HTTP on this loopback address instead; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
}

pub(super) async fn run(args: McpArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let config = config::load(&shared.into_flags(args.databases), &around)?;
    telemetry::start(&config.home.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    std::future::ready(()).await;
    Err(Failure::Io(std::io::Error::other(format!(
        "boot is not merged yet {:?}",
        args.http
    ))))
}
