//! Signing with a person's own SSH key, by stock `ssh-keygen`: it asks for the passphrase on the
//! terminal, takes the key from an ssh-agent, or has a hardware key touched. No private key ever
//! enters this program.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::cli::files::{read, read_text};
use crate::config::Surroundings;
use crate::core::approval::sshsig::{PublicKey, SshSig, SshSigError, signed_data};
use crate::core::principal::Principal;
use crate::core::signer::Presence;
use crate::core::trust::{SignerKey, TrustFile};

/// The name of a key that `--new` makes, in the user's configuration folder of this program.
const OWN_KEY: &str = "approver_ed25519";

/// The longest file that is looked at for a key, in bytes.
const LONGEST_KEY: u64 = 64 * 1024;

/// Why nothing was signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Unsigned {
    /// What happened.
    pub(super) message: String,
    /// What the person can do.
    pub(super) hint: &'static str,
}

fn unsigned(message: impl Into<String>, hint: &'static str) -> Unsigned {
    Unsigned {
        message: message.into(),
        hint,
    }
}

/// An SSH key of the person in front of this program, by the path of either half.
#[derive(Clone, Debug)]
pub(super) struct OwnKey {
    path: PathBuf,
    public: PublicKey,
    label: String,
}

impl OwnKey {
    /// The key at a path, of the private half or the public.
    pub(super) fn open(path: &Path) -> Result<Self, Unsigned> {
        let line = match read_text(&public_half(path), LONGEST_KEY) {
            Ok(line) => line,
            Err(error) if error.kind() == io::ErrorKind::NotFound => derived(path)?,
            Err(error) => return Err(unreadable(path, &error.to_string())),
        };
        let public: PublicKey = line.trim().parse().map_err(|error: SshSigError| {
            unsigned(
                format!("`{}` cannot be used: {error}", path.display()),
                "use a key of the type ed25519, ecdsa with nistp256, or one of their `-sk` forms; `--new` makes one",
            )
        })?;
        let comment = line.split_whitespace().skip(2);
        Ok(Self {
            path: path.to_owned(),
            label: label(&comment.collect::<Vec<_>>().join(" ")),
            public,
        })
    }

    /// Makes a new key; `ssh-keygen` asks for its passphrase. The path is that of the private half.
    pub(super) fn create(around: &Surroundings, comment: &str) -> Result<Self, Unsigned> {
        let path = own_path(around).ok_or_else(|| {
            unsigned(
                "there is no home folder to keep a key in",
                "make a key with `ssh-keygen -t ed25519` and name it with --key",
            )
        })?;
        if path.exists() {
            return Err(unsigned(
                format!("there is a key at `{}` already", path.display()),
                "use it with --key, or move it away",
            ));
        }
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| unreadable(folder, &error.to_string()))?;
        }
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-C", comment, "-f"]);
        let status = command
            .arg(&path)
            .status()
            .map_err(|error| missing(&error))?;
        if !status.success() {
            return Err(refused("made no key"));
        }
        Self::open(&path)
    }

    /// The key that was named; else the strongest of the person's keys that the trust file holds.
    /// Gives its owner by the trust file too.
    pub(super) fn find(
        named: Option<&Path>,
        trust: &TrustFile,
        around: &Surroundings,
    ) -> Result<(Self, Principal), Unsigned> {
        if let Some(path) = named {
            let key = Self::open(path)?;
            let owner = trust.owner_of(&key.public).map(|(signer, _)| &signer.name);
            let owner = owner.cloned().ok_or_else(|| {
                unsigned(
                    format!(
                        "the trust file does not hold the key {}",
                        key.public.fingerprint()
                    ),
                    "propose it with `secondkey trust propose`, or name another with --key",
                )
            })?;
            return Ok((key, owner));
        }
        let held = candidates(around).into_iter().filter_map(|path| {
            let key = Self::open(&path).ok()?;
            let (signer, held) = trust.owner_of(&key.public)?;
            Some((held.presence, key, signer.name.clone()))
        });
        let strongest = held.min_by_key(|(presence, ..)| *presence);
        strongest
            .map(|(_, key, owner)| (key, owner))
            .ok_or_else(|| {
                unsigned(
                    "none of your keys is in the trust file",
                    "name the key with --key; `secondkey trust show` lists those that count",
                )
            })
    }

    /// The public half.
    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The path it was found by.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What a trust file says about the key: what it is called, and what its signatures prove about
    /// somebody being there.
    pub(super) fn described(&self) -> Result<SignerKey, Unsigned> {
        Ok(SignerKey::ssh(
            self.public.clone(),
            self.presence()?,
            self.label.clone(),
        ))
    }

    /// A key of hardware signs that it was touched. Any other proves nothing; one with a passphrase
    /// at least makes somebody type it, unless an ssh-agent signs for it.
    fn presence(&self) -> Result<Presence, Unsigned> {
        if self.public.algorithm().signs_presence() {
            return Ok(Presence::Hardware);
        }
        let private = self.path.with_extension("");
        let path = match self.path.extension() {
            Some(extension) if extension == "pub" => &private,
            Some(_) | None => &self.path,
        };
        if !path.exists() {
            return Ok(Presence::Unattended);
        }
        let mut command = Command::new("ssh-keygen");
        command.args(["-y", "-P", "", "-f"]).arg(path);
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| missing(&error))?;
        if output.status.success() {
            return Ok(Presence::Unattended);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("passphrase") {
            Ok(Presence::Passphrase)
        } else {
            Err(unreadable(path, said.trim()))
        }
    }

    /// Signs a message: an armored SSHSIG in a namespace. Checked before it is given out.
    pub(super) fn sign(&self, namespace: &str, message: &[u8]) -> Result<String, Unsigned> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]);
        let output = piped(command.arg(&self.path), message).map_err(|error| missing(&error))?;
        if !output.status.success() {
            return Err(refused("did not sign"));
        }
        let armored = String::from_utf8_lossy(&output.stdout).into_owned();
        let good = SshSig::parse(&armored).is_ok_and(|sig| {
            *sig.key() == self.public && sig.is_over(&signed_data(namespace, message))
        });
        if good {
            Ok(armored)
        } else {
            Err(unsigned(
                format!(
                    "the signature by `{}` is not by its public half",
                    self.path.display()
                ),
                "the file ending in `.pub` belongs to another key; make it anew with `ssh-keygen -y`",
            ))
        }
    }
}

