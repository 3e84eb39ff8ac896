//! The shell blocks of a page, and a shell that runs them one after another.
//!
//! A comment in HTML on the line before a block says what is special about it: `keeps running: NAME`,
//! `stops: NAME` and `starts: NAME` (which stand for what `systemctl` does), `type: TEXT` on a terminal of its own,
//! and `not run: WHY`. Anything else there is an error.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::{binary, checkout};

/// One block between fences.
pub(crate) struct Block {
    /// What the comment before it says; empty without one.
    mark: String,
    text: String,
}

/// All blocks of a page that are in `sh`.
pub(crate) fn of(page: &str) -> Vec<Block> {
    in_language(page, "sh")
}

/// The text of all blocks of a page that are in a language, joined.
pub(crate) fn joined(page: &str, language: &str) -> String {
    let blocks = in_language(page, language).into_iter();
    blocks.map(|block| block.text).collect()
}

fn in_language(page: &str, language: &str) -> Vec<Block> {
    let fence = format!("```{language}");
    let page = fs::read_to_string(checkout().join(page)).unwrap();
    let (mut blocks, mut before) = (Vec::new(), "");
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == fence {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            let mark = before.strip_prefix("<!-- ");
            let mark = mark.and_then(|mark| mark.strip_suffix(" -->"));
            blocks.push(Block {
                mark: mark.unwrap_or_default().to_owned(),
                text: text.join("\n") + "\n",
            });
        }
        before = line;
    }
    blocks
}

/// What the marks ask for, and keys whose passphrase somebody types.
const SHELL: &str = r#"set -euo pipefail
start() { bash "$1.sh" >>"$1.log" 2>&1 & echo $! >"$1.pid"; }
stop() { kill "$(cat "$1.pid")"; while kill -0 "$(cat "$1.pid")" 2>/dev/null; do sleep 0.1; done; }
typed() { { sleep 3; echo "$1"; } | script -qec "bash $2" /dev/null; }
printf '#!/bin/sh\necho "correct horse battery"\n' >askpass
chmod 700 askpass
"#;

/// One shell script of the blocks; what runs on beside them gets a file of its own in the folder.
fn script(blocks: &[Block], folder: &Path, replaced: &[(&str, String)]) -> String {
    let mut script = SHELL.to_owned();
    for (number, block) in blocks.iter().enumerate() {
        let replace = |text: String, (from, to): &(&str, String)| text.replace(from, to);
        let text = replaced.iter().fold(block.text.clone(), replace);
        let (mark, about) = block.mark.split_once(": ").unwrap_or((&block.mark, ""));
        writeln!(script, "echo '--- block {number} {mark}'").unwrap();
        match mark {
            "" => script.push_str(&text),
            "keeps running" => {
                fs::write(folder.join(format!("{about}.sh")), format!("exec {text}")).unwrap();
                writeln!(script, "start {about}").unwrap();
            }
            "stops" | "starts" => {
                let said = format!("systemctl {} secondkey-{about}", mark.trim_end_matches('s'));
                assert_eq!(text.trim(), said, "what the mark stands for");
                writeln!(script, "{} {about}", mark.trim_end_matches('s')).unwrap();
            }
            "type" => {
                let file = format!("block{number}.sh");
                fs::write(folder.join(&file), text).unwrap();
                writeln!(script, "typed '{about}' {file}").unwrap();
            }
            "not run" => assert!(!about.is_empty(), "says why"),
            other => panic!("a mark that nobody knows: {other}"),
        }
    }
    script.push_str("echo '--- all blocks have run'\n");
    script
}

/// Runs blocks in a folder, with these texts replaced, and gives what they said. They have three minutes.
pub(crate) fn run(blocks: &[Block], folder: &Path, replaced: &[(&str, String)]) -> String {
    let script = script(blocks, folder, replaced);
    fs::write(folder.join("walk.sh"), script).unwrap();
    fs::create_dir(folder.join("bin")).unwrap();
    std::os::unix::fs::symlink(binary(), folder.join("bin/secondkey")).unwrap();
    let path = crate::support::variable("PATH").unwrap_or_default();
    let said = fs::File::create(folder.join("said")).unwrap();
    let mut command = Command::new("timeout");
    command
        .args(["180", "bash", "walk.sh"])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}:{path}", folder.join("bin").display()))
        .env("HOME", folder)
        .env("USER", "ada")
        .env("SSH_ASKPASS", folder.join("askpass"))
        .env("SSH_ASKPASS_REQUIRE", "force")
        .stdin(std::process::Stdio::null())
        .stderr(said.try_clone().unwrap())
        .stdout(said)
        .process_group(0);
    let mut child = command.spawn().unwrap();
    let ended = child.wait().unwrap();
    // Relay and agent go on where the shell ended early; `timeout` has made the group its own.
    for name in ["relay", "agent"] {
        if let Ok(pid) = fs::read_to_string(folder.join(format!("{name}.pid"))) {
            drop(Command::new("kill").args(["-9", pid.trim()]).output());
        }
    }
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let said = read("said");
    assert!(
        ended.success() && said.contains("--- all blocks have run"),
        "{said}\nthe relay: {}\nthe agent: {}",
        read("relay.log"),
        read("agent.log")
    );
    said
}
