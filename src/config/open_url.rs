//! A `--database-url` as it may be written into a file that others read: without a secret in it.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::database_url::DatabaseUrl;
use crate::config::problem::{Place, Problem, Problems};
use crate::config::secret::Reference;
use crate::config::surroundings::Surroundings;
use crate::config::written;
use crate::core::engine::Engine;
use crate::core::target::TargetName;

/// A target of the command line that holds no secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenUrl {
    /// The target's name, where it has one.
    pub name: Option<TargetName>,
    /// What stands after the name.
    pub url: OpenUrlKind,
}

/// What a target without a secret says about its database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OpenUrlKind {
    /// A SQLite database, by its absolute path.
    File(PathBuf),
    /// `keyring:SERVICE/NAME`, as it was written.
    Keyring(String),
    /// `file:PATH`, by its absolute path.
    SecretFile(PathBuf),
    /// The URL of a server, as it was written; it has no password.
    Server(String),
    /// `env:NAME`.
    Variable(String),
}

/// Takes each `--database-url` apart, or says of all what is wrong: no password may stand in one. No
/// problem repeats any part of them, and no reference is followed.
pub fn open_urls(flags: &[SecretString], around: &Surroundings) -> Result<Vec<OpenUrl>, Problems> {
    let mut problems = Problems::default();
    let mut open = Vec::new();
    for (number, text) in (1..).zip(flags) {
        match open_url(text, &Place::Flag("--database-url", number), around) {
            Ok(url) => open.push(url),
            Err(problem) => problems.add(problem),
        }
    }
    problems.unless_any(Some(open))
}

fn open_url(text: &SecretString, place: &Place, around: &Surroundings) -> Result<OpenUrl, Problem> {
    let written = written::from_text(text, place.clone());
    let wrong = |message: &str, hint: &str| Problem::new(place.clone(), message, hint);
    let name = written.name.map(|name| name.parse::<TargetName>());
    let name = name
        .transpose()
        .map_err(|error| wrong(&error.to_string(), ""))?;
    let url = written.url.map(|at| at.value).unwrap_or_default();
    let text = url.expose_secret();
    let kind = match Reference::parse(text) {
        Some(Reference::Env(name)) => OpenUrlKind::Variable(name),
        Some(Reference::File(path)) => OpenUrlKind::SecretFile(around.folder.join(path)),
        Some(Reference::Keyring { .. }) => OpenUrlKind::Keyring(text.to_owned()),
        None => {
            let url = DatabaseUrl::parse(text, &around.folder)
                .map_err(|(message, hint)| wrong(&message, &hint))?;
            if url.has_password() {
                return Err(wrong(WITH_PASSWORD, REFERENCES));
            }
            match url.engine {
                Engine::Sqlite => OpenUrlKind::File(sqlite_file(url)),
                Engine::MySql | Engine::Postgres => OpenUrlKind::Server(text.to_owned()),
            }
        }
    };
    Ok(OpenUrl { name, url: kind })
}

fn sqlite_file(url: DatabaseUrl) -> PathBuf {
    let url = url.into_secret();
    let path = url.expose_secret();
    PathBuf::from(path.strip_prefix("sqlite:").unwrap_or(path))
}

const WITH_PASSWORD: &str = "a password stands in the url, and would stand in a file then";
const REFERENCES: &str = "say where the whole url is kept, `env:NAME`, `file:PATH` or `keyring:SERVICE/NAME`, or name a \
    configuration with `--config`, where `password` is such a reference";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::surroundings::Environment;

    fn open(text: &str) -> Result<OpenUrl, Problem> {
        let around = Surroundings {
            environment: Environment::Fixed([].into()),
            folder: PathBuf::from("/home/ada"),
            config_dir: None,
            state_dir: None,
        };
        open_url(
            &SecretString::from(text),
            &Place::Flag("--database-url", 1),
            &around,
        )
    }

    #[test]
    fn what_holds_no_secret_is_taken_apart() {
        let kind = |text: &str| open(text).unwrap().url;
        assert_eq!(kind("shop=env:SHOP"), OpenUrlKind::Variable("SHOP".into()));
        let file = |path: &str| OpenUrlKind::File(path.into());
        assert_eq!(kind("sqlite:shop.db"), file("/home/ada/shop.db"));
        let secret = OpenUrlKind::SecretFile("/run/url".into());
        assert_eq!(kind("file:/run/url"), secret);
        let ring = OpenUrlKind::Keyring("keyring:a/b".into());
        assert_eq!(kind("x=keyring:a/b"), ring);
        let server = "postgres://ada@db/orders?sslmode=require";
        assert_eq!(kind(server), OpenUrlKind::Server(server.into()));
        let name = open("shop=env:SHOP").unwrap().name.unwrap();
        assert_eq!(name.as_str(), "shop");
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for text in [
            "postgres://ada:hunter2@db/orders",
            "orders=mysql://ada@db/orders?password=hunter2",
            "hunter2",
            "hunter2 =sqlite:shop.db",
        ] {
            let problem = open(text).unwrap_err();
            assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
        }
    }
}
