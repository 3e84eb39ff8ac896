//! What stands after the program's name in an entry, and which paths and variables it says.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::setup::client::Client;
use crate::config::{OpenUrl, OpenUrlKind, Surroundings};

/// Why something cannot stand in an entry, in a sentence and a hint.
pub(super) type Fault = (String, &'static str);

/// The words after the program's name, and the variables that the program is to see.
#[derive(Debug)]
pub(super) struct Words {
    /// Each as it is.
    pub(super) args: Vec<String>,
    /// Their names.
    pub(super) variables: Vec<String>,
}

/// How paths are written: those of the project so that it can be moved and shared.
#[derive(Debug)]
pub(super) struct Places {
    /// Which client reads them.
    pub(super) client: Client,
    /// The project's folder, absolute; `None` where the file serves all projects.
    pub(super) project: Option<PathBuf>,
}

impl Words {
    /// `mcp`, seeing these variables.
    pub(super) fn new(variables: Vec<String>) -> Self {
        Self {
            args: vec!["mcp".to_owned()],
            variables,
        }
    }

    /// A flag with a text of the user's.
    pub(super) fn text(&mut self, flag: &str, value: &str) -> Result<(), Fault> {
        let value = literal(value)?;
        self.args.extend([flag.to_owned(), value]);
        Ok(())
    }

    /// A flag with an absolute path, after what says of what kind it is.
    pub(super) fn path(
        &mut self,
        flag: &str,
        before: &str,
        path: &Path,
        at: &Places,
    ) -> Result<(), Fault> {
        let path = at.written(path)?;
        self.args
            .extend([flag.to_owned(), format!("{before}{path}")]);
        Ok(())
    }

    /// A target.
    pub(super) fn database(&mut self, open: OpenUrl, at: &Places) -> Result<(), Fault> {
        let url = match open.url {
            OpenUrlKind::File(path) => format!("sqlite:{}", at.written(&path)?),
            OpenUrlKind::Keyring(text) | OpenUrlKind::Server(text) => literal(&text)?,
            OpenUrlKind::SecretFile(path) => format!("file:{}", at.written(&path)?),
            OpenUrlKind::Variable(name) => {
                let name = variable(&name)?;
                self.variables.push(name.clone());
                format!("env:{name}")
            }
        };
        let name = open.name.map(|name| format!("{name}="));
        let value = format!("{}{url}", name.unwrap_or_default());
        self.args.extend(["--database-url".to_owned(), value]);
        Ok(())
    }
}

impl Places {
    fn written(&self, path: &Path) -> Result<String, Fault> {
        let inside = self
            .project
            .as_ref()
            .and_then(|folder| inside(folder, path));
        // Checked before the client's own variable is put in front.
        match inside {
            None => text_of(path),
            Some(inside) if inside.as_os_str().is_empty() => Ok(self.client.in_project(".")),
            Some(inside) => Ok(self.client.in_project(&text_of(&inside)?)),
        }
    }
}

/// How the client starts this program: by its name where that finds it, else by its path.
pub(super) fn program(around: &Surroundings) -> io::Result<Result<String, Fault>> {
    let own = std::env::current_exe()?.canonicalize()?;
    let name = env!("CARGO_PKG_NAME");
    let path = around.environment.text("PATH").unwrap_or_default();
    let mut named = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = named.find(|file| file.is_absolute() && file.is_file());
    let found = found.and_then(|file| file.canonicalize().ok());
    if found.as_ref() == Some(&own) {
        return Ok(Ok(name.to_owned()));
    }
    Ok(text_of(&own))
}

/// The rest of a path inside a folder, whichever way through symbolic links both are written.
fn inside(folder: &Path, path: &Path) -> Option<PathBuf> {
    let plain = !path.components().any(|part| part.as_os_str() == "..");
    let direct = path.strip_prefix(folder).ok().filter(|_| plain);
    if let Some(rest) = direct {
        return Some(rest.to_owned());
    }
    let real = path.parent()?.canonicalize().ok()?.join(path.file_name()?);
    let rest = real.strip_prefix(folder.canonicalize().ok()?).ok()?;
    Some(rest.to_owned())
}

/// A path that JSON can hold and the client passes on as it is.
fn text_of(path: &Path) -> Result<String, Fault> {
    match path.to_str() {
        Some(text) => literal(text),
        None => Err((
            format!(
                "`{}` is not text in UTF-8, so JSON cannot hold it",
                path.display()
            ),
            "use another path",
        )),
    }
}

/// A text that the client passes on as it is.
fn literal(text: &str) -> Result<String, Fault> {
    if text.contains("${") {
        return Err((
            format!("the client would put something else in the place of the variable in `{text}`"),
            "use a path or text without `${`",
        ));
    }
    Ok(text.to_owned())
}

/// A variable that both clients can name.
pub(super) fn variable(name: &str) -> Result<String, Fault> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let digit = name.starts_with(|first: char| first.is_ascii_digit());
    if name.is_empty() || digit || !name.bytes().all(good) {
        return Err((
            "that cannot name an environment variable in a client's file".to_owned(),
            "use letters, digits and `_`, such as `ORDERS_URL`",
        ));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_project_can_be_moved_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        std::fs::create_dir_all(project.join("sub")).unwrap();
        std::os::unix::fs::symlink(&project, folder.path().join("link")).unwrap();
        let at = |client, project: Option<&Path>| Places {
            client,
            project: project.map(Path::to_owned),
        };
        let claude = at(Client::ClaudeCode, Some(&project));
        let cursor = at(Client::Cursor, Some(&project));
        for path in ["project/a.toml", "link/a.toml", "project/sub/../a.toml"] {
            let path = folder.path().join(path);
            assert_eq!(claude.written(&path).unwrap(), "a.toml");
            assert_eq!(cursor.written(&path).unwrap(), "${workspaceFolder}/a.toml");
            let everywhere = at(Client::Cursor, None).written(&path).unwrap();
            assert_eq!(everywhere, path.display().to_string());
        }
        for outside in ["a.toml", "project/../a.toml", "project2/a.toml"] {
            let outside = folder.path().join(outside);
            assert_eq!(claude.written(&outside).unwrap(), outside.to_str().unwrap());
        }
        let variable = project.join("${HOME}");
        assert!(claude.written(&variable).is_err());
    }
}
