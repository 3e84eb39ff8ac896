//! One request: everything that a person has to know before they sign. All of it is taken from the
//! canonical document and the values that were checked against it.

use std::collections::BTreeSet;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::Value;

use crate::broker::requests::{self, Shown};
use crate::core::approval::{Document, Part, Purpose};
use crate::core::ids::RequestId;
use crate::core::policy::{Progress, Requirement, best_surface};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Decision, RecordedVote, Status};
use crate::core::signer::{Surface, Vote};
use crate::core::time::Timestamp;
use crate::core::trust::{self, Signer, SignerKey, TrustFile};
use crate::web::answer::{Frame, json, malformed, page, refused};
use crate::web::inbox::Pulse;
use crate::web::session::Session;
use crate::web::site::Site;
use crate::web::text::{Text, When, line};
use crate::web::timeline::{self, Moment};
use crate::web::{highlight, review, words};

#[derive(Template)]
#[template(path = "request.html", config = "src/web/askama.toml")]
struct RequestPage {
    frame: Frame,
    id: RequestId,
    stamp: String,
    status: &'static str,
    pending: bool,
    standing: String,
    left: String,
    tone: &'static str,
    target: String,
    environment: String,
    engine: String,
    title: &'static str,
    because: String,
    break_glass: bool,
    purpose: &'static str,
    statements: Vec<Statement>,
    /// That of a capability, or why it is not shown.
    behind: Option<Result<Text, String>>,
    size: String,
    values_gone: bool,
    reads: Vec<String>,
    writes: Vec<String>,
    requester: String,
    reason: Option<Text>,
    votes: Vec<Cast>,
    review: Option<review::Shows>,
    wants: Vec<Want>,
    signers: Vec<Choice>,
    unsigned: Unsigned,
    facts: Vec<(&'static str, String)>,
    times: Vec<(&'static str, When)>,
    timeline: Vec<Moment>,
    document: String,
}

/// One statement with its values; of a batch each of them.
struct Statement {
    /// Which of how many, and what it can do; empty for one alone.
    heading: String,
    text: Text,
    values: Vec<Parameter>,
}

/// One value.
struct Parameter {
    number: usize,
    kind: &'static str,
    value: Text,
}

/// One vote.
struct Cast {
    signer: String,
    yes: bool,
    comment: Option<Text>,
    how: String,
    when: When,
}

/// One requirement, and how far it has come.
struct Want {
    rule: String,
    met: bool,
    steps: Vec<Step>,
    demands: Vec<String>,
    /// Who may still give what is missing.
    who: Vec<String>,
}

struct Step {
    text: String,
    by: Vec<String>,
    missing: u32,
}

/// Somebody who can sign here.
struct Choice {
    name: String,
    chosen: bool,
    /// Why their signature would not count, if it would not.
    objection: String,
}

/// Why nobody can sign here.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Unsigned {
    /// Somebody can.
    No,
    /// There is no trust file.
    NoTrust,
    /// It does not count.
    BrokenTrust,
    /// It has no passkey for this page.
    NoPasskey,
    /// A value of the request is missing.
    NoValues,
}

/// `GET /r/ID`: the short form, as it stands in answers.
pub(super) async fn short(Path(id): Path<String>) -> Response {
    match id.parse::<RequestId>() {
        Ok(id) => Redirect::to(&format!("/requests/{id}")).into_response(),
        Err(_) => Redirect::to("/").into_response(),
    }
}

/// `GET /requests/ID`
pub(super) async fn show(
    State(site): State<Site>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
) -> Response {
    let frame = Frame::new("inbox", &session);
    let you = site.person(&session);
    let read = site.blocking(move |site| {
        let shown = requests::show(site.state(), &parse(&id)?)?;
        let moments = timeline::of(site.state(), shown.request.id())?;
        Ok(build((site, &you), frame, &shown, moments))
    });
    match read.await {
        Ok(template) => page(&template),
        Err(refusal) => refused(&session, &refusal),
    }
}

/// `GET /pulse/ID`
pub(super) async fn pulse(State(site): State<Site>, Path(id): Path<String>) -> Response {
    let read = site.blocking(move |site| {
        let request = site.state().requests().get(&parse(&id)?)?;
        Ok(Pulse {
            stamp: stamp(request.version(), request.status()),
        })
    });
    json(read.await)
}

/// The id in a path.
pub(super) fn parse(id: &str) -> Result<RequestId, Refusal> {
    id.parse().map_err(|_| malformed("the id of the request"))
}

fn stamp(version: u64, status: Status) -> String {
    format!("{version} {status}")
}

fn build(
    (site, you): (&Site, &Principal),
    frame: Frame,
    shown: &Shown,
    timeline: Vec<Moment>,
) -> RequestPage {
    let (request, document) = (&shown.request, &shown.document);
    let status = request.status();
    let pending = status == Status::Pending;
    let trust = site.trust();
    let signers = match &trust {
        Ok(Some(trust)) if pending => choices((site, you), trust, shown),
        Ok(_) | Err(_) => Vec::new(),
    };
    let unsigned = match &trust {
        _ if values_missing(shown) => Unsigned::NoValues,
        Ok(None) => Unsigned::NoTrust,
        Err(_) => Unsigned::BrokenTrust,
        Ok(Some(_)) if signers.is_empty() => Unsigned::NoPasskey,
        Ok(Some(_)) => Unsigned::No,
    };
    let known = trust.ok().flatten();
    let due = request.state().due().filter(|_| !status.is_over());
    RequestPage {
        frame,
        id: request.id().clone(),
        stamp: stamp(request.version(), status),
        status: status.as_str(),
        pending,
        standing: line(&words::standing(request.state())),
        left: due.map_or_else(String::new, |due| words::left(site.now(), due)),
        tone: words::tone(&document.environment),
        target: line(&document.target),
        environment: line(&document.environment),
        engine: document.engine.to_string(),
        title: words::effect(document.effect),
        because: line(&document.because),
        break_glass: document.purpose == Purpose::BreakGlass,
        purpose: words::purpose(document.purpose),
        statements: statements(shown),
        behind: behind(site, document),
        size: size(document),
        values_gone: document.params.is_some() && shown.values.is_none(),
        reads: document.reads.iter().map(|name| line(name)).collect(),
        writes: document.writes.iter().map(|name| line(name)).collect(),
        requester: line(&document.requester.to_string()),
        reason: document.reason.as_deref().map(Text::of),
        votes: request.state().votes().iter().map(cast).collect(),
        review: review::of((site, you), known.as_deref(), shown),
        wants: wants(shown, known.as_deref(), site.now()),
        signers,
        unsigned,
        facts: facts(document),
        times: times(document),
        timeline,
        document: document.digest().to_string(),
    }
}

/// Whether the request cannot be shown in full although it waits. Values are there even where there is
/// no parameter: their salt is what holds the statement against the work digest.
pub(super) fn values_missing(shown: &Shown) -> bool {
    shown.request.status().needs_values() && shown.values.is_none()
}

fn size(document: &Document) -> String {
    let texts = document.texts();
    let lines: usize = texts.iter().map(|text| text.lines().count()).sum();
    let characters: usize = texts.iter().map(|text| text.chars().count()).sum();
    let plural = if lines == 1 { "" } else { "s" };
    let said = format!("{lines} line{plural}, {characters} characters, shown in full");
    match document.parts.len() {
        0 => said,
        count => format!("{count} statements, which all stand or none does; {said}"),
    }
}

fn statements(shown: &Shown) -> Vec<Statement> {
    let document = &shown.document;
    let text = |statement: &str| Text {
        pieces: highlight::statement(document.engine, statement),
    };
    let values = shown
        .values
        .as_ref()
        .map_or(&[][..], |values| &values.params);
    if document.parts.is_empty() {
        return vec![Statement {
            heading: String::new(),
            text: text(&document.shown_statement()),
            values: parameters(values),
        }];
    }
    let count = document.parts.len();
    let one = |(at, part): (usize, &Part)| {
        let own = values.get(at).and_then(Value::as_array);
        let what = line(&format!("{}, {} {}", part.kind, part.effect, part.because));
        Statement {
            heading: format!("Statement {} of {count}: {}", at + 1, what.trim_end()),
            text: text(&part.statement),
            values: own.map_or_else(Vec::new, |own| parameters(own)),
        }
    };
    document.parts.iter().enumerate().map(one).collect()
}

/// The statement of a capability, by the agent's own file of the bundle that is meant.
fn behind(site: &Site, document: &Document) -> Option<Result<Text, String>> {
    document.capability.as_ref()?;
    let found = site.statement_behind(document);
    let text = |statement: String| Text {
        pieces: highlight::statement(document.engine, &statement),
    };
    Some(found.map(text).map_err(|why| line(&why.message)))
}

fn parameters(values: &[Value]) -> Vec<Parameter> {
    let parameter = |(number, value): (usize, &Value)| Parameter {
        number,
        kind: match value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        },
        value: match value.as_str() {
            Some(text) => Text::of(text),
            None => Text::of(&value.to_string()),
        },
    };
    (1..).zip(values).map(parameter).collect()
}

