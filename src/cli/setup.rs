//! `secondkey setup`: connect Claude Code or Cursor, by an entry in the project's list of servers.

mod client;
mod document;
mod entry;
mod file;
mod layout;
mod words;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use self::client::Client;
use self::document::Document;
use self::entry::Entry;
use self::file::Found;
use self::words::{Fault, Places, Words};
use crate::cli::desk::AgentArgs;
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::config::{self, Surroundings};
use crate::core::refusal::{Code, Refusal};

const EXAMPLES: &str = "\
Examples:
  secondkey setup claude-code --database-url shop=sqlite:shop.db
  secondkey setup cursor --config secondkey.toml --env ORDERS_PASSWORD
  secondkey setup cursor --database-url orders=env:ORDERS_URL --print
  secondkey setup claude-code --agent unix:/run/secondkey/agent.sock
  secondkey setup claude-code --relay https://relay.example
  secondkey setup claude-code --undo";

/// What a list of servers is before there is one.
const NOTHING: &str = "{}\n";
/// What is left of a list that held nothing but our entry.
const NOTHING_LEFT: &str = "{\n  \"mcpServers\": {}\n}\n";
/// Cursor drops a tool whose name is, with the server's, longer than 60 characters.
const LONGEST_NAME: usize = 40;

/// Connect Claude Code or Cursor to this program
///
/// Writes one server into the project's list of servers, `.mcp.json` or `.cursor/mcp.json`, which
/// can be committed: no secret goes in. The client then starts `secondkey mcp` with the flags that are given
/// here; without any, it serves what each user's own configuration names. Everything else in the file stays
/// as it is.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct SetupArgs {
    /// The client to set up
    #[arg(value_enum)]
    client: Client,
    /// The project's folder [default: this one]. For Cursor, the home folder stands for all projects
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The server's name in the client
    #[arg(long, default_value = env!("CARGO_PKG_NAME"), value_parser = server_name)]
    name: String,
    #[command(flatten)]
    databases: Databases,
    /// An environment variable that the client hands on, such as one with a password. Repeatable; that of an
    /// `env:NAME` above is handed on anyway
    #[arg(long = "env", value_name = "NAME")]
    variables: Vec<String>,
    #[command(flatten)]
    agent: AgentArgs,
    /// A relay's address, which the client reaches in place of a program on this machine. It shows
    /// the key that its environment has in `SECONDKEY_API_KEY`
    #[arg(long, value_name = "URL", conflicts_with_all = ["database_urls", "variables", "agent"])]
    relay: Option<String>,
    /// Print the file as it would be with nothing else in it, and write nothing
    #[arg(long)]
    print: bool,
    /// Take the server out again; a file that held nothing else goes too
    #[arg(long, conflicts_with_all = ["database_urls", "variables", "agent", "relay", "print"])]
    undo: bool,
    /// Replace or take out a server of this name even if it is another one
    #[arg(long)]
    force: bool,
}

/// A name that becomes a part of each tool's name.
fn server_name(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!("use 1 to {LONGEST_NAME} of a-z A-Z 0-9 _ -"))
    }
}

#[expect(clippy::unused_async, reason = "like every other command")]
pub(super) async fn run(args: SetupArgs, shared: Shared) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let dir = args.dir.as_deref().unwrap_or(Path::new("."));
    let project = std::path::absolute(around.folder.join(dir))?;
    let said = if args.undo {
        undo(&args, &project)?
    } else {
        let entry = entry(&args, &shared, &project, &around)?;
        if args.print {
            let text = Document::read(NOTHING).and_then(|none| none.with(&args.name, &entry));
            text.map_err(io::Error::other)?
        } else {
            connect(&args, &entry, &project)?
        }
    };
    output::say(&said)?;
    Ok(Exit::Done)
}

/// Puts the entry into the client's file; gives what there is to say.
fn connect(args: &SetupArgs, entry: &Entry, project: &Path) -> Result<String, Failure> {
    let name = &args.name;
    let untouched = |why: &dyn Display| untouched(args.client, project, why);
    let found = Found::look(project, args.client.file()).map_err(|why| untouched(&why))?;
    let shown = found.path().display();
    let document = Document::read(found.text().unwrap_or(NOTHING));
    let document = document.map_err(|why| untouched(&why))?;
    if let Some(there) = document.server(name).map_err(|why| untouched(&why))? {
        if serde_json::to_value(entry).is_ok_and(|entry| entry == there) {
            return Ok(format!(
                "Server `{name}` is in `{shown}` like this already; nothing was changed."
            ));
        }
        if !args.force {
            return Err(refused(
                format!("another server `{name}` is in `{shown}`; nothing was changed"),
                "replace it with `--force`, or choose another name with `--name`",
            ));
        }
    }
    let text = document.with(name, entry).map_err(|why| untouched(&why))?;
    found.replace(&text).map_err(|why| untouched(&why))?;
    let (next, client) = (args.client.next(name), args.client.as_str());
    let variables = entry.variables();
    let variables = if variables.is_empty() {
        String::new()
    } else {
        let list = variables.join(", ");
        format!("\nIt needs in the environment that {client} is started with: {list}.")
    };
    Ok(format!(
        "Wrote server `{name}` into `{shown}`.{variables}\nNext: {next}."
    ))
}

