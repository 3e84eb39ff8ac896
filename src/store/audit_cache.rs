//! What was kept, on a client's side, of a log that others write: the client's own entries, signed heads, and the
//! requests that it was answered. Whoever writes that log later shows another one cannot change what is kept here.
//!
//! One SQLite file for each relay, shared by all who go there from this account. Everything here blocks.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ed25519_dalek::VerifyingKey;
use rusqlite::ToSql;

use crate::core::audit::{Head, Stored};
use crate::core::ids::RequestId;
use crate::core::time::Timestamp;
use crate::store::database::{connect, patiently};
use crate::store::error::StoreError;
use crate::store::folder::{create_private, private_folder};
use crate::store::log::reading::signed;
use crate::store::sql::{self, Connection, Row, params};

/// The format of the file.
const FORMAT: i64 = 1;
const MAKE: &str = include_str!("audit_cache.sql");
/// The folder for the files, in the state folder.
const FOLDER: &str = "relays";

/// Whose entries of which log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Whose {
    /// The workspace whose log it is.
    pub workspace: String,
    /// Who acted.
    pub principal: String,
}

/// What is kept of the logs of one relay.
#[derive(Debug)]
pub struct AuditCache {
    connection: Mutex<Connection>,
}

/// Something that was shown.
#[derive(Debug)]
pub struct Shown {
    /// The entries, in order.
    pub entries: Vec<Stored>,
    /// How far was looked for them.
    pub until: u64,
    /// How far the log had come, as a signed note.
    pub note: String,
    /// The same, read.
    pub head: Head,
    /// The keys that are said to sign heads.
    pub keys: Vec<VerifyingKey>,
}

/// A request that an answer has named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answered {
    /// Its id.
    pub request: RequestId,
    /// When the answer came.
    pub at: Timestamp,
}

impl AuditCache {
    /// Where what is kept of a relay is, by the name and port under which it is reached.
    pub fn path(state_dir: &Path, host: &str) -> PathBuf {
        let plain = |c: char| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => c,
            _ => '_',
        };
        let name: String = host.chars().map(plain).collect();
        state_dir.join(FOLDER).join(format!("{name}.db"))
    }

    /// Opens a file, and makes it where there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            private_folder(folder)?;
        }
        create_private(path, b"")?;
        let connection = connect(path)?;
        let failed = |error: &sql::Error| StoreError::sql("open the audit cache", error);
        patiently(|| connection.execute_batch("pragma journal_mode = wal"))
            .map_err(|error| failed(&error))?;
        let format = || connection.query_row("pragma user_version", (), |row| row.get(0));
        let found: i64 = patiently(format).map_err(|error| failed(&error))?;
        if found > FORMAT {
            let known = FORMAT;
            return Err(StoreError::Newer { found, known });
        }
        if found < FORMAT {
            let make = format!("begin immediate; {MAKE} pragma user_version = {FORMAT}; commit;");
            patiently(|| connection.execute_batch(&make)).map_err(|error| failed(&error))?;
        }
        let connection = Mutex::new(connection);
        Ok(Self { connection })
    }

    /// How far somebody's entries have been looked for.
    pub fn reached(&self, whose: &Whose) -> Result<u64, StoreError> {
        self.number(REACHED, &[&whose.workspace, &whose.principal])
    }

    /// Keeps what was shown. What is kept already stays as it is, whatever is shown now.
    pub fn keep(&self, whose: &Whose, shown: &Shown, now: Timestamp) -> Result<(), StoreError> {
        let now = now.unix_ms();
        self.with(|connection| {
            let all = connection.transaction()?;
            for entry in &shown.entries {
                let body = entry
                    .body
                    .as_deref()
                    .and_then(|b| std::str::from_utf8(b).ok());
                let place = signed(entry.sequence);
                let row = params![whose.workspace, whose.principal, place, body, now];
                all.execute(KEEP_ENTRY, row)?;
            }
            let place = signed(shown.head.count);
            let head = params![whose.workspace, place, shown.note, now];
            all.execute(KEEP_HEAD, head)?;
            for key in &shown.keys {
                let key = params![whose.workspace, key.as_bytes(), now];
                all.execute(KEEP_KEY, key)?;
            }
            let reached = params![whose.workspace, whose.principal, signed(shown.until)];
            all.execute(REACH, reached)?;
            all.commit()
        })
    }

    /// Keeps that a request was answered.
    pub fn answered(&self, whose: &Whose, answer: &Answered) -> Result<(), StoreError> {
        self.with(|connection| {
            let (request, at) = (answer.request.as_str(), answer.at.unix_ms());
            let row = params![whose.workspace, whose.principal, request, at];
            connection.execute(ANSWERED, row)?;
            Ok(())
        })
    }

    /// The bodies that are kept of a log, by their places.
    pub fn bodies(&self, workspace: &str) -> Result<Vec<(u64, String)>, StoreError> {
        self.all(BODIES, workspace, |row| {
            let place: i64 = row.get(0)?;
            Ok((u64::try_from(place).unwrap_or(0), row.get(1)?))
        })
    }

    /// The signed notes that are kept of a log, the oldest first.
    pub fn notes(&self, workspace: &str) -> Result<Vec<String>, StoreError> {
        self.all(NOTES, workspace, |row| row.get(0))
    }

    /// The keys that signed them, the first that was seen first.
    pub fn keys(&self, workspace: &str) -> Result<Vec<(VerifyingKey, Timestamp)>, StoreError> {
        let rows = self.all(KEYS, workspace, |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, row.get(1)?))
        })?;
        let read = |(bytes, since): ([u8; 32], i64)| {
            let key = VerifyingKey::from_bytes(&bytes).ok()?;
            Some((key, Timestamp::from_unix_ms(since)))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// The requests that were answered and of which no entry is kept.
    pub fn without_entry(&self, whose: &Whose) -> Result<Vec<Answered>, StoreError> {
        let rows = self.with(|connection| {
            let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
            let rows =
                connection.query_map(WITHOUT_ENTRY, [&whose.workspace, &whose.principal], row)?;
            rows.collect::<sql::Result<Vec<_>>>()
        })?;
        let read = |(request, at): (String, i64)| {
            let request = request.parse().ok()?;
            let at = Timestamp::from_unix_ms(at);
            Some(Answered { request, at })
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// How many requests were answered.
    pub fn count_answered(&self, whose: &Whose) -> Result<u64, StoreError> {
        self.number(COUNT_ANSWERED, &[&whose.workspace, &whose.principal])
    }

    /// How many entries the log had by the head that goes furthest; 0 without one.
    pub fn longest(&self, workspace: &str) -> Result<u64, StoreError> {
        self.number(LONGEST, &[workspace])
    }

    /// Whether nothing is kept of any log.
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.number(COUNT_HEADS, &[])? == 0)
    }

    /// The one number that a query gives.
    fn number(&self, sql: &str, of: &[&str]) -> Result<u64, StoreError> {
        let found = self.with(|connection| {
            let of: Vec<&dyn ToSql> = of.iter().map(|one| one as &dyn ToSql).collect();
            connection.query_row(sql, of, |row| row.get::<_, i64>(0))
        })?;
        Ok(u64::try_from(found).unwrap_or(0))
    }

    fn all<T>(
        &self,
        sql: &str,
        workspace: &str,
        read: impl Fn(&Row<'_>) -> sql::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.with(|connection| {
            let rows = connection.query_map(sql, [workspace], &read)?;
            rows.collect()
        })
    }

    fn with<T>(&self, work: impl Fn(&Connection) -> sql::Result<T>) -> Result<T, StoreError> {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        patiently(|| work(&connection))
            .map_err(|error| StoreError::sql("use the audit cache", &error))
    }
}

