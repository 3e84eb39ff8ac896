//! Requests that have a life of their own: filed, read, listed, changed, waited for.
//!
//! Nothing but a [`Change`] gets in, and it takes its audit entries with it in one transaction.
//! Everything is written by the log's writer; what is decided about a request is decided
//! inside its transaction, with the clock as it is there.

pub mod error;
pub mod list;

pub(in crate::store) mod row;
pub(in crate::store) mod values;
mod watch;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::store::sql::{self, Connection};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use error::{Damaged, RequestError};
pub use list::{Filter, Page, Summary};

use crate::core::checks::Checks;
use crate::core::ids::RequestId;
use crate::core::principal::Principal;
use crate::core::refusal::Refusal;
use crate::core::request::{Change, Request, Review, Values};
use crate::core::time::{Clock, Timestamp};
use crate::store::State;
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::folder::Folder;
use crate::store::log::{Deed, Door, Job};
use values::ValuesKey;
use watch::Watcher;

/// How long a waiter goes without a look although nobody has written: time moves requests too.
const LOOK: Duration = Duration::from_secs(1);

/// The requests of one state folder. Clones share it.
#[derive(Clone)]
pub struct Requests {
    inner: Arc<Inner>,
}

struct Inner {
    door: Arc<Door>,
    database: Database,
    workspace: String,
    clock: Arc<dyn Clock>,
    key: ValuesKey,
    /// What is checked of each record that is read.
    records: Checks<&'static str>,
    /// Opened when it is first needed.
    reading: Mutex<Option<Connection>>,
    watcher: Watcher,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("database", &self.inner.database)
            .field("workspace", &self.inner.workspace)
            .finish_non_exhaustive()
    }
}

