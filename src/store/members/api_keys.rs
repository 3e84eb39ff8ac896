//! API keys: `skey_<id>_<secret>`.

use std::collections::BTreeSet;

use crate::store::sql::{self, Connection, Optional as _, Row, params};
use secrecy::SecretString;

use crate::core::audit::{Draft, EventKind};
use crate::core::life::Life;
use crate::core::notice::Network;
use crate::core::principal::Principal;
use crate::core::quota::Allowance;
use crate::core::refusal::{Code, Refusal};
use crate::store::members::principals::{life, networks, workspace_from, written};
use crate::store::members::{Members, Secret};

/// What an API key begins with.
const PREFIX: &str = "skey";
/// How exactly it is known when a key was last used, in milliseconds.
const USED_EVERY_MS: i64 = 60_000;

/// What [`read`] reads.
const COLUMNS: &str = "id, principal, roles, created_ms, expires_ms, used_ms, revoked_ms, \
                       per_minute, bytes_per_minute, at_once, waiting, allowed_from";

/// A key as it may be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiKey {
    /// Its id.
    pub id: String,
    /// Who acts by it.
    pub principal: Principal,
    /// Their roles.
    pub roles: BTreeSet<String>,
    /// What it may use.
    pub allowance: Allowance,
    /// From where it may be used; from everywhere where there are none.
    pub from: Vec<Network>,
    /// When it was made, unix milliseconds.
    pub created_ms: i64,
    /// From when on it counts no more.
    pub expires_ms: Option<i64>,
    /// When it was last used, to the minute.
    pub used_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
}

/// What a new key shall be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// Who acts by it.
    pub principal: Principal,
    /// Their roles.
    pub roles: BTreeSet<String>,
    /// What it may use.
    pub allowance: Allowance,
    /// From where it may be used; from everywhere where there are none.
    pub from: Vec<Network>,
    /// From when on it counts no more, unix milliseconds.
    pub expires_ms: Option<i64>,
}

/// A key that was made just now: the only time that its secret is to be had.
#[derive(Debug)]
pub struct Issued {
    /// The key.
    pub key: ApiKey,
    /// What its holder shows.
    pub secret: SecretString,
}

/// Whoever has shown a key that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The key's id.
    pub id: String,
    /// Who acts by it.
    pub principal: Principal,
    /// Their roles.
    pub roles: BTreeSet<String>,
    /// What the key may use.
    pub allowance: Allowance,
    /// Where they stand.
    pub life: Life,
    /// From where the key may be used, and from where the workspace; from everywhere where there are none.
    pub from: [Vec<Network>; 2],
}

/// The id in the written form of a key, whether or not it counts anywhere.
pub fn key_id(shown: &str) -> Option<&str> {
    Secret::parse(PREFIX, shown)?;
    shown.split('_').nth(1)
}

impl ApiKey {
    /// Whether it counts at that time.
    pub fn counts(&self, now_ms: i64) -> bool {
        self.revoked_ms.is_none_or(|revoked| now_ms < revoked)
            && self.expires_ms.is_none_or(|expires| now_ms < expires)
    }
}

