//! `install.sh`, with a prefix of its own and the program that the tests already built.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::{binary, checkout};

fn install(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(checkout().join("install.sh"));
    command
        .args(arguments)
        .env("HOME", home)
        .env("SECONDKEY_BINARY", binary());
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

/// All files below a folder, as `path`.
fn files(folder: &Path) -> Vec<String> {
    let mut command = Command::new("find");
    let found = command
        .args([".", "-type", "f"])
        .current_dir(folder)
        .output()
        .unwrap();
    let mut files: Vec<String> = String::from_utf8(found.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    files.sort();
    files
}

#[test]
fn one_file_is_installed_twice_over_and_removed() {
    let home = TempDir::new().unwrap();
    let prefix = TempDir::new().unwrap();
    let at = prefix.path().to_str().unwrap();
    for _ in 0..2 {
        let output = install(home.path(), &["--prefix", at]);
        assert!(output.status.success(), "{}", text(&output));
        assert!(
            text(&output).contains("not on your PATH"),
            "{}",
            text(&output)
        );
        assert_eq!(files(prefix.path()), ["./bin/secondkey"]);
    }
    let installed = std::fs::read(prefix.path().join("bin/secondkey")).unwrap();
    assert!(
        installed == std::fs::read(binary()).unwrap(),
        "the same bytes"
    );

    std::fs::write(prefix.path().join("bin/other"), "somebody else's").unwrap();
    for said in ["Removed", "There is no"] {
        let output = install(home.path(), &["--uninstall", "--prefix", at]);
        assert!(output.status.success(), "{}", text(&output));
        assert!(text(&output).contains(said), "{}", text(&output));
        assert_eq!(files(prefix.path()), ["./bin/other"]);
    }
    assert_eq!(files(home.path()), Vec::<String>::new());
}

#[test]
fn without_a_prefix_it_goes_into_the_users_own_folder() {
    let home = TempDir::new().unwrap();
    let output = install(home.path(), &[]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(files(home.path()), ["./.local/bin/secondkey"]);
}

#[test]
fn a_missing_rust_is_named_with_the_line_that_installs_it() {
    let home = TempDir::new().unwrap();
    let mut command = Command::new("/bin/sh");
    command
        .arg(checkout().join("install.sh"))
        .args(["--prefix", home.path().to_str().unwrap()])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("LIBCLANG_PATH", "/");
    let output = command.output().unwrap();
    if Path::new("/usr/bin/cargo").exists() {
        crate::support::skip("cli::install::rust", "Rust is in /usr/bin here");
        return;
    }
    assert!(!output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("https://sh.rustup.rs"),
        "{}",
        text(&output)
    );
    assert_eq!(files(home.path()), Vec::<String>::new());
}

#[test]
fn an_unknown_option_changes_nothing() {
    let home = TempDir::new().unwrap();
    let output = install(home.path(), &["--prefx=/x"]);
    assert!(!output.status.success());
    assert!(text(&output).contains("--prefx"), "{}", text(&output));
    assert_eq!(files(home.path()), Vec::<String>::new());
}
