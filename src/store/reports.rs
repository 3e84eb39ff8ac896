//! Ends of runs that somebody else keeps the record of: an agent's relay. Each is written along with its
//! entry in the log, and kept until the relay has put it on record, whatever becomes of this process meanwhile.

use crate::store::sql::{self, Connection};
use tokio::task::spawn_blocking;

use crate::core::ids::{RequestId, TokenId};
use crate::core::request::Ending;
use crate::store::database::Database;
use crate::store::error::StoreError;

/// A run of which the relay has not said yet that it knows the end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsaid {
    /// The request.
    pub request: RequestId,
    /// The token that it was run on.
    pub token: TokenId,
    /// How it ended; none where it was begun, and nothing else is on record.
    pub ending: Option<Ending>,
}

/// The runs of one state folder whose ends are still to be said. Clones share them.
#[derive(Clone, Debug)]
pub struct Reports {
    database: Database,
}

impl Reports {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// All of them.
    pub async fn all(&self) -> Result<Vec<Unsaid>, StoreError> {
        self.with(|connection| {
            let rows = connection.query_map(ALL, (), |row| {
                let ending: Option<String> = row.get(2)?;
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, ending))
            })?;
            let rows = rows.collect::<sql::Result<Vec<_>>>()?;
            Ok(rows.into_iter().filter_map(read).collect())
        })
        .await
    }

    /// The relay knows how a request ended: it need not be told again.
    pub async fn said(&self, request: &RequestId) -> Result<(), StoreError> {
        let request = request.to_string();
        self.with(move |connection| connection.execute(SAID, [request]).map(drop))
            .await
    }

    async fn with<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> sql::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = self.database.clone();
        let looked = spawn_blocking(move || {
            let connection = database.connect()?;
            look(&connection).map_err(|error| StoreError::sql("read the journal", &error))
        });
        looked.await.map_err(|_| StoreError::Closed)?
    }
}

/// One that cannot be read was written by somebody else, and is said to nobody.
fn read((request, token, ending): (String, String, Option<String>)) -> Option<Unsaid> {
    let ending = match ending {
        Some(text) => Some(serde_json::from_str(&text).ok()?),
        None => None,
    };
    Some(Unsaid {
        request: request.parse().ok()?,
        token: TokenId::try_from(token).ok()?,
        ending,
    })
}

/// Keeps that a run is about to begin; within the transaction of its intent.
pub(super) fn begin(
    connection: &Connection,
    (request, token): (&RequestId, &TokenId),
) -> sql::Result<()> {
    connection
        .execute(BEGIN, (request.as_str(), token.as_str()))
        .map(drop)
}

/// Keeps how it ended, if it is one of those that are to be said; within the transaction of its outcome.
pub(super) fn end(
    connection: &Connection,
    (request, ending): (&RequestId, &Ending),
) -> sql::Result<()> {
    let ending = serde_json::to_string(ending).unwrap_or_default();
    connection
        .execute(END, (request.as_str(), ending))
        .map(drop)
}

const ALL: &str = "select request, token, ending from reports order by request";
/// One that has not ended stays: it was said that its end is unknown, and that may yet change.
const SAID: &str = "delete from reports where request = ?1 and ending is not null";
const BEGIN: &str = "
    insert into reports (request, token) values (?1, ?2) on conflict (request) do nothing";
const END: &str = "update reports set ending = ?2 where request = ?1";
