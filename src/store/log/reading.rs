//! Reads the log. Everything here blocks, on a connection of its own; from async code, call it
//! through `spawn_blocking`.

use std::path::PathBuf;

use ed25519_dalek::VerifyingKey;
use rusqlite::ToSql;
use rusqlite::types::ValueRef;
use serde_json::value::RawValue;

use crate::core::audit::{
    Break, Checker, Content, EventKind, Head, HeadError, Stored, Verified, first_link,
};
use crate::core::ids::RequestId;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::work::Digest;
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::heads::Heads;
use crate::store::keys;
use crate::store::log::{Log, Sealed};
use crate::store::sql::{self, Connection, Optional as _, Row};

/// How many entries are fetched at a time.
const PAGE: u32 = 500;

/// Which entries to list. The default is the first 50 of all.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only entries after this one.
    pub since: u64,
    /// Only entries before this one.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
    /// Only this kind.
    pub kind: Option<EventKind>,
    /// Only this request.
    pub request: Option<RequestId>,
    /// Only this principal, as written.
    pub principal: Option<String>,
    /// Only this target.
    pub target: Option<String>,
    /// The newest first, instead of the oldest.
    pub newest_first: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            since: 0,
            before: None,
            limit: 50,
            kind: None,
            request: None,
            principal: None,
            target: None,
            newest_first: false,
        }
    }
}

/// Which entries to show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Select {
    /// All that belong to a request.
    Request(RequestId),
    /// One, by its place.
    Sequence(u64),
}

/// An entry as it was found; nothing about it is proven.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The entry.
    pub stored: Stored,
    /// What its body says.
    pub content: Content,
}

/// What a check of the log found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Whether the log is what was written.
    pub outcome: Result<Verified, Break>,
    /// How many heads in the state folder it was checked against.
    pub own_heads: usize,
    /// How many notes there were not readable, or not signed by a key of this log.
    pub bad_heads: usize,
}

impl Log {
    /// The entries that a filter lets through.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Record>, StoreError> {
        let newest_first = filter.newest_first;
        let order = if newest_first { "desc" } else { "asc" };
        let kind = filter.kind.map(EventKind::as_str);
        let request = filter.request.as_ref().map(RequestId::as_str);
        select(
            &self.database.connect_to_read()?,
            &format!("{FILTERED} order by sequence {order} limit ?6"),
            &[
                &signed(filter.since),
                &kind,
                &request,
                &filter.principal,
                &filter.target,
                &filter.limit,
                &filter.before.map(signed),
            ],
        )
        .map(|entries| entries.into_iter().map(Record::from).collect())
    }

    /// The entries of a request, or the one at a place; none if there is no such thing.
    pub fn show(&self, select_by: &Select) -> Result<Vec<Record>, StoreError> {
        let connection = self.database.connect_to_read()?;
        let found = match select_by {
            Select::Request(id) => select(&connection, OF_REQUEST, &[&id.as_str()]),
            Select::Sequence(sequence) => select(&connection, AT, &[&signed(*sequence)]),
        };
        found.map(|entries| entries.into_iter().map(Record::from).collect())
    }

    /// What somebody and their clients did, and what became of the requests that are theirs: entries after `since` and
    /// up to `until`, the oldest first. A request is of whoever its first entry is by.
    pub fn own(
        &self,
        holder: &Principal,
        since: u64,
        until: u64,
    ) -> Result<Vec<Stored>, StoreError> {
        let connection = self.database.connect_to_read()?;
        // Only a model's key has clients; other names may have a slash in them that says nothing.
        let clients = (holder.kind() == PrincipalKind::Ai).then(|| format!("{holder}/"));
        let params: [&dyn ToSql; 4] = [
            &signed(since),
            &signed(until),
            &holder.to_string(),
            &clients,
        ];
        select(&connection, OWN, &params)
    }

    /// The leaves of the entries after `since`, in order, at most so many.
    pub fn leaves(&self, since: u64, limit: u64) -> Result<Vec<Digest>, StoreError> {
        let connection = self.database.connect_to_read()?;
        patiently(|| {
            let rows = connection
                .query_map(LEAVES, [signed(since), signed(limit)], |row| digest(row, 0))?;
            rows.collect()
        })
        .map_err(|error| StoreError::sql("read the audit log", &error))
    }

    /// The whole log as JSON Lines: `{"sequence", "body", "leaf", "link"}` on each.
    pub fn export(&self) -> Result<Lines, StoreError> {
        Ok(Lines(Entries::open(&self.database)?))
    }

    /// Checks the log against every head in the state folder and the one given.
    pub fn verify(&self, head: Option<Head>) -> Result<Report, StoreError> {
        let keys = self.audit_keys()?;
        // Heads are read before the entries: those that come meanwhile are of no concern.
        let (own, bad_heads) =
            Heads::of(&self.folder, &self.database).read(self.workspace(), &keys)?;
        let own_heads = own.len();
        let mut checker = Checker::new(self.workspace(), own.into_iter().chain(head));
        let mut outcome = Ok(());
        for entry in Entries::open(&self.database)? {
            outcome = checker.push(&entry?);
            if outcome.is_err() {
                break;
            }
        }
        Ok(Report {
            outcome: outcome.and_then(|()| checker.finish()),
            own_heads,
            bad_heads,
        })
    }

    /// Reads a signed note that came from elsewhere: is it a head of this log?
    pub fn open_head(&self, note: &str) -> Result<Result<Head, HeadError>, StoreError> {
        let opened = Head::open(note, &self.audit_keys()?);
        Ok(opened.and_then(|head| {
            if head.workspace == self.workspace() {
                Ok(head)
            } else {
                Err(HeadError::UnknownKey)
            }
        }))
    }

    /// The public keys that sign, or once signed, heads of this log.
    pub fn audit_keys(&self) -> Result<Vec<VerifyingKey>, StoreError> {
        keys::audit_public_keys(&self.folder)
    }
}

