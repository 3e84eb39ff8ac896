//! How the sessions of MCP clients began: enough for another process to go on with one.

use tokio::task::spawn_blocking;

use crate::core::time::Timestamp;
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::sql::{self, Connection, Optional as _};

/// How long one is kept that nobody has come with, in milliseconds: a day.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// The sessions of one store.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub(super) database: Database,
    pub(super) now: Timestamp,
}

impl Sessions {
    /// Keeps how a holder's session began.
    pub async fn keep(&self, holder: &str, id: &str, began: String) -> Result<(), StoreError> {
        let (holder, id, now) = (holder.to_owned(), id.to_owned(), self.now.unix_ms());
        self.with(move |connection| {
            connection.execute(FORGET, [now - KEPT_MS])?;
            connection
                .execute(KEEP, (&id, &holder, &began, now))
                .map(drop)
        })
        .await
    }

    /// How a holder's session began. Another's is not found.
    pub async fn find(&self, holder: &str, id: &str) -> Result<Option<String>, StoreError> {
        let (holder, id, now) = (holder.to_owned(), id.to_owned(), self.now.unix_ms());
        self.with(move |connection| {
            connection.execute(USE, (&id, &holder, now))?;
            let began = connection.query_row(FIND, (&id, &holder), |row| row.get(0));
            began.optional()
        })
        .await
    }

    /// A holder's session has ended.
    pub async fn end(&self, holder: &str, id: &str) -> Result<(), StoreError> {
        let (holder, id) = (holder.to_owned(), id.to_owned());
        self.with(move |connection| connection.execute(END, (&id, &holder)).map(drop))
            .await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> sql::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = self.database.clone();
        let done = spawn_blocking(move || {
            let connection = database.connect()?;
            patiently(|| work(&connection))
                .map_err(|error| StoreError::sql("use the sessions", &error))
        });
        done.await.map_err(|_| StoreError::Closed)?
    }
}

const KEEP: &str = "
    insert into sessions (id, holder, began, used) values (?1, ?2, ?3, ?4)
    on conflict (id) do nothing";
const USE: &str = "update sessions set used = ?3 where id = ?1 and holder = ?2";
const FIND: &str = "select began from sessions where id = ?1 and holder = ?2";
const END: &str = "delete from sessions where id = ?1 and holder = ?2";
const FORGET: &str = "delete from sessions where used < ?1";
