//! Which file a target is, from its URL, and whether it is still the same file.

use std::path::{Path, PathBuf};

use crate::core::refusal::{Code, Refusal};

/// The database file of a target, by its absolute path.
#[derive(Clone, Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
}

/// What tells a file from another that takes its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Identity(u64, u64);

impl DatabaseFile {
    /// The file that `sqlite:path`, `sqlite:///absolute/path` or `sqlite://relative/path` names.
    /// The path is taken as it is written: no options, no percent signs with a meaning.
    pub(super) fn from_url(url: &str) -> Result<Self, Refusal> {
        let rest = url.strip_prefix("sqlite:").unwrap_or(url);
        let path = match rest.strip_prefix("//") {
            Some(after) => after,
            None => rest,
        };
        if path.is_empty() || path.starts_with(":memory:") || path.contains('\0') {
            return Err(unusable("the URL names no file")
                .hint("write sqlite:shop.db, or sqlite:///absolute/path/shop.db"));
        }
        if path.contains('?') {
            return Err(
                unusable("the URL carries options, and a SQLite URL here takes none")
                    .hint("leave out everything from the question mark on"),
            );
        }
        let path = std::path::absolute(path)
            .map_err(|error| unusable(&format!("the path cannot be made absolute: {error}")))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file; refuses when there is none.
    pub(super) fn identity(&self) -> Result<Identity, Refusal> {
        let found = std::fs::metadata(&self.path);
        match found {
            Ok(metadata) if metadata.is_file() => Ok(identity(&metadata)),
            Ok(_) => Err(
                unusable(&format!("`{}` is not a file", self.path.display()))
                    .hint("name the database file itself in the target's URL"),
            ),
            Err(error) => Err(unusable(&format!(
                "the database file `{}` cannot be opened: {}",
                self.path.display(),
                error.kind()
            ))
            .hint("check the path in the target's URL; files are never created")),
        }
    }
}

fn unusable(sentence: &str) -> Refusal {
    Refusal::new(Code::DatabaseUnavailable, sentence)
}

#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    Identity(metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(metadata: &std::fs::Metadata) -> Identity {
    let since_epoch = metadata
        .created()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Identity(0, since_epoch.map_or(0, |age| age.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_files_by_absolute_path() {
        let path = |url| DatabaseFile::from_url(url).unwrap().path().to_owned();
        let here = std::env::current_dir().unwrap();
        assert_eq!(path("sqlite:///a/b.db"), Path::new("/a/b.db"));
        assert_eq!(path("sqlite:/a/b%20c.db"), Path::new("/a/b%20c.db"));
        assert_eq!(path("sqlite:b.db"), here.join("b.db"));
        assert_eq!(path("sqlite://b.db"), here.join("b.db"));
        assert_eq!(path("sqlite:file:b.db"), here.join("file:b.db"));
        for bad in [
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:///a.db?mode=rw",
        ] {
            assert!(DatabaseFile::from_url(bad).is_err(), "{bad}");
        }
    }
}
