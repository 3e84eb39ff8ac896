//! The MariaDB and MySQL servers that `tests/run` started.

use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _};
use url::Url;

use super::variable;

/// A connection with all privileges.
pub(crate) struct Server {
    /// Its URL, with the name and password of that login.
    pub(crate) url: Url,
    connection: MySqlConnection,
}

impl Server {
    /// Connects; `None` without a server.
    pub(crate) async fn connect() -> Option<Self> {
        Self::of("TEST_MARIADB_URL").await
    }

    /// Connects to the server of the newest version, which has vectors; `None` without it.
    pub(crate) async fn newest() -> Option<Self> {
        Self::of("TEST_MARIADB_VECTOR_URL").await
    }

    /// Connects to MySQL; `None` without one.
    pub(crate) async fn mysql() -> Option<Self> {
        Self::of("TEST_MYSQL_URL").await
    }

    async fn of(name: &str) -> Option<Self> {
        let url = Url::parse(&variable(name)?).unwrap();
        let connection = MySqlConnection::connect(url.as_str()).await.unwrap();
        Some(Self { url, connection })
    }

    /// The URL of a database for another login, without a password.
    pub(crate) fn url_for(&self, user: &str, database: &str) -> Url {
        let mut url = self.url.clone();
        url.set_username(user).unwrap();
        url.set_password(None).unwrap();
        url.set_path(database);
        url
    }

    /// The password of the login with all privileges.
    pub(crate) fn password(&self) -> String {
        self.url.password().unwrap_or_default().to_owned()
    }

    /// Runs a script as the `mariadb` client would, `DELIMITER` lines included.
    pub(crate) async fn run(&mut self, script: &str) {
        let mut delimiter = ";";
        let mut batch = String::new();
        let mut batches = Vec::new();
        for line in script.lines() {
            if let Some(next) = line.strip_prefix("DELIMITER ") {
                batches.push(std::mem::take(&mut batch));
                delimiter = next.trim();
            } else if delimiter == ";" {
                batch.push_str(line);
                batch.push('\n');
            } else {
                batches.push(line.trim_end().trim_end_matches(delimiter).to_owned());
            }
        }
        batches.push(batch);
        for batch in batches.into_iter().filter(|b| !b.trim().is_empty()) {
            let done = sqlx::raw_sql(AssertSqlSafe(batch.clone()));
            let done = done.execute(&mut self.connection).await;
            done.unwrap_or_else(|error| panic!("{error:?} in {batch}"));
        }
    }

    /// All rows of a query, their columns joined by `|`.
    pub(crate) async fn lines(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let rows = rows.fetch_all(&mut self.connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error:?} in {sql}"));
        let text = |row: &sqlx::mysql::MySqlRow| {
            (0..row.len())
                .map(|i| row.get_unchecked::<Option<String>, _>(i))
                .map(|value| value.unwrap_or_else(|| "NULL".to_owned()))
                .collect::<Vec<_>>()
                .join("|")
        };
        rows.iter().map(text).collect()
    }
}
