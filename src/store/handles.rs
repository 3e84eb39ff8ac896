//! Where the rows behind page handles are: at which agent. The rows themselves are nowhere but there.

use tokio::task::spawn_blocking;

use crate::core::ids::{AgentId, HandleId};
use crate::core::time::Timestamp;
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::sql::{self, Connection, Optional as _};

/// How long it is remembered, in milliseconds: longer than any agent keeps rows.
const KEPT_MS: i64 = 60 * 60 * 1_000;

/// The handles of one store.
#[derive(Clone, Debug)]
pub struct Handles {
    pub(super) database: Database,
    pub(super) now: Timestamp,
}

impl Handles {
    /// Remembers at which agent the rows behind a handle are.
    pub async fn keep(&self, handle: &HandleId, agent: &AgentId) -> Result<(), StoreError> {
        let (handle, agent) = (handle.to_string(), agent.to_string());
        let now = self.now.unix_ms();
        self.with(move |connection| {
            connection.execute(FORGET, [now - KEPT_MS])?;
            connection.execute(KEEP, (&handle, &agent, now)).map(drop)
        })
        .await
    }

    /// The agent that has the rows behind a handle, if that is known.
    pub async fn keeper(&self, handle: &HandleId) -> Result<Option<AgentId>, StoreError> {
        let handle = handle.to_string();
        let found = self.with(move |connection| {
            let agent = connection.query_row(KEEPER, [&handle], |row| row.get::<_, String>(0));
            agent.optional()
        });
        Ok(found.await?.and_then(|agent| AgentId::try_from(agent).ok()))
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> sql::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = self.database.clone();
        let done = spawn_blocking(move || {
            let connection = database.connect()?;
            patiently(|| work(&connection))
                .map_err(|error| StoreError::sql("use the page handles", &error))
        });
        done.await.map_err(|_| StoreError::Closed)?
    }
}

const KEEP: &str = "
    insert into page_handles (handle, agent, at) values (?1, ?2, ?3)
    on conflict (handle) do update set agent = excluded.agent, at = excluded.at";
const KEEPER: &str = "select agent from page_handles where handle = ?1";
const FORGET: &str = "delete from page_handles where at < ?1";
