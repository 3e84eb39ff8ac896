//! A request as text for a person. What they sign is shown from the document and nothing else.

use crate::broker::requests::Shown;
use crate::cli::requests::look::Look;
use crate::cli::table::table;
use crate::core::approval::{Document, Purpose};
use crate::core::policy::{Progress, Requirement, Surfaces, is_production};
use crate::core::request::{RecordedVote, Review, State, Values};
use crate::core::signer::{Presence, Surface};
use crate::core::statement::Effect;
use crate::core::time::Timestamp;
use crate::core::visible::{hidden_in, on_one_line, visible};
use crate::store::requests::Summary;

/// The widest statement in a list.
const STATEMENT: usize = 60;

/// One line for each request. The statements are without their literals, and cut.
pub(super) fn list(requests: &[Summary]) -> String {
    let row = |summary: &Summary| {
        [
            summary.id.to_string(),
            stands(summary),
            summary.effect.to_string(),
            format!("{} in {}", summary.target, summary.environment),
            summary.requester.to_string(),
            due(&summary.state),
            short(&summary.statement),
        ]
    };
    let header = [
        "request",
        "state",
        "effect",
        "target",
        "asked by",
        "until",
        "statement",
    ];
    table(header, requests.iter().map(row).collect())
}

/// One request on one line.
pub(super) fn one(summary: &Summary) -> String {
    let said = format!(
        "{}  {}{} on {} in {}, asked by {}: {}",
        summary.id,
        if summary.purpose == Purpose::BreakGlass {
            "BREAK GLASS, "
        } else {
            ""
        },
        summary.effect,
        summary.target,
        summary.environment,
        summary.requester,
        short(&summary.statement)
    );
    on_one_line(&said)
}

/// Where a request stands, and whether it broke the glass.
fn stands(summary: &Summary) -> String {
    let status = summary.state.status();
    match (summary.purpose, &summary.review) {
        (Purpose::Run, _) => status.to_string(),
        (Purpose::BreakGlass, None) => format!("{status}, BREAK GLASS"),
        (Purpose::BreakGlass, Some(review)) => {
            format!("{status}, BREAK GLASS, review {}", review.as_str())
        }
    }
}

fn due(state: &State) -> String {
    state
        .due()
        .map_or_else(|| "-".to_owned(), |at| at.to_string())
}

fn short(statement: &str) -> String {
    let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= STATEMENT {
        return line;
    }
    let cut: String = line.chars().take(STATEMENT).collect();
    format!("{cut}\u{2026}")
}

/// The document, and where the request stands.
pub(super) fn whole(shown: &Shown, look: &Look) -> String {
    let mut text = document(&shown.document, shown.values.as_ref(), look);
    text.push('\n');
    text.push_str(&look.field("state", shown.request.status().as_str()));
    if let State::Denied { refusal, .. } = shown.request.state() {
        text.push_str(&look.field("because", &on_one_line(&refusal.message)));
    }
    for vote in shown.request.state().votes() {
        text.push_str(&look.field("vote", &cast(vote)));
        if let Some(comment) = &vote.comment {
            text.push_str(&look.block('>', &visible(comment)));
        }
    }
    if let Some(review) = shown.request.review() {
        text.push_str(&reviewed(review, look));
    }
    if matches!(shown.request.state(), State::Pending { .. }) {
        text.push_str(&missing(shown, look));
    }
    text
}

/// Where the review of what was run ahead of it stands.
fn reviewed(review: &Review, look: &Look) -> String {
    match review {
        Review::Open { since } => {
            let open = format!("OPEN since {since}: somebody else has to look at what was run");
            look.field("review", &look.loud(&open))
        }
        Review::Closed(recorded) => {
            let said = format!(
                "{} by {} with {} at {}; the run had {}",
                recorded.finding.as_str(),
                recorded.reviewer,
                recorded.key,
                recorded.at,
                recorded.outcome
            );
            let mut text = look.field("review", &on_one_line(&said));
            text.push_str(&look.block('>', &visible(&recorded.comment)));
            text
        }
    }
}

/// What is still missing, one line for each requirement.
pub(super) fn missing(shown: &Shown, look: &Look) -> String {
    let progress = shown.progress();
    let both = shown.requirements.iter().zip(&progress);
    both.filter(|(_, progress)| !progress.is_met())
        .map(|(requirement, progress)| look.field("missing", &wanted(requirement, progress)))
        .collect()
}

fn wanted(requirement: &Requirement, progress: &Progress) -> String {
    let steps = progress.steps.iter().filter(|step| step.missing() > 0);
    let steps: Vec<String> = steps
        .map(|step| format!("{} of {}", step.missing(), step.step.group))
        .collect();
    let presence = match requirement.presence {
        Presence::Hardware => ", with a key of hardware",
        Presence::Passphrase => ", with a key that a passphrase protects",
        Presence::Unattended => "",
    };
    let surface = match requirement.surfaces {
        Surfaces::Any => String::new(),
        surfaces @ (Surfaces::Own | Surfaces::Terminal) => format!(", on {surfaces}"),
    };
    let (steps, rule) = (steps.join(", then "), &requirement.rule);
    on_one_line(&format!("{steps}{presence}{surface} (rule `{rule}`)"))
}

