//! From settings as written to settings as meant. This conversion is the only validation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::database_url::DatabaseUrl;
use crate::config::document::At;
use crate::config::problem::{Place, Problem, Problems};
use crate::config::secret::{FORMS, Reference, reason};
use crate::config::surroundings::Surroundings;
use crate::config::written::{WrittenLevel, WrittenLimits, WrittenTarget};
use crate::config::{CapabilityTools, TargetConfig, capability};
use crate::core::account::Account;
use crate::core::capability::WhenChanged;
use crate::core::engine::Engine;
use crate::core::ledger::LedgerName;
use crate::core::limits::Limits;
use crate::core::policy::PolicySet;
use crate::core::quantity;
use crate::core::review::{Level, Settings};
use crate::core::statement::Effect;
use crate::core::target::{Target, TargetName};

/// The environment of a target that names none.
const NO_ENVIRONMENT: &str = "unspecified";
/// The longest name of an environment, and the longest label.
const TEXT_CHARS: usize = 64;

/// What a conversion needs besides what was written, and what it finds on the way.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// The world around the process.
    pub around: &'a Surroundings,
    /// What is wrong.
    pub problems: Problems,
    /// What is not wrong but should be known.
    pub warnings: Vec<Problem>,
    /// The files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
}

impl<'a> Reading<'a> {
    /// Goes on with the problems that were found until here.
    pub(super) fn new(around: &'a Surroundings, problems: Problems) -> Self {
        Self {
            around,
            problems,
            warnings: Vec::new(),
            secret_files: Vec::new(),
        }
    }

    /// Looks at who can change the configuration file, which says what runs unasked.
    pub(super) fn file(&mut self, path: PathBuf, shown: PathBuf) -> PathBuf {
        if writable_by_others(&path) {
            self.warnings.push(Problem::new(
                Place::File(shown),
                "other users can change this file, and with it what runs without approval",
                "make it yours alone: chmod go-w",
            ));
        }
        path
    }

    /// The file of a policy, which is read here only to say what is wrong with it.
    pub(super) fn policy(
        &mut self,
        written: Option<&At<String>>,
        folder: &Path,
    ) -> Option<PathBuf> {
        let at = written?;
        let path = folder.join(&at.value);
        match std::fs::read_to_string(&path) {
            Err(error) => self.problem(
                &at.place,
                format!(
                    "the policy `{}` cannot be read: {}",
                    path.display(),
                    reason(&error)
                ),
                "",
            ),
            Ok(text) => {
                let checked = PolicySet::load(&text, &path.display().to_string(), None);
                for problem in checked
                    .err()
                    .map(|problems| problems.list)
                    .into_iter()
                    .flatten()
                {
                    let place = Place::Position {
                        file: path.clone(),
                        line: problem.line,
                        column: problem.column,
                    };
                    self.problem(&place, problem.message, problem.hint);
                }
            }
        }
        if writable_by_others(&path) {
            self.warnings.push(Problem::new(
                Place::File(path.clone()),
                "other users can change this policy, and with it what runs without approval",
                "make it yours alone: chmod go-w",
            ));
        }
        Some(path)
    }

    /// A file of capabilities, which is read here only to say what is wrong with it.
    fn capabilities(
        &mut self,
        written: &WrittenTarget,
        engine: Engine,
        folder: &Path,
    ) -> Option<PathBuf> {
        let path = folder.join(&written.capabilities.as_ref()?.value);
        match capability::load(&path, engine) {
            Ok(loaded) => self.warnings.extend(loaded.warnings),
            Err(problems) => problems.iter().for_each(|it| self.problems.add(it.clone())),
        }
        if writable_by_others(&path) {
            self.warnings.push(Problem::new(
                Place::File(path.clone()),
                "other users can change this file, and with it what capabilities mean",
                "make it yours alone: chmod go-w",
            ));
        }
        Some(path)
    }

    /// Accounts of the system.
    pub(super) fn accounts(&mut self, written: Option<Vec<At<String>>>) -> Option<Vec<Account>> {
        let mut accounts = Vec::new();
        for at in written? {
            match at.value.parse() {
                Ok(account) => accounts.push(account),
                Err(error) => self.problem(
                    &at.place,
                    format!("`{}` is {error}", at.value.escape_debug()),
                    "",
                ),
            }
        }
        Some(accounts)
    }