/// Where `--new` puts a key.
fn own_path(around: &Surroundings) -> Option<PathBuf> {
    Some(around.config_dir.as_ref()?.join(OWN_KEY))
}

/// The keys that may be the person's: the one made here, then all of `~/.ssh`.
fn candidates(around: &Surroundings) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = own_path(around)
        .filter(|path| public_half(path).exists())
        .into_iter()
        .collect();
    let home = around.environment.text("HOME").map(PathBuf::from);
    let folder = home.and_then(|home| std::fs::read_dir(home.join(".ssh")).ok());
    let mut others: Vec<PathBuf> = folder
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .collect();
    others.sort();
    found.extend(others);
    found
}

fn public_half(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "pub") {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// The public half by the private one, whose passphrase `ssh-keygen` may ask for.
fn derived(path: &Path) -> Result<String, Unsigned> {
    read(path, LONGEST_KEY).map_err(|error| unreadable(path, &error.to_string()))?;
    let mut command = Command::new("ssh-keygen");
    command.arg("-y").arg("-f").arg(path);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| missing(&error))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(refused("could not read the key"))
    }
}

/// Runs a command with this on its standard input; what it says to people goes to the terminal.
fn piped(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    // A refusal may come before everything was read.
    if let Some(mut pipe) = child.stdin.take() {
        drop(pipe.write_all(input));
    }
    child.wait_with_output()
}

/// What a trust file can hold: 128 bytes without control characters.
fn label(comment: &str) -> String {
    let kept = comment.chars().filter(|c| !c.is_control());
    let mut label = String::new();
    for c in kept {
        if label.len() + c.len_utf8() > 128 {
            break;
        }
        label.push(c);
    }
    label
}

fn unreadable(path: &Path, why: &str) -> Unsigned {
    unsigned(
        format!("`{}` cannot be used: {why}", path.display()),
        "name a key file with --key, or make a key with --new",
    )
}

fn refused(what: &str) -> Unsigned {
    unsigned(
        format!("ssh-keygen {what}"),
        "what it says above is why; a hardware key has to be plugged in and touched, and a passphrase needs a terminal",
    )
}

fn missing(error: &io::Error) -> Unsigned {
    if error.kind() == io::ErrorKind::NotFound {
        unsigned(
            "ssh-keygen is not installed, and signatures are made with it",
            "install OpenSSH's client: `openssh-client` on Debian and Ubuntu, `openssh-clients` on Fedora, `openssh` on Arch, Alpine and macOS",
        )
    } else {
        unsigned(
            format!("ssh-keygen cannot be started: {error}"),
            "see that `ssh-keygen` works in this terminal",
        )
    }
}
