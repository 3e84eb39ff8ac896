//! READS settings: defaults < file < environment < flags. `docs/configuration.md` has every key.
//!
//! Two forms: settings as written and settings as meant. The step between them is the
//! only validation, and it finds every problem of every source in one go, each with its place.
//! Secrets are fetched here, held as [`SecretString`], and shown in no message.

pub mod capability;
mod database_url;
mod document;
mod home;
mod keyring;
mod logins;
mod meant;
mod notify;
mod oidc;
mod open_url;
mod os_user;
mod principals;
mod problem;
mod relay;
mod secret;
mod surroundings;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

pub use home::{Home, Log, LogFormat};
pub use notify::{Notify, WebhookConfig};
pub use oidc::Oidc;
pub use open_url::{OpenUrl, OpenUrlKind, open_urls};
pub use os_user::user_id;
pub use problem::{Place, Problem, Problems};
pub use relay::{RelayConfig, TEMPLATE as RELAY_TEMPLATE};
pub use surroundings::{Environment, Surroundings};

use crate::core::account::Account;
use crate::core::capability::WhenChanged;
use crate::core::level::What;
use crate::core::limits::Limits;
use crate::core::policy::Principals;
use crate::core::refusal::{Code, Refusal};
use crate::core::review::Settings;
use crate::core::statement::Effect;
use crate::core::target::Target;
use crate::core::workspace::WorkspaceName;
use document::Source;
use meant::Reading;
use written::{Written, WrittenTarget};

/// The name of a configuration file that is found without being named.
pub const FILE_NAME: &str = "secondkey.toml";

/// The flags that all commands share, as the command line gave them.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--workspace`: one of the relay's whose state folder it is.
    pub workspace: Option<WorkspaceName>,
    /// `--log`.
    pub log: Option<String>,
    /// `--database-url`, each `[NAME=]URL`.
    pub database_urls: Vec<SecretString>,
}

/// Everything that was configured; all of it is valid and all secrets are there.
#[derive(Debug)]
pub struct Config {
    /// State folder and log.
    pub home: Home,
    /// The targets, at least one: those of the file in its order, then the others.
    pub targets: Vec<TargetConfig>,
    /// How long a call waits for a person before it answers that its request is pending.
    pub approval_wait: Duration,
    /// How capabilities are listed as tools.
    pub capability_tools: CapabilityTools,
    /// The file of the workspace's policy, where one is named.
    pub policy: Option<PathBuf>,
    /// The file of the agent's own policy, where one is named.
    pub agent_policy: Option<PathBuf>,
    /// The roles and groups of those who ask.
    pub principals: Principals,
    /// How people are told that something waits for them.
    pub notify: Notify,
    /// Who may connect to the agent's socket; nothing where its permissions alone say so.
    pub clients: Option<Vec<Account>>,
    /// Who sees everybody's requests there, besides the signers of the trust file.
    pub approvers: Vec<Account>,
    /// What becomes of what the review rules find.
    pub review: Settings,
    /// The files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// What the process finds around itself, for the secrets of capabilities.
    pub around: Surroundings,
    /// What is allowed but should be known.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// The files that the set-up stands on, as far as the configuration names them.
    pub fn files(&self) -> Vec<(What, PathBuf)> {
        let one = |what, path: Option<&PathBuf>| path.map(|path| (what, path.clone()));
        let named = [
            Some((What::State, self.home.state_dir.clone())),
            one(What::Configuration, self.file.as_ref()),
            one(What::Policy, self.policy.as_ref()),
            one(What::Policy, self.agent_policy.as_ref()),
        ];
        let named_by = self.targets.iter();
        let capabilities =
            named_by.filter_map(|target| Some((What::Policy, target.capabilities.clone()?)));
        let secrets = self.secret_files.iter();
        let databases = self.targets.iter().filter_map(|target| {
            let path = target.url.expose_secret().strip_prefix("sqlite:")?;
            Some((What::Database, PathBuf::from(path)))
        });
        let secrets = secrets.map(|path| (What::Secret, path.clone()));
        named
            .into_iter()
            .flatten()
            .chain(secrets)
            .chain(capabilities)
            .chain(databases)
            .collect()
    }
}

/// How capabilities are listed as tools.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CapabilityTools {
    /// Each is a tool as long as there are few.
    #[default]
    Auto,
    /// Each is a tool.
    Each,
    /// None is; two tools reach them all.
    Call,
}

/// One target, with what it takes to reach it.
#[derive(Debug)]
pub struct TargetConfig {
    /// The target, as the rest of the program knows it.
    pub target: Target,
    /// The whole database URL, credentials included. A SQLite path in it is absolute:
    /// `sqlite:/srv/shop.db`.
    pub url: SecretString,
    /// The table in which changes under idempotency keys are noted.
    pub ledger: Option<crate::core::ledger::LedgerName>,
    /// The same URL with other logins, by the effect that each is for.
    pub logins: BTreeMap<Effect, SecretString>,
    /// Whether a login that can do more than the target allows is accepted (and reported).
    pub allow_privileged_login: bool,
    /// What becomes of a capability that is not the one that was accepted.
    pub when_changed: WhenChanged,
    /// The file of what can be called here by name.
    pub capabilities: Option<PathBuf>,
    /// Where it was configured.
    pub origin: Place,
}