    /// The levels of the review rules.
    pub(super) fn review(&mut self, written: &[(String, Vec<WrittenLevel>)]) -> Settings {
        let mut settings = Settings::default();
        for (environment, levels) in written {
            for WrittenLevel { rule, level } in levels {
                match Level::named(&level.value) {
                    Some(level) => settings.set(environment, *rule, level),
                    None => self.problem(
                        &level.place,
                        format!("`{}` is not a level", level.value.escape_debug()),
                        "the levels are `off`, `warn` and `block`",
                    ),
                }
            }
        }
        settings
    }

    /// Two targets have one name.
    pub(super) fn same_name(&mut self, place: &Place, name: &str) {
        self.problem(
            place,
            format!("there is another target `{}` already", name.escape_debug()),
            "give one of them another name",
        );
    }

    /// A target; `None` when something is wrong with it, which is then among the problems.
    /// `folder` is where its relative paths start.
    pub(super) fn target(
        &mut self,
        name: String,
        written: &WrittenTarget,
        defaults: Limits,
        folder: &Path,
    ) -> Option<TargetConfig> {
        let name = self.name(name, &written.place);
        let url = self.url(written, folder);
        let environment = self.environment(written.environment.as_ref());
        let labels = self.labels(&written.labels);
        let allow = self.allow(written.allow.as_deref());
        let trusted = self.trusted(&written.trusted);
        let limits = self.limits(&written.limits, defaults);
        let (name, url) = (name?, url?);
        let logins = self.logins(&written.logins, &url, folder);
        let capabilities = self.capabilities(written, url.engine, folder);
        let ledger = self.ledger(written.ledger.as_ref());
        let when_changed = self.when_changed(written.changed_capabilities.as_ref());
        let only_capabilities = is_true(written.only_capabilities.as_ref());
        if let Some(at) = written
            .only_capabilities
            .as_ref()
            .filter(|_| only_capabilities && written.capabilities.is_none())
        {
            self.problem(
                &at.place,
                "`only_capabilities` leaves nothing that can be done here",
                "name a file of them in `capabilities`",
            );
        }
        Some(TargetConfig {
            target: Target {
                name,
                engine: url.engine,
                environment,
                labels,
                allow,
                limits,
                trusted,
                sync_reads: is_true(written.sync_reads.as_ref()),
                only_capabilities,
            },
            url: url.into_secret(),
            logins,
            allow_privileged_login: is_true(written.allow_privileged_login.as_ref()),
            capabilities,
            when_changed,
            ledger,
            origin: written.place.clone(),
        })
    }

    fn ledger(&mut self, written: Option<&At<String>>) -> Option<LedgerName> {
        let at = written?;
        LedgerName::try_from(at.value.clone())
            .map_err(|error| {
                let hint = "name a table, such as `secondkey_ledger` or `ops.secondkey_ledger`";
                self.problem(&at.place, error.to_string(), hint);
            })
            .ok()
    }

    /// What becomes of a capability that is not the one that was accepted.
    fn when_changed(&mut self, written: Option<&At<String>>) -> WhenChanged {
        match written.map(|at| (at, at.value.as_str())) {
            None | Some((_, "run")) => WhenChanged::Run,
            Some((_, "ask")) => WhenChanged::Ask,
            Some((at, other)) => {
                let message = format!("a changed capability cannot `{}`", other.escape_debug());
                self.problem(
                    &at.place,
                    message,
                    "it can `run`, or `ask` for a signature first",
                );
                WhenChanged::Ask
            }
        }
    }

    /// How long a call waits for a person: never past what clients wait for an answer.
    pub(super) fn approval_wait(&mut self, written: Option<&At<String>>) -> Duration {
        let usual = 45_000;
        let wait = self.amount(
            written,
            quantity::milliseconds,
            0..=300_000,
            "a time from `0s` to `5m` with its unit, such as `45s`",
        );
        Duration::from_millis(u64::from(wait.unwrap_or(usual)))
    }

