//! Who may come to a relay: API keys of clients, and agents with the tokens by which they join.
//!
//! `members.db` in the state folder (SQLite), which the running relay and the commands beside it share. A
//! secret is shown once, when it is made; what is kept is HMAC-SHA-256 (RFC 2104) of it under `keys/pepper.key`.
//! Every change is in the audit log before it is made.

mod agents;
mod api_keys;
mod principals;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::sql::{self, Connection};
use ring::hmac;

pub use agents::{Joined, Member};
pub use api_keys::{ApiKey, Holder, Issued, Wanted, key_id};
pub use principals::Known;

use crate::core::refusal::Refusal;
use crate::core::time::Clock;
use crate::store::database::{Database, MEMBERS, migrate, patiently};
use crate::store::error::StoreError;
use crate::store::keys::{self, random};
use crate::store::{State, folder};

/// The members of one relay. Clones share the connection.
#[derive(Clone)]
pub struct Members {
    inner: Arc<Inner>,
}

struct Inner {
    state: State,
    pepper: hmac::Key,
    connection: Mutex<Connection>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}

/// A secret in the form in which it is handed out: `<prefix>_<id>_<secret>`.
pub(super) struct Secret {
    id: String,
    secret: String,
}

impl Secret {
    fn new() -> Result<Self, StoreError> {
        Ok(Self {
            id: hex::encode(random::<6>()?),
            secret: hex::encode(random::<32>()?),
        })
    }

    /// Reads one; `None` for anything else.
    fn parse(prefix: &str, text: &str) -> Option<Self> {
        let (id, secret) = text
            .strip_prefix(prefix)?
            .strip_prefix('_')?
            .split_once('_')?;
        let hex = |text: &str, length| {
            let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            text.len() == length && text.bytes().all(digit)
        };
        (hex(id, 12) && hex(secret, 64)).then(|| Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

impl Members {
    /// Whether a state folder is a relay's.
    pub fn exist(state: &State) -> bool {
        match &state.inner.database {
            Database::File(_) => state.folder().has_members(),
            // What cannot be asked now is found when they are opened.
            Database::Server(_) => exist_at(&state.inner.database).unwrap_or(true),
        }
    }

    /// Opens the members of a state folder; there are none where there were none.
    pub fn open(state: &State) -> Result<Self, StoreError> {
        let database = state.folder().members()?;
        let lock = state.folder().lock()?;
        if let Some(file) = database.file() {
            folder::create_private(file, b"")?;
        }
        let connection = migrate(&database, &MEMBERS, state.now())?;
        if let Some(file) = connection.file() {
            patiently(|| Ok(file.pragma_update(None, "synchronous", "full")?))
                .map_err(|error| StoreError::sql("open the members", &error))?;
        }
        let pepper = keys::pepper(state.folder())?;
        drop(lock);
        Ok(Self {
            inner: Arc::new(Inner {
                state: state.clone(),
                pepper: hmac::Key::new(hmac::HMAC_SHA256, &pepper),
                connection: Mutex::new(connection),
                clock: Arc::clone(&state.inner.clock),
            }),
        })
    }

    /// What is kept of a secret. The prefix keeps a key of one kind from passing for one of another.
    fn mac(&self, prefix: &str, secret: &Secret) -> Vec<u8> {
        let signed = format!("{prefix}_{}_{}", secret.id, secret.secret);
        let tag = hmac::sign(&self.inner.pepper, signed.as_bytes());
        tag.as_ref().to_vec()
    }

    /// Compares in constant time.
    fn is_mac(&self, prefix: &str, secret: &Secret, kept: &[u8]) -> bool {
        let signed = format!("{prefix}_{}_{}", secret.id, secret.secret);
        hmac::verify(&self.inner.pepper, signed.as_bytes(), kept).is_ok()
    }

    fn now_ms(&self) -> i64 {
        self.inner.clock.now().unix_ms()
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        let connection = &self.inner.connection;
        connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the file on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl Fn(&Self, &Connection) -> sql::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let members = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let connection = members.lock();
            patiently(|| work(&members, &connection))
        });
        let done = done.await.map_err(|_| StoreError::Closed)?;
        Ok(done.map_err(|error| StoreError::sql("use the members", &error))?)
    }
}

fn exist_at(database: &Database) -> Result<bool, StoreError> {
    let connection = database.connect()?;
    let made =
        patiently(|| connection.exists("select 1 from formats where tables = 'members'", ()));
    made.map_err(|error| StoreError::sql("open the members", &error))
}
