//! The one integration binary: the built program, driven from outside.
//!
//! `tests/run` starts throw-away database servers and fetches MCP clients first. Without them the
//! tests that need them say so and pass; `tests/run` prints at its end what was skipped.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test fails by panicking, like the test itself"
)]
#![expect(
    clippy::format_push_string,
    clippy::similar_names,
    clippy::too_many_lines,
    clippy::unreadable_literal,
    reason = "a test is a table or a story, written to be read from top to bottom"
)]
#![expect(
    clippy::print_stderr,
    reason = "a skipped test says on standard error that it was skipped"
)]

mod approval;
mod architecture;
mod cli;
mod corpus;
#[cfg(target_os = "linux")]
mod documents;
mod exec;
mod fleet;
mod mcp;
mod policy;
#[cfg(target_os = "linux")]
mod separated;
mod store;
mod stories;
mod support;
mod web;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A file that no `mod` line reaches would never run.
#[test]
fn no_test_file_is_forgotten() {
    let root = support::checkout().join("tests/it");
    let files: BTreeSet<PathBuf> = support::rust_files(&root).into_iter().collect();
    let mut reached = BTreeSet::from([root.join("main.rs")]);
    reach(&root.join("main.rs"), &root, &mut reached);
    let forgotten: Vec<_> = files.difference(&reached).collect();
    assert!(forgotten.is_empty(), "no `mod` line reaches {forgotten:?}");
}

fn reach(file: &Path, folder: &Path, reached: &mut BTreeSet<PathBuf>) {
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let module = line.trim_start_matches("pub(crate) ").strip_prefix("mod ");
        if let Some(name) = module.and_then(|rest| rest.strip_suffix(';')) {
            let path = folder.join(format!("{name}.rs"));
            assert!(path.exists(), "{} names {name}", file.display());
            reach(&path, &folder.join(name), reached);
            reached.insert(path);
        }
    }
}