/// Takes the entry out of the client's file; gives what there is to say.
fn undo(args: &SetupArgs, project: &Path) -> Result<String, Failure> {
    let name = &args.name;
    let untouched = |why: &dyn Display| untouched(args.client, project, why);
    let found = Found::look(project, args.client.file()).map_err(|why| untouched(&why))?;
    let shown = found.path().display();
    let nothing = || {
        Ok(format!(
            "No server `{name}` is in `{shown}`; nothing was changed."
        ))
    };
    let Some(text) = found.text() else {
        return nothing();
    };
    let document = Document::read(text).map_err(|why| untouched(&why))?;
    let Some(there) = document.server(name).map_err(|why| untouched(&why))? else {
        return nothing();
    };
    if !args.force && !entry::is_ours(&there) {
        return Err(refused(
            format!("server `{name}` in `{shown}` is not this program; nothing was changed"),
            "take it out all the same with `--force`, or name the right one with `--name`",
        ));
    }
    let rest = document.without(name).map_err(|why| untouched(&why))?;
    if rest == NOTHING_LEFT {
        found.remove(project).map_err(|why| untouched(&why))?;
        return Ok(format!(
            "Removed `{shown}`, in which server `{name}` was alone."
        ));
    }
    found.replace(&rest).map_err(|why| untouched(&why))?;
    Ok(format!("Took server `{name}` out of `{shown}`."))
}

/// The server that the flags ask for.
fn entry(
    args: &SetupArgs,
    shared: &Shared,
    project: &Path,
    around: &Surroundings,
) -> Result<Entry, Failure> {
    if let Some(relay) = &args.relay {
        if shared.config.is_some() || shared.state.is_some() || shared.log.is_some() {
            let fault = "a relay has its own configuration, state and log".to_owned();
            return Err(misused((fault, "leave out the other flags, or `--relay`")));
        }
        let url = entry::relay_address(relay).map_err(misused)?;
        return Ok(Entry::relay(args.client, &url));
    }
    let at = Places {
        client: args.client,
        project: (!serves_all_projects(args.client, project, around)).then(|| project.to_owned()),
    };
    let variables = args.variables.iter();
    let variables = variables
        .map(|name| words::variable(name))
        .collect::<Result<_, _>>();
    let mut words = Words::new(variables.map_err(misused)?);
    let urls = config::open_urls(&args.databases.database_urls, around)?;
    if let Some(socket) = args.agent.socket(shared, around, !urls.is_empty())? {
        words
            .path("--agent", "unix:", &socket, &at)
            .map_err(misused)?;
    }
    if let Some(file) = &shared.config {
        let file = around.folder.join(file);
        words.path("--config", "", &file, &at).map_err(misused)?;
    }
    if let Some(folder) = &shared.state {
        // State is this machine's, wherever the project is moved to.
        let folder = around.folder.join(folder);
        let whole = Places {
            project: None,
            ..at
        };
        words
            .path("--state", "", &folder, &whole)
            .map_err(misused)?;
    }
    if let Some(filter) = &shared.log {
        words.text("--log", filter).map_err(misused)?;
    }
    for url in urls {
        words.database(url, &at).map_err(misused)?;
    }
    let command = words::program(around)?.map_err(misused)?;
    Ok(Entry::program(args.client, command, words))
}

/// Cursor takes the servers in the home folder's file to each project.
fn serves_all_projects(client: Client, project: &Path, around: &Surroundings) -> bool {
    let home = around.environment.text("HOME").map(PathBuf::from);
    let real = |path: &Path| path.canonicalize().ok();
    client == Client::Cursor
        && real(project).is_some_and(|project| Some(project) == home.and_then(|home| real(&home)))
}

fn untouched(client: Client, project: &Path, why: &dyn Display) -> Failure {
    let path = project.join(client.file());
    refused(
        format!("`{}` was not changed: {why}", path.display()),
        "mend that, or take the entry that `--print` shows and put it in by hand",
    )
}

fn refused(sentence: String, hint: &str) -> Failure {
    Failure::Refused(Refusal::new(Code::InvalidArgument, sentence).hint(hint))
}

fn misused((sentence, hint): Fault) -> Failure {
    Failure::Misused(Refusal::new(Code::InvalidArgument, sentence).hint(hint))
}