/// Reads the whole configuration, or says everything that is wrong with it.
pub fn load(flags: &Flags, around: &Surroundings) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let home = home::find(flags, around, &mut problems);
    let file = config_file(flags, around, &mut problems);
    let written = file.as_ref().and_then(|file| {
        Source::read(&file.path, file.shown.clone())
            .map(|source| written::from_file(&source, &mut problems))
            .map_err(|problem| problems.add(problem))
            .ok()
    });
    let written = written.unwrap_or_default();
    let given = given_targets(flags, around, &mut problems);
    if written.targets.is_empty() && given.is_empty() && problems.is_empty() {
        problems.add(Problem::new(
            Place::Nowhere,
            "no target is configured",
            "add `--database-url URL`, or write a `secondkey.toml` with a `[targets.NAME]`",
        ));
    }
    let mut reading = Reading::new(around, problems);
    let path = file.map(|file| reading.file(file.path, file.shown));
    let folder = path
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."));
    let approval_wait = reading.approval_wait(written.approval_wait.as_ref());
    let capability_tools = reading.capability_tools(written.capability_tools.as_ref());
    let policy = reading.policy(written.policy.as_ref(), folder);
    let agent_policy = reading.policy(written.agent_policy.as_ref(), folder);
    let principals = reading.principals(&written.principals);
    let notify = reading.notify(&written.notify, folder);
    let review = reading.review(&written.review);
    let clients = reading.accounts(written.clients.clone());
    let approvers = reading
        .accounts(written.approvers.clone())
        .unwrap_or_default();
    let targets = targets(written, given, path.as_deref(), &mut reading);
    let (problems, warnings) = (reading.problems, reading.warnings);
    let secret_files = reading.secret_files;
    problems.unless_any(home.map(|home| Config {
        home,
        targets,
        approval_wait,
        capability_tools,
        policy,
        agent_policy,
        principals,
        notify,
        clients,
        approvers,
        review,
        secret_files,
        file: path,
        around: around.clone(),
        warnings,
    }))
}

/// Fetches a secret that a flag refers to, in words for the person who wrote it.
pub fn secret_of(reference: &str, around: &Surroundings) -> Result<SecretString, Refusal> {
    let refused = |sentence: String, hint: &str| {
        Refusal::new(Code::InvalidArgument, sentence).hint(hint.to_owned())
    };
    let parsed = secret::Reference::parse(reference).ok_or_else(|| {
        refused(
            "a secret does not belong on a command line".to_owned(),
            &format!("say where it is kept: {}", secret::FORMS),
        )
    })?;
    let found = parsed.resolve(&around.folder, around);
    let found = found.map_err(|missing| refused(missing.message, &missing.hint))?;
    if let Some(file) = &found.open_file {
        let file = file.display();
        tracing::warn!("the secret file `{file}` can be read by other users; `chmod 600` it");
    }
    Ok(found.secret)
}

/// Reads only how people are told, for a process that serves no target. What is wrong with the rest of
/// the configuration is not looked for.
pub fn load_notify(flags: &Flags, around: &Surroundings) -> Result<Notify, Problems> {
    let mut problems = Problems::default();
    let file = config_file(flags, around, &mut problems);
    let written = file.as_ref().and_then(|file| {
        Source::read(&file.path, file.shown.clone())
            .map(|source| written::notify_from_file(&source, &mut problems))
            .map_err(|problem| problems.add(problem))
            .ok()
    });
    let folder = file.as_ref().and_then(|file| file.path.parent());
    let mut reading = Reading::new(around, problems);
    let notify = reading.notify(
        &written.unwrap_or_default(),
        folder.unwrap_or(Path::new(".")),
    );
    reading.problems.unless_any(Some(notify))
}

/// Reads only which files the policies are in, the workspace's and the agent's, whatever they hold.
/// What is wrong with the rest of the configuration is not looked for.
pub fn load_policies(
    flags: &Flags,
    around: &Surroundings,
) -> Result<[Option<PathBuf>; 2], Problems> {
    let mut problems = Problems::default();
    let file = config_file(flags, around, &mut problems);
    let written = file.as_ref().and_then(|file| {
        Source::read(&file.path, file.shown.clone())
            .map(|source| written::policies_from_file(&source, &mut problems))
            .map_err(|problem| problems.add(problem))
            .ok()
    });
    let folder = file.as_ref().and_then(|file| file.path.parent());
    let folder = folder.unwrap_or(Path::new("."));
    let files = written.unwrap_or_default();
    problems.unless_any(Some(files.map(|at| Some(folder.join(at?.value)))))
}

