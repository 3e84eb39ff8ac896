//! Where policies come from, and what their groups are checked against.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Flags, Home, Surroundings, load_policies};
use crate::core::policy::{PolicySet, Problem, Problems};
use crate::core::refusal::{Code, Refusal};
use crate::core::trust::TrustFile;
use crate::store::State;

/// A policy and the name it is shown by.
pub(in crate::cli) struct Named {
    pub(in crate::cli) shown: String,
    pub(in crate::cli) file: Option<PathBuf>,
    pub(in crate::cli) policy: Arc<PolicySet>,
}

/// Where a policy is.
pub(in crate::cli) enum Source {
    /// In the program.
    BuiltIn(&'static str, Arc<PolicySet>),
    /// In a file.
    File(PathBuf),
}

impl Source {
    /// The policy, or everything that is wrong with it.
    pub(in crate::cli) fn load(self, trust: Option<&TrustFile>) -> Result<Named, Problems> {
        let file = match self {
            Self::BuiltIn(whose, policy) => {
                return Ok(Named {
                    shown: format!("{whose} policy (built in)"),
                    file: None,
                    policy,
                });
            }
            Self::File(file) => file,
        };
        let shown = file.display().to_string();
        let unreadable = |error: std::io::Error| Problems {
            file: shown.clone(),
            list: vec![Problem {
                line: 1,
                column: 1,
                message: format!("the policy cannot be read: {error}"),
                hint: String::new(),
            }],
        };
        let text = std::fs::read_to_string(&file).map_err(unreadable)?;
        let policy = PolicySet::load_under(&text, &shown, trust)?;
        Ok(Named {
            shown,
            file: Some(file),
            policy: Arc::new(policy),
        })
    }
}

/// The workspace's policy and the agent's own, in these files if they are in files.
pub(in crate::cli) fn both([workspace, agent]: [Option<PathBuf>; 2]) -> [Source; 2] {
    let source = |file, whose, policy| match file {
        Some(file) => Source::File(file),
        None => Source::BuiltIn(whose, policy),
    };
    [
        source(workspace, "workspace", PolicySet::starter()),
        source(agent, "agent", PolicySet::agent_default()),
    ]
}

/// The policy that was named, else those of the configuration.
pub(super) fn chosen(
    file: Option<PathBuf>,
    flags: &Flags,
    around: &Surroundings,
) -> Result<Vec<Source>, crate::config::Problems> {
    match file {
        Some(file) => Ok(vec![Source::File(file)]),
        None => Ok(both(load_policies(flags, around)?).into()),
    }
}

/// The policies, or one refusal that says everything that is wrong with any of them.
pub(super) fn loaded(
    sources: impl IntoIterator<Item = Source>,
    trust: Option<&TrustFile>,
) -> Result<Vec<Named>, Refusal> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for source in sources {
        match source.load(trust) {
            Ok(named) => good.push(named),
            Err(problems) => bad.push(problems),
        }
    }
    if bad.is_empty() {
        Ok(good)
    } else {
        Err(refusal(&bad))
    }
}

/// What is wrong with policies, as the answer to whoever wanted to use them.
pub(super) fn refusal(bad: &[Problems]) -> Refusal {
    let all: Vec<String> = bad.iter().map(ToString::to_string).collect();
    Refusal::new(Code::PolicyUnavailable, all.join("\n"))
        .hint("nothing of such a policy is in force until all of that is mended")
}

/// The trust file that groups are checked against.
pub(in crate::cli) enum Trust {
    /// This one.
    Pinned(Arc<TrustFile>),
    /// None was made yet.
    None,
    /// One that does not count, or whose folder is not known.
    Unknown(String),
}

impl Trust {
    /// That of the state folder.
    pub(super) fn find(flags: &Flags, around: &Surroundings) -> Self {
        match Home::find(flags, around) {
            Ok(home) => Self::at(&home.state_dir),
            Err(problems) => Self::Unknown(problems.to_string()),
        }
    }

    /// That of a state folder.
    pub(in crate::cli) fn at(state: &Path) -> Self {
        match State::trust_in(state) {
            Ok(Some(trust)) => Self::Pinned(trust),
            Ok(None) => Self::None,
            Err(error) => Self::Unknown(error.to_string()),
        }
    }

    pub(in crate::cli) fn file(&self) -> Option<&TrustFile> {
        match self {
            Self::Pinned(trust) => Some(trust),
            Self::None | Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(trust) => {
                let version = trust.version;
                write!(
                    f,
                    "groups are checked against version {version} of the trust file"
                )
            }
            Self::None => f.write_str("groups are not checked: there is no trust file yet"),
            Self::Unknown(why) => write!(f, "groups are not checked: {why}"),
        }
    }
}
