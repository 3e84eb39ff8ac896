//! Agents, and the tokens by which they join: `sjoin_<id>_<secret>.<the relay's public key>`.

use std::collections::BTreeSet;

use crate::store::sql::{self, Connection, Optional as _, params};
use secrecy::SecretString;

use crate::core::audit::{Draft, EventKind};
use crate::core::handshake::{Hex32, join_key};
use crate::core::ids::AgentId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::target::TargetName;
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
    /// The names of targets that it may serve, on the word of whoever looks after the relay.
    pub may_serve: BTreeSet<TargetName>,
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
    /// Makes a token by which one agent can join, once, within [`JOIN_MS`], to serve targets of these names.
    pub async fn join_token(
        &self,
        may_serve: &BTreeSet<TargetName>,
        by: &Principal,
    ) -> Result<SecretString, Refusal> {
        let secret = Secret::new()?;
        let relay = self.inner.state.token_keys()?.signer.public();
        let draft = Draft::new(self.inner.clock.now(), EventKind::AgentInvited)
            .by(by)
            .text("token", &secret.id)
            .number("targets", may_serve.len() as u64);
        self.inner.state.log().append(draft).await?;
        let key = Hex32::of_key(&join_key(&secret.secret).verifying_key()).to_string();
        let (id, until) = (secret.id.clone(), self.now_ms().saturating_add(JOIN_MS));
        let may_serve = names(may_serve);
        self.with(move |members, connection| {
            let now = members.now_ms();
            connection.execute("delete from join_tokens where expires_ms <= ?1", [now])?;
            connection.execute(
                "insert into join_tokens (id, key, may_serve, expires_ms) values (?1, ?2, ?3, ?4)",
                params![id, key, may_serve, until],
            )
        })
        .await?;
        let text = format!("{PREFIX}_{}_{}.{relay}", secret.id, secret.secret);
        Ok(SecretString::from(text))
    }

    /// The key that whoever has this join token signs with, while it is good.
    pub async fn invited(&self, token: &str) -> Result<Option<Hex32>, Refusal> {
        let (id, now) = (token.to_owned(), self.now_ms());
        let kept = self.with(move |_, connection| invitation(connection, &id, now));
        Ok(kept.await?.and_then(|(key, _)| Hex32::try_from(key).ok()))
    }

    /// Takes an agent in, and the token away. Whoever calls this has seen a signature by [`Self::invited`].
    pub async fn join(&self, agent: &AgentId, key: Hex32, token: &str) -> Result<Joined, Refusal> {
        // Recorded first; one that then turns out to have no right is recorded as turned away.
        let draft = Draft::new(self.inner.clock.now(), EventKind::AgentJoined)
            .agent(agent)
            .text("token", token)
            .text("key", &key.to_string());
        self.inner.state.log().append(draft).await?;
        let (agent, token) = (agent.clone(), token.to_owned());
        self.with(move |members, connection| take(members, connection, (&agent, key), &token))
            .await
    }

    /// Lets an agent serve targets of further names, from its next connection on.
    pub async fn allow(
        &self,
        agent: &AgentId,
        more: BTreeSet<TargetName>,
        by: &Principal,
    ) -> Result<(), Refusal> {
        let Some(member) = self.member(agent).await? else {
            return Err(no_agent(agent));
        };
        let draft = Draft::new(self.inner.clock.now(), EventKind::AgentInvited)
            .by(by)
            .agent(agent)
            .number("targets", more.len() as u64);
        self.inner.state.log().append(draft).await?;
        let may_serve = names(&member.may_serve.into_iter().chain(more).collect());
        let agent = agent.to_string();
        self.with(move |_, connection| {
            connection.execute(
                "update agents set may_serve = ?2 where id = ?1",
                params![agent, may_serve],
            )
        })
        .await?;
        Ok(())
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
            return Err(no_agent(agent));
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

/// The public key and the names of an invitation that is still good.
fn invitation(
    connection: &Connection,
    id: &str,
    now: i64,
) -> sql::Result<Option<(String, String)>> {
    let sql = "select key, may_serve from join_tokens where id = ?1 and expires_ms > ?2";
    connection
        .query_row(sql, params![id, now], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The token goes and the agent comes in one transaction.
fn take(
    members: &Members,
    connection: &Connection,
    (agent, key): (&AgentId, Hex32),
    token: &str,
) -> sql::Result<Joined> {
    let now = members.now_ms();
    let transaction = connection.transaction()?;
    let Some((_, may_serve)) = invitation(&transaction, token, now)? else {
        return Ok(Joined::NoToken);
    };
    let made = transaction.execute(
        "insert into agents (id, key, may_serve, served, joined_ms) values (?1, ?2, ?3, '[]', ?4)
         on conflict (id) do nothing",
        params![agent.as_str(), key.to_string(), may_serve, now],
    )?;
    if made == 0 {
        return Ok(Joined::Taken);
    }
    transaction.execute("delete from join_tokens where id = ?1", [token])?;
    transaction.commit()?;
    Ok(Joined::Yes)
}

fn names(names: &BTreeSet<TargetName>) -> String {
    serde_json::to_string(names).unwrap_or_default()
}

fn no_agent(agent: &AgentId) -> Refusal {
    let sentence = format!("there is no agent {agent}");
    Refusal::new(Code::InvalidArgument, sentence).hint("`secondkey relay agents list` shows them")
}

fn all(connection: &Connection) -> sql::Result<Vec<Member>> {
    let rows = connection.query_map("select id, key, may_serve, served, joined_ms, seen_ms, revoked_ms from agents order by joined_ms, id", (), |row| {
        let id: String = row.get(0)?;
        let key: String = row.get(1)?;
        let (Ok(id), Ok(key)) = (AgentId::try_from(id), Hex32::try_from(key)) else {
            return Ok(None);
        };
        Ok(Some(Member {
            id,
            key,
            may_serve: serde_json::from_str(&row.get::<_, String>(2)?).unwrap_or_default(),
            served: row.get(3)?,
            joined_ms: row.get(4)?,
            seen_ms: row.get(5)?,
            revoked_ms: row.get(6)?,
        }))
    })?;
    Ok(rows
        .collect::<sql::Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}
