//! `secondkey demo`: a shop in SQLite, the real server, and a real MCP client that tries things.
//!
//! Nothing is acted: the transcript shows what came back from a child process of this binary, and
//! a step that does not come out as it should ends the demo with an error.

mod client;
mod desk;
mod reviewed;
mod script;
mod second_key;
mod team;
mod transcript;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::core::refusal::Refusal;
use crate::exec::sqlite::sample;

use self::desk::Desk;
use self::script::Stage;
use self::transcript::{Connect, Transcript};

pub use team::run as run_team;
pub use transcript::Style;

/// The shop, as a script.
const SHOP: &str = include_str!("demo/shop.sql");

/// What serves it, and what a user can go on from.
const CONFIG: &str = r#"# Made by `secondkey demo`, which replaces this file.
# Reads run, changes wait for a person, and some things are refused. See docs/configuration.md.
policy = "policy.cedar"
agent_policy = "policy.cedar"

[targets.shop]
url = "sqlite:shop.db"
environment = "demo"
allow = ["read"]
capabilities = "capability.yaml"
"#;
/// In front of it while the script is played: its client never waits within a call.
const PLAYED: &str = "approval_wait = \"0s\"\n";

/// What can be called by name: the shipped example.
const CAPABILITIES: &str = include_str!("../examples/capabilities/capability.yaml");

/// What runs, who is asked, and what is refused.
const POLICY: &str = include_str!("demo/policy.cedar");

/// Every file that a demo makes.
const FILES: &[&str] = &[
    "secondkey.toml",
    "shop.db",
    "state",
    "policy.cedar",
    "capability.yaml",
    desk::KEY,
];

/// Whether somebody sits at the terminal to be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seat {
    /// Nobody can be asked, so the demo signs with its own key, and says so.
    Empty,
    /// Somebody can.
    Taken,
}

/// What happens after the last scene.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    /// The demo is over.
    End,
    /// Requests of other clients are announced until the process is stopped.
    Watch,
}

/// Where a demo lives.
#[derive(Debug)]
pub struct Place {
    /// The folder that everything goes into. Made if it is missing.
    pub folder: PathBuf,
    /// The binary to start as a server: this one.
    pub binary: PathBuf,
    /// Who decides.
    pub seat: Seat,
    /// What happens after the last scene.
    pub after: After,
}

/// Why a demo stopped.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The server or the client broke.
    #[error("the demo's client could not talk to the server: {0}")]
    Client(String),
    /// A file could not be written or a process not started.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The sample could not be made.
    #[error("the sample database could not be made: {0}")]
    Sample(#[from] Refusal),
    /// The folder holds files that no demo made.
    #[error("`{0}` holds files that are not the demo's; name another folder with --dir")]
    Taken(PathBuf),
    /// Something came out otherwise than SecondKey promises.
    #[error("this is not what should happen: {0}")]
    Surprise(String),
}

/// Makes the shop, runs the script against it, and writes the transcript to `out`.
pub async fn run(place: &Place, style: Style, out: &mut dyn Write) -> Result<(), DemoError> {
    let io = |doing| move |source| DemoError::Io { doing, source };
    std::fs::create_dir_all(&place.folder).map_err(io("the demo's folder could not be made"))?;
    let folder = place
        .folder
        .canonicalize()
        .map_err(io("the demo's folder could not be found"))?;
    refuse_what_is_not_ours(&folder)?;
    let (shop, state) = (folder.join("shop.db"), folder.join("state"));
    let config = folder.join("secondkey.toml");
    sample::create(&shop, SHOP)?;
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(io("the configuration could not be written"))
    };
    write(&folder.join("policy.cedar"), POLICY)?;
    write(&folder.join("capability.yaml"), CAPABILITIES)?;
    write(&config, &played(CONFIG))?;
    let desk = Desk::prepare(&place.binary, (&folder, "state")).await?;
    let mut page = Transcript::new(out, style);
    page.opening(&shop)?;
    let client = client::Client::of_server(&place.binary, &config, &state).await?;
    let played = play(&client, desk.as_ref(), place.seat, &folder, &mut page).await;
    client.stop().await?;
    played?;
    page.audit(&desk::verify_log(&place.binary, &state).await?)?;
    write(&config, CONFIG)?;
    let approve = desk.as_ref().map(|desk| desk.approve_line(""));
    page.connect(&Connect {
        binary: &place.binary,
        config: &config,
        state: &state,
        approve: &approve.unwrap_or_default(),
    })?;
    match (place.after, desk) {
        (After::Watch, Some(desk)) => watch(&desk, &mut page).await,
        (After::Watch, None) => Err(DemoError::Surprise(NOBODY.to_owned())),
        (After::End, _) => Ok(()),
    }
}

/// Why the second key is not shown.
const NOBODY: &str =
    "ssh-keygen is not installed, so nobody can sign here; install OpenSSH's client";

/// The configuration while the script is played; its first line stays the first.
fn played(config: &str) -> String {
    config.replacen("policy =", &format!("{PLAYED}policy ="), 1)
}

async fn play(
    client: &client::Client,
    desk: Option<&Desk>,
    seat: Seat,
    folder: &Path,
    page: &mut Transcript<'_>,
) -> Result<(), DemoError> {
    let stage = Stage { client };
    script::play(&stage, page).await?;
    let Some(desk) = desk else {
        page.scene("A change would wait for a person with a second key.")?;
        return page.note(NOBODY);
    };
    let files = second_key::Files {
        shop: &folder.join("shop.db"),
        state: &folder.join("state").join("state.db"),
    };
    stage.second_key(page, desk, seat, &files).await?;
    stage.reviewed(page, (desk, seat), &files).await
}

/// Announces each request that begins to wait, until the process is stopped.
async fn watch(desk: &Desk, page: &mut Transcript<'_>) -> Result<(), DemoError> {
    page.scene("Each request that waits for you is shown here, until Ctrl-C.")?;
    // Stopped in the usual way, the process that watches is stopped too.
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Ok(()),
        ended = announce(desk, page) => ended,
    }
}

/// The same without an end.
async fn announce(desk: &Desk, page: &mut Transcript<'_>) -> Result<(), DemoError> {
    let mut watch = desk.watch()?;
    loop {
        let Some(request) = watch.next().await? else {
            return Ok(());
        };
        let id = request.get("request").and_then(|id| id.as_str());
        page.waiting(&request, &desk.approve_line(id.unwrap_or_default()))?;
    }
}

/// A demo replaces its files, and must not replace anybody else's.
fn refuse_what_is_not_ours(folder: &Path) -> Result<(), DemoError> {
    let first_line = |text: &str| text.lines().next().map(str::to_owned);
    let config = std::fs::read_to_string(folder.join("secondkey.toml")).unwrap_or_default();
    let ours = first_line(&config) == first_line(CONFIG);
    let taken = FILES.iter().any(|name| folder.join(name).exists());
    if taken && !ours {
        return Err(DemoError::Taken(folder.to_owned()));
    }
    Ok(())
}

impl From<std::io::Error> for DemoError {
    fn from(source: std::io::Error) -> Self {
        Self::Io {
            doing: "the transcript could not be written",
            source,
        }
    }
}
