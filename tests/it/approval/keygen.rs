//! Stock `ssh-keygen`, in a folder of its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::skip;

/// Keys and files of one test.
pub(super) struct Keygen {
    folder: TempDir,
}

impl Keygen {
    /// `None`, and says so, where there is no `ssh-keygen`.
    pub(super) fn for_test(test: &str) -> Option<Self> {
        let there = Command::new("ssh-keygen")
            .arg("-?")
            .stdin(Stdio::null())
            .output();
        if there.is_err() {
            skip(test, "ssh-keygen is not installed");
            return None;
        }
        Some(Self {
            folder: TempDir::new().unwrap(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Makes a key pair; gives the line of the public key.
    pub(super) fn make_key(&self, kind: &str) -> String {
        let path = self.path(kind);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", "", "-C", "ada@laptop", "-f"])
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        std::fs::read_to_string(path.with_extension("pub")).unwrap()
    }

    /// `ssh-keygen -Y sign` with the key made for `kind`.
    pub(super) fn sign(&self, kind: &str, namespace: &str, message: &str) -> String {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]);
        let signed = run(command.arg(self.path(kind)), message);
        assert!(signed.status.success(), "{signed:?}");
        String::from_utf8(signed.stdout).unwrap()
    }

    /// Whether `ssh-keygen -Y verify` accepts it, at this time (`YYYYMMDDHHMMSSZ`).
    pub(super) fn verify(&self, check: &Check<'_>) -> bool {
        let allowed = self.write("allowed_signers", check.allowed);
        let signature = self.write("message.sig", check.signature);
        let mut command = Command::new("ssh-keygen");
        command.args(["-Y", "verify", "-I", check.identity, "-n", check.namespace]);
        command.arg("-O").arg(format!("verify-time={}", check.time));
        command.arg("-f").arg(allowed).arg("-s").arg(signature);
        let output = run(&mut command, check.message);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            output.status.success(),
            said.starts_with("Good "),
            "{output:?}"
        );
        output.status.success()
    }
}

/// One question to `ssh-keygen -Y verify`.
#[derive(Clone, Copy)]
pub(super) struct Check<'a> {
    pub(super) allowed: &'a str,
    pub(super) identity: &'a str,
    pub(super) namespace: &'a str,
    pub(super) signature: &'a str,
    pub(super) message: &'a str,
    pub(super) time: &'a str,
}

fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A refusal may come before everything was read.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}
