//! The audit log: its entries, and whether it is what was written.

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use crate::core::audit::{Content, EventKind};
use crate::core::refusal::Refusal;
use crate::store::log::{Filter, Record, Report};
use crate::web::answer::{Frame, page, refused};
use crate::web::session::Session;
use crate::web::site::Site;
use crate::web::text::{When, line};
use crate::web::timeline::fact;

/// How many entries one page has.
const PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "audit.html", config = "src/web/askama.toml")]
struct AuditPage {
    frame: Frame,
    entries: Vec<Entry>,
    kinds: Vec<(&'static str, bool)>,
    request: String,
    principal: String,
    target: String,
    next: Option<String>,
    verified: Option<Verified>,
}

struct Entry {
    sequence: u64,
    when: Option<When>,
    kind: String,
    bad: bool,
    principal: String,
    target: String,
    request: String,
    facts: Vec<(String, String)>,
    leaf: String,
    link: String,
}

/// What a check of the log found.
struct Verified {
    whole: bool,
    sentence: String,
    details: Vec<String>,
}

/// `GET /audit[?kind=&request=&principal=&target=&before=]`
pub(super) async fn list(
    State(site): State<Site>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    answer(&site, &session, query, false).await
}

/// `POST /audit/verify`
pub(super) async fn verify(
    State(site): State<Site>,
    Extension(session): Extension<Session>,
) -> Response {
    answer(&site, &session, String::new(), true).await
}

async fn answer(site: &Site, session: &Session, query: String, check: bool) -> Response {
    let frame = Frame::new("audit", session);
    let read = site.blocking(move |site| {
        let verified = if check {
            Some(describe(&site.state().log().verify(None)?))
        } else {
            None
        };
        build(site, frame, &query, verified)
    });
    match read.await {
        Ok(template) => page(&template),
        Err(refusal) => refused(session, &refusal),
    }
}

fn build(
    site: &Site,
    frame: Frame,
    query: &str,
    verified: Option<Verified>,
) -> Result<AuditPage, Refusal> {
    let field = |name: &str| {
        let mut fields = url::form_urlencoded::parse(query.as_bytes());
        let found = fields.find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.into_owned())
    };
    let named = field("kind").unwrap_or_default();
    let filter = Filter {
        before: field("before").and_then(|number| number.parse().ok()),
        limit: PAGE,
        kind: EventKind::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == named),
        request: field("request").and_then(|id| id.trim().parse().ok()),
        principal: field("principal"),
        target: field("target"),
        newest_first: true,
        ..Filter::default()
    };
    let records = site.state().log().list(&filter)?;
    let full = records.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
    let last = records.last().map(|record| record.stored.sequence);
    let request = filter
        .request
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    let (principal, target) = (
        filter.principal.unwrap_or_default(),
        filter.target.unwrap_or_default(),
    );
    let next = last.filter(|_| full).map(|last| {
        let mut older = url::form_urlencoded::Serializer::new(String::new());
        older
            .append_pair("kind", filter.kind.map_or("", EventKind::as_str))
            .append_pair("request", &request)
            .append_pair("principal", &principal)
            .append_pair("target", &target)
            .append_pair("before", &last.to_string());
        older.finish()
    });
    let kinds = EventKind::ALL.iter();
    Ok(AuditPage {
        frame,
        entries: records.iter().map(entry).collect(),
        kinds: kinds
            .map(|kind| (kind.as_str(), Some(*kind) == filter.kind))
            .collect(),
        request,
        principal,
        target,
        next,
        verified,
    })
}

fn entry(record: &Record) -> Entry {
    let stored = &record.stored;
    let mut entry = Entry {
        sequence: stored.sequence,
        when: None,
        kind: String::new(),
        bad: false,
        principal: String::new(),
        target: String::new(),
        request: String::new(),
        facts: Vec::new(),
        leaf: stored.leaf.to_string(),
        link: stored.link.to_string(),
    };
    match &record.content {
        Content::Present(body) => {
            let shown = |text: &Option<String>| text.as_deref().map(line).unwrap_or_default();
            entry.when = Some(When::new(body.at));
            entry.kind = line(&body.kind);
            entry.bad = ["refused", "failed", "unknown", "rejected"]
                .iter()
                .any(|end| body.kind.ends_with(end));
            entry.principal = shown(&body.principal);
            entry.target = shown(&body.target);
            entry.request = shown(&body.request);
            let facts = body.facts.iter();
            entry.facts = facts
                .map(|(name, value)| (line(name), fact(value)))
                .collect();
        }
        Content::Removed => "the body was removed".clone_into(&mut entry.kind),
        Content::Unreadable => {
            "not readable; verify the log".clone_into(&mut entry.kind);
            entry.bad = true;
        }
    }
    entry
}

fn describe(report: &Report) -> Verified {
    let mut details = Vec::new();
    let (whole, sentence) = match &report.outcome {
        Err(found) => (false, format!("The log is broken: {found}.")),
        Ok(verified) => {
            details.push(match &verified.against {
                Some(head) => format!(
                    "Checked against the head of {} entries signed at {}. What was written after that head could be cut off unseen.",
                    head.count, head.at
                ),
                None => "There was no signed head to check it against, so a cut tail or a rewrite cannot be seen.".to_owned(),
            });
            if verified.removed > 0 {
                details.push(format!(
                    "The bodies of {} entries were removed; their places in the chain are kept.",
                    verified.removed
                ));
            }
            let entries = verified.entries;
            (
                true,
                format!("The log is whole: {entries} entries, each in its place."),
            )
        }
    };
    if report.bad_heads > 0 {
        details.push(format!(
            "{} of the heads beside the log are cut short or not signed by a key of this log; they were left out.",
            report.bad_heads
        ));
    }
    details.push("This process checked its own files. Keep a signed head elsewhere (`secondkey audit checkpoint --to FILE`) to be sure.".to_owned());
    Verified {
        whole,
        sentence,
        details,
    }
}
