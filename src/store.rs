//! REMEMBERS: the audit log, the journal of requests that were begun, the requests that wait for
//! people, and the keys. All of it lies in one state folder that any number of processes of one user share.
//!
//! ```text
//! state.db      the log, the journal and the requests (SQLite, WAL)
//! audit.heads   signed heads of the log
//! keys/         private keys, 0600
//! page.lock     held by the process that serves the web page
//! page/         codes that let a browser in, proposals of keys
//! trust/        the pinned trust files, each version signed by the one before it
//! members.db    who may come to a relay (SQLite): API keys, agents
//! store         the URL of the server (PostgreSQL) that has these databases' tables instead, where it is there
//! relay.pin     the key of the relay that an agent has joined
//! workspace     whose this folder is, where it is a relay's further workspace
//! workspaces/   the further workspaces of a relay, each a state folder
//! frozen        there while an agent lets nothing new run
//! relays/       what was kept, on a client's side, of the logs of relays (SQLite)
//! state.lock    held while a process sets the folder up
//! ```

pub mod audit_cache;
pub mod backup;
pub mod error;
pub mod handles;
pub mod keys;
pub mod log;
pub mod members;
pub mod notices;
pub mod page;
pub mod remembered;
pub mod reports;
pub mod requests;
pub mod sessions;
pub mod shared;
pub mod trust;
pub mod workspaces;

mod database;
#[cfg(test)]
mod elsewhere;
mod folder;
mod heads;
mod outside;
mod pin;
mod shelf;
mod sql;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use error::{BeginError, StoreError};
pub use handles::Handles;
pub use keys::{KeyKind, TokenKeys};
pub use log::{Dispatched, Filter, Log, Past, PastEnd, Sealed, Start};
pub use members::Members;
pub use notices::Notices;
pub use remembered::Memory;
pub use reports::Reports;
pub use requests::{RequestError, Requests, open_reviews};
pub use sessions::Sessions;
pub use trust::PinnedError;
pub use workspaces::Workspaces;

use crate::core::audit::{Draft, EventKind};
use crate::core::checks::Checks;
use crate::core::ids::{AgentId, RequestId};
use crate::core::mode::Mode;
use crate::core::time::{Clock, Timestamp};
use crate::core::trust::{SignedTrust, TrustError, TrustFile};
use crate::core::work::{Digest, Salt};
use database::Database;
use folder::Folder;
use keys::TokenKeyring;
use log::{Keeper, Place, Writer};
use requests::row;
use requests::values::ValuesKey;
use shelf::Shelf;
use trust::TrustChain;

/// What is checked of what lies in a state folder; outside of tests there is no other value than
/// everything.
#[derive(Clone, Debug)]
pub struct Scrutiny {
    /// Those of each trust file.
    pub trust: Checks<TrustError>,
    /// Those of each request's record, by what [`requests::Damaged`] says of it.
    pub records: Checks<&'static str>,
}

impl Scrutiny {
    /// Every check.
    pub fn all() -> Self {
        Self {
            trust: Checks::all(),
            records: Checks::all(),
        }
    }
}

/// An open state folder. Clones share it.
#[derive(Clone)]
pub struct State {
    inner: Arc<Inner>,
}

struct Inner {
    folder: Folder,
    clock: Arc<dyn Clock>,
    agent: AgentId,
    token_keys: TokenKeyring,
    commitment_secret: [u8; 32],
    log: Log,
    requests: Requests,
    notices: Notices,
    reports: Reports,
    memory: Memory,
    database: Database,
    trust: TrustChain,
    shelf: Shelf,
    before: pin::Before,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        f.debug_struct("State")
            .field("folder", &inner.folder)
            .field("agent", &inner.agent)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Whether there is a state folder with a log in it.
    pub fn exists(path: &Path) -> bool {
        Folder::at(path).has_database()
    }

    /// The trust file that is pinned in a folder, which is not opened, nor made if there is none.
    pub fn trust_in(path: &Path) -> Result<Option<Arc<TrustFile>>, PinnedError> {
        let database = Folder::at(path).database()?;
        TrustChain::new(Shelf::of(path, &database), Checks::all()).now()
    }

