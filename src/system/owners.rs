//! Who owns the files of a set-up, which says what it holds against.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::core::level::{self, Client, Facts, File, Found, Level, Node, What};
use crate::system::accounts::{Peer, own_uid};

/// The files that a set-up stands on.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// What each is, and where.
    pub files: Vec<(What, PathBuf)>,
    /// The agent's socket; nothing where the client starts the process that holds everything.
    pub socket: Option<PathBuf>,
}

impl Setup {
    /// The level, against everybody or against one user as well. Looks at the files each time. Blocks.
    pub fn level(&self, client: Option<&Peer>) -> Found {
        let Some(socket) = &self.socket else {
            let sentence = "the client starts the process that holds the credentials, so both are of one account";
            return Found {
                level: Level::Guarded,
                spoilt: vec![sentence.to_owned()],
            };
        };
        let files: Vec<File> = self
            .files
            .iter()
            .map(|(what, path)| file(*what, path))
            .collect();
        let groups: BTreeSet<u32> = files
            .iter()
            .flat_map(|file| file.chain.iter().map(|node| node.gid))
            .collect();
        let client = client.map(|peer| Client {
            uid: peer.uid,
            groups: groups.into_iter().filter(|gid| peer.is_in(*gid)).collect(),
            name: peer.name.clone(),
        });
        level::judge(&Facts {
            agent: own_uid(),
            socket_group: std::fs::metadata(socket).ok().map(|facts| facts.gid()),
            client,
            files,
        })
    }
}

fn file(what: What, path: &Path) -> File {
    File {
        what,
        path: path.display().to_string(),
        chain: chain(path).unwrap_or_default(),
    }
}

/// Every folder on the way to a file, and the file. Where links are on the way, both ways count.
pub fn chain(path: &Path) -> std::io::Result<Vec<Node>> {
    let path = std::path::absolute(path)?;
    let real = path.canonicalize()?;
    let mut paths: Vec<&Path> = Vec::new();
    if real != path {
        paths.extend(path.ancestors().skip(1));
    }
    paths.reverse();
    let mut down: Vec<&Path> = real.ancestors().collect();
    down.reverse();
    paths.extend(down);
    let node = |path: &Path| {
        let facts = path.metadata()?;
        Ok(Node {
            path: path.display().to_string(),
            uid: facts.uid(),
            gid: facts.gid(),
            mode: facts.mode() & 0o7777,
        })
    };
    paths.into_iter().map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_goes_from_the_root_to_the_file_and_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("there")).unwrap();
        std::fs::write(real.join("there/file"), "x").unwrap();
        std::os::unix::fs::symlink(real.join("there"), real.join("link")).unwrap();
        let paths = |path: &Path| -> Vec<String> {
            let nodes = chain(path).unwrap();
            nodes.into_iter().map(|node| node.path).collect()
        };
        let direct = paths(&real.join("there/file"));
        assert_eq!(direct.first().unwrap(), "/");
        assert!(direct.last().unwrap().ends_with("there/file"));
        let linked = paths(&real.join("link/file"));
        assert!(linked.len() > direct.len() && linked.last() == direct.last());
        assert!(chain(&real.join("nowhere")).is_err());
    }

    #[test]
    fn a_process_that_the_client_starts_is_guarded() {
        assert_eq!(Setup::default().level(None).level, Level::Guarded);
    }
}
