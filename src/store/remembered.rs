//! The capabilities of each target as they were accepted, and as they were last seen.

use std::path::Path;

use tokio::task::spawn_blocking;

use crate::core::approval::SignedAcceptance;
use crate::core::capability::{Capability, Remembered};
use crate::core::time::Timestamp;
use crate::core::work::Digest;
use crate::store::State;
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::folder::Folder;
use crate::store::sql::{self, Connection, Row, params};

/// Those that are not what was accepted, in a state folder that nobody has opened here. Blocks.
///
/// # Errors
///
/// Where its database is there and cannot be read.
pub fn changed_capabilities(folder: &Path) -> Result<Vec<Remembered>, StoreError> {
    if !State::exists(folder) {
        return Ok(Vec::new());
    }
    let connection = Folder::at(folder).database()?.connect_to_read()?;
    let all = patiently(|| {
        if !connection.has_column("capabilities", "seen")? {
            return Ok(Vec::new());
        }
        let rows = connection.query_map(&format!("{ALL} order by target, name"), (), read)?;
        rows.collect::<sql::Result<Vec<_>>>()
    });
    let all = all.map_err(|error| StoreError::sql("read what is remembered", &error))?;
    Ok(all.into_iter().filter(Remembered::is_changed).collect())
}

/// What one state folder remembers. Clones share it.
#[derive(Clone, Debug)]
pub struct Memory {
    database: Database,
}

impl Memory {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// What is remembered of a target. Blocks.
    pub fn of_now(&self, target: &str) -> Result<Vec<Remembered>, StoreError> {
        self.look(|connection| {
            let rows = connection.query_map(&format!("{ALL} where target = ?1"), [target], read)?;
            rows.collect()
        })
    }

    /// What is remembered of a target.
    pub async fn of(&self, target: &str) -> Result<Vec<Remembered>, StoreError> {
        let (memory, target) = (self.clone(), target.to_owned());
        let read = spawn_blocking(move || memory.of_now(&target));
        read.await.map_err(|_| StoreError::Closed)?
    }

    /// Those of every target that are not what was accepted, by target and name.
    pub async fn changed(&self) -> Result<Vec<Remembered>, StoreError> {
        let all = self.with(|connection| {
            let rows = connection.query_map(&format!("{ALL} order by target, name"), (), read)?;
            rows.collect::<sql::Result<Vec<_>>>()
        });
        Ok(all
            .await?
            .into_iter()
            .filter(Remembered::is_changed)
            .collect())
    }

    /// Keeps what was seen. What was accepted meanwhile stays accepted.
    pub async fn keep(&self, news: Vec<Remembered>) -> Result<(), StoreError> {
        self.with(move |connection| {
            let all = connection.transaction()?;
            for one in &news {
                let accepted = one.accepted.as_ref();
                all.execute(
                    KEEP,
                    params![
                        one.target,
                        one.name,
                        accepted.map(|(digest, _)| digest.to_string()),
                        accepted.map(|(_, whole)| text(whole)),
                        one.seen.0.to_string(),
                        text(&one.seen.1),
                        one.seen_at.unix_ms(),
                    ],
                )?;
            }
            all.commit()
        })
        .await
    }

    /// Takes one as it is, as somebody has signed. Whether it still is what they signed.
    pub async fn accept(
        &self,
        one: &Remembered,
        signed: &SignedAcceptance,
    ) -> Result<bool, StoreError> {
        let (target, name) = (one.target.clone(), one.name.clone());
        let (seen, before) = (
            one.seen.0.to_string(),
            one.before().map(|it| it.to_string()),
        );
        let acceptance = serde_json::to_string(signed).unwrap_or_default();
        self.with(move |connection| {
            let row = (&target, &name, &seen, &before, &acceptance);
            Ok(connection.execute(ACCEPT, row)? == 1)
        })
        .await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> sql::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let memory = self.clone();
        let done = spawn_blocking(move || memory.look(work));
        done.await.map_err(|_| StoreError::Closed)?
    }

    fn look<T>(&self, work: impl Fn(&Connection) -> sql::Result<T>) -> Result<T, StoreError> {
        let connection = self.database.connect()?;
        let done = patiently(|| work(&connection));
        done.map_err(|error| StoreError::sql("use the memory of capabilities", &error))
    }
}

fn text(capability: &Capability) -> String {
    // Writing plain data has no way to fail.
    serde_json::to_string(capability).unwrap_or_default()
}

fn read(row: &Row<'_>) -> sql::Result<Remembered> {
    let accepted: Option<String> = row.get("accepted")?;
    let accepted = match accepted {
        Some(accepted) => Some((
            digest(accepted)?,
            whole(&row.get::<_, String>("accepted_as")?)?,
        )),
        None => None,
    };
    Ok(Remembered {
        target: row.get("target")?,
        name: row.get("name")?,
        accepted,
        seen: (
            digest(row.get("seen")?)?,
            whole(&row.get::<_, String>("seen_as")?)?,
        ),
        seen_at: Timestamp::from_unix_ms(row.get("seen_at")?),
    })
}

fn digest(text: String) -> sql::Result<Digest> {
    Digest::try_from(text).map_err(|error| damaged(&error))
}

fn whole(text: &str) -> sql::Result<Box<Capability>> {
    serde_json::from_str(text).map_err(|error| damaged(&error))
}

fn damaged(why: &dyn std::error::Error) -> sql::Error {
    sql::Error::damaged(&why.to_string())
}

const ALL: &str = "
    select target, name, accepted, accepted_as, seen, seen_as, seen_at from capabilities";
const KEEP: &str = "
    insert into capabilities (target, name, accepted, accepted_as, seen, seen_as, seen_at)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    on conflict (target, name) do update
    set seen = excluded.seen, seen_as = excluded.seen_as, seen_at = excluded.seen_at";
const ACCEPT: &str = "
    update capabilities set accepted = seen, accepted_as = seen_as, acceptance = ?5
    where target = ?1 and name = ?2 and seen = ?3 and accepted is not distinct from ?4";
