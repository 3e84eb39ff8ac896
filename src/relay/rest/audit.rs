//! `/v1/audit`: the relay's log.

use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::core::audit::{EventKind, Stored};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::{NoBody, NoQuery};
use crate::relay::rest::operation::{Call, May, Operation, blocking};
use crate::relay::rest::problem::Problem;
use crate::store::log::Filter;
use crate::store::log::reading::line;
use crate::wire::audit::{LEAVES, Leaves, MOST_LEAVES, MOST_LOOKED_AT, OWN, Own};

/// The most entries on one page.
const LONGEST: u32 = 1_000;

/// Entries as they are exported; nothing about them is proven.
#[derive(Debug, JsonSchema, Serialize)]
struct Entries {
    /// Each with `sequence`, `body`, `leaf` and `link`.
    #[schemars(with = "Vec<serde_json::Map<String, Value>>")]
    entries: Vec<Box<RawValue>>,
}

/// How far the log has come.
#[derive(Debug, JsonSchema, Serialize)]
struct Head {
    /// A signed note (C2SP), to be kept where nobody at the relay can change it.
    head: String,
}

/// Which entries.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only entries after this number, the oldest first; else the newest first.
    #[serde(default)]
    #[schemars(with = "u64")]
    since: Option<u64>,
    /// Only entries before this number.
    #[serde(default)]
    #[schemars(with = "u64")]
    before: Option<u64>,
    /// At most so many.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// Only this kind, such as `request.refused`.
    #[serde(default)]
    #[schemars(with = "String")]
    kind: Option<String>,
    /// Only this request.
    #[serde(default)]
    #[schemars(with = "String")]
    request: Option<String>,
    /// Only this principal.
    #[serde(default)]
    #[schemars(with = "String")]
    principal: Option<String>,
    /// Only this target.
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, "/v1/audit"),
            ("audit", "Entries of the audit log"),
            May::Administer,
            entries,
        ),
        Operation::new(
            (Method::GET, "/v1/audit/head"),
            ("auditHead", "Sign how far the audit log has come"),
            May::Administer,
            head,
        ),
        Operation::new(
            (Method::GET, OWN),
            (
                "auditOwn",
                "What the caller did, and what became of their requests",
            ),
            May::Come,
            own,
        ),
        Operation::new(
            (Method::GET, LEAVES),
            (
                "auditLeaves",
                "The digests of all entries, to hold against what was shown before",
            ),
            May::Come,
            leaves,
        ),
    ]
}

async fn entries(call: Call, wanted: Wanted, _: NoBody) -> Result<Done<Entries>, Problem> {
    let filter = filter(wanted).map_err(unfit)?;
    let state = call.broker().state.clone();
    let found = blocking(move || Ok(state.log().list(&filter)?)).await?;
    let entries = lines(found.iter().map(|record| &record.stored))?;
    Ok(Done(Entries { entries }))
}

fn filter(wanted: Wanted) -> Result<Filter, &'static str> {
    let kind = wanted.kind.map(|text| {
        let kind = EventKind::ALL.iter().find(|kind| kind.as_str() == text);
        kind.copied().ok_or("kind")
    });
    let request = wanted.request.map(|text| text.parse::<RequestId>());
    let limit = wanted.limit.unwrap_or(50);
    let fits = |number: &u64| i64::try_from(*number).is_ok();
    if !(1..=LONGEST).contains(&limit) {
        return Err("limit");
    }
    if !wanted.since.iter().all(fits) {
        return Err("since");
    }
    if !wanted.before.iter().all(fits) {
        return Err("before");
    }
    Ok(Filter {
        since: wanted.since.unwrap_or(0),
        before: wanted.before,
        limit,
        kind: kind.transpose()?,
        request: request.transpose().map_err(|_| "request")?,
        principal: wanted.principal,
        target: wanted.target,
        newest_first: wanted.since.is_none(),
    })
}

async fn head(call: Call, _: NoQuery, _: NoBody) -> Result<Done<Head>, Problem> {
    let head = call.broker().state.log().checkpoint().await;
    Ok(Done(Head {
        head: head.map_err(Refusal::from)?,
    }))
}

/// From where on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Since {
    /// Only entries after this number.
    #[serde(default)]
    since: u64,
}

async fn own(call: Call, wanted: Since, _: NoBody) -> Result<Done<Own>, Problem> {
    let state = call.broker().state.clone();
    let since = place(wanted.since)?;
    // Signed first: what is looked at is a part of it.
    let note = state.log().checkpoint().await.map_err(Refusal::from)?;
    let holder = call.caller.principal.holder();
    let own = blocking(move || {
        let log = state.log();
        let head = log.open_head(&note)?.map_err(|_| unsigned())?;
        let until = since.saturating_add(MOST_LOOKED_AT).min(head.count);
        let until = until.max(since);
        let found = log.own(&holder, since, until)?;
        let keys = log.audit_keys()?;
        Ok(Own {
            workspace: log.workspace().to_owned(),
            principal: holder.to_string(),
            entries: lines(found.iter())?,
            until,
            head: note,
            keys: keys.iter().map(|key| hex::encode(key.as_bytes())).collect(),
        })
    });
    Ok(Done(own.await?))
}

/// Which digests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WantedLeaves {
    /// Only those after this number.
    #[serde(default)]
    since: u64,
    /// At most so many.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 10000))]
    limit: Option<u64>,
}

async fn leaves(call: Call, wanted: WantedLeaves, _: NoBody) -> Result<Done<Leaves>, Problem> {
    let limit = wanted.limit.unwrap_or(MOST_LEAVES);
    if !(1..=MOST_LEAVES).contains(&limit) {
        return Err(unfit("limit").into());
    }
    let since = place(wanted.since)?;
    let state = call.broker().state.clone();
    let leaves = blocking(move || Ok(state.log().leaves(since, limit)?)).await?;
    Ok(Done(Leaves { leaves }))
}

/// A number that a log can have.
fn place(since: u64) -> Result<u64, Refusal> {
    i64::try_from(since)
        .map(|_| since)
        .map_err(|_| unfit("since"))
}

fn unfit(what: &str) -> Refusal {
    Refusal::new(
        Code::InvalidArgument,
        format!("`{what}` is none that there is"),
    )
}

fn unsigned() -> Refusal {
    Refusal::new(
        Code::Internal,
        "the log's newest head is not signed by its keys",
    )
}

/// Entries as they are exported.
fn lines<'a>(found: impl Iterator<Item = &'a Stored>) -> Result<Vec<Box<RawValue>>, Refusal> {
    let lines = found.map(|entry| RawValue::from_string(line(entry)));
    let broken = |_| Refusal::new(Code::Internal, "an entry cannot be written as JSON");
    lines.collect::<Result<_, _>>().map_err(broken)
}
