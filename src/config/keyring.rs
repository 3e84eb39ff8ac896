//! The platform's keyring, asked with patience but not for ever.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::config::secret::Unavailable;

/// How long a keyring may take; a locked one asks a person, and nobody may be there.
const PATIENCE: Duration = Duration::from_secs(5);
const ELSEWHERE: &str = "use an `env:NAME` or `file:PATH` reference instead";

/// Reads a secret from the keyring.
pub(super) fn read(service: &str, name: &str) -> Result<String, Unavailable> {
    let (answer, answered) = mpsc::channel();
    let (of, wanted) = (service.to_owned(), name.to_owned());
    let asked = thread::Builder::new()
        .name("keyring".to_owned())
        .spawn(move || {
            // Nobody listens any more when the time was over.
            let _unheard = answer.send(ask(&of, &wanted));
        });
    if asked.is_err() {
        return Err(Unavailable::new("the keyring cannot be asked", ELSEWHERE));
    }
    match answered.recv_timeout(PATIENCE) {
        Ok(found) => found,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Unavailable::new(
            "the keyring did not answer within 5 seconds",
            "unlock it, or use an `env:NAME` or `file:PATH` reference instead",
        )),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(Unavailable::new("the keyring broke down", ELSEWHERE))
        }
    }
}

#[cfg(feature = "keyring")]
fn ask(service: &str, name: &str) -> Result<String, Unavailable> {
    use ::keyring::{Entry, Error};

    let found = Entry::new(service, name).and_then(|entry| entry.get_password());
    // What the error says itself is not shown: some of its variants carry the secret's bytes.
    found.map_err(|error| {
        if matches!(error, Error::NoDefaultStore) {
            Unavailable::new("there is no keyring on this machine", ELSEWHERE)
        } else if matches!(error, Error::NoEntry) {
            let message = format!("the keyring has no entry `{name}` of the service `{service}`");
            Unavailable::new(
                message,
                "store it there first, or use `env:NAME` or `file:PATH`",
            )
        } else if matches!(error, Error::NoStorageAccess(_)) {
            Unavailable::new("the keyring is locked", "unlock it and try again")
        } else {
            Unavailable::new("the keyring could not give the secret", ELSEWHERE)
        }
    })
}

#[cfg(not(feature = "keyring"))]
fn ask(_service: &str, _name: &str) -> Result<String, Unavailable> {
    Err(Unavailable::new(
        "this build of secondkey cannot read a keyring",
        ELSEWHERE,
    ))
}
