//! What the process finds around itself: its environment, its folder, the user's folders. The
//! only place that reads the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use directories::ProjectDirs;

/// Everything outside the command line that a configuration depends on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The environment variables.
    pub environment: Environment,
    /// The folder that relative paths on the command line start from.
    pub folder: PathBuf,
    /// The user's folder for configuration of this program, where the platform has one.
    pub config_dir: Option<PathBuf>,
    /// The user's folder for the state of this program, where the platform has one.
    pub state_dir: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let user = ProjectDirs::from("", "", "secondkey");
        let state = |dirs: &ProjectDirs| {
            dirs.state_dir()
                .unwrap_or_else(|| dirs.data_local_dir())
                .to_owned()
        };
        Self {
            environment: Environment::Process,
            folder: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            config_dir: user.as_ref().map(|dirs| dirs.config_dir().to_owned()),
            state_dir: user.as_ref().map(state),
        }
    }
}

/// Environment variables. What they hold never shows in `Debug`.
#[derive(Clone)]
pub enum Environment {
    /// Those of this process.
    Process,
    /// Exactly these.
    Fixed(BTreeMap<String, String>),
}

/// A variable that is set to something else than UTF-8 text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NotText;

impl Environment {
    /// The value of a variable that has no place in a configuration; what is not text is not there.
    pub fn text(&self, name: &str) -> Option<String> {
        self.read(name).ok().flatten()
    }

    /// The value of a variable; unset and empty are the same.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, NotText> {
        let value = match self {
            Self::Process => process_variable(name)?,
            Self::Fixed(variables) => variables.get(name).cloned(),
        };
        Ok(value.filter(|text| !text.is_empty()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
fn process_variable(name: &str) -> Result<Option<String>, NotText> {
    // The standard library panics on such names on some platforms.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Ok(None);
    }
    std::env::var_os(name)
        .map(|value| value.into_string().map_err(|_| NotText))
        .transpose()
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("Process"),
            Self::Fixed(variables) => f.debug_set().entries(variables.keys()).finish(),
        }
    }
}
