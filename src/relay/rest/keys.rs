//! `/v1/keys`: API keys. A secret is in one answer, when it is made.

use std::collections::BTreeSet;

use axum::http::Method;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::broker::holders;
use crate::core::notice::Network;
use crate::core::quota::Allowance;
use crate::core::refusal::{Code, Refusal};
use crate::relay::rest::answer::{Done, Made};
use crate::relay::rest::body::{Json, NoBody, NoQuery};
use crate::relay::rest::operation::{Call, May, Operation};
use crate::relay::rest::problem::Problem;
use crate::store::members;

/// How long an old key counts where nobody says so, in seconds.
const OVERLAP: u32 = 600;

/// The keys.
#[derive(Debug, JsonSchema, Serialize)]
struct Keys {
    keys: Vec<Key>,
}

/// One key, without its secret.
#[derive(Debug, JsonSchema, Serialize)]
struct Key {
    id: String,
    /// Who acts by it.
    principal: String,
    roles: BTreeSet<String>,
    /// Whether it counts now.
    counts: bool,
    /// When it was made, unix milliseconds.
    created_ms: i64,
    /// From when on it counts no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    expires_ms: Option<i64>,
    /// When it was last used, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    used_ms: Option<i64>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    revoked_ms: Option<i64>,
    /// Requests that it may make in a minute.
    per_minute: u32,
    /// Bytes of answers that it may fetch in a minute.
    bytes_per_minute: u64,
    /// Statements that it may have under way.
    at_once: u32,
    /// Requests of its holder that may wait for people.
    waiting: u32,
    /// From where it may be used, as CIDR blocks; from everywhere where there are none.
    from: Vec<String>,
}

/// A key that was made just now.
#[derive(Debug, JsonSchema, Serialize)]
struct Issued {
    key: Key,
    /// What its holder shows. It is not to be had again.
    secret: String,
}

/// What a new key shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewKey")]
struct Wanted {
    /// `ai:NAME`, `human:NAME` or `service:NAME`.
    #[serde(rename = "for")]
    holder: String,
    /// `developer`, `readonly`, `admin`, or names of your own for the policies.
    #[schemars(length(min = 1))]
    roles: BTreeSet<String>,
    /// For how long it counts, in seconds; for ever where that is left out.
    #[serde(default)]
    #[schemars(with = "u32")]
    expires_in: Option<u32>,
    /// From where it may be used, as CIDR blocks; from everywhere where there are none.
    #[serde(default)]
    from: Vec<String>,
    #[serde(default = "per_minute")]
    #[schemars(range(min = 1, max = 1_000_000))]
    per_minute: u32,
    #[serde(default = "bytes_per_minute")]
    #[schemars(range(min = 1, max = 1_125_899_906_842_624_u64))]
    bytes_per_minute: u64,
    #[serde(default = "at_once")]
    #[schemars(range(min = 1, max = 1_000_000))]
    at_once: u32,
    #[serde(default = "waiting")]
    #[schemars(range(min = 1, max = 1_000_000))]
    waiting: u32,
}

fn per_minute() -> u32 {
    Allowance::DEFAULT.per_minute
}

fn bytes_per_minute() -> u64 {
    Allowance::DEFAULT.bytes_per_minute
}

fn at_once() -> u32 {
    Allowance::DEFAULT.at_once
}

fn waiting() -> u32 {
    Allowance::DEFAULT.waiting
}

/// How a key is replaced.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// For how long the old one counts, in seconds.
    #[serde(default = "overlap")]
    overlap: u32,
}

fn overlap() -> u32 {
    OVERLAP
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, "/v1/keys"),
            ("keys", "Every key there ever was; no secrets"),
            May::Administer,
            list,
        ),
        Operation::new(
            (Method::POST, "/v1/keys"),
            ("keyCreate", "Make a key, whose secret is shown once"),
            May::Administer,
            create,
        ),
        Operation::new(
            (Method::POST, "/v1/keys/{id}/rotate"),
            (
                "keyRotate",
                "Make a key like another, which counts a while more",
            ),
            May::Administer,
            rotate,
        ),
        Operation::new(
            (Method::POST, "/v1/keys/{id}/revoke"),
            ("keyRevoke", "End a key and its sessions"),
            May::Administer,
            revoke,
        ),
    ]
}