impl Members {
    /// Makes a key, recorded as done by `by`.
    pub async fn issue(&self, wanted: Wanted, by: &Principal) -> Result<Issued, Refusal> {
        if self.life(&wanted.principal).await? != Life::Active {
            let sentence = format!("`{}` is suspended or retired", wanted.principal);
            return Err(Refusal::new(Code::PrincipalSuspended, sentence)
                .hint("`secondkey relay principals list` shows how they stand"));
        }
        let secret = Secret::new()?;
        let key = ApiKey {
            id: secret.id.clone(),
            principal: wanted.principal,
            roles: wanted.roles,
            allowance: wanted.allowance,
            from: wanted.from,
            created_ms: self.now_ms(),
            expires_ms: wanted.expires_ms,
            used_ms: None,
            revoked_ms: None,
        };
        let roles = key.roles.iter().cloned().collect::<Vec<_>>().join(",");
        let draft = Draft::new(self.inner.clock.now(), EventKind::ApiKeyIssued)
            .by(by)
            .text("key", &key.id)
            .text("for", &key.principal.to_string())
            .text("roles", &roles)
            .text("from", &written(&key.from))
            .number("per_minute", u64::from(key.allowance.per_minute))
            .number("bytes_per_minute", key.allowance.bytes_per_minute)
            .number("at_once", u64::from(key.allowance.at_once))
            .number("waiting", u64::from(key.allowance.waiting));
        self.inner.state.log().append(draft).await?;
        let mac = self.mac(PREFIX, &secret);
        let row = key.clone();
        self.with(move |_, connection| {
            connection.execute(
                "insert into api_keys (id, principal, roles, mac, created_ms, expires_ms,
                                       per_minute, bytes_per_minute, at_once, waiting, allowed_from)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    row.id,
                    row.principal.to_string(),
                    roles,
                    mac,
                    row.created_ms,
                    row.expires_ms,
                    row.allowance.per_minute,
                    i64::try_from(row.allowance.bytes_per_minute).unwrap_or(i64::MAX),
                    row.allowance.at_once,
                    row.allowance.waiting,
                    written(&row.from),
                ],
            )
        })
        .await?;
        let text = format!("{PREFIX}_{}_{}", secret.id, secret.secret);
        Ok(Issued {
            key,
            secret: SecretString::from(text),
        })
    }

    /// Who holds a key, if it counts now. Says nothing about why one does not.
    pub async fn holder(&self, shown: &str) -> Result<Option<Holder>, Refusal> {
        let Some(secret) = Secret::parse(PREFIX, shown) else {
            return Ok(None);
        };
        self.with(move |members, connection| {
            let found = connection
                .query_row(
                    &format!("select {COLUMNS}, mac from api_keys where id = ?1"),
                    [&secret.id],
                    |row| Ok((row.get::<_, Vec<u8>>("mac")?, read(row)?)),
                )
                .optional()?;
            let now = members.now_ms();
            let Some((mac, Some(key))) = found else {
                return Ok(None);
            };
            if !members.is_mac(PREFIX, &secret, &mac) || !key.counts(now) {
                return Ok(None);
            }
            if key.used_ms.is_none_or(|used| now - used >= USED_EVERY_MS) {
                let used = "update api_keys set used_ms = ?2 where id = ?1";
                connection.execute(used, params![key.id, now])?;
            }
            holding(connection, key).map(Some)
        })
        .await
    }

    /// The holder of a key of this id, if it counts now. Whoever asks has to know otherwise that its holder is there.
    pub async fn holder_of(&self, id: &str) -> Result<Option<Holder>, Refusal> {
        let id = id.to_owned();
        self.with(move |members, connection| {
            let found = connection
                .query_row(
                    &format!("select {COLUMNS} from api_keys where id = ?1"),
                    [&id],
                    read,
                )
                .optional()?
                .flatten();
            let key = found.filter(|key| key.counts(members.now_ms()));
            key.map(|key| holding(connection, key)).transpose()
        })
        .await
    }

    /// Every key there ever was, the oldest first.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, Refusal> {
        self.with(|_, connection| all(connection)).await
    }

    /// Ends a key, at once or at a later time; the earlier of two such times counts.
    pub async fn revoke(
        &self,
        id: &str,
        at_ms: Option<i64>,
        by: &Principal,
    ) -> Result<ApiKey, Refusal> {
        let keys = self.api_keys().await?;
        let Some(key) = keys.into_iter().find(|key| key.id == id) else {
            return Err(unknown(id));
        };
        let at = at_ms.unwrap_or_else(|| self.now_ms());
        let draft = Draft::new(self.inner.clock.now(), EventKind::ApiKeyRevoked)
            .by(by)
            .text("key", &key.id)
            .text("of", &key.principal.to_string())
            .number("at_ms", u64::try_from(at).unwrap_or(0));
        self.inner.state.log().append(draft).await?;
        let revoked = key.id.clone();
        self.with(move |_, connection| {
            connection.execute(
                "update api_keys set revoked_ms = ?2
                 where id = ?1 and (revoked_ms is null or revoked_ms > ?2)",
                params![revoked, at],
            )
        })
        .await?;
        Ok(key)
    }

    /// Makes a key like another, which counts for `overlap_ms` more.
    pub async fn rotate(
        &self,
        id: &str,
        overlap_ms: i64,
        by: &Principal,
    ) -> Result<Issued, Refusal> {
        let keys = self.api_keys().await?;
        let now = self.now_ms();
        let Some(key) = keys.into_iter().find(|key| key.id == id && key.counts(now)) else {
            return Err(unknown(id));
        };
        let life = key.expires_ms.map(|expires| expires - key.created_ms);
        let expires = life.map(|life| now.saturating_add(life));
        let wanted = Wanted {
            principal: key.principal,
            roles: key.roles,
            allowance: key.allowance,
            from: key.from,
            expires_ms: expires,
        };
        let issued = self.issue(wanted, by).await?;
        self.revoke(id, Some(now.saturating_add(overlap_ms)), by)
            .await?;
        Ok(issued)
    }
}

fn all(connection: &Connection) -> sql::Result<Vec<ApiKey>> {
    let sql = format!("select {COLUMNS} from api_keys order by created_ms, id");
    let rows = connection.query_map(&sql, (), read)?;
    Ok(rows
        .collect::<sql::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// Who acts by a key that counts.
fn holding(connection: &Connection, key: ApiKey) -> sql::Result<Holder> {
    Ok(Holder {
        life: life(connection, &key.principal.to_string())?,
        from: [key.from, workspace_from(connection)?],
        id: key.id,
        principal: key.principal,
        roles: key.roles,
        allowance: key.allowance,
    })
}

/// A row; nothing where somebody has put in what is no principal.
fn read(row: &Row<'_>) -> sql::Result<Option<ApiKey>> {
    let principal: String = row.get("principal")?;
    let roles: String = row.get("roles")?;
    let Ok(principal) = Principal::try_from(principal) else {
        return Ok(None);
    };
    let roles = roles.split(',').filter(|role| !role.is_empty());
    let usual = Allowance::DEFAULT;
    let or = |column: &str, usual| {
        let kept: sql::Result<Option<u32>> = row.get(column);
        kept.map(|kept| kept.unwrap_or(usual))
    };
    let from: Option<String> = row.get("allowed_from")?;
    let bytes: Option<i64> = row.get("bytes_per_minute")?;
    let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
    Ok(Some(ApiKey {
        id: row.get("id")?,
        principal,
        roles: roles.map(str::to_owned).collect(),
        allowance: Allowance {
            per_minute: or("per_minute", usual.per_minute)?,
            bytes_per_minute: bytes.unwrap_or(usual.bytes_per_minute),
            at_once: or("at_once", usual.at_once)?,
            waiting: or("waiting", usual.waiting)?,
        },
        from: networks(from.as_deref())?,
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
        used_ms: row.get("used_ms")?,
        revoked_ms: row.get("revoked_ms")?,
    }))
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(
        Code::InvalidArgument,
        format!("there is no key `{id}` that counts"),
    )
    .hint("`secondkey relay keys list` shows them")
}
