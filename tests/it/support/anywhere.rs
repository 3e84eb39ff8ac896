//! A database of a test's own on each engine that there is a server of, looked at on connections that the
//! program does not know.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tempfile::TempDir;

use super::{skip, variable};

/// A database on any engine.
pub(crate) struct Anywhere {
    /// Its URL, whose login may do anything.
    pub(crate) url: String,
    _folder: TempDir,
}

impl Anywhere {
    /// One on each engine, with what the statements of `tables` make. They stand apart by `;\n`.
    pub(crate) async fn all(test: &str, tables: &str) -> Vec<Self> {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("own.db");
        let mut all = vec![Self {
            url: format!("sqlite:{}", file.display()),
            _folder: folder,
        }];
        for (name, engine) in [
            ("TEST_POSTGRES_URL", "PostgreSQL"),
            ("TEST_MARIADB_URL", "MariaDB"),
        ] {
            match variable(name) {
                Some(server) => all.push(Self::on(&server, &format!("sk_{test}")).await),
                None => skip(test, &format!("no {engine} server ({name})")),
            }
        }
        for database in &all {
            for statement in tables.split(";\n") {
                database.execute(statement).await;
            }
        }
        all
    }

    async fn on(server: &str, name: &str) -> Self {
        let mut database = Self {
            url: server.to_owned(),
            _folder: TempDir::new().unwrap(),
        };
        for verb in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
            database.execute(&format!("{verb} {name}")).await;
        }
        let mut url = url::Url::parse(server).unwrap();
        url.set_path(name);
        database.url = url.into();
        database
    }

    /// Which engine it is on.
    pub(crate) fn engine(&self) -> &str {
        match self.url.split_once(':') {
            Some(("sqlite", _)) => "sqlite",
            Some(("mysql" | "mariadb", _)) => "mysql",
            _ => "postgres",
        }
    }

    /// Runs one statement on a connection of its own.
    pub(crate) async fn execute(&self, sql: &str) {
        if let Some(file) = self.url.strip_prefix("sqlite:") {
            let database = rusqlite::Connection::open(file).unwrap();
            database.execute_batch(sql).unwrap();
        } else if self.url.starts_with("postgres") {
            self.postgres().await.batch_execute(sql).await.unwrap();
        } else {
            let mut own = self.mysql().await;
            own.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
                .await
                .unwrap();
        }
    }

    /// A number, read on a connection of its own.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        if let Some(file) = self.url.strip_prefix("sqlite:") {
            let database = rusqlite::Connection::open(file).unwrap();
            return database.query_row(sql, [], |row| row.get(0)).unwrap();
        }
        if self.url.starts_with("postgres") {
            let sql = format!("SELECT ({sql})::bigint");
            let row = self.postgres().await.query_one(&sql, &[]).await.unwrap();
            return row.get(0);
        }
        let sql = format!("SELECT CAST(({sql}) AS CHAR)");
        let mut own = self.mysql().await;
        let row = own
            .fetch_one(sqlx::raw_sql(AssertSqlSafe(sql)))
            .await
            .unwrap();
        row.get_unchecked::<String, _>(0).parse().unwrap()
    }

    async fn postgres(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }

    async fn mysql(&self) -> sqlx::mysql::MySqlConnection {
        sqlx::mysql::MySqlConnection::connect(&self.url)
            .await
            .unwrap()
    }
}
