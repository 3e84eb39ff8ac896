//! `/v1/audit`: the relay's log.

use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::core::audit::EventKind;
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::{NoBody, NoQuery};
use crate::relay::rest::operation::{Call, May, Operation, blocking};
use crate::relay::rest::problem::Problem;
use crate::store::log::Filter;
use crate::store::log::reading::line;

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
    ]
}

async fn entries(call: Call, wanted: Wanted, _: NoBody) -> Result<Done<Entries>, Problem> {
    let filter = filter(wanted).map_err(|what| {
        let sentence = format!("`{what}` is none that there is");
        Refusal::new(Code::InvalidArgument, sentence)
    })?;
    let state = call.broker().state.clone();
    let found = blocking(move || Ok(state.log().list(&filter)?)).await?;
    let entries = found
        .iter()
        .map(|record| RawValue::from_string(line(&record.stored)));
    let entries = entries.collect::<Result<_, _>>();
    let broken = |_| Refusal::new(Code::Internal, "an entry cannot be written as JSON");
    Ok(Done(Entries {
        entries: entries.map_err(broken)?,
    }))
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
