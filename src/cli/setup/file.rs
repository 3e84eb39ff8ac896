//! The file that an entry goes into: read whole, replaced in one step, and never by way of a link.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::files;

/// The longest list of servers that is read, in bytes.
const MOST: u64 = 1024 * 1024;

/// A file of a project, as it was found.
#[derive(Debug)]
pub(super) struct Found {
    path: PathBuf,
    folder: PathBuf,
    /// Its text and what the system knows of it; nothing where there is no such file.
    was: Option<(String, Metadata)>,
}

impl Found {
    /// Looks at a file below a project's folder, which has to be there.
    pub(super) fn look(project: &Path, file: &Path) -> io::Result<Self> {
        if !fs::metadata(project)?.is_dir() {
            return Err(io::Error::new(
                ErrorKind::NotADirectory,
                "it is not a folder",
            ));
        }
        let path = project.join(file);
        let folder = path.parent().unwrap_or(project).to_owned();
        if folder != project {
            no_link(&folder)?;
        }
        let was = match no_link(&path)? {
            None => None,
            Some(facts) => Some((files::read_text(&path, MOST)?, facts)),
        };
        Ok(Self { path, folder, was })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; nothing where there is no such file.
    pub(super) fn text(&self) -> Option<&str> {
        self.was.as_ref().map(|(text, _)| text.as_str())
    }

    /// Puts this text into its place, in one step and for good. Owner and permissions stay.
    pub(super) fn replace(&self, text: &str) -> io::Result<()> {
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = self.beside(text)?;
        let placed = if self.was.is_some() {
            self.unchanged()?;
            file.persist(&self.path)
        } else {
            file.persist_noclobber(&self.path)
        };
        placed.map_err(|error| error.error)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Removes it, and the folder that was made for it if nothing else is in there.
    pub(super) fn remove(&self, project: &Path) -> io::Result<()> {
        self.unchanged()?;
        fs::remove_file(&self.path)?;
        if self.folder != project && fs::read_dir(&self.folder)?.next().is_none() {
            fs::remove_dir(&self.folder)?;
            return File::open(project)?.sync_all();
        }
        File::open(&self.folder)?.sync_all()
    }

    /// A file beside it with the new text, written down.
    fn beside(&self, text: &str) -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".secondkey-").suffix(".new");
        // A new one is as readable as the user's other files: the system takes the umask off.
        let everybody = Permissions::from_mode(0o666);
        if self.was.is_none() {
            builder.permissions(everybody);
        }
        let mut file = builder.tempfile_in(&self.folder)?;
        file.write_all(text.as_bytes())?;
        if let Some((_, was)) = &self.was {
            let now = file.as_file().metadata()?;
            if (now.uid(), now.gid()) != (was.uid(), was.gid()) {
                fchown(file.as_file(), Some(was.uid()), Some(was.gid())).map_err(|error| {
                    let sentence = format!("it would not stay its owner's: {error}");
                    io::Error::new(error.kind(), sentence)
                })?;
            }
            file.as_file().set_permissions(was.permissions())?;
        }
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// Somebody else may have written to it since it was read.
    fn unchanged(&self) -> io::Result<()> {
        let now = files::read_text(&self.path, MOST)?;
        if self.text() == Some(now.as_str()) {
            Ok(())
        } else {
            Err(io::Error::other("another program is changing it"))
        }
    }
}

/// What is known of a file or folder that is not a link; nothing where it is not there.
fn no_link(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(facts) if facts.is_symlink() => {
            let to = fs::read_link(path)?;
            let sentence = format!("`{}` is a link to `{}`", path.display(), to.display());
            Err(io::Error::new(ErrorKind::InvalidInput, sentence))
        }
        Ok(facts) => Ok(Some(facts)),
    }
}
