//! Secrets by reference: `env:NAME`, `file:PATH`, `keyring:SERVICE/NAME`.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::config::keyring;
use crate::config::surroundings::Surroundings;

/// How a reference is written, for hints.
pub(super) const FORMS: &str = "`env:NAME`, `file:PATH` or `keyring:SERVICE/NAME`";
/// A secret longer than this is some other file.
const MAX_BYTES: u64 = 64 * 1024;

/// Where a secret is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Reference {
    /// In an environment variable.
    Env(String),
    /// In a file: its content without one trailing newline.
    File(PathBuf),
    /// In the platform's keyring.
    Keyring {
        /// The service it is kept under.
        service: String,
        /// The name it is kept under.
        name: String,
    },
}

/// Why a secret cannot be had. Holds none of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unavailable {
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Unavailable {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// A secret that was found, and what somebody should know about where it was.
#[derive(Debug)]
pub(super) struct Found {
    /// The secret.
    pub secret: SecretString,
    /// Set when its file can be read by others.
    pub open_file: Option<PathBuf>,
}

impl Reference {
    /// Reads a reference; `None` when the text is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "env" => Some(Self::Env(rest.to_owned())),
            "file" => Some(Self::File(PathBuf::from(rest))),
            "keyring" => {
                let (service, name) = rest.split_once('/').unwrap_or(("secondkey", rest));
                Some(Self::Keyring {
                    service: service.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => None,
        }
    }

    /// The file that the secret is in, if it is in one.
    pub(super) fn file(&self, folder: &Path) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(folder.join(path)),
            Self::Env(_) | Self::Keyring { .. } => None,
        }
    }

    /// Fetches the secret. A relative path starts from `folder`.
    pub(super) fn resolve(
        &self,
        folder: &Path,
        around: &Surroundings,
    ) -> Result<Found, Unavailable> {
        let (text, open_file) = match self {
            Self::Env(name) => (from_variable(name, around)?, None),
            Self::File(path) => {
                let path = folder.join(path);
                let text = from_file(&path)?;
                (text, readable_by_others(&path).then_some(path))
            }
            Self::Keyring { service, name } => (keyring::read(service, name)?, None),
        };
        if text.is_empty() {
            return Err(Unavailable::new("the secret is empty", ""));
        }
        Ok(Found {
            secret: SecretString::from(text),
            open_file,
        })
    }
}

fn from_variable(name: &str, around: &Surroundings) -> Result<String, Unavailable> {
    match around.environment.read(name) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(Unavailable::new(
            format!("the environment variable `{name}` is not set"),
            "set it for this program, in the MCP client's `env` for example, or refer to `file:PATH`",
        )),
        Err(_) => Err(Unavailable::new(
            format!("the environment variable `{name}` is not UTF-8 text"),
            "",
        )),
    }
}

fn from_file(path: &Path) -> Result<String, Unavailable> {
    let fault = |what: String| {
        Unavailable::new(
            format!("the secret file `{}` {what}", path.display()),
            "it must be a small text file that this program can read",
        )
    };
    let facts = fs::metadata(path).map_err(|e| fault(format!("cannot be read: {}", reason(&e))))?;
    // A pipe or device could block for ever.
    if !facts.is_file() {
        return Err(fault("is not a file".to_owned()));
    }
    if facts.len() > MAX_BYTES {
        return Err(fault("is larger than 64 KiB".to_owned()));
    }
    let bytes = fs::read(path).map_err(|e| fault(format!("cannot be read: {}", reason(&e))))?;
    let text = String::from_utf8(bytes).map_err(|_| fault("is not UTF-8 text".to_owned()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// The reason of an I/O error in words, without its number.
pub(super) fn reason(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        "there is no such file".to_owned()
    } else {
        error.kind().to_string()
    }
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_path: &Path) -> bool {
    false
}