    /// How capabilities are listed as tools.
    pub(super) fn capability_tools(&mut self, written: Option<&At<String>>) -> CapabilityTools {
        match written.map(|at| (at, at.value.as_str())) {
            None | Some((_, "auto")) => CapabilityTools::Auto,
            Some((_, "each")) => CapabilityTools::Each,
            Some((_, "call")) => CapabilityTools::Call,
            Some((at, other)) => {
                let message = format!("`{}` is no way to list capabilities", other.escape_debug());
                self.problem(&at.place, message, "the ways are `auto`, `each` and `call`");
                CapabilityTools::Auto
            }
        }
    }

    /// Limits, with `defaults` for what was not written.
    pub(super) fn limits(&mut self, written: &WrittenLimits, defaults: Limits) -> Limits {
        let (low, high) = (1, Limits::MAX);
        let plain = |text: &str| text.parse().ok();
        Limits {
            rows: self
                .amount(
                    written.rows.as_ref(),
                    plain,
                    low..=high.rows,
                    "a number of rows from 1 to 10000, such as `500`",
                )
                .unwrap_or(defaults.rows),
            bytes: self
                .amount(
                    written.bytes.as_ref(),
                    quantity::bytes,
                    low..=high.bytes,
                    "a size from `1` to `8MiB`, such as `256KiB`",
                )
                .unwrap_or(defaults.bytes),
            time_ms: self
                .amount(
                    written.time.as_ref(),
                    quantity::milliseconds,
                    low..=high.time_ms,
                    "a time from `1ms` to `10m` with its unit, such as `30s`",
                )
                .unwrap_or(defaults.time_ms),
        }
    }

    fn name(&mut self, name: String, place: &Place) -> Option<TargetName> {
        TargetName::try_from(name)
            .map_err(|error| self.problem(place, error.to_string(), ""))
            .ok()
    }

    fn url(&mut self, written: &WrittenTarget, folder: &Path) -> Option<DatabaseUrl> {
        // Both are looked at even when the first is wrong, so that all problems show.
        let url = written.url.as_ref();
        let parsed = url.and_then(|url| self.parsed_url(url, folder));
        let password = match &written.password {
            Some(password) => Some(self.password(password, folder)?),
            None => None,
        };
        let mut parsed = parsed?;
        if let (Some(at), Some(password)) = (&written.password, password) {
            if parsed.has_password() {
                self.problem(
                    &at.place,
                    "the url has a password already",
                    "remove one of the two",
                );
                return None;
            }
            if let Err((message, hint)) = parsed.set_password(&password) {
                self.problem(&at.place, message, hint);
                return None;
            }
        }
        Some(parsed)
    }

    fn parsed_url(&mut self, url: &At<SecretString>, folder: &Path) -> Option<DatabaseUrl> {
        let reference = Reference::parse(url.value.expose_secret());
        let literal = reference.is_none();
        let text = match reference {
            Some(reference) => self.resolve(&reference, &url.place, folder)?,
            None => url.value.clone(),
        };
        match DatabaseUrl::parse(text.expose_secret(), folder) {
            Err((message, hint)) => {
                self.problem(&url.place, message, hint);
                None
            }
            Ok(parsed) if literal && parsed.has_password() => {
                self.literal_password(&url.place).then_some(parsed)
            }
            Ok(parsed) => Some(parsed),
        }
    }

    /// Whether a password may stand where this one stands.
    fn literal_password(&mut self, place: &Place) -> bool {
        match place {
            Place::Flag(..) => {
                self.warnings.push(Problem::new(
                    place.clone(),
                    "a password stands on the command line, where every user of this machine can see it",
                    format!("write a reference instead of the url: {FORMS}"),
                ));
                true
            }
            Place::Variable(_) => true,
            Place::Nowhere | Place::File(_) | Place::Position { .. } => {
                self.problem(
                    place,
                    "a password stands in the url",
                    format!(
                        "take it out and add `password = \"env:NAME\"`; a reference is {FORMS}"
                    ),
                );
                false
            }
        }
    }

