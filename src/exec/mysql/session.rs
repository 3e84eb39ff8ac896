//! One connection, pinned to the rules that the statement guard reads text by.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor as _, Row as _};

use crate::core::refusal::{Code, Refusal};
use crate::exec::mysql::errors;

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a short statement of our own may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which of the two servers it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flavour {
    MariaDb,
    MySql,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// Reads: the session refuses changes, and a read-only transaction is always open.
    Read,
    /// Changes.
    Change,
}

/// A connection with its facts.
pub(super) struct Session {
    pub(super) connection: MySqlConnection,
    /// The server's id of it, for `KILL`.
    pub(super) id: u64,
    pub(super) flavour: Flavour,
    pub(super) version: String,
    /// The time limit that is set, in milliseconds.
    limit_ms: u32,
}

/// No `ANSI_QUOTES`, `NO_BACKSLASH_ESCAPES`, `PIPES_AS_CONCAT` or `ORACLE`, which change what a
/// text means; `IGNORE_SPACE`, so that a name before a blank and a parenthesis is a call. Limits
/// that cut an answer short without an error are lifted.
const PIN: &str = "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,IGNORE_SPACE', \
     SESSION autocommit = 1, SESSION sql_select_limit = DEFAULT, SESSION completion_type = 0, \
     SESSION group_concat_max_len = 16777216";

impl Session {
    /// Connects and pins the session.
    pub(super) async fn open(options: &MySqlConnectOptions, mode: Mode) -> Result<Self, Refusal> {
        match tokio::time::timeout(CONNECT, Self::connect(options, mode)).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(unreachable(options, &error)),
            Err(_) => Err(unreachable(options, &sqlx::Error::PoolTimedOut)),
        }
    }

    async fn connect(options: &MySqlConnectOptions, mode: Mode) -> Result<Self, sqlx::Error> {
        let mut connection = options.connect().await?;
        connection.execute(sqlx::raw_sql(PIN)).await?;
        let access = match mode {
            Mode::Read => {
                "SET SESSION TRANSACTION READ ONLY; START TRANSACTION READ ONLY; \
                 SELECT CONNECTION_ID(), VERSION()"
            }
            Mode::Change => "SET SESSION TRANSACTION READ WRITE; SELECT CONNECTION_ID(), VERSION()",
        };
        let row = connection.fetch_one(sqlx::raw_sql(access)).await?;
        let text = |at: usize| row.get_unchecked::<String, _>(at);
        let version = text(1);
        let flavour = if version.to_ascii_lowercase().contains("mariadb") {
            Flavour::MariaDb
        } else {
            Flavour::MySql
        };
        Ok(Self {
            connection,
            id: text(0).parse().unwrap_or_default(),
            flavour,
            version,
            limit_ms: 0,
        })
    }

    /// Lets the server itself stop statements after `ms` milliseconds.
    pub(super) async fn limit(&mut self, ms: u32) -> Result<(), sqlx::Error> {
        if self.limit_ms == ms {
            return Ok(());
        }
        let sql = match self.flavour {
            Flavour::MariaDb => format!(
                "SET SESSION max_statement_time = {}.{:03}",
                ms / 1000,
                ms % 1000
            ),
            Flavour::MySql => format!("SET SESSION max_execution_time = {ms}"),
        };
        self.own(sql).await?;
        self.limit_ms = ms;
        Ok(())
    }

    /// Runs a statement of our own that takes no values and answers nothing.
    pub(super) async fn own(&mut self, sql: impl Into<String>) -> Result<(), sqlx::Error> {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.into()));
        let done = tokio::time::timeout(PATIENCE, self.connection.execute(statement)).await;
        done.map_err(|_| sqlx::Error::PoolTimedOut)?.map(drop)
    }

    /// Ends the transaction that a read ran in, and begins the next.
    pub(super) async fn rewind(&mut self) -> Result<(), sqlx::Error> {
        self.own("ROLLBACK AND CHAIN").await
    }

    /// The rows of a fixed catalogue query, every column of which is text or NULL.
    pub(super) async fn texts(
        &mut self,
        sql: &'static str,
        values: &[&str],
    ) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        let rows = async {
            if values.is_empty() {
                // MySQL does not prepare `SHOW WARNINGS`.
                return self.connection.fetch_all(sqlx::raw_sql(sql)).await;
            }
            let query = values.iter().fold(sqlx::query(sql), |query, value| {
                query.bind((*value).to_owned())
            });
            query.fetch_all(&mut self.connection).await
        };
        let rows = tokio::time::timeout(PATIENCE, rows).await;
        let rows = rows.map_err(|_| sqlx::Error::PoolTimedOut)??;
        Ok(rows.iter().map(columns).collect())
    }

    /// The first row of a query of our own, each field as text.
    pub(super) async fn first(
        &mut self,
        sql: &str,
    ) -> Result<Option<Vec<Option<String>>>, sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let row = tokio::time::timeout(PATIENCE, self.connection.fetch_optional(query)).await;
        let row = row.map_err(|_| sqlx::Error::PoolTimedOut)??;
        Ok(row.as_ref().map(columns))
    }

    /// Says goodbye to the server.
    pub(super) async fn close(self) {
        // It is gone either way.
        let _gone = tokio::time::timeout(Duration::from_secs(1), self.connection.close()).await;
    }
}

/// Every field as text.
fn columns(row: &MySqlRow) -> Vec<Option<String>> {
    let text = |at| {
        let bytes = row.try_get_unchecked::<Vec<u8>, _>(at).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    (0..row.len()).map(text).collect()
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("flavour", &self.flavour)
            .finish_non_exhaustive()
    }
}

/// Stops whatever the connection `id` is doing, from a connection of its own.
pub(super) async fn kill(options: &MySqlConnectOptions, id: u64) -> Result<(), Refusal> {
    let mut session = Session::open(options, Mode::Read).await?;
    let killed = session.own(format!("KILL QUERY {id}")).await;
    session.close().await;
    killed.map_err(|error| errors::refusal(&error))
}

fn unreachable(options: &MySqlConnectOptions, error: &sqlx::Error) -> Refusal {
    if errors::number(error).is_some() {
        return errors::refusal(error);
    }
    let place = match options.get_socket() {
        Some(path) => format!("the socket {}", path.display()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let tls = matches!(error, sqlx::Error::Tls(_));
    let why = if tls { " over TLS" } else { "" };
    Refusal::new(
        Code::DatabaseUnavailable,
        format!("no database server can be reached at {place}{why}"),
    )
    .hint(if tls {
        "a person has to check the server's certificate and the URL's ssl-mode"
    } else {
        "check that the server runs and that this machine may connect to it; then try again"
    })
}