const REACHED: &str = "
    select ifnull(max(until), 0) from reached where workspace = ?1 and principal = ?2";
const REACH: &str = "
    insert into reached (workspace, principal, until) values (?1, ?2, ?3)
    on conflict (workspace, principal) do update set until = max(until, excluded.until)";
const KEEP_ENTRY: &str = "
    insert into entries (workspace, principal, sequence, body, kept_at) values (?1, ?2, ?3, ?4, ?5)
    on conflict (workspace, sequence) do nothing";
const KEEP_HEAD: &str = "
    insert into heads (workspace, count, note, kept_at) values (?1, ?2, ?3, ?4)
    on conflict (workspace, note) do nothing";
const KEEP_KEY: &str = "
    insert into keys (workspace, key, kept_at) values (?1, ?2, ?3)
    on conflict (workspace, key) do nothing";
const ANSWERED: &str = "
    insert into answered (workspace, principal, request, at) values (?1, ?2, ?3, ?4)
    on conflict (workspace, request) do nothing";
const BODIES: &str = "
    select sequence, body from entries where workspace = ?1 and body is not null order by sequence";
const NOTES: &str = "select note from heads where workspace = ?1 order by count, kept_at";
const KEYS: &str = "select key, kept_at from keys where workspace = ?1 order by kept_at, key";
const WITHOUT_ENTRY: &str = "
    select request, at from answered where workspace = ?1 and principal = ?2 and not exists (
        select 1 from entries
        where entries.workspace = answered.workspace and entries.request = answered.request)
    order by at";
const COUNT_ANSWERED: &str = "
    select count(*) from answered where workspace = ?1 and principal = ?2";
const LONGEST: &str = "select ifnull(max(count), 0) from heads where workspace = ?1";
const COUNT_HEADS: &str = "select count(*) from heads";
