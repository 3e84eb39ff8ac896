//! Agents, and the tokens by which they join: `sjoin_<id>_<secret>.<the relay's public key>`.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use secrecy::SecretString;

use crate::core::audit::{Draft, EventKind};
use crate::core::handshake::Hex32;
use crate::core::ids::AgentId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::store::members::{Members, Secret};

/// What a join token begins with.
const PREFIX: &str = "sjoin";
/// How long a join token is good, in milliseconds: one hour.
const JOIN_MS: i64 = 60 * 60 * 1_000;

/// An agent that has joined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its id.
    pub id: AgentId,
    /// Its public key.
    pub key: Hex32,
    /// What it served last, as it said; JSON.
    pub served: String,
    /// When it joined, unix milliseconds.
    pub joined_ms: i64,
    /// When it was last connected.
    pub seen_ms: Option<i64>,
    /// When it was put out.
    pub revoked_ms: Option<i64>,
}

/// What became of an agent that asked to join.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Joined {
    /// It is a member now.
    Yes,
    /// The token is none of ours, was used, or is too old.
    NoToken,
    /// There is an agent of this id with another key.
    Taken,
}

impl Members {
    /// Makes a token by which one agent can join, once, within [`JOIN_MS`].
    pub async fn join_token(&self, by: &Principal) -> Result<SecretString, Refusal> {
        let secret = Secret::new()?;
        let relay = self.inner.state.token_keys()?.signer.public();
        let draft = Draft::new(self.inner.clock.now(), EventKind::AgentInvited)
            .by(by)
            .text("token", &secret.id);
        self.inner.state.log().append(draft).await?;
        let mac = self.mac(PREFIX, &secret);
        let (id, until) = (secret.id.clone(), self.now_ms().saturating_add(JOIN_MS));
        self.with(move |members, connection| {
            let now = members.now_ms();
            connection.execute("delete from join_tokens where expires_ms <= ?1", [now])?;
            connection.execute(
                "insert into join_tokens (id, mac, expires_ms) values (?1, ?2, ?3)",
                params![id, mac, until],
            )
        })
        .await?;
        let text = format!("{PREFIX}_{}_{}.{relay}", secret.id, secret.secret);
        Ok(SecretString::from(text))
    }

    /// Takes an agent in, and the token away.
    pub async fn join(&self, agent: &AgentId, key: Hex32, token: &str) -> Result<Joined, Refusal> {
        let secret = token.split_once('.').map_or(token, |(secret, _)| secret);
        let Some(secret) = Secret::parse(PREFIX, secret) else {
            return Ok(Joined::NoToken);
        };
        // Recorded first; one that then turns out to have no right is recorded as turned away.
        let draft = Draft::new(self.inner.clock.now(), EventKind::AgentJoined)
            .agent(agent)
            .text("token", &secret.id)
            .text("key", &key.to_string());
        if !self.would_take(&secret).await? {
            return Ok(Joined::NoToken);
        }
        self.inner.state.log().append(draft).await?;
        let agent = agent.clone();
        self.with(move |members, connection| take(members, connection, (&agent, key), &secret))
            .await
    }

    async fn would_take(&self, secret: &Secret) -> Result<bool, Refusal> {
        let (id, now) = (secret.id.clone(), self.now_ms());
        let mac = self
            .with(move |_, connection| kept(connection, &id, now))
            .await?;
        Ok(mac.is_some_and(|mac| self.is_mac(PREFIX, secret, &mac)))
    }

    /// An agent that has joined, whether or not it was put out since.
    pub async fn member(&self, agent: &AgentId) -> Result<Option<Member>, Refusal> {
        let members = self.members().await?;
        Ok(members.into_iter().find(|member| member.id == *agent))
    }

    /// Every agent that ever joined, the oldest first.
    pub async fn members(&self) -> Result<Vec<Member>, Refusal> {
        self.with(|_, connection| all(connection)).await
    }

    /// Keeps what an agent serves, and that it was here.
    pub async fn seen(&self, agent: &AgentId, served: String) -> Result<(), Refusal> {
        let agent = agent.to_string();
        self.with(move |members, connection| {
            connection.execute(
                "update agents set served = ?2, seen_ms = ?3 where id = ?1",
                params![agent, served, members.now_ms()],
            )
        })
        .await?;
        Ok(())
    }

    /// Puts an agent out. It stays known, so that nobody else comes by its id.
    pub async fn put_out(&self, agent: &AgentId, by: &Principal) -> Result<(), Refusal> {
        if self.member(agent).await?.is_none() {
            let sentence = format!("there is no agent {agent}");
            return Err(Refusal::new(Code::InvalidArgument, sentence)
                .hint("`secondkey relay agents list` shows them"));
        }
        let draft = Draft::new(self.inner.clock.now(), EventKind::AgentRemoved)
            .by(by)
            .agent(agent);
        self.inner.state.log().append(draft).await?;
        let agent = agent.to_string();
        self.with(move |members, connection| {
            connection.execute(
                "update agents set revoked_ms = coalesce(revoked_ms, ?2) where id = ?1",
                params![agent, members.now_ms()],
            )
        })
        .await?;
        Ok(())
    }
}

fn kept(connection: &Connection, id: &str, now: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "select mac from join_tokens where id = ?1 and expires_ms > ?2";
    connection
        .query_row(sql, params![id, now], |row| row.get(0))
        .optional()
}

/// The token goes and the agent comes in one transaction.
fn take(
    members: &Members,
    connection: &mut Connection,
    (agent, key): (&AgentId, Hex32),
    secret: &Secret,
) -> rusqlite::Result<Joined> {
    let now = members.now_ms();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mac = kept(&transaction, &secret.id, now)?;
    if !mac.is_some_and(|mac| members.is_mac(PREFIX, secret, &mac)) {
        return Ok(Joined::NoToken);
    }
    let made = transaction.execute(
        "insert into agents (id, key, served, joined_ms) values (?1, ?2, '[]', ?3)
         on conflict (id) do nothing",
        params![agent.as_str(), key.to_string(), now],
    )?;
    if made == 0 {
        return Ok(Joined::Taken);
    }
    transaction.execute("delete from join_tokens where id = ?1", [&secret.id])?;
    transaction.commit()?;
    Ok(Joined::Yes)
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<Member>> {
    let mut statement = connection.prepare_cached(
        "select id, key, served, joined_ms, seen_ms, revoked_ms from agents order by joined_ms, id",
    )?;
    let rows = statement.query_map((), |row| {
        let id: String = row.get(0)?;
        let key: String = row.get(1)?;
        let (Ok(id), Ok(key)) = (AgentId::try_from(id), Hex32::try_from(key)) else {
            return Ok(None);
        };
        Ok(Some(Member {
            id,
            key,
            served: row.get(2)?,
            joined_ms: row.get(3)?,
            seen_ms: row.get(4)?,
            revoked_ms: row.get(5)?,
        }))
    })?;
    Ok(rows
        .collect::<rusqlite::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}
