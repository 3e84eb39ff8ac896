//! `secondkey demo`: see it work, on a database made for the purpose.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;

use crate::cli::{Exit, Failure};
use crate::config::{Home, Surroundings};
use crate::demo::{self, Place, Style};

/// Make a sample shop, serve it, and let a real MCP client try things
///
/// Everything goes into one folder, which later runs replace: a SQLite database and a state folder
/// of its own. Ends with the lines that connect Claude Code and Cursor to the same database.
#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// Where the shop and its audit log go [default: `demo` in the user's state folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) async fn run(args: DemoArgs) -> Result<Exit, Failure> {
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
    };
    let out = io::stdout();
    let style = if out.is_terminal() {
        Style::Colour
    } else {
        Style::Plain
    };
    demo::run(&place, style, &mut io::stdout().lock())
        .await
        .map_err(io::Error::other)?;
    Ok(Exit::Done)
}