    /// How the folder is used, which is not opened: by a relay, by an agent that has joined one, or on this machine alone.
    pub fn mode_of(path: &Path) -> Mode {
        let folder = Folder::at(path);
        if folder.is_shared() {
            Mode::Cluster
        } else if folder.has_members() || folder.relay_pin().exists() {
            Mode::Fleet
        } else {
            Mode::Local
        }
    }

    /// How many requests wait for people in a folder, which is not opened; there is one if
    /// [`State::exists`] says so.
    pub fn waiting_in(path: &Path, now: Timestamp) -> Result<u64, StoreError> {
        let workspace = workspaces::name_in(path)?;
        requests::waiting_in(&Folder::at(path).database()?, workspace.as_str(), now)
    }

    /// Opens a state folder, and makes it with all that belongs in it if there is none.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::open_with(Scrutiny::all(), path, clock)
    }

    /// [`State::open`] with these checks; outside of tests there is no other value than all of them.
    pub fn open_with(
        scrutiny: Scrutiny,
        path: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let Scrutiny { trust, records } = scrutiny;
        let folder = Folder::open(path)?;
        let workspace = workspaces::name_in(path)?;
        let lock = folder.lock()?;
        let now = clock.now();
        let database = folder.database()?;
        let (connection, made) = Self::prepare(&folder, &database, now)?;
        let agent = keys::agent_id(&folder, now)?;
        let commitment_secret = keys::commitment_secret(&folder)?;
        let values_key = ValuesKey::new(&keys::values_secret(&folder)?)?;
        drop(lock);

        let shelf = Shelf::of(path, &database);
        let birth = database::birth(&connection, &database)?;
        let overdue = database::patiently(|| row::overdue(&connection, now, 1))
            .map_err(|error| StoreError::sql("read the requests", &error))?;
        let writer = Writer {
            connection,
            workspace: workspace.to_string(),
            birth,
            place: Place::new(&folder, &database)?,
            clock: Arc::clone(&clock),
            records: records.clone(),
        };
        let known = (folder.clone(), database.clone());
        let keeper = Keeper::new(known.clone(), workspace.as_str(), Arc::clone(&clock));
        let log = Log::start(writer, keeper, known)?;
        for (kind, id) in made {
            log.append_soon(
                Draft::new(now, EventKind::KeyCreated)
                    .text("purpose", kind.as_str())
                    .text("key", &id),
            );
        }
        let notices = Notices::new(log.door(), database.clone(), Arc::clone(&clock));
        let place = (database.clone(), workspace.to_string());
        let requests = Requests::new(log.door(), place, Arc::clone(&clock), (values_key, records));
        if !overdue.is_empty() {
            requests.sweep();
        }
        let token_keys = TokenKeyring::new(folder.clone(), agent.clone(), Arc::clone(&clock));
        Ok(Self {
            inner: Arc::new(Inner {
                trust: TrustChain::new(shelf.clone(), trust),
                reports: Reports::new(database.clone()),
                memory: Memory::new(database.clone()),
                database,
                shelf,
                folder,
                clock,
                agent,
                token_keys,
                commitment_secret,
                log,
                requests,
                notices,
                before: pin::Before::default(),
            }),
        })
    }

    /// Makes the tables and keys that are missing. The caller holds the folder's lock. Gives the keys that were made.
    fn prepare(
        folder: &Folder,
        database: &Database,
        now: Timestamp,
    ) -> Result<(sql::Connection, Vec<(KeyKind, String)>), StoreError> {
        if let Some(file) = database.file() {
            // SQLite gives its other files the permissions of this one.
            folder::create_private(file, b"")?;
        }
        let connection = database::migrate(database, &database::STATE, now)?;
        shared::needs_keys(&connection, folder, database)?;
        let made = keys::prepare(folder, now)?;
        shared::same_keys(&connection, folder, database)?;
        Ok((connection, made))
    }

    /// The audit log and the journal.
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// The requests that have a life of their own.
    pub fn requests(&self) -> &Requests {
        &self.inner.requests
    }

    /// The messages that wait to be sent to people.
    pub fn notices(&self) -> &Notices {
        &self.inner.notices
    }

    /// The runs whose ends are still to be said to a relay.
    pub fn reports(&self) -> &Reports {
        &self.inner.reports
    }

    /// Where the rows behind page handles are.
    pub fn handles(&self) -> Handles {
        Handles {
            database: self.inner.database.clone(),
            now: self.now(),
        }
    }

    /// How the sessions of MCP clients began.
    pub fn sessions(&self) -> Sessions {
        Sessions {
            database: self.inner.database.clone(),
            now: self.now(),
        }
    }

    /// What is remembered of the capabilities of each target.
    pub fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// A name for a destination of messages, from what makes it one. It shows nothing of that.
    pub fn destination(&self, parts: &[&[u8]]) -> String {
        let mut all: Vec<&[u8]> = vec![&self.inner.commitment_secret, b"notice destination"];
        let lengths: Vec<[u8; 8]> = parts
            .iter()
            .map(|part| (part.len() as u64).to_be_bytes())
            .collect();
        for (length, part) in lengths.iter().zip(parts) {
            all.push(length);
            all.push(part);
        }
        Digest::of(&all).to_string()
    }

    /// The id of this folder's executor: the audience of its tokens.
    pub fn agent(&self) -> &AgentId {
        &self.inner.agent
    }

    /// The time, by the clock that this folder was opened with.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The trust file that is pinned here, or nothing where none ever was. Ask for it each time:
    /// another process may have pinned the next. An error means that nobody is trusted.
    pub fn trust(&self) -> Result<Option<Arc<TrustFile>>, PinnedError> {
        self.inner.trust.now()
    }

    /// Every version of the trust file that was pinned here, from the first, to be carried elsewhere.
    pub fn trust_versions(&self) -> Result<Vec<SignedTrust>, PinnedError> {
        self.inner.trust.all()
    }

    /// Pins the next version of the trust file, or the first, and records that. Refused unless those
    /// have signed it whom the pinned version demands.
    pub async fn install_trust(&self, signed: SignedTrust) -> Result<(), PinnedError> {
        let inner = Arc::clone(&self.inner);
        let version = signed.trust.version;
        let digest = signed.trust.digest();
        let signatures = signed.signatures.len();
        let staged = tokio::task::spawn_blocking(move || {
            let lock = inner.folder.lock()?;
            inner.trust.check(&signed, inner.clock.now())?;
            let staged = inner.trust.stage(&signed)?;
            Ok::<_, PinnedError>((lock, staged))
        });
        let (_lock, staged) = staged.await.map_err(|_| StoreError::Closed)??;
        // Recorded first: whom this folder trusts never changes without a trace.
        let draft = Draft::new(self.inner.clock.now(), EventKind::TrustInstalled)
            .number("version", version)
            .number("signatures", signatures as u64)
            .text("digest", &digest.to_string());
        self.log().append(draft).await?;
        let placed = tokio::task::spawn_blocking(move || staged.place());
        placed.await.map_err(|_| StoreError::Closed)??;
        Ok(())
    }

    /// The token keys as they are now. Ask for them each time: another process may have rotated.
    pub fn token_keys(&self) -> Result<Arc<TokenKeys>, StoreError> {
        self.inner.token_keys.now()
    }

    /// What hides a request's parameter values: made from a secret of this folder and the request
    /// id, so that a value can be proven here and guessed nowhere else.
    pub fn salt(&self, request: &RequestId) -> Salt {
        let secret = &self.inner.commitment_secret;
        let salt = Digest::of(&[secret, request.as_str().as_bytes()]);
        let [salt @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *salt.as_bytes();
        salt
    }

    fn shelf(&self) -> &Shelf {
        &self.inner.shelf
    }

    fn folder(&self) -> &Folder {
        &self.inner.folder
    }

    /// Makes a new key of a kind the current one, and records that. Gives its id.
    pub async fn rotate_key(&self, kind: KeyKind) -> Result<String, StoreError> {
        let inner = Arc::clone(&self.inner);
        let rotated = tokio::task::spawn_blocking(move || {
            let _lock = inner.folder.lock()?;
            keys::rotate(&inner.folder, kind, inner.clock.now())
        });
        let id = rotated.await.map_err(|_| StoreError::Closed)??;
        let draft = Draft::new(self.inner.clock.now(), EventKind::KeyRotated)
            .text("purpose", kind.as_str())
            .text("key", &id);
        self.log().append(draft).await?;
        Ok(id)
    }

    /// Writes what waits, signs a head if there is news, and ends. Later calls fail. A folder that is
    /// dropped without this loses nothing, but its last head may come from before the end.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.inner.log.close().await
    }
}

#[cfg(test)]
mod tests;
