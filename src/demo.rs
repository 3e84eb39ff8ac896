//! `secondkey demo`: a shop in SQLite, the real server, and a real MCP client that tries things.
//!
//! Nothing is acted: the transcript shows what came back from a child process of this binary, and
//! a step that does not come out as it should ends the demo with an error.

mod client;
mod script;
mod transcript;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::core::refusal::Refusal;
use crate::exec::sqlite::sample;

pub use transcript::Style;

/// The shop, as a script.
const SHOP: &str = include_str!("demo/shop.sql");

/// What serves it, and what a user can go on from.
const CONFIG: &str = r#"# Made by `secondkey demo`, which replaces this file.
# Reads run; anything that changes the shop is refused. See docs/configuration.md.
[targets.shop]
url = "sqlite:shop.db"
environment = "demo"
allow = ["read"]
"#;

/// Where a demo lives.
#[derive(Debug)]
pub struct Place {
    /// The folder that everything goes into. Made if it is missing.
    pub folder: PathBuf,
    /// The binary to start as a server: this one.
    pub binary: PathBuf,
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
    let shop = folder.join("shop.db");
    refuse_what_is_not_ours(&folder)?;
    sample::create(&shop, SHOP)?;
    let config = folder.join("secondkey.toml");
    std::fs::write(&config, CONFIG).map_err(io("the configuration could not be written"))?;
    let mut page = transcript::Transcript::new(out, style);
    page.opening(&shop)?;
    let client = client::Client::start(&place.binary, &config, &folder.join("state")).await?;
    let played = script::play(&client, &mut page).await;
    client.stop().await?;
    played?;
    let verified = verify(&place.binary, &folder.join("state"))?;
    page.audit(&verified)?;
    page.connect(&place.binary, &config)?;
    Ok(())
}

/// A demo replaces its files, and must not replace anybody else's.
fn refuse_what_is_not_ours(folder: &Path) -> Result<(), DemoError> {
    let first_line = |text: &str| text.lines().next().map(str::to_owned);
    let config = std::fs::read_to_string(folder.join("secondkey.toml")).unwrap_or_default();
    let ours = first_line(&config) == first_line(CONFIG);
    let taken = ["secondkey.toml", "shop.db", "state"]
        .iter()
        .any(|name| folder.join(name).exists());
    if taken && !ours {
        return Err(DemoError::Taken(folder.to_owned()));
    }
    Ok(())
}

/// Runs `secondkey audit verify`, as anybody else would.
fn verify(binary: &Path, state: &Path) -> Result<String, DemoError> {
    let output = std::process::Command::new(binary)
        .args(["audit", "verify", "--state"])
        .arg(state)
        .output()
        .map_err(|source| DemoError::Io {
            doing: "`audit verify` could not be started",
            source,
        })?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(DemoError::Surprise(text))
    }
}

impl From<std::io::Error> for DemoError {
    fn from(source: std::io::Error) -> Self {
        Self::Io {
            doing: "the transcript could not be written",
            source,
        }
    }
}
