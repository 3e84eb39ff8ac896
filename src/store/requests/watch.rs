//! The watcher: tells whoever waits that somebody, in whichever process, has written to the store.
//!
//! Of a file it asks SQLite for `data_version`, which changes with each commit of any other connection and
//! costs a look into shared memory; a server says so by itself (`LISTEN`). It works while somebody waits.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::store::database::{Database, connect_to_read, patiently};
use crate::store::error::StoreError;
use crate::store::sql::{Connection, Ear, Server};

/// How often the watcher looks.
const EVERY: Duration = Duration::from_millis(20);

/// Starts to work when the first waiter comes; of a file, the last one to go takes it along.
#[derive(Debug)]
pub(super) struct Watcher {
    database: Database,
    running: Arc<Mutex<Option<watch::Sender<()>>>>,
    hearing: Mutex<Option<(Ear, watch::Receiver<()>)>>,
}

impl Watcher {
    pub(super) fn new(database: Database) -> Self {
        Self {
            database,
            running: Arc::default(),
            hearing: Mutex::default(),
        }
    }

    /// Hears of every commit from now on. Blocks for as long as it takes to reach the store.
    pub(super) fn listen(&self) -> Result<watch::Receiver<()>, StoreError> {
        match &self.database {
            Database::File(path) => self.look(path),
            Database::Server(server) => self.hear(server),
        }
    }

    fn hear(&self, server: &Server) -> Result<watch::Receiver<()>, StoreError> {
        let mut hearing = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, news)) = hearing
            .as_ref()
            .filter(|(_, news)| news.has_changed().is_ok())
        {
            return Ok(news.clone());
        }
        // The one before was lost, and with it what was said since.
        let heard = patiently(|| server.listen());
        let heard = heard.map_err(|error| StoreError::sql("listen to the store", &error))?;
        let news = heard.1.clone();
        *hearing = Some(heard);
        Ok(news)
    }

    fn look(&self, path: &Path) -> Result<watch::Receiver<()>, StoreError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = running.as_ref() {
            return Ok(sender.subscribe());
        }
        let connection = connect_to_read(path)?;
        // Here and not in the thread: a commit right after this call must be noticed.
        let seen = version(&connection)?;
        let (sender, receiver) = watch::channel(());
        let shared = Arc::clone(&self.running);
        let thread = std::thread::Builder::new().name("secondkey-watcher".to_owned());
        thread
            .spawn(move || watch(&connection, seen, &shared))
            .map_err(|error| StoreError::Io {
                doing: "start a thread".to_owned(),
                why: error.to_string(),
            })?;
        *running = Some(sender);
        Ok(receiver)
    }
}

fn watch(connection: &Connection, mut seen: i64, shared: &Mutex<Option<watch::Sender<()>>>) {
    loop {
        std::thread::sleep(EVERY);
        let found = version(connection);
        let mut running = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let waited_for = running
            .as_ref()
            .is_some_and(|sender| sender.receiver_count() > 0);
        match found {
            Ok(version) if waited_for => {
                if version != seen {
                    seen = version;
                    running.iter().for_each(|sender| sender.send_replace(()));
                }
            }
            // A file that cannot be read any more is for the waiters to find out: dropping the
            // sender wakes them.
            Ok(_) | Err(_) => {
                *running = None;
                return;
            }
        }
    }
}

fn version(connection: &Connection) -> Result<i64, StoreError> {
    patiently(|| connection.query_row("pragma data_version", (), |row| row.get(0)))
        .map_err(|error| StoreError::sql("watch the state database", &error))
}