fn cast(vote: &RecordedVote) -> Cast {
    let presence = words::presence(vote.presence);
    Cast {
        signer: line(&vote.signer.to_string()),
        yes: vote.decision == Decision::Approve,
        comment: vote.comment.as_deref().map(Text::of),
        how: format!(
            "{}; {presence}; key {}",
            words::surface(vote.surface),
            vote.key
        ),
        when: When::new(vote.at),
    }
}

fn wants(shown: &Shown, trust: Option<&TrustFile>, now: Timestamp) -> Vec<Want> {
    let pairs = shown.requirements.iter().zip(shown.progress());
    let want = |(requirement, progress): (&Requirement, Progress)| Want {
        rule: line(&requirement.rule),
        met: progress.is_met(),
        steps: progress
            .steps
            .iter()
            .map(|step| Step {
                text: format!("{} of {}", step.step.count, line(&step.step.group)),
                by: step.by.iter().map(|who| line(&who.to_string())).collect(),
                missing: step.missing(),
            })
            .collect(),
        demands: demands(requirement),
        who: trust.map_or_else(Vec::new, |trust| who_may(requirement, shown, trust, now)),
    };
    pairs.map(want).collect()
}

fn demands(requirement: &Requirement) -> Vec<String> {
    use crate::core::policy::Surfaces;
    use crate::core::signer::Presence;

    let mut demands = Vec::new();
    match requirement.presence {
        Presence::Hardware => demands.push("with a key that proves it was touched".to_owned()),
        Presence::Passphrase => demands.push("with a key that a passphrase protects".to_owned()),
        Presence::Unattended => {}
    }
    if requirement.surfaces != Surfaces::Any {
        demands.push(format!("signed on {}", requirement.surfaces));
    }
    if requirement.deny > 1 {
        demands.push(format!("it takes {} to reject it", requirement.deny));
    }
    demands
}

