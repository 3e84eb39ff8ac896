//! One session with a server, and what goes over it.
//!
//! The driver runs on a thread of its own; whoever asks waits for it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, Type, to_sql_checked};
use tokio_postgres::{Client, Row, Statement};

use super::server::Server;
use super::{Error, Result};

/// How long a statement may take: the server gives up by itself before that.
const PATIENCE: Duration = Duration::from_secs(15);
/// Statements that are kept prepared.
const PREPARED: usize = 200;

/// Where the driver runs. It is never put away: a process has at most this one.
static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("secondkey-store")
        .enable_all()
        .build()
});

/// The runtime of the driver.
pub(super) fn runtime() -> Result<&'static Runtime> {
    let runtime = RUNTIME.as_ref();
    runtime.map_err(|error| Error::away(format!("no thread for the driver: {error}")))
}

/// Has the driver do something, and waits for it.
pub(super) fn wait<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (answer, answered) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        let done = tokio::time::timeout(PATIENCE, work).await;
        let late = || Err(Error::away("the server did not answer in time"));
        // Whoever asked waits below.
        drop(answer.send(done.unwrap_or_else(|_| late())));
    });
    let gone = || Error::away("the driver has ended");
    answered.recv().map_err(|_| gone())?
}

/// One session.
pub(super) struct Session {
    client: Client,
    prepared: Mutex<HashMap<String, Statement>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            prepared: Mutex::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    async fn prepare(&self, sql: &str) -> Result<Statement> {
        let known = || self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = known().get(sql) {
            return Ok(statement.clone());
        }
        // A place is `?1` to one engine and `$1` to the other, and nothing else here has a question mark.
        let statement = self.client.prepare(&sql.replace('?', "$")).await?;
        let mut known = known();
        if known.len() >= PREPARED {
            known.clear();
        }
        known.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// A session that somebody has, until it is dropped.
#[derive(Debug)]
pub(super) struct Loan {
    server: Arc<Server>,
    session: Mutex<Arc<Session>>,
}

impl Loan {
    pub(super) fn new(server: Arc<Server>, session: Arc<Session>) -> Self {
        Self {
            server,
            session: Mutex::new(session),
        }
    }

    fn session(&self) -> Arc<Session> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&session)
    }

    pub(super) fn is_open(&self) -> bool {
        self.session().is_open()
    }

    /// Has another session where this one was lost.
    pub(super) fn renew(&self) -> Result<()> {
        if self.is_open() {
            return Ok(());
        }
        let new = self.server.session()?;
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        let (session, sql) = (self.session(), sql.to_owned());
        wait(async move { Ok(session.client.batch_execute(&sql).await?) })
    }

    pub(super) fn execute(&self, sql: &str, values: Vec<Value>) -> Result<usize> {
        let (session, sql) = (self.session(), sql.to_owned());
        let count = wait(async move {
            let statement = session.prepare(&sql).await?;
            let values = values.iter().map(as_param);
            Ok(session.client.execute_raw(&statement, values).await?)
        })?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(super) fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>> {
        let (session, sql) = (self.session(), sql.to_owned());
        wait(async move {
            let statement = session.prepare(&sql).await?;
            let values: Vec<_> = values.iter().map(as_param).collect();
            Ok(session.client.query(&statement, &values).await?)
        })
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.server.take_back(self.session());
    }
}

fn as_param(value: &Value) -> &(dyn tokio_postgres::types::ToSql + Sync) {
    value
}

/// A value on its way.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Without what it is: values may be secrets.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value")
    }
}

impl Value {
    pub(super) fn of(value: &dyn rusqlite::ToSql) -> Result<Self> {
        let output = value.to_sql()?;
        let value = match &output {
            ToSqlOutput::Borrowed(value) => *value,
            ToSqlOutput::Owned(value) => ValueRef::from(value),
            _ => return Err(Error::damaged("a value of a kind that is not used here")),
        };
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Self::Bytes(bytes.to_owned()),
            ValueRef::Real(_) => return Err(Error::damaged("a number with a fraction")),
        })
    }
}

impl tokio_postgres::types::ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Integer(number) if *kind == Type::INT8 => {
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Integer(number) if *kind == Type::INT4 => {
                out.extend_from_slice(&i32::try_from(*number)?.to_be_bytes());
            }
            Self::Text(text) if *kind == Type::TEXT => out.extend_from_slice(text.as_bytes()),
            // A body is text there and bytes here.
            Self::Bytes(bytes) if matches!(*kind, Type::BYTEA | Type::TEXT) => {
                out.extend_from_slice(bytes);
            }
            Self::Integer(_) | Self::Text(_) | Self::Bytes(_) => {
                return Err(format!("a value for a column of the type {kind}").into());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// What is in a column.
pub(super) fn value(row: &Row, place: usize) -> Result<ValueRef<'_>> {
    let column = row.columns().get(place);
    let column = column.ok_or_else(|| Error::damaged("a column is missing"))?;
    let found = match *column.type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(place)?.map(ValueRef::Integer),
        Type::INT4 => {
            let number = row.try_get::<_, Option<i32>>(place)?;
            number.map(|number| ValueRef::Integer(i64::from(number)))
        }
        Type::TEXT => {
            let text = row.try_get::<_, Option<&str>>(place)?;
            text.map(|text| ValueRef::Text(text.as_bytes()))
        }
        Type::BYTEA => row.try_get::<_, Option<&[u8]>>(place)?.map(ValueRef::Blob),
        _ => return Err(Error::damaged("a column of a type that is not used here")),
    };
    Ok(found.unwrap_or(ValueRef::Null))
}