async fn list(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Keys>, Problem> {
    let now = call.workspace.state.now().unix_ms();
    let keys = call.workspace.members.api_keys().await?;
    let keys = keys.into_iter().map(|key| shown(key, now)).collect();
    Ok(Done(Keys { keys }))
}

async fn create(
    call: Call,
    _: NoQuery,
    Json(wanted): Json<Wanted>,
) -> Result<Made<Issued>, Problem> {
    let now = call.workspace.state.now().unix_ms();
    let wanted =
        members(&wanted, now).map_err(|sentence| Refusal::new(Code::InvalidArgument, sentence))?;
    let by = &call.caller.principal;
    let issued = call.workspace.members.issue(wanted, by).await?;
    Ok(Made(once(issued, now)))
}

async fn rotate(
    call: Call,
    _: NoQuery,
    Json(rotation): Json<Rotation>,
) -> Result<Made<Issued>, Problem> {
    let by = &call.caller.principal;
    let overlap_ms = i64::from(rotation.overlap) * 1_000;
    let id = call.named("id");
    let issued = call.workspace.members.rotate(id, overlap_ms, by).await;
    let issued = issued.map_err(in_path)?;
    Ok(Made(once(issued, call.workspace.state.now().unix_ms())))
}

async fn revoke(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Key>, Problem> {
    let by = &call.caller.principal;
    let id = call.named("id");
    let now = call.workspace.state.now().unix_ms();
    let ended = call.workspace.members.revoke(id, Some(now), by).await;
    let ended = ended.map_err(in_path)?;
    let mut key = shown(ended, now);
    let earlier = key.revoked_ms.unwrap_or(now);
    key.revoked_ms = Some(earlier.min(now));
    key.counts = false;
    Ok(Done(key))
}

/// A key that the path names and that is not there is not found.
fn in_path(refusal: Refusal) -> Problem {
    let unknown = refusal.code == Code::InvalidArgument;
    let problem = Problem::from(refusal);
    if unknown { problem.missing() } else { problem }
}

/// What the members are asked for, or what is wrong with it.
fn members(wanted: &Wanted, now: i64) -> Result<members::Wanted, String> {
    let roles = wanted.roles.iter().map(|role| holders::role(role));
    let roles = roles.collect::<Result<BTreeSet<_>, _>>()?;
    if roles.is_empty() {
        return Err("a key needs a role".to_owned());
    }
    let allowance = Allowance {
        per_minute: wanted.per_minute,
        bytes_per_minute: wanted.bytes_per_minute,
        at_once: wanted.at_once,
        waiting: wanted.waiting,
    };
    if !holders::is_allowance(&allowance) {
        return Err(
            "a limit has to leave something to do, and to be no larger than the largest".to_owned(),
        );
    }
    let from = wanted.from.iter().map(|block| block.parse::<Network>());
    let from = from.collect::<Result<Vec<_>, _>>();
    let life = wanted.expires_in.map(|life| i64::from(life) * 1_000);
    Ok(members::Wanted {
        from: from.map_err(|error| error.to_string())?,
        principal: holders::holder(&wanted.holder)?,
        roles,
        allowance,
        expires_ms: life.map(|life| now.saturating_add(life)),
    })
}

fn once(issued: members::Issued, now: i64) -> Issued {
    Issued {
        key: shown(issued.key, now),
        secret: issued.secret.expose_secret().to_owned(),
    }
}

fn shown(key: members::ApiKey, now: i64) -> Key {
    Key {
        counts: key.counts(now),
        id: key.id,
        principal: key.principal.to_string(),
        roles: key.roles,
        created_ms: key.created_ms,
        expires_ms: key.expires_ms,
        used_ms: key.used_ms,
        revoked_ms: key.revoked_ms,
        per_minute: key.allowance.per_minute,
        bytes_per_minute: key.allowance.bytes_per_minute,
        at_once: key.allowance.at_once,
        waiting: key.allowance.waiting,
        from: key.from.iter().map(Network::to_string).collect(),
    }
}
