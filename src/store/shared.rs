//! A store at a server, shared by the replicas of one relay: that they hold the same keys, and who they are.
//!
//! ```text
//! store            in the state folder: the URL of the server that has the tables
//! keys/            the same at every replica, from outside the store
//! ```

use std::path::Path;

use secrecy::SecretString;

use crate::core::handshake::Hex32;
use crate::core::succession::heir;
use crate::core::work::Digest;
use crate::store::State;
use crate::store::database::{Database, patiently};
use crate::store::error::StoreError;
use crate::store::folder::Folder;
use crate::store::keys;
use crate::store::sql::{self, Connection, Optional as _};

/// How long a replica counts that says nothing, in milliseconds.
const LAPSE_MS: i64 = 10_000;

/// One of the relays that share a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replica {
    /// Made for its process.
    pub id: String,
    /// Where the others reach it; nothing where it is meant to be alone.
    pub advertise: Option<String>,
}

/// The relays that share a store.
#[derive(Clone, Debug)]
pub struct Replicas {
    database: Database,
}

impl State {
    /// Has the tables of a state folder be at a server from now on. What was in its files is not carried along.
    pub fn share(root: &Path, url: &SecretString) -> Result<(), StoreError> {
        Folder::open(root)?.share(url)
    }

    /// Whether the tables of a state folder lie at a server.
    pub fn is_shared(root: &Path) -> Result<bool, StoreError> {
        Ok(Folder::at(root).database()?.file().is_none())
    }

    /// The secret that the relays of one store know each other by.
    pub fn cluster_key(&self) -> Result<[u8; 32], StoreError> {
        keys::cluster_secret(self.folder())
    }

    /// The relays that share this store; nothing where it is a file, which one process serves.
    pub fn replicas(&self) -> Option<Replicas> {
        let database = self.inner.database.clone();
        database.file().is_none().then_some(Replicas { database })
    }
}

impl Replicas {
    /// Has a replica count for the next ten seconds; `false` where it cannot be one beside those that are there:
    /// each has to say where the others reach it. Blocks.
    pub fn enter(&self, replica: &Replica) -> Result<bool, StoreError> {
        self.with(|connection| {
            let all = connection.transaction()?;
            all.execute(FORGET, [LAPSE_MS])?;
            let alone = replica.advertise.is_none();
            let others: i64 =
                all.query_row(OTHERS, (&replica.id, i64::from(alone)), |row| row.get(0))?;
            if others > 0 {
                return Ok(false);
            }
            all.execute(ENTER, (&replica.id, &replica.advertise))?;
            // Whoever is there already is told.
            all.ring()?;
            all.commit()?;
            Ok(true)
        })
    }

    /// Those that count now, in the order of their ids. Blocks.
    pub fn all(&self) -> Result<Vec<Replica>, StoreError> {
        self.with(|connection| {
            let rows = connection.query_map(ALL, [LAPSE_MS], |row| {
                Ok(Replica {
                    id: row.get(0)?,
                    advertise: row.get(1)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Has a replica count no more. Blocks.
    pub fn leave(&self, replica: &Replica) -> Result<(), StoreError> {
        self.with(|connection| connection.execute(LEAVE, [&replica.id]).map(drop))
    }

    fn with<T>(&self, work: impl Fn(&Connection) -> sql::Result<T>) -> Result<T, StoreError> {
        let connection = self.database.connect()?;
        let done = patiently(|| work(&connection));
        done.map_err(|error| StoreError::sql("see which relays share the store", &error))
    }
}

/// Refuses a folder without keys where the store has been used with some: they would be made anew, and nobody
/// would know them.
pub(super) fn needs_keys(
    connection: &Connection,
    folder: &Folder,
    database: &Database,
) -> Result<(), StoreError> {
    if database.file().is_none() && kept(connection, ISSUER)?.is_some() && !keys::are_in(folder)? {
        return Err(other_keys("this folder has none"));
    }
    Ok(())
}

/// Refuses keys that are not those that the store is used with. A newer one that signs tokens is taken where the
/// one before says that it follows.
pub(super) fn same_keys(
    connection: &Connection,
    folder: &Folder,
    database: &Database,
) -> Result<(), StoreError> {
    if database.file().is_some() {
        return Ok(());
    }
    let secrets = [
        keys::commitment_secret(folder)?,
        keys::values_secret(folder)?,
        keys::page_secret(folder)?,
        keys::pepper(folder)?,
        keys::cluster_secret(folder)?,
    ];
    let secrets = Digest::of(&[b"secondkey shared secrets\n", secrets.as_flattened()]).to_string();
    if remember(connection, SECRETS, &secrets)? != secrets {
        return Err(other_keys("those of this folder are not the same"));
    }
    let own = keys::token_public(folder)?.to_string();
    let known = remember(connection, ISSUER, &own)?;
    if known == own {
        return Ok(());
    }
    let follows = || {
        let chain = keys::successions(folder)?;
        let from = Hex32::try_from(known).ok();
        let to = from.and_then(|from| heir(&chain, from));
        Ok::<_, StoreError>(to.is_some_and(|to| to.to_string() == own))
    };
    if !follows()? {
        return Err(other_keys(
            "the one that signs tokens is another, or an older one",
        ));
    }
    let replaced = patiently(|| connection.execute(REPLACE, (ISSUER, &own)));
    replaced.map(drop).map_err(|error| failed(&error))
}

/// What is kept under a name: this, if nothing was.
fn remember(connection: &Connection, name: &str, value: &str) -> Result<String, StoreError> {
    let kept = patiently(|| {
        connection.execute(REMEMBER, (name, value))?;
        connection.query_row(KEPT, [name], |row| row.get(0))
    });
    kept.map_err(|error| failed(&error))
}

fn kept(connection: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    let kept = patiently(|| {
        connection
            .query_row(KEPT, [name], |row| row.get(0))
            .optional()
    });
    kept.map_err(|error| failed(&error))
}

fn failed(error: &sql::Error) -> StoreError {
    StoreError::sql("compare the keys with the store", error)
}

fn other_keys(what: &str) -> StoreError {
    StoreError::OtherKeys(what.to_owned())
}

const ISSUER: &str = "issuer";
const SECRETS: &str = "secrets";
const REMEMBER: &str =
    "insert into meta (name, value) values (?1, ?2) on conflict (name) do nothing";
const REPLACE: &str = "update meta set value = ?2 where name = ?1";
const KEPT: &str = "select value from meta where name = ?1";
const FORGET: &str = "
    delete from replicas
    where seen < cast(extract(epoch from clock_timestamp()) * 1000 as bigint) - ?1";
const OTHERS: &str = "
    select count(*) from replicas where id <> ?1 and (advertise is null or ?2 = 1)";
const ENTER: &str = "
    insert into replicas (id, advertise, seen)
    values (?1, ?2, cast(extract(epoch from clock_timestamp()) * 1000 as bigint))
    on conflict (id) do update set seen = excluded.seen, advertise = excluded.advertise";
const ALL: &str = "
    select id, advertise from replicas
    where seen >= cast(extract(epoch from clock_timestamp()) * 1000 as bigint) - ?1
    order by id";
const LEAVE: &str = "delete from replicas where id = ?1";