/// Reads only which identity provider's tokens count, where there is one.
pub fn load_oidc(flags: &Flags, around: &Surroundings) -> Result<Option<Oidc>, Problems> {
    let mut problems = Problems::default();
    let file = config_file(flags, around, &mut problems);
    let found = file.as_ref().and_then(|file| {
        let source = Source::read(&file.path, file.shown.clone());
        let source = source.map_err(|problem| problems.add(problem)).ok()?;
        let mut found = oidc::from_file(&source, &mut problems)?;
        let folder = file.path.parent().unwrap_or(Path::new("."));
        found.authority = found.authority.map(|authority| folder.join(authority));
        Some(found)
    });
    problems.unless_any(Some(found))
}

/// Reads only how a relay serves.
pub fn load_relay(flags: &Flags, around: &Surroundings) -> Result<RelayConfig, Problems> {
    let mut problems = Problems::default();
    let file = config_file(flags, around, &mut problems);
    let found = file.as_ref().and_then(|file| {
        let source = Source::read(&file.path, file.shown.clone());
        let source = source.map_err(|problem| problems.add(problem)).ok()?;
        let mut found = relay::from_file(&source, &mut problems)?;
        let folder = file.path.parent().unwrap_or(Path::new("."));
        let beside = |(certificate, key)| (folder.join(certificate), folder.join(key));
        found.tls = found.tls.map(beside);
        Some(found)
    });
    problems.unless_any(Some(found.unwrap_or_default()))
}

/// Whether a configuration file is named, by the flag or by the variable.
pub fn is_named(flags: &Flags, around: &Surroundings) -> bool {
    flags.config.is_some() || around.environment.text("SECONDKEY_CONFIG").is_some()
}

/// A configuration file, and its name as the user would write it.
#[derive(Debug)]
struct ConfigFile {
    path: PathBuf,
    shown: PathBuf,
}

/// The file that was named, else the user's own. One that merely lies in the current folder is not
/// read: a checkout could otherwise send the user's secrets to a server of its own choice.
fn config_file(
    flags: &Flags,
    around: &Surroundings,
    problems: &mut Problems,
) -> Option<ConfigFile> {
    let variable = variable("SECONDKEY_CONFIG", around, problems).map(PathBuf::from);
    if let Some(named) = flags.config.clone().or(variable) {
        return Some(ConfigFile {
            path: around.folder.join(&named),
            shown: named,
        });
    }
    let own = around.config_dir.as_ref().map(|dir| ConfigFile {
        path: dir.join(FILE_NAME),
        shown: dir.join(FILE_NAME),
    });
    own.filter(|file| file.path.exists())
}

/// The targets of the command line, else that of the environment.
fn given_targets(
    flags: &Flags,
    around: &Surroundings,
    problems: &mut Problems,
) -> Vec<WrittenTarget> {
    if flags.database_urls.is_empty() {
        let url = variable("SECONDKEY_DATABASE_URL", around, problems).map(SecretString::from);
        let place = Place::Variable("SECONDKEY_DATABASE_URL");
        return url
            .map(|url| written::from_text(&url, place))
            .into_iter()
            .collect();
    }
    (1..)
        .zip(&flags.database_urls)
        .map(|(number, url)| written::from_text(url, Place::Flag("--database-url", number)))
        .collect()
}

/// Converts all targets. Those without a name are called `main`, `main2`, `main3`, ...
fn targets(
    written: Written,
    given: Vec<WrittenTarget>,
    file: Option<&Path>,
    reading: &mut Reading<'_>,
) -> Vec<TargetConfig> {
    let defaults = reading.limits(&written.limits, Limits::DEFAULT);
    let of_file = file.and_then(Path::parent).unwrap_or(Path::new("."));
    let of_process = reading.around.folder.as_path();
    let from_file = written.targets.into_iter().map(|target| (target, of_file));
    let all: Vec<_> = from_file
        .chain(given.into_iter().map(|target| (target, of_process)))
        .collect();
    let mut taken: BTreeSet<String> = all
        .iter()
        .filter_map(|(target, _)| target.name.clone())
        .collect();
    let mut seen = BTreeSet::new();
    let mut targets = Vec::new();
    for (target, folder) in &all {
        let name = target.name.clone().unwrap_or_else(|| free_name(&mut taken));
        if !seen.insert(name.clone()) {
            reading.same_name(&target.place, &name);
        }
        targets.extend(reading.target(name, target, defaults, folder));
    }
    targets
}

fn free_name(taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("main{number}"));
    std::iter::once("main".to_owned())
        .chain(numbered)
        .find(|name| taken.insert(name.clone()))
        .unwrap_or_default()
}

/// The value of one of our own environment variables.
fn variable(name: &'static str, around: &Surroundings, problems: &mut Problems) -> Option<String> {
    around.environment.read(name).unwrap_or_else(|_| {
        problems.add(Problem::new(
            Place::Variable(name),
            "this is not UTF-8 text",
            "",
        ));
        None
    })
}

#[cfg(test)]
mod tests;
