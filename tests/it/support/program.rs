//! The built program as `secondkey mcp`, with a configuration and a state folder of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use super::binary;

/// How `secondkey mcp` is started. Lives as long as its folder is needed.
pub(crate) struct Program {
    /// Holds `secondkey.toml`, the state and what the program writes to standard error.
    pub(crate) folder: TempDir,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Program {
    /// With this `secondkey.toml`.
    pub(crate) fn with_config(toml: &str) -> Self {
        let program = Self::with_arguments(&["--config", "secondkey.toml"]);
        std::fs::write(program.folder.path().join("secondkey.toml"), toml).unwrap();
        program
    }

    /// With these flags after `mcp`.
    pub(crate) fn with_arguments(arguments: &[&str]) -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            environment: Vec::new(),
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
        }
    }

    /// Sets an environment variable for it.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds flags after `mcp`.
    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.arguments
            .extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Everything after the program's name.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let state = self.state().display().to_string();
        let fixed = ["mcp".to_owned(), "--state".to_owned(), state];
        fixed.into_iter().chain(self.arguments.clone()).collect()
    }

    /// The command; its standard error goes to a file.
    pub(crate) fn command(&self) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("stderr"));
        let mut command = Command::new(binary());
        command
            .args(self.arguments())
            // Nobody's own desktop is to show what a test does.
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .current_dir(self.folder.path())
            .stderr(Stdio::from(log.unwrap()))
            .kill_on_drop(true);
        command
    }

    /// What it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}
