//! Databases of their own on a PostgreSQL server that `tests/run` started.

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use url::Url;

use super::variable;

/// A fresh database, reached as the superuser.
pub(crate) struct Database {
    /// Its URL, with the superuser's name and password.
    pub(crate) url: Url,
    /// A superuser's connection to it.
    pub(crate) client: Client,
}

impl Database {
    /// Makes it anew on the corpus' own server, else on the one that all tests share; `None`
    /// without a server.
    pub(crate) async fn fresh(name: &str) -> Option<Self> {
        let server = variable("TEST_POSTGRES_CORPUS_URL").or_else(|| variable("TEST_POSTGRES_URL"));
        Some(Self::on(&server?, name).await)
    }

    /// Makes it anew on the server that has pgvector, one of the newest version; `None` without it.
    pub(crate) async fn with_vectors(name: &str) -> Option<Self> {
        let server = variable("TEST_POSTGRES_VECTOR_URL");
        Some(Self::on(&server?, name).await)
    }

    async fn on(server: &str, name: &str) -> Self {
        let mut url = Url::parse(server).unwrap();
        let server = connect(&url, "tests").await;
        for sql in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name}"),
        ] {
            server.batch_execute(&sql).await.unwrap();
        }
        url.set_path(name);
        let client = connect(&url, "tests").await;
        Self { url, client }
    }

    /// The database's URL for another login, without a password.
    pub(crate) fn url_for(&self, user: &str) -> Url {
        let mut url = self.url.clone();
        url.set_username(user).unwrap();
        url.set_password(None).unwrap();
        url
    }

    /// The superuser's password.
    pub(crate) fn password(&self) -> String {
        self.url.password().unwrap_or_default().to_owned()
    }

    /// Runs a script.
    pub(crate) async fn run(&self, sql: &str) {
        let done = self.client.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{error:?} in {sql}"));
    }

    /// All rows of a query, their columns joined by `|`.
    pub(crate) async fn lines(&self, sql: &str) -> Vec<String> {
        let messages = self.client.simple_query(sql).await;
        let messages = messages.unwrap_or_else(|error| panic!("{error:?} in {sql}"));
        let text = |message: &SimpleQueryMessage| {
            let SimpleQueryMessage::Row(row) = message else {
                return None;
            };
            let values = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL"));
            Some(values.collect::<Vec<_>>().join("|"))
        };
        messages.iter().filter_map(text).collect()
    }
}

/// Connects, and drives the connection until the client is dropped.
pub(crate) async fn connect(url: &Url, application: &str) -> Client {
    let mut config: tokio_postgres::Config = url.as_str().parse().unwrap();
    config.application_name(application);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
