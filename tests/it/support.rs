//! What the tests share: the checkout, the servers and clients that `tests/run` provides, and the
//! built program.

pub(crate) mod anywhere;
pub(crate) mod authenticator;
pub(crate) mod http;
pub(crate) mod mariadb;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod raw;
pub(crate) mod receiver;
pub(crate) mod shop;
pub(crate) mod ssh;

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The built program.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_secondkey")
}

/// An environment variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "`tests/run` speaks through it")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says that a test could not run here, and why.
pub(crate) fn skip(test: &str, why: &str) {
    let line = format!("skipped: {test}: {why}");
    eprintln!("{line}");
    if let Some(path) = variable("TEST_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).open(path);
        writeln!(file.unwrap(), "{line}").unwrap();
    }
}

/// A file of the fetched clients, such as `node_modules/.bin/claude`.
pub(crate) fn client(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(variable("TEST_CLIENTS_DIR")?).join(path);
    path.exists().then_some(path)
}

/// `PATH` with the fetched node first.
pub(crate) fn path_with_node() -> Option<String> {
    let node = client("node_modules/node/bin/node")?;
    Some(format!(
        "{}:{}",
        node.parent()?.display(),
        variable("PATH").unwrap_or_default()
    ))
}

/// All Rust files below a folder, sorted.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
