//! The command line, through the built binary.

mod capability;
mod capability_engines;
mod configuration;
mod demo;
mod doctor;
mod help;
mod install;
mod policy;
mod second_key;
mod setup;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary, in a folder and with an environment of its own.
fn secondkey(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secondkey"));
    command
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::null());
    if folder.join("secondkey.toml").exists() {
        command.env("SECONDKEY_CONFIG", "secondkey.toml");
    }
    command
}

/// Its whole standard output and exit code.
fn answer(command: &mut Command) -> (String, i32) {
    let output = command.output().unwrap();
    (text(&output.stdout), code(&output))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}
