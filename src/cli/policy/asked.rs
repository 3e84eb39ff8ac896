//! `secondkey policy explain` of a request: which rules asked whom, and who has signed so far.

use crate::boot;
use crate::broker::requests::{self, Shown};
use crate::cli::desk::{AgentArgs, Desk};
use crate::cli::place::Place;
use crate::cli::policy::explain::{Judged, target};
use crate::cli::policy::json;
use crate::cli::{Databases, Exit, Failure, Shared, output};
use crate::config::{self, Flags, Surroundings};
use crate::core::capability::masked;
use crate::core::ids::RequestId;
use crate::core::policy::set::Explanation;
use crate::core::policy::{Progress, Requirement};
use crate::core::request::RecordedVote;
use crate::core::signer::Decision;
use crate::core::visible::on_one_line;
use crate::wire::ran::Explained;

pub(super) async fn run(
    id: &RequestId,
    (databases, agent): (Databases, &AgentArgs),
    json: bool,
    shared: Shared,
) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let local = !databases.database_urls.is_empty();
    if agent.socket(&shared, &around, local)?.is_some() {
        let desk = Desk::open(agent, shared).await?;
        let done = explain_there(&desk, id, json).await;
        return desk.close(done).await;
    }
    let flags = shared.into_flags(databases);
    let place = Place::open_with(&flags)?;
    let done = explain(&place, id, &flags, json).await;
    place.close(done).await
}

async fn explain(
    place: &Place,
    id: &RequestId,
    flags: &Flags,
    json: bool,
) -> Result<Exit, Failure> {
    let shown = requests::show(&place.state, id)?;
    let judged = judged(&shown, flags, &place.around).await;
    tell(&shown, judged, json)
}

/// The same of a request at an agent of another user, by the policies that are in force there.
async fn explain_there(desk: &Desk, id: &RequestId, json: bool) -> Result<Exit, Failure> {
    let shown = desk.show(id).await?;
    let judged = desk.explain(id).await.map_err(Failure::from);
    let explanation = |one: Explained| Explanation {
        judgement: one.judgement,
        overshadowed: one.overshadowed,
    };
    let judged = judged.map(|said| Judged {
        by: said.map(|one| (on_one_line(&one.policy), explanation(one))),
    });
    tell(&shown, judged, json)
}

fn tell(shown: &Shown, judged: Result<Judged, Failure>, json: bool) -> Result<Exit, Failure> {
    output::say(&if json {
        json::request(shown)
    } else {
        subject(shown)
    })?;
    match judged {
        Ok(judged) => {
            let changed = judged.changed(shown);
            judged.say(json)?;
            if let Some(note) = changed.filter(|_| !json) {
                output::say(&format!("\n{note}"))?;
            }
        }
        // What was asked and signed is known all the same.
        Err(failure) if json => output::say(&json::unknown(&failure.to_string()))?,
        Err(failure) => output::say(&format!(
            "\nWhat the policies say of it cannot be told here: {failure}"
        ))?,
    }
    if !json {
        output::say(&format!("\nasked of people\n{}", asks(shown)))?;
        output::say(&format!("\nsigned\n{}", votes(shown)))?;
    }
    Ok(Exit::Done)
}

/// What the policies as they are now say of it, as of when it was filed.
async fn judged(shown: &Shown, flags: &Flags, around: &Surroundings) -> Result<Judged, Failure> {
    let config = config::load(flags, around)?;
    let document = &shown.document;
    let target = target(&config, Some(&document.target))?;
    let statement = if document.capability.is_some() {
        masked(target.engine, &document.statement, document.effect)
    } else {
        let parser = boot::parse_pool()?;
        let parsed = parser.parse_document(target.engine, document).await?;
        document.as_found(&parsed)
    };
    let found = statement.findings.iter().copied();
    let findings = config.review.apply(&target.environment, found);
    let standing = config.principals.of(&document.requester);
    let facts = document.facts(
        (target, &standing),
        (&statement, &findings),
        shown.request.created(),
    );
    Ok(Judged::of(&config, &facts)?)
}

impl Judged {
    /// Says so where a policy is no longer the one that asked.
    fn changed(&self, shown: &Shown) -> Option<String> {
        let asked = shown.request.asked();
        let [(_, workspace), (_, agent)] = &self.by;
        let pairs = [
            (
                "workspace",
                workspace.judgement.digest,
                asked.workspace_policy,
            ),
            ("agent", agent.judgement.digest, asked.agent_policy),
        ];
        let changed = pairs.iter().filter(|(_, now, then)| now != then);
        let changed: Vec<&str> = changed.map(|(whose, ..)| *whose).collect();
        (!changed.is_empty()).then(|| {
            format!(
                "The {} policy has changed since this was filed; above is what it says now.",
                changed.join(" and the ")
            )
        })
    }
}

/// What was asked, by whom, where, and how it stands.
fn subject(shown: &Shown) -> String {
    let (request, document) = (&shown.request, &shown.document);
    format!(
        "{} is {}\n{} asks on {} ({}, {}): {} statement, it {} (effect `{}`)",
        request.id(),
        request.status(),
        on_one_line(&document.requester.to_string()),
        on_one_line(&document.target),
        document.engine,
        on_one_line(&document.environment),
        on_one_line(&document.kind),
        on_one_line(&document.because),
        document.effect
    )
}

fn asks(shown: &Shown) -> String {
    let asks = shown.requirements.iter().zip(shown.progress());
    let lines: Vec<String> = asks.map(|(one, progress)| ask(one, &progress)).collect();
    lines.join("\n")
}

/// Such as "2 of dba (rule `changes`): human:ada; 1 of dba is missing".
fn ask(requirement: &Requirement, progress: &Progress) -> String {
    let signed = progress.steps.iter().flat_map(|step| &step.by);
    let mut standing: Vec<String> = signed.map(|who| on_one_line(&who.to_string())).collect();
    let missing = progress.steps.iter().filter(|step| step.missing() > 0);
    standing
        .extend(missing.map(|step| format!("{} of {} missing", step.missing(), step.step.group)));
    format!(
        "  {requirement} (rule `{}`): {}",
        on_one_line(&requirement.rule),
        standing.join(", ")
    )
}

fn votes(shown: &Shown) -> String {
    let votes = shown.request.state().votes();
    if votes.is_empty() {
        return "  nobody yet".to_owned();
    }
    let lines: Vec<String> = votes.iter().map(vote).collect();
    lines.join("\n")
}

fn vote(vote: &RecordedVote) -> String {
    let said = match vote.decision {
        Decision::Approve => "approves",
        Decision::Reject => "rejects",
    };
    let comment = vote.comment.as_deref().map(on_one_line);
    let comment = comment.map_or_else(String::new, |comment| format!(": {comment}"));
    let signer = on_one_line(&vote.signer.to_string());
    format!("  {signer} {said} it at {}{comment}", vote.at)
}
