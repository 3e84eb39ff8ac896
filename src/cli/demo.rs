//! `secondkey demo`: see it work, on a database made for the purpose.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;

use crate::cli::{Exit, Failure};
use crate::config::{Home, Surroundings};
use crate::demo::{self, After, Place, Seat, Style};

/// Make a sample shop, serve it, and let a real MCP client try things
///
/// One of the things it tries is a change, which waits for a person: on a terminal, that is you.
/// Elsewhere the demo signs with a key made for it, and says so. Everything goes into one folder,
/// which later runs replace: a SQLite database, a policy, a key and a state folder of its own. Ends
/// with the lines that connect Claude Code and Cursor to the same database.
#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// Where the shop and its audit log go [default: `demo` in the user's state folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Afterwards show each request of a client of yours that waits, until stopped
    #[arg(long)]
    serve: bool,
    /// Instead run a relay with two agents on this machine, each with a database, and let a client with an API key
    /// come to them; ends with the lines that connect Claude Code and Cursor, and with Ctrl-C, which removes everything
    #[arg(long, conflicts_with_all = ["dir", "serve"])]
    team: bool,
}

pub(super) async fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let asked = [
        io::stdin().is_terminal(),
        io::stdout().is_terminal(),
        io::stderr().is_terminal(),
    ];
    let seat = if asked == [true; 3] {
        Seat::Taken
    } else {
        Seat::Empty
    };
    let out = io::stdout();
    let style = if out.is_terminal() {
        Style::Colour
    } else {
        Style::Plain
    };
    if args.team {
        let binary = std::env::current_exe()?;
        demo::run_team(&binary, (seat, style), &mut out.lock())
            .await
            .map_err(io::Error::other)?;
        return Ok(Exit::Done);
    }
    let folder = match args.dir {
        Some(folder) => folder,
        None => Home::find(
            &crate::config::Flags::default(),
            &Surroundings::of_process(),
        )?
        .state_dir
        .join("demo"),
    };
    let place = Place {
        folder,
        binary: std::env::current_exe()?,
        seat,
        after: if args.serve { After::Watch } else { After::End },
    };
    demo::run(&place, style, &mut out.lock())
        .await
        .map_err(io::Error::other)?;
    Ok(Exit::Done)
}