impl Requests {
    pub(in crate::store) fn new(
        door: Arc<Door>,
        (database, workspace): (Database, String),
        clock: Arc<dyn Clock>,
        (key, records): (ValuesKey, Checks<&'static str>),
    ) -> Self {
        let inner = Inner {
            door,
            watcher: Watcher::new(database.clone()),
            database,
            workspace,
            clock,
            key,
            records,
            reading: Mutex::new(None),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Files a new request, with the values of its parameters, which are sealed. Whoever files also
    /// records the expiry of others whose time has run out.
    pub async fn file(
        &self,
        change: Change,
        values: Option<&Values>,
    ) -> Result<Request, RequestError> {
        let seal = |values| self.inner.key.seal(change.request().id(), values);
        let sealed = values.map(seal).transpose()?;
        self.perform(Deed::File { change, sealed }).await
    }

    /// Takes a change, if the record is still the one that it was made from. What depends on the
    /// clock or on who may vote belongs into [`Requests::transact`].
    pub async fn apply(&self, change: Change) -> Result<Request, RequestError> {
        self.perform(Deed::Apply(change)).await
    }

    /// Reads a request, decides, and takes the change, all in one transaction. `decide` gets the
    /// request as it is now and the time; it runs on the writer's thread, so it must not block.
    ///
    /// If time has moved the request on, that is recorded even if `decide` then refuses.
    pub async fn transact(
        &self,
        id: &RequestId,
        decide: impl FnOnce(Request, Timestamp) -> Result<Change, Refusal> + Send + 'static,
    ) -> Result<Request, RequestError> {
        let deed = Deed::Transact {
            id: id.clone(),
            decide: Box::new(decide),
        };
        self.perform(deed).await
    }

    /// Records the expiry of requests whose time has run out. Nobody has to call this for them to
    /// be expired; it is for their entries in the log and for their values to be deleted.
    pub fn sweep(&self) {
        // If the writer is gone, the next to open the folder sweeps.
        drop(
            self.inner
                .door
                .hand_over(Job::Deed(Box::new(Deed::Sweep), None)),
        );
    }

    /// The request as it is now. Blocks; from async code, call it through `spawn_blocking`.
    pub fn get(&self, id: &RequestId) -> Result<Request, RequestError> {
        let how = (self.inner.workspace.as_str(), &self.inner.records);
        let request = self.read(|connection| row::load(connection, how, id))?;
        let request = request.ok_or_else(|| RequestError::NotFound(id.clone()))??;
        Ok(request.as_of(self.inner.clock.now()))
    }

    /// The requests that a filter lets through, as they are now. Blocks, like [`Requests::get`].
    pub fn list(&self, filter: &Filter) -> Result<Page, RequestError> {
        let how = (self.inner.workspace.as_str(), &self.inner.records);
        let now = self.inner.clock.now();
        Ok(self.read(|connection| list::page(connection, how, filter, now))?)
    }

    /// How many requests wait for people now, of one requester or of all. Blocks, like
    /// [`Requests::get`].
    pub fn waiting(&self, requester: Option<&Principal>) -> Result<u64, RequestError> {
        let workspace = &self.inner.workspace;
        let now = self.inner.clock.now();
        Ok(self.read(|connection| list::waiting(connection, workspace, requester, now))?)
    }

    /// How many requests wait for people now, of all clients of the one whose this requester is. Blocks, like
    /// [`Requests::get`].
    pub fn waiting_of_all(&self, requester: &Principal) -> Result<u64, RequestError> {
        let workspace = &self.inner.workspace;
        let now = self.inner.clock.now();
        Ok(self.read(|connection| list::waiting_of_all(connection, workspace, requester, now))?)
    }

    /// The values of a request's parameters: there from its filing to its end, if it has any.
    /// Blocks, like [`Requests::get`].
    pub fn values(&self, id: &RequestId) -> Result<Option<Values>, RequestError> {
        let sealed = self.read(|connection| row::sealed(connection, id))?;
        let opened = sealed.map(|sealed| self.inner.key.open(id, &sealed));
        Ok(opened.transpose()?)
    }

    /// Waits until the request is what `done` wants, or for `patience`; gives the request as it is
    /// then. Another process's step wakes the waiter within a tenth of a second.
    pub async fn wait(
        &self,
        id: &RequestId,
        patience: Duration,
        done: impl Fn(&Request) -> bool,
    ) -> Result<Request, RequestError> {
        let deadline = Instant::now() + patience;
        let requests = self.clone();
        let mut news = blocking(move || requests.inner.watcher.listen()).await??;
        loop {
            news.borrow_and_update();
            let (requests, wanted) = (self.clone(), id.clone());
            let request = blocking(move || requests.get(&wanted)).await??;
            let now = Instant::now();
            if done(&request) || now >= deadline {
                return Ok(request);
            }
            let look = tokio::time::timeout_at(deadline.min(now + LOOK), news.changed());
            if matches!(look.await, Ok(Err(_))) {
                // The watcher is gone. Without it, looking once in a while still tells the truth.
                tokio::time::sleep_until(deadline.min(now + LOOK)).await;
            }
        }
    }

    async fn perform(&self, deed: Deed) -> Result<Request, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.inner
            .door
            .hand_over(Job::Deed(Box::new(deed), Some(answer)))?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    fn read<T>(
        &self,
        mut look: impl FnMut(&Connection) -> sql::Result<T>,
    ) -> Result<T, StoreError> {
        let mut reading = self
            .inner
            .reading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connection = match reading.take() {
            Some(connection) => connection,
            None => self.inner.database.connect_to_read()?,
        };
        // Only a connection that has just worked is used again.
        let found = patiently(|| look(&connection))
            .map_err(|error| StoreError::sql("read the requests", &error))?;
        *reading = Some(connection);
        Ok(found)
    }
}

/// Since when each review is open that is, in a state folder that is not to be opened or changed. None where
/// there is no log yet, or one of an older format.
pub fn open_reviews(folder: &Path) -> Result<Vec<Timestamp>, StoreError> {
    if !State::exists(folder) {
        return Ok(Vec::new());
    }
    let database = Folder::at(folder).database()?;
    let connection = database.connect_to_read()?;
    let reviews = patiently(|| list::open_reviews(&connection));
    let reviews = reviews.map_err(|error| StoreError::sql("read the requests", &error))?;
    let since = |review: String| match serde_json::from_str::<Review>(&review) {
        Ok(review) => Ok(review.since()),
        Err(_) => Err(StoreError::Damaged {
            path: database.path(),
            what: "a review in it cannot be read".to_owned(),
        }),
    };
    reviews.into_iter().map(since).collect()
}

/// How many requests wait for people in a database that nobody has opened here.
pub(in crate::store) fn waiting_in(
    database: &Database,
    workspace: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let connection = database.connect_to_read()?;
    patiently(|| list::waiting(&connection, workspace, None, now))
        .map_err(|error| StoreError::sql("read the requests", &error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| StoreError::Closed)
}

#[cfg(test)]
pub(in crate::store) mod tests;
