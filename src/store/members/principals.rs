//! Who acts at a relay, where each of them stands, and from where the workspace is used.

use std::collections::BTreeMap;

use crate::store::sql::{self, Connection, Optional as _, params};

use crate::core::audit::{Draft, EventKind};
use crate::core::life::Life;
use crate::core::notice::Network;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::store::members::Members;

/// The setting that says from where a workspace may be used.
const ALLOWED_FROM: &str = "allowed_from";

/// A principal as they may be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// Who.
    pub name: Principal,
    /// Where they stand.
    pub life: Life,
    /// Since when, unix milliseconds, where that was ever changed.
    pub since_ms: Option<i64>,
    /// How many keys of theirs count.
    pub keys: usize,
}

impl Members {
    /// Where a principal stands.
    pub async fn life(&self, principal: &Principal) -> Result<Life, Refusal> {
        let name = principal.to_string();
        self.with(move |_, connection| life(connection, &name))
            .await
    }

    /// Where a principal stands who comes without a key of ours, and from where the workspace lets anybody come.
    pub async fn standing_of(
        &self,
        principal: &Principal,
    ) -> Result<(Life, Vec<Network>), Refusal> {
        let name = principal.to_string();
        self.with(move |_, connection| Ok((life(connection, &name)?, workspace_from(connection)?)))
            .await
    }

    /// Everybody who has or had a key, in the order of their names.
    pub async fn principals(&self) -> Result<Vec<Known>, Refusal> {
        let (now, keys) = (self.now_ms(), self.api_keys().await?);
        let lives = self.with(|_, connection| lives(connection)).await?;
        let mut all: BTreeMap<Principal, Known> = BTreeMap::new();
        for key in keys {
            let counts = usize::from(key.counts(now));
            let known = all.entry(key.principal.clone()).or_insert_with(|| Known {
                name: key.principal,
                life: Life::Active,
                since_ms: None,
                keys: 0,
            });
            known.keys += counts;
        }
        for (name, life, since_ms) in lives {
            if let Some(known) = Principal::try_from(name)
                .ok()
                .and_then(|name| all.get_mut(&name))
            {
                known.life = life;
                known.since_ms = Some(since_ms);
            }
        }
        Ok(all.into_values().collect())
    }

    /// Those whose keys count for nothing now.
    pub async fn suspended(&self) -> Result<Vec<Principal>, Refusal> {
        let lives = self.with(|_, connection| lives(connection)).await?;
        let lives = lives
            .into_iter()
            .filter(|(_, life, _)| *life != Life::Active);
        Ok(lives
            .filter_map(|(name, ..)| Principal::try_from(name).ok())
            .collect())
    }

    /// Has somebody stand elsewhere from now on. Whoever is retired stays so, and all their keys are ended.
    pub async fn set_life(
        &self,
        principal: &Principal,
        wanted: Life,
        by: &Principal,
    ) -> Result<(), Refusal> {
        let keys = self.api_keys().await?;
        if !keys.iter().any(|key| key.principal == *principal) {
            let sentence = format!("nobody here is called `{principal}`");
            return Err(Refusal::new(Code::InvalidArgument, sentence)
                .hint("`secondkey relay principals list` shows them"));
        }
        if self.life(principal).await? == Life::Retired && wanted != Life::Retired {
            let sentence = format!("`{principal}` is retired, for good");
            return Err(Refusal::new(Code::InvalidArgument, sentence)
                .hint("make a key for a principal of another name"));
        }
        let kind = match wanted {
            Life::Active => EventKind::PrincipalResumed,
            Life::Suspended => EventKind::PrincipalSuspended,
            Life::Retired => EventKind::PrincipalRetired,
        };
        let draft = Draft::new(self.inner.clock.now(), kind).by(by);
        let draft = draft.text("who", &principal.to_string());
        self.inner.state.log().append(draft).await?;
        let name = principal.to_string();
        self.with(move |members, connection| {
            connection.execute(
                "insert into principals (name, life, changed_ms) values (?1, ?2, ?3)
                 on conflict (name) do update set life = ?2, changed_ms = ?3",
                params![name, wanted.as_str(), members.now_ms()],
            )
        })
        .await?;
        if wanted == Life::Retired {
            let now = self.now_ms();
            for key in keys
                .iter()
                .filter(|key| key.principal == *principal && key.counts(now))
            {
                self.revoke(&key.id, None, by).await?;
            }
        }
        Ok(())
    }

    /// From where the workspace may be used; from everywhere where there are none.
    pub async fn allowed_from(&self) -> Result<Vec<Network>, Refusal> {
        self.with(|_, connection| workspace_from(connection)).await
    }

    /// Has the workspace be used from these addresses alone; from everywhere if there are none.
    pub async fn allow_from(&self, networks: &[Network], by: &Principal) -> Result<(), Refusal> {
        let text = written(networks);
        let draft = Draft::new(self.inner.clock.now(), EventKind::AddressesAllowed).by(by);
        let draft = draft.text("from", &text);
        self.inner.state.log().append(draft).await?;
        self.with(move |_, connection| {
            connection.execute(
                "insert into settings (name, value) values (?1, ?2)
                 on conflict (name) do update set value = ?2",
                params![ALLOWED_FROM, text],
            )
        })
        .await?;
        Ok(())
    }
}

pub(super) fn life(connection: &Connection, name: &str) -> sql::Result<Life> {
    let sql = "select life from principals where name = ?1";
    let found: Option<String> = connection
        .query_row(sql, [name], |row| row.get(0))
        .optional()?;
    // What cannot be read does not count as active.
    Ok(found.map_or(Life::Active, |text| {
        Life::named(&text).unwrap_or(Life::Suspended)
    }))
}

fn lives(connection: &Connection) -> sql::Result<Vec<(String, Life, i64)>> {
    let rows =
        connection.query_map("select name, life, changed_ms from principals", (), |row| {
            let life: String = row.get(1)?;
            let life = Life::named(&life).unwrap_or(Life::Suspended);
            Ok((row.get(0)?, life, row.get(2)?))
        })?;
    rows.collect()
}

pub(super) fn workspace_from(connection: &Connection) -> sql::Result<Vec<Network>> {
    let text: Option<String> = connection
        .query_row(
            "select value from settings where name = ?1",
            [ALLOWED_FROM],
            |row| row.get(0),
        )
        .optional()?;
    networks(text.as_deref())
}

/// Blocks of addresses with blanks between them.
pub(super) fn written(networks: &[Network]) -> String {
    let words: Vec<_> = networks.iter().map(ToString::to_string).collect();
    words.join(" ")
}

/// The same, read. What cannot be read is an error, and lets nobody in.
pub(super) fn networks(text: Option<&str>) -> sql::Result<Vec<Network>> {
    let words = text.unwrap_or_default().split_whitespace();
    let networks = words.map(str::parse::<Network>);
    networks
        .collect::<Result<_, _>>()
        .map_err(|error| sql::Error::damaged(&error.to_string()))
}
