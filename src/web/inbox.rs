//! Lists of requests: what waits for a person, and what was.

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use crate::broker::{requests, reviews};
use crate::core::approval::Purpose;
use crate::core::ids::RequestId;
use crate::core::refusal::Refusal;
use crate::core::request::Status;
use crate::core::work::Digest;
use crate::store::requests::{Filter, Page, Summary};
use crate::web::answer::{Frame, json, page, refused};
use crate::web::session::Session;
use crate::web::site::Site;
use crate::web::text::{Text, When, line};
use crate::web::{highlight, words};

/// How many requests that are over the inbox still shows.
const RECENT: usize = 8;

/// What is under way, once people have agreed.
const UNDER_WAY: [Status; 6] = [
    Status::Submitted,
    Status::Measuring,
    Status::Approved,
    Status::Dispatched,
    Status::Running,
    Status::Unknown,
];

/// One request in a list. All of it is from its document.
pub(super) struct Row {
    id: RequestId,
    status: &'static str,
    /// Whether it breaks the glass, and what became of its review.
    glass: String,
    title: &'static str,
    target: String,
    environment: String,
    tone: &'static str,
    requester: String,
    statement: Text,
    when: When,
    left: String,
    /// Why it cannot be shown, if it cannot.
    damaged: String,
}

#[derive(Template)]
#[template(path = "inbox.html", config = "src/web/askama.toml")]
struct Inbox {
    frame: Frame,
    stamp: String,
    reviews: Vec<Row>,
    pending: Vec<Row>,
    more: bool,
    under_way: Vec<Row>,
    recent: Vec<Row>,
    no_trust: bool,
}

#[derive(Template)]
#[template(path = "history.html", config = "src/web/askama.toml")]
struct History {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<RequestId>,
    damaged: usize,
}

/// `GET /`
pub(super) async fn inbox(
    State(site): State<Site>,
    Extension(session): Extension<Session>,
) -> Response {
    let frame = Frame::new("inbox", &session);
    let read = site.blocking(move |site| {
        let pending = list(site, &[Status::Pending], None, 50)?;
        let over: Vec<Status> = Status::ALL
            .iter()
            .copied()
            .filter(|s| s.is_over())
            .collect();
        Ok(Inbox {
            frame,
            stamp: stamp(site)?,
            reviews: rows(site, &reviews::open(site.state(), 50)?),
            more: pending.next.is_some(),
            pending: rows(site, &pending),
            under_way: rows(site, &list(site, &UNDER_WAY, None, 50)?),
            recent: rows(site, &list(site, &over, None, RECENT)?),
            no_trust: matches!(site.trust(), Ok(None)),
        })
    });
    match read.await {
        Ok(inbox) => page(&inbox),
        Err(refusal) => refused(&session, &refusal),
    }
}

/// `GET /history[?before=ID]`
pub(super) async fn history(
    State(site): State<Site>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Response {
    let frame = Frame::new("history", &session);
    let query = query.unwrap_or_default();
    let mut fields = url::form_urlencoded::parse(query.as_bytes());
    let before = fields.find(|(key, _)| key == "before");
    let before = before.and_then(|(_, id)| id.parse().ok());
    let read = site.blocking(move |site| {
        let found = list(site, &[], before, 50)?;
        Ok(History {
            frame,
            rows: rows(site, &found),
            damaged: found.damaged.len(),
            next: found.next,
        })
    });
    match read.await {
        Ok(history) => page(&history),
        Err(refusal) => refused(&session, &refusal),
    }
}

/// What changes when the inbox does.
#[derive(Serialize)]
pub(super) struct Pulse {
    pub(super) stamp: String,
}

/// `GET /pulse`
pub(super) async fn pulse(State(site): State<Site>) -> Response {
    let stamp = site.blocking(stamp).await;
    json(stamp.map(|stamp| Pulse { stamp }))
}

fn stamp(site: &Site) -> Result<String, Refusal> {
    let newest = list(site, &[], None, 50)?;
    let pending = list(site, &[Status::Pending], None, 50)?;
    let open = reviews::open(site.state(), 50)?;
    let all = newest.requests.iter().chain(&pending.requests);
    let all = all.chain(&open.requests);
    let parts = all.map(|one| format!("{} {} {}", one.id, one.version, one.state.status()));
    let parts: Vec<String> = parts.collect();
    Ok(Digest::of(&[parts.join("\n").as_bytes()]).to_string())
}

fn list(
    site: &Site,
    statuses: &[Status],
    before: Option<RequestId>,
    limit: usize,
) -> Result<Page, Refusal> {
    requests::list(
        site.state(),
        &Filter {
            statuses: statuses.to_vec(),
            before,
            limit,
            ..Filter::default()
        },
    )
}

fn rows(site: &Site, page: &Page) -> Vec<Row> {
    page.requests.iter().map(|one| row(site, one)).collect()
}

/// Such as "BREAK GLASS, review open".
fn glass(summary: &Summary) -> String {
    match (summary.purpose, &summary.review) {
        (Purpose::Run, _) => String::new(),
        (Purpose::BreakGlass, None) => "BREAK GLASS".to_owned(),
        (Purpose::BreakGlass, Some(review)) => format!("BREAK GLASS, review {}", review.as_str()),
    }
}

fn row(site: &Site, summary: &Summary) -> Row {
    let status = summary.state.status();
    let left = summary.state.due().filter(|_| !status.is_over());
    let mut row = Row {
        id: summary.id.clone(),
        status: status.as_str(),
        glass: glass(summary),
        title: "",
        target: String::new(),
        environment: String::new(),
        tone: "plain",
        requester: String::new(),
        statement: Text::default(),
        when: When::new(summary.created),
        left: left.map_or_else(String::new, |due| words::left(site.now(), due)),
        damaged: String::new(),
    };
    match requests::show(site.state(), &summary.id) {
        Ok(shown) => {
            let document = shown.document;
            row.title = words::effect(document.effect);
            row.target = line(&document.target);
            row.tone = words::tone(&document.environment);
            row.environment = line(&document.environment);
            row.requester = line(&document.requester.to_string());
            row.statement = Text {
                pieces: highlight::statement(document.engine, &document.statement),
            };
        }
        Err(refusal) => row.damaged = refusal.message,
    }
    row
}
