//! What every command needs, with or without targets: the state folder and how to log.

use std::path::PathBuf;
use std::str::FromStr as _;

use tracing_subscriber::filter::EnvFilter;

use crate::config::problem::{Place, Problem, Problems};
use crate::config::surroundings::Surroundings;
use crate::config::{Flags, variable};
use crate::core::workspace;

/// Where this installation keeps its state, and how it logs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Home {
    /// The state folder: requests, journal, audit log, keys. It need not exist yet.
    pub state_dir: PathBuf,
    /// How to log.
    pub log: Log,
}

/// How to log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// What is logged, as `tracing_subscriber` filters are written; checked.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Text for people.
    #[default]
    Text,
}

impl Home {
    /// Finds it, without looking at any target or secret.
    pub fn find(flags: &Flags, around: &Surroundings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let home = find(flags, around, &mut problems);
        problems.unless_any(home)
    }
}

pub(super) fn find(flags: &Flags, around: &Surroundings, problems: &mut Problems) -> Option<Home> {
    let given = variable("SECONDKEY_STATE", around, problems).map(PathBuf::from);
    let given = flags.state.clone().or(given);
    let state_dir = match given {
        Some(path) => Some(around.folder.join(path)),
        None => around.state_dir.clone(),
    };
    if state_dir.is_none() {
        problems.add(Problem::new(
            Place::Nowhere,
            "there is no home folder to keep the state in",
            "name a folder with --state DIR",
        ));
    }
    let state_dir = match &flags.workspace {
        Some(name) if !name.is_first() => {
            let further = state_dir.map(|root| root.join(workspace::FOLDER).join(name.as_str()));
            let there = |path: &PathBuf| path.join(workspace::NAME_FILE).is_file();
            if !further.as_ref().is_some_and(there) {
                problems.add(Problem::new(
                    Place::Flag("--workspace", 1),
                    format!("there is no workspace `{name}` in this state folder"),
                    "`secondkey relay workspaces list` shows those of a relay",
                ));
            }
            further
        }
        Some(_) | None => state_dir,
    };
    let log = Log {
        filter: log_filter(flags, around, problems),
        format: log_format(around, problems),
    };
    Some(Home {
        state_dir: state_dir?,
        log,
    })
}

/// Whether somebody wrote a level that does not exist: the filter takes it for the name of a module.
fn is_a_bare_word(filter: &str) -> bool {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    filter.split(',').any(|part| {
        let part = part.trim();
        !part.contains(['=', ':', '['])
            && part != "secondkey"
            && !levels.iter().any(|level| part.eq_ignore_ascii_case(level))
    })
}

fn log_filter(flags: &Flags, around: &Surroundings, problems: &mut Problems) -> String {
    let variable = variable("SECONDKEY_LOG", around, problems);
    let (filter, place) = match (&flags.log, variable) {
        (Some(filter), _) => (filter.clone(), Place::Flag("--log", 1)),
        (None, Some(filter)) => (filter, Place::Variable("SECONDKEY_LOG")),
        (None, None) => return "warn".to_owned(),
    };
    if EnvFilter::from_str(&filter).is_err() || is_a_bare_word(&filter) {
        problems.add(Problem::new(
            place,
            "this is not a log filter",
            "write a level (`error`, `warn`, `info`, `debug`, `trace`) or `secondkey=debug,warn`",
        ));
    }
    filter
}

fn log_format(around: &Surroundings, problems: &mut Problems) -> LogFormat {
    match variable("SECONDKEY_LOG_FORMAT", around, problems).as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(_) => {
            problems.add(Problem::new(
                Place::Variable("SECONDKEY_LOG_FORMAT"),
                "this is not a log format",
                "write `text` or `json`",
            ));
            LogFormat::Text
        }
    }
}
