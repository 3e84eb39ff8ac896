//! What `--help` says, and that `docs/cli.md` says the same.

use std::fmt::Write as _;
use std::path::Path;

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::cli::{answer, code, secondkey, text};

/// The help of a command.
fn help(command: &[&str]) -> String {
    let folder = TempDir::new().unwrap();
    let (help, code) = answer(secondkey(folder.path()).args(command).arg("--help"));
    assert_eq!(code, 0);
    help
}

/// Every command, in the order of the documentation.
fn commands() -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    collect(&secondkey::cli::command(), &[], &mut found);
    found
}

fn collect(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
    for sub in command.get_subcommands() {
        let path = [path, &[sub.get_name().to_owned()]].concat();
        found.push(path.clone());
        collect(sub, &path, found);
    }
}

#[test]
fn every_help_is_as_reviewed() {
    for path in commands() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let name = [&["help"], words.as_slice()].concat().join("_");
        assert_snapshot!(name, help(&words));
    }
}

#[test]
fn the_documentation_of_the_command_line_is_fresh() {
    let mut page = String::from(
        "# Command line\n\nMade from the program itself: `UPDATE_DOCS=1 cargo test documentation` writes this page anew.\n",
    );
    for path in commands() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let name = [&["secondkey"], words.as_slice()].concat().join(" ");
        write!(
            page,
            "\n## `{name}`\n\n```text\n{}\n```\n",
            help(&words).trim_end()
        )
        .unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    if std::env::vars().any(|(name, _)| name == "UPDATE_DOCS") {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "docs/cli.md is stale; run: UPDATE_DOCS=1 cargo test documentation"
    );
}

#[test]
fn wrong_usage_ends_with_2_and_the_version_with_0() {
    let folder = TempDir::new().unwrap();
    let output = secondkey(folder.path()).arg("doctr").output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("similar subcommand exists: 'doctor'"));
    let (version, code) = answer(secondkey(folder.path()).arg("--version"));
    assert_eq!(
        (version.trim(), code),
        (concat!("secondkey ", env!("CARGO_PKG_VERSION")), 0)
    );
}