    pub(super) fn password(
        &mut self,
        at: &At<SecretString>,
        folder: &Path,
    ) -> Option<SecretString> {
        let Some(reference) = Reference::parse(at.value.expose_secret()) else {
            self.problem(
                &at.place,
                "`password` must be a reference, not the password itself",
                format!("write {FORMS}"),
            );
            return None;
        };
        self.resolve(&reference, &at.place, folder)
    }

    pub(super) fn resolve(
        &mut self,
        reference: &Reference,
        place: &Place,
        folder: &Path,
    ) -> Option<SecretString> {
        match reference.resolve(folder, self.around) {
            Ok(found) => {
                self.secret_files.extend(reference.file(folder));
                if let Some(file) = found.open_file {
                    self.warnings.push(Problem::new(
                        place.clone(),
                        format!(
                            "the secret file `{}` can be read by other users",
                            file.display()
                        ),
                        "make it yours alone: chmod 600",
                    ));
                }
                Some(found.secret)
            }
            Err(unavailable) => {
                self.problem(place, unavailable.message, unavailable.hint);
                None
            }
        }
    }

    fn environment(&mut self, written: Option<&At<String>>) -> String {
        let Some(at) = written else {
            return NO_ENVIRONMENT.to_owned();
        };
        self.short_text(at, "an environment");
        at.value.clone()
    }

    fn labels(&mut self, written: &[(String, At<String>)]) -> BTreeMap<String, String> {
        for (_, at) in written {
            self.short_text(at, "a label");
        }
        written
            .iter()
            .map(|(key, at)| (key.clone(), at.value.clone()))
            .collect()
    }

    fn short_text(&mut self, at: &At<String>, what: &str) {
        let length = at.value.chars().count();
        if length == 0 || length > TEXT_CHARS || at.value.chars().any(char::is_control) {
            self.problem(
                &at.place,
                format!("{what} must be 1 to {TEXT_CHARS} characters without control characters"),
                "",
            );
        }
    }

    fn allow(&mut self, written: Option<&[At<String>]>) -> BTreeSet<Effect> {
        let Some(written) = written else {
            return BTreeSet::from([Effect::Read]);
        };
        let mut allow = BTreeSet::new();
        for at in written {
            match effect(&at.value) {
                Some(effect) => {
                    allow.insert(effect);
                }
                None => self.problem(
                    &at.place,
                    format!("`{}` is not an effect", at.value),
                    "the effects are `read`, `write`, `schema` and `admin`",
                ),
            }
        }
        allow
    }

    fn trusted(&mut self, written: &[At<String>]) -> BTreeSet<String> {
        for at in written {
            let parts: Vec<_> = at.value.split('.').collect();
            if parts.len() > 2 || parts.iter().any(|part| part.trim().is_empty()) {
                self.problem(
                    &at.place,
                    "this is not the name of a function or relation",
                    "write `name` or `schema.name`",
                );
            }
        }
        written.iter().map(|at| at.value.clone()).collect()
    }

    fn amount(
        &mut self,
        written: Option<&At<String>>,
        read: impl Fn(&str) -> Option<u64>,
        range: std::ops::RangeInclusive<u32>,
        wanted: &str,
    ) -> Option<u32> {
        let at = written?;
        let amount = read(&at.value).and_then(|amount| u32::try_from(amount).ok());
        if let Some(amount) = amount.filter(|amount| range.contains(amount)) {
            return Some(amount);
        }
        self.problem(
            &at.place,
            format!("`{}` is not {wanted}", at.value.escape_debug()),
            "",
        );
        None
    }

    pub(super) fn problem(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problems
            .add(Problem::new(place.clone(), message, hint));
    }
}

fn effect(text: &str) -> Option<Effect> {
    let all = [Effect::Read, Effect::Write, Effect::Schema, Effect::Admin];
    all.into_iter().find(|effect| effect.as_str() == text)
}

#[cfg(unix)]
fn writable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o022 != 0)
}

#[cfg(not(unix))]
fn writable_by_others(_path: &Path) -> bool {
    false
}

/// What was not written is false.
fn is_true(written: Option<&At<bool>>) -> bool {
    written.is_some_and(|at| at.value)
}
