//! The agents whose words somebody has signed for, and the keys that these are signed with: `known_agents.json` in
//! the user's config folder. Like SSH's `known_hosts`, the first key of an agent is taken as it comes, and another one
//! later is not: a relay could show its own words as an agent's.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::{Failure, output};
use crate::config::Surroundings;
use crate::core::approval::Document;
use crate::core::handshake::Hex32;
use crate::core::ids::AgentId;
use crate::core::refusal::{Code, Refusal};

type Known = BTreeMap<AgentId, Hex32>;

/// An agent that was not known before.
#[derive(Debug)]
pub(super) struct New {
    file: PathBuf,
    agent: AgentId,
    key: Hex32,
}

/// Refuses a document whose capability is described in words that another key has signed than its agent's. An agent
/// that is new is said to be that; [`New::keep`] it once its words were signed for.
pub(super) fn check(
    document: &Document,
    around: &Surroundings,
    quiet: bool,
) -> Result<Option<New>, Failure> {
    let Some(called) = &document.capability else {
        return Ok(None);
    };
    let Some(folder) = &around.config_dir else {
        return Ok(None);
    };
    let (file, agent) = (folder.join("known_agents.json"), document.executor.clone());
    let key = called.contract.key;
    match read(&file)?.get(&agent) {
        Some(known) if *known == key => Ok(None),
        Some(known) => Err(Failure::Refused(other_key(&agent, *known, key, &file))),
        None => {
            if !quiet {
                output::complain(&format!(
                    "The agent {agent} is new to you. What is said of the capability is signed with its key\n  {key}\n\
                     which whoever runs the agent can read to you: `secondkey agent key`. It is remembered from now on."
                ));
            }
            Ok(Some(New { file, agent, key }))
        }
    }
}

fn other_key(agent: &AgentId, known: Hex32, key: Hex32, file: &Path) -> Refusal {
    let message = format!(
        "nothing was signed: the words about the capability are not the agent's; {agent} is known to sign with {known}, and \
         this is signed with {key}"
    );
    Refusal::new(Code::ApprovalRefused, message).hint(format!(
        "tell whoever runs the relay and the agent; if the agent was made anew, take it out of `{}`",
        file.display()
    ))
}

fn read(file: &Path) -> Result<Known, Failure> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Known::new()),
        Err(error) => return Err(error.into()),
    };
    serde_json::from_str(&text).map_err(|_| {
        let sentence = format!("`{}` is damaged", file.display());
        Failure::Refused(
            Refusal::new(Code::InvalidArgument, sentence).hint(
                "mend it, or remove it: then every agent is new, and its key worth a question",
            ),
        )
    })
}

impl New {
    /// Remembers the agent's key.
    pub(super) fn keep(self) -> Result<(), Failure> {
        let mut known = read(&self.file)?;
        known.entry(self.agent).or_insert(self.key);
        let text = serde_json::to_string_pretty(&known).map_err(std::io::Error::other)?;
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // In place of the old one at once, or not at all.
        let new = self
            .file
            .with_extension(format!("{}.new", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(std::fs::rename(&new, &self.file)?)
    }
}