impl From<Stored> for Record {
    fn from(stored: Stored) -> Self {
        let content = stored.content();
        Self { stored, content }
    }
}

/// The last entry of the log, by whichever process, or its beginning.
pub(super) fn last(connection: &Connection, workspace: &str) -> sql::Result<Sealed> {
    let end = connection.query_row(LAST, (), |row| {
        Ok(Sealed {
            sequence: unsigned(row.get(0)?),
            link: Digest::from_bytes(row.get(1)?),
        })
    });
    Ok(end.optional()?.unwrap_or_else(|| Sealed {
        sequence: 0,
        link: first_link(workspace),
    }))
}

/// A number as SQLite holds it.
pub(in crate::store) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A place in the log as it is in the file. What is below 1 was not put there by this program, and
/// `verify` says so of a 0 as well.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// All entries in order, a page at a time, so that no reader holds the file up.
#[derive(Debug)]
struct Entries {
    connection: Connection,
    path: PathBuf,
    page: std::vec::IntoIter<Stored>,
    after: i64,
    done: bool,
}

impl Entries {
    fn open(database: &Database) -> Result<Self, StoreError> {
        Ok(Self {
            connection: database.connect_to_read()?,
            path: database.path(),
            page: Vec::new().into_iter(),
            // Also what stands where nothing should.
            after: i64::MIN,
            done: false,
        })
    }
}

impl Iterator for Entries {
    type Item = Result<Stored, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.done {
            match select(&self.connection, PAGE_AFTER, &[&self.after, &PAGE]) {
                Ok(page) => {
                    self.done = page.len() < PAGE as usize;
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.done = true;
                    tracing::debug!(path = %self.path.display(), %error, "the log ends here");
                    return Some(Err(error));
                }
            }
        }
        let entry = self.page.next()?;
        self.after = signed(entry.sequence);
        Some(Ok(entry))
    }
}

/// The log as JSON Lines.
#[derive(Debug)]
pub struct Lines(Entries);

impl Iterator for Lines {
    type Item = Result<String, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.map(|entry| line(&entry)))
    }
}

/// One entry as a line of JSON. A body that is not JSON any more is given as text.
pub fn line(entry: &Stored) -> String {
    let body = match &entry.body {
        None => "null".to_owned(),
        Some(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            match serde_json::from_str::<&RawValue>(&text) {
                Ok(raw) if !raw.get().contains('\n') => raw.get().to_owned(),
                _ => serde_json::Value::from(text.as_ref()).to_string(),
            }
        }
    };
    format!(
        r#"{{"sequence":{},"body":{body},"leaf":"{}","link":"{}"}}"#,
        entry.sequence, entry.leaf, entry.link
    )
}

fn select(
    connection: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
) -> Result<Vec<Stored>, StoreError> {
    patiently(|| {
        let rows = connection.query_map(sql, params, stored)?;
        rows.collect()
    })
    .map_err(|error| StoreError::sql("read the audit log", &error))
}

fn stored(row: &Row<'_>) -> sql::Result<Stored> {
    let body = match row.get_ref(1)? {
        ValueRef::Null => None,
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(bytes.to_vec()),
        ValueRef::Integer(_) | ValueRef::Real(_) => Some(Vec::new()),
    };
    Ok(Stored {
        sequence: unsigned(row.get(0)?),
        body,
        leaf: digest(row, 2)?,
        link: digest(row, 3)?,
    })
}

/// A body or digest of the wrong type or size was put there by somebody else. It has to come out as a wrong one,
/// which `verify` finds, and not as an error that hides where it is.
fn digest(row: &Row<'_>, column: usize) -> sql::Result<Digest> {
    let bytes = row.get_ref(column)?.as_bytes_or_null().ok().flatten();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    Ok(bytes.map_or_else(|| Digest::of(&[b"not a digest"]), Digest::from_bytes))
}

const LAST: &str = "select sequence, link from audit order by sequence desc limit 1";
const PAGE_AFTER: &str = "
    select sequence, body, leaf, link from audit
    where sequence > ?1 order by sequence limit ?2";
const AT: &str = "select sequence, body, leaf, link from audit where sequence = ?1";
const OF_REQUEST: &str = "
    select sequence, body, leaf, link from audit where request = ?1 order by sequence";
/// Whose a request is, its first entry says: later ones are also by those who tried their luck with it.
const OWN: &str = "
    with named as (
        select sequence, body, leaf, link, principal,
            (select first.principal from audit as first where first.request = audit.request
             order by first.sequence limit 1) as owner
        from audit where sequence > ?1 and sequence <= ?2)
    select sequence, body, leaf, link from named
    where ?3 in (principal, owner)
       or substr(principal, 1, length(?4)) = ?4 or substr(owner, 1, length(?4)) = ?4
    order by sequence";
const LEAVES: &str = "select leaf from audit where sequence > ?1 order by sequence limit ?2";
/// Bodies that are not JSON any more pass no filter, instead of failing it.
const FILTERED: &str = "
    select sequence, body, leaf, link from audit
    where sequence > ?1
      and (cast(?2 as text) is null or kind = ?2)
      and (cast(?3 as text) is null or request = ?3)
      and (cast(?4 as text) is null or principal = ?4)
      and (cast(?5 as text) is null or target = ?5)
      and (cast(?7 as bigint) is null or sequence < ?7)";