/// Whose approval would count towards a requirement, and has not been given.
fn who_may(
    requirement: &Requirement,
    shown: &Shown,
    trust: &TrustFile,
    now: Timestamp,
) -> Vec<String> {
    let voted = shown.request.state().votes().iter();
    let voted: BTreeSet<&Principal> = voted.map(|vote| &vote.signer).collect();
    let may = |signer: &&Signer| {
        let counts = |key: &SignerKey| {
            let vote = vote_of(best_surface(trust, key), signer, key);
            requirement
                .objection(&vote, &shown.document.requester)
                .is_none()
        };
        signer.may(purpose(&shown.document), now)
            && !voted.contains(&signer.name)
            && signer.keys.iter().any(counts)
    };
    let signers = trust.signers.iter().filter(may);
    signers
        .map(|signer| line(&signer.name.to_string()))
        .collect()
}

/// What an approval with a key would be counted as, given there.
fn vote_of(surface: Surface, signer: &Signer, key: &SignerKey) -> Vote {
    Vote {
        signer: signer.name.clone(),
        key: key.public.fingerprint(),
        groups: signer.groups.clone(),
        surface,
        presence: key.presence,
    }
}

/// What a signer has to be trusted for.
pub(super) fn purpose(document: &Document) -> trust::Purpose {
    match document.purpose {
        Purpose::Run => trust::Purpose::Approve,
        Purpose::BreakGlass => trust::Purpose::BreakGlass,
    }
}

/// Who has a passkey for this page, the one who is there first.
fn choices((site, you): (&Site, &Principal), trust: &TrustFile, shown: &Shown) -> Vec<Choice> {
    let (origin, now) = (site.origin(), site.now());
    let document = &shown.document;
    let mut choices = Vec::new();
    for signer in &trust.signers {
        let here = signer.keys.iter().filter(|key| key.allows_origin(&origin));
        let votes: Vec<Vote> = here
            .map(|key| vote_of(site.surface(trust), signer, key))
            .collect();
        if votes.is_empty() || !signer.may(purpose(document), now) {
            continue;
        }
        let objections = shown.requirements.iter().flat_map(|requirement| {
            let of = |vote: &Vote| requirement.objection(vote, &document.requester);
            votes.iter().map(of).collect::<Vec<_>>()
        });
        let objections: Vec<Option<String>> = objections.collect();
        let counts = objections.iter().any(Option::is_none);
        let why = objections.into_iter().flatten().next().unwrap_or_default();
        choices.push(Choice {
            name: signer.name.to_string(),
            chosen: signer.name == *you,
            objection: if counts { String::new() } else { why },
        });
    }
    choices.sort_by_key(|choice| (!choice.objection.is_empty(), !choice.chosen));
    choices
}

fn facts(document: &Document) -> Vec<(&'static str, String)> {
    let limits = &document.limits;
    let mut facts = vec![
        ("Request", document.request.to_string()),
        ("Statement kind", line(&document.kind)),
        (
            "Limits",
            format!(
                "{} rows, {} bytes, {}",
                limits.rows,
                limits.bytes,
                words::duration(limits.time_ms)
            ),
        ),
        ("Executor", document.executor.to_string()),
        ("Workspace", line(&document.workspace)),
        ("Document digest", document.digest().to_string()),
        ("Work digest", document.work.to_string()),
        ("Workspace policy", document.policy.workspace.to_string()),
        ("Agent policy", document.policy.agent.to_string()),
    ];
    if let Some(seal) = &document.params {
        facts.push((
            "Values",
            format!("{}, sealed as {}", seal.count, seal.commitment),
        ));
    }
    if let Some(preview) = &document.preview {
        facts.push(("Preview", preview.to_string()));
    }
    facts
}

fn times(document: &Document) -> Vec<(&'static str, When)> {
    let when = |ms| When::new(Timestamp::from_unix_ms(ms));
    vec![
        ("Asked", when(document.created_ms)),
        ("No signature counts from", when(document.expires_ms)),
    ]
}

/// The refusal where a value that has to be seen is not there.
pub(super) fn no_values() -> Refusal {
    Refusal::new(
        Code::ApprovalRefused,
        "the values of this request are missing, so that nobody can see what they would sign",
    )
    .hint("file the request again")
}
