//! What the audit log has of a request, as moments in its life.

use serde_json::Value;

use crate::core::audit::{Body, Content};
use crate::core::ids::RequestId;
use crate::core::refusal::Refusal;
use crate::store::State;
use crate::store::log::Select;
use crate::web::text::{When, line};

/// One moment.
pub(super) struct Moment {
    pub(super) when: When,
    pub(super) what: String,
    pub(super) who: String,
    pub(super) more: String,
    pub(super) sequence: u64,
}

/// The life of a request, the oldest first. Blocks.
pub(super) fn of(state: &State, id: &RequestId) -> Result<Vec<Moment>, Refusal> {
    let records = state.log().show(&Select::Request(id.clone()))?;
    let moments = records.into_iter().filter_map(|record| {
        let Content::Present(body) = record.content else {
            return None;
        };
        Some(Moment {
            when: When::new(body.at),
            what: what(&body.kind).map_or_else(|| line(&body.kind), str::to_owned),
            who: who(&body),
            more: more(&body),
            sequence: record.stored.sequence,
        })
    });
    Ok(moments.collect())
}

/// Whose doing it was. Most entries name the requester, whose request it is but who did not do it: an
/// approval must not read as if the one who asked had given it.
fn who(body: &Body) -> String {
    let doing = [
        "page.read",
        "request.cancelled",
        "request.submitted",
        "review.closed",
        "vote.cast",
    ];
    let named = body.principal.as_deref();
    let named = named.filter(|_| doing.contains(&body.kind.as_str()));
    named.map(line).unwrap_or_default()
}

/// The few facts that a person wants to see.
fn more(body: &Body) -> String {
    let fact = |name: &str, after: &str| {
        let value = body.facts.get(name)?;
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        Some(format!("{}{after}", line(&text)))
    };
    let parts = [
        fact("decision", ""),
        fact("finding", ""),
        fact("code", ""),
        fact("rows", " rows"),
        fact("elapsed_ms", " ms"),
        fact("sqlstate", ""),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

/// A kind of event in words.
fn what(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "execution.cancelled" => "Stopped while it ran; nothing of it stands",
        "execution.failed" => "Ended in an error; nothing of it stands",
        "execution.refused" => "Refused by the executor",
        "execution.started" => "Begun",
        "execution.succeeded" => "Ended well",
        "execution.unknown" => "The connection was lost; the end is not known",
        "notification.abandoned" => "A message about it was given up",
        "notification.delivered" => "A message about it was delivered",
        "notification.failed" => "A message about it could not be delivered yet",
        "page.read" => "A further page of the result was fetched",
        "request.allowed" => "Allowed by the policy",
        "request.approved" => "Approved: everybody that the policy wanted has signed",
        "request.cancelled" => "Stopped before it was run",
        "request.dispatched" => "Sent to the executor",
        "request.expired" => "Its time ran out",
        "request.lapsed" => "An order was not used in time; the approval stands",
        "request.measuring" => "Its effect is being measured",
        "request.pending" => "Put before people",
        "request.refused" => "Refused by the policy",
        "request.rejected" => "Rejected",
        "request.settled" => "Its end was found out",
        "request.submitted" => "Asked",
        "review.closed" => "Reviewed by somebody else",
        "review.opened" => "The glass is broken: its review is open",
        "review.refused" => "A review was refused",
        "vote.cast" => "A signed vote was counted",
        "vote.refused" => "A vote was refused",
        _ => return None,
    })
}

/// A fact as text.
pub(super) fn fact(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    line(&text)
}