fn cast(vote: &RecordedVote) -> String {
    let surface = match vote.surface {
        Surface::Terminal => "a terminal",
        Surface::OwnPage => "a page of their own",
        Surface::RelayPage => "a relay's page",
    };
    let said = format!(
        "{}: {}, on {surface}, with {} at {}",
        vote.signer,
        vote.decision.as_str(),
        vote.key,
        vote.at
    );
    on_one_line(&said)
}

/// All that a signature covers, and the values, which are checked against it.
pub(super) fn document(document: &Document, values: Option<&Values>, look: &Look) -> String {
    let field = |label: &str, text: &str| look.field(label, &on_one_line(text));
    let mut text = String::new();
    if document.purpose == Purpose::BreakGlass {
        text.push_str(&look.loud("BREAK GLASS: runs at once, ahead of its review"));
        text.push('\n');
    }
    let place = format!("{} in {}", document.target, document.environment);
    if is_production(&document.environment) {
        text.push_str(&look.loud("PRODUCTION"));
        text.push('\n');
    }
    text.push_str(&field("target", &format!("{place} ({})", document.engine)));
    text.push_str(&field("effect", &effect(document)));
    text.push_str(&field("writes", &relations(&document.writes)));
    text.push_str(&field("reads", &relations(&document.reads)));
    let statement = document.shown_statement();
    if document.parts.is_empty() {
        text.push_str("statement\n");
        text.push_str(&look.block('|', &visible(&statement)));
        text.push_str(&parameters(document, values, look));
    } else {
        text.push_str(&batch(document, values, look));
    }
    let hidden = hidden_in(&statement);
    if hidden > 0 {
        let warning =
            format!("{hidden} characters of it would not show; they are written as \\u{{...}}");
        text.push_str(&field("careful", &warning));
    }
    text.push_str(&field("asked by", &document.requester.to_string()));
    match &document.reason {
        None => text.push_str(&field("reason", "none was given")),
        Some(reason) => {
            text.push_str("reason, in the requester's own words, which nobody has checked\n");
            text.push_str(&look.block('>', &visible(reason)));
        }
    }
    text.push_str(&field("limits", &limits(document)));
    text.push_str(&field("executor", document.executor.as_str()));
    let policy = &document.policy;
    text.push_str(&field("policy", &format!("workspace {}", policy.workspace)));
    text.push_str(&field("", &format!("agent     {}", policy.agent)));
    if let Some(preview) = &document.preview {
        text.push_str(&field("preview", &preview.to_string()));
    }
    let time = |ms| Timestamp::from_unix_ms(ms).to_string();
    text.push_str(&field("asked at", &time(document.created_ms)));
    text.push_str(&field("expires at", &time(document.expires_ms)));
    text.push_str(&field("request", document.request.as_str()));
    text.push_str(&field("document", &document.digest().to_string()));
    text
}

fn effect(document: &Document) -> String {
    let words = match document.effect {
        Effect::Read => "it reads, and changes nothing",
        Effect::Write => "it changes rows",
        Effect::Schema => "it changes what the database is made of",
        Effect::Admin => "it reaches beyond the data of the database",
    };
    format!(
        "{}: {words}; this `{}` {}",
        document.effect, document.kind, document.because
    )
}

fn relations(names: &[String]) -> String {
    if names.is_empty() {
        "nothing that has a name".to_owned()
    } else {
        names.join(", ")
    }
}

/// Every statement of a batch with its own effect and values.
fn batch(document: &Document, values: Option<&Values>, look: &Look) -> String {
    let field = |label: &str, text: &str| look.field(label, &on_one_line(text));
    let count = document.parts.len();
    let mut text = field(
        "batch",
        &format!("{count} statements: all of them stand, or none does"),
    );
    for (number, part) in (1_usize..).zip(&document.parts) {
        text.extend([
            "statement ",
            &number.to_string(),
            " of ",
            &count.to_string(),
            "\n",
        ]);
        text.push_str(&look.block('|', &visible(&part.statement)));
        let effect = format!("{}: this `{}` {}", part.effect, part.kind, part.because);
        text.push_str(&field("effect", effect.trim_end()));
        let own = values.and_then(|values| values.params.get(number - 1));
        match (part.params, own.and_then(serde_json::Value::as_array)) {
            (0, _) => text.push_str(&field("values", "none")),
            (kept, None) => {
                text.push_str(&field("values", &format!("{kept} that are no longer kept")));
            }
            (_, Some(own)) => text.push_str(&numbered(own, look)),
        }
    }
    text
}

fn numbered(values: &[serde_json::Value], look: &Look) -> String {
    let mut text = "values\n".to_owned();
    for (number, value) in (1_usize..).zip(values) {
        let shown = format!("{number} = {value}");
        text.push_str(&look.block('|', &on_one_line(&shown)));
    }
    text
}

fn parameters(document: &Document, values: Option<&Values>, look: &Look) -> String {
    let Some(seal) = &document.params else {
        return look.field("values", "none");
    };
    let Some(values) = values else {
        let gone = format!("{} that are no longer kept", seal.count);
        return look.field("values", &gone);
    };
    numbered(&values.params, look)
}

fn limits(document: &Document) -> String {
    let limits = document.limits;
    format!(
        "{} rows and {} bytes are shown; stopped after {} ms",
        limits.rows, limits.bytes, limits.time_ms
    )
}

#[cfg(test)]
mod tests;
