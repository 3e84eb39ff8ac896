//! What a monitor may know of a relay: numbers alone, in Prometheus' text format 0.0.4. Nothing in it names a
//! principal, a target, a table or a value; an agent is named by its random id.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::broker::fleet::Vitals;
use crate::broker::requests;
use crate::core::refusal::Refusal;
use crate::relay::{Relay, Workspace, nothing_here};

/// The format's name.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router(relay: Arc<Relay>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(nothing_here)
        .with_state(relay)
}

async fn metrics(State(relay): State<Arc<Relay>>) -> Response {
    let Ok(sums) = Sums::of(&relay).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let mut page = Page::default();
    let version = ("version", env!("CARGO_PKG_VERSION"));
    page.family("secondkey_build_info", "gauge", "The version that runs.")
        .one(Some(version), 1);
    let calls = "Calls of tools by what came of them: ok, waits, or the code of the refusal.";
    page.family("secondkey_calls_total", "counter", calls);
    for (outcome, count) in sums.calls {
        page.one(Some(("outcome", outcome)), count);
    }
    let turned = "HTTP requests answered with 429, by the limit.";
    page.family("secondkey_rate_limited_total", "counter", turned);
    for (limit, count) in sums.turned_away {
        page.one(Some(("limit", limit)), count);
    }
    let pending = "Requests that wait for people.";
    page.family("secondkey_requests_waiting", "gauge", pending)
        .one(None, sums.waiting);
    let open = "Sessions of MCP clients that are open.";
    page.family("secondkey_sessions_open", "gauge", open)
        .one(None, sums.sessions);
    agents(&mut page, &relay, &sums.agents);
    if let Some(certificates) = &relay.certificates {
        let broken = "1 while the certificate's files cannot be used and the last good one serves.";
        page.family("secondkey_certificate_broken", "gauge", broken)
            .one(None, u8::from(certificates.broken.load(Ordering::Relaxed)));
    }
    ([(header::CONTENT_TYPE, FORMAT)], page.text).into_response()
}

/// How the agents are, and those who were turned away.
fn agents(page: &mut Page, relay: &Relay, agents: &[Vitals]) {
    page.family(
        "secondkey_agents_connected",
        "gauge",
        "Agents that are connected.",
    )
    .one(None, agents.len());
    let away = "Those who dialed as an agent and were turned away, by why.";
    page.family("secondkey_agents_turned_away_total", "counter", away);
    let strangers = &relay.strangers;
    for (why, count) in [
        ("no_place", &strangers.no_place),
        ("refused", &strangers.refused),
    ] {
        page.one(Some(("why", why)), count.load(Ordering::Relaxed));
    }
    let offset = "How far an agent's clock is before the relay's, the way of its message included.";
    page.family("secondkey_agent_clock_offset_seconds", "gauge", offset);
    for vitals in agents {
        if let Some(offset_ms) = vitals.clock_offset_ms {
            page.one(
                Some(("agent", vitals.agent.as_str())),
                thousandths(offset_ms),
            );
        }
    }
    let free = "How many more orders an agent takes at once.";
    page.family("secondkey_agent_slots_free", "gauge", free);
    for vitals in agents {
        page.one(Some(("agent", vitals.agent.as_str())), vitals.free_slots);
    }
}

/// What is counted, over all workspaces: a number of one of them is for nobody else.
#[derive(Default)]
struct Sums {
    waiting: u64,
    sessions: usize,
    calls: BTreeMap<&'static str, u64>,
    turned_away: BTreeMap<&'static str, u64>,
    agents: Vec<Vitals>,
}

impl Sums {
    async fn of(relay: &Relay) -> Result<Self, Refusal> {
        let mut sums = Self::default();
        for workspace in relay.hall.all() {
            let Workspace {
                state,
                fleet,
                clients,
                ..
            } = &*workspace;
            sums.waiting += requests::waiting(state, None).await?;
            sums.sessions += clients.sessions().await;
            sums.agents.extend(fleet.vitals());
            for (outcome, count) in clients.calls() {
                *sums.calls.entry(outcome).or_default() += count;
            }
            for (limit, count) in clients.turned_away().all() {
                *sums.turned_away.entry(limit).or_default() += count;
            }
        }
        Ok(sums)
    }
}

/// Seconds, from milliseconds.
fn thousandths(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1_000, ms % 1_000)
}

/// The text, as far as it is written.
#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        self.name = name;
        let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.text.push_str(&head);
        self
    }

    /// One number of the family. Labels are words of the program's own and ids: nothing in them has to be escaped.
    fn one(&mut self, label: Option<(&str, &str)>, value: impl Display) {
        let name = self.name;
        let line = match label {
            Some((key, word)) => format!("{name}{{{key}=\"{word}\"}} {value}\n"),
            None => format!("{name} {value}\n"),
        };
        self.text.push_str(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_seconds_with_their_sign() {
        assert_eq!(thousandths(-5), "-0.005");
        assert_eq!(thousandths(12_034), "12.034");
    }
}
