//! Work that people have to agree to: filed with everything they need to see, waited for, and run
//! once they have signed.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::submit::{Answer, Prepared};
use crate::broker::{Broker, Caller, requests};
use crate::core::approval::{Backing, Document, ParamsSeal, PolicyDigests, Purpose, SignedVerdict};
use crate::core::audit::Draft;
use crate::core::ids::RequestId;
use crate::core::policy::decide::{denied, describe};
use crate::core::policy::{
    Approved, Decision, Judgement, Outcome, Question, Requirement, Standing, decide, strictest,
};
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{self, APPROVED_MS, Asked, PENDING_MS, Request, State, Status, Values};
use crate::core::statement::{Name, Statement};
use crate::core::time::Timestamp;
use crate::core::token::TOKEN_LIFE_MS;
use crate::core::work::Work;

/// How long a call waits for a person before it answers that the request is pending.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// What a request is made of.
struct Filing<'a> {
    request: &'a RequestId,
    prepared: &'a Prepared<'a>,
    /// What the agent found that the work can do.
    found: &'a Statement,
    /// What both policies say; it asks for somebody.
    judgement: &'a Judgement,
    policies: PolicyDigests,
}

/// Files work that needs people, waits a while for them, and runs it if they agree in time.
///
/// Where nobody is trusted to approve anything yet there is nothing to wait for, and nothing is
/// filed: the refusal says what to run first.
pub(super) async fn ask_people(
    broker: &Broker,
    caller: &Caller,
    (request, prepared): (&RequestId, &Prepared<'_>),
    ((workspace, needs), refused): ((Judgement, Refusal), Draft),
    cancel: CancellationToken,
) -> Result<Answer, Refusal> {
    if broker.state.trust()?.is_none() {
        let refusal = nobody_yet(needs);
        broker.record_refusal(refused, &refusal).await?;
        return Err(refusal);
    }
    let target = prepared.target;
    let assessed = broker
        .agent
        .assess(target.name.as_str(), &prepared.work, &caller.principal)
        .await?;
    let policies = PolicyDigests {
        workspace: workspace.digest,
        agent: assessed.judgement.digest,
    };
    let judgement = strictest(workspace, assessed.judgement);
    if let Outcome::Deny(denial) = judgement.outcome {
        let found = &assessed.statement;
        let what = describe(found, found.effect);
        let refusal = denied(&judgement, denial, target, &what);
        broker.record_refusal(refused, &refusal).await?;
        return Err(refusal);
    }
    let filing = Filing {
        request,
        prepared,
        found: &assessed.statement,
        judgement: &judgement,
        policies,
    };
    file(broker, caller, &filing).await?;
    settle(broker, caller, request, PATIENCE, cancel).await
}

/// Waits for the people's decision on a request of this caller's, and runs it once it is approved.
pub async fn settle(
    broker: &Broker,
    caller: &Caller,
    id: &RequestId,
    patience: Duration,
    cancel: CancellationToken,
) -> Result<Answer, Refusal> {
    let requests = broker.state.requests();
    let decided = requests.wait(id, patience, |request| request.status() != Status::Pending);
    let request = tokio::select! {
        request = decided => request?,
        () = cancel.cancelled() => {
            return Err(Refusal::new(Code::Cancelled, format!("the call was cancelled; request {id} waits on")));
        }
    };
    if request.asked().requester != caller.principal {
        return Err(unknown(id));
    }
    match request.state() {
        State::Approved(_) => run(broker, caller, request, cancel).await,
        _ => Err(standing(&request)),
    }
}

async fn file(broker: &Broker, caller: &Caller, filing: &Filing<'_>) -> Result<(), Refusal> {
    let Filing {
        request,
        prepared,
        found,
        judgement,
        policies,
    } = filing;
    let now = broker.clock.now();
    let document = document(broker, caller, filing, now)?;
    let expires = Timestamp::from_unix_ms(document.expires_ms);
    let text = String::from_utf8(document.canonical()).unwrap_or_default();
    let requirements = serde_json::to_string(judgement.requirements())
        .map_err(|_| Refusal::new(Code::Internal, "the requirements cannot be written"))?;
    let asked = Asked {
        id: (*request).clone(),
        workspace: document.workspace,
        requester: document.requester,
        target: document.target,
        environment: document.environment,
        engine: document.engine,
        agent: document.executor,
        effect: document.effect,
        kind: document.kind,
        statement: found.redacted.clone(),
        reason: document.reason,
        work: document.work,
        document: request::Document::new(text, expires),
        requirements,
        workspace_policy: policies.workspace,
        agent_policy: policies.agent,
    };
    let Work::Sql { params, salt, .. } = &prepared.work;
    let values = Values {
        params: params.clone(),
        salt: *salt,
    };
    let change = Request::submit(asked, now).then(|request| request.pend(now))?;
    broker.state.requests().file(change, Some(&values)).await?;
    Ok(())
}

fn document(
    broker: &Broker,
    caller: &Caller,
    filing: &Filing<'_>,
    now: Timestamp,
) -> Result<Document, Refusal> {
    let Prepared {
        target,
        work,
        statement,
        limits,
        reason,
    } = filing.prepared;
    let found = filing.found;
    let names = |one: &std::collections::BTreeSet<Name>,
                 other: &std::collections::BTreeSet<Name>| {
        one.union(other).map(ToString::to_string).collect()
    };
    let document = Document {
        version: crate::core::approval::document::VERSION,
        purpose: Purpose::Run,
        workspace: broker.state.log().workspace().to_owned(),
        request: filing.request.clone(),
        executor: broker.agent.id().clone(),
        target: target.name.as_str().to_owned(),
        engine: target.engine,
        environment: target.environment.clone(),
        requester: caller.principal.clone(),
        reason: reason.clone(),
        work: work.digest(),
        statement: work.text().to_owned(),
        params: work.commitment().map(|commitment| ParamsSeal {
            count: u32::try_from(work.params().len()).unwrap_or(u32::MAX),
            commitment,
        }),
        effect: found.effect.max(statement.effect),
        kind: found.kind.clone(),
        because: found.because(),
        reads: names(&statement.reads, &found.reads),
        writes: names(&statement.writes, &found.writes),
        limits: limits
            .intersect(target.limits)
            .intersect(filing.judgement.limits),
        policy: filing.policies.clone(),
        preview: None,
        nonce: hex::encode(
            crate::ids::random::<16>()
                .map_err(|_| Refusal::new(Code::Internal, "no randomness from the system"))?,
        ),
        created_ms: now.unix_ms(),
        // Whoever signs in the last minute leaves an hour to collect.
        expires_ms: now.plus_ms(PENDING_MS).plus_ms(APPROVED_MS).unix_ms(),
    };
    document.check()?;
    Ok(document)
}

/// Dispatches an approved request and runs it.
async fn run(
    broker: &Broker,
    caller: &Caller,
    request: Request,
    cancel: CancellationToken,
) -> Result<Answer, Refusal> {
    let id = request.id().clone();
    let (state, wanted) = (broker.state.clone(), id.clone());
    let shown = tokio::task::spawn_blocking(move || requests::show(&state, &wanted))
        .await
        .map_err(|_| Refusal::new(Code::Internal, "the request could not be read"))??;
    let document = shown.document;
    let backing = backing(&request)?;
    let Values { params, salt } = shown.values.ok_or_else(|| standing(&request))?;
    let work = Work::Sql {
        text: document.statement.clone(),
        params,
        salt,
    };
    let target = broker.target(Some(&document.target))?;
    let statement = broker.parser.parse(target.engine, work.text()).await?;
    let mut judged = (*statement).clone();
    if document.effect > judged.effect {
        judged.worsen(document.effect, document.because.clone());
    }
    let approved = Approved {
        document: backing.document_digest(),
        verdicts: backing.verdict_digests(),
        votes: requests::votes(&request, request::Decision::Approve),
    };
    let (_, decision) = decide(&Question {
        request: &id,
        principal: &caller.principal,
        standing: &Standing::NONE,
        target,
        agent: broker.agent.id(),
        work: &work,
        statement: &judged,
        found: None,
        limits: document.limits,
        policy: &broker.policies.current(),
        review: &broker.review,
        approved: Some(&approved),
        at: broker.clock.now(),
    });
    let grant = match decision {
        Decision::Allow(grant) => grant,
        Decision::NeedsApproval(needed) => return Err(needed.refusal),
        Decision::Deny(refusal) => return Err(refusal),
    };
    let keys = broker.state.token_keys()?;
    let token = broker.ids.token();
    let now = broker.clock.now();
    let order = keys.signer.sign(grant, token.clone(), now);
    let lapses = now.plus_ms(TOKEN_LIFE_MS);
    let dispatched = broker.state.requests().transact(&id, move |request, now| {
        Ok(request.dispatch(token, lapses, now)?)
    });
    dispatched.await?;
    let report = broker
        .agent
        .execute(order.as_str().as_bytes(), work, Some(&backing), cancel)
        .await
        .map_err(|not_run| not_run.refusal)?;
    Ok(Answer {
        request: id,
        report,
    })
}

/// What stands behind a request: its document and the verdicts on it that approve.
fn backing(request: &Request) -> Result<Backing, Refusal> {
    let signed = |vote: &request::RecordedVote| {
        serde_json::from_str::<SignedVerdict>(&vote.signed).map_err(|_| {
            Refusal::new(
                Code::ApprovalRefused,
                "a recorded approval cannot be read; the state file was changed by hand",
            )
        })
    };
    let votes = request.state().votes().iter();
    let approving = votes.filter(|vote| vote.decision == request::Decision::Approve);
    Ok(Backing {
        document: request.asked().document.text().to_owned(),
        verdicts: approving.map(signed).collect::<Result<_, _>>()?,
    })
}

/// What a model is told of a request that does not run now.
pub fn standing(request: &Request) -> Refusal {
    let id = request.id();
    let asked = request.asked();
    let comments = || {
        let votes = request.state().votes().iter();
        let said = votes.filter_map(|vote| {
            let comment = vote.comment.as_deref()?;
            Some(format!("; {} says: {comment}", vote.signer))
        });
        said.collect::<String>()
    };
    match request.status() {
        Status::Submitted | Status::Measuring | Status::Pending => Refusal::new(
            Code::ApprovalPending,
            format!(
                "a person has to approve this on `{}` first (effect `{}`); request {id} waits for them",
                asked.target, asked.effect
            ),
        )
        .hint(format!(
            "tell the person: it needs {}; they run `secondkey approve {id}` or open {PAGE}/requests/{id}. Then call \
             `request` with action `wait` and this id: that runs it and gives its result. Do not send the statement again",
            needs(&asked.requirements)
        )),
        Status::Rejected => Refusal::new(
            Code::ApprovalRejected,
            format!("request {id} was rejected{}", comments()),
        )
        .hint("ask the person what they would agree to"),
        Status::Expired => Refusal::new(
            Code::RequestState,
            format!("the time of request {id} ran out before it was approved and run"),
        )
        .hint("make the call again to ask anew"),
        status => Refusal::new(
            Code::RequestState,
            format!("request {id} is {status}; it runs once"),
        )
        .hint("make the call again to ask anew, if that is what you want"),
    }
}

/// Where the page is.
pub const PAGE: &str = "http://localhost:7321";

/// Such as "1 of dba, then 1 of owner".
pub fn needs(requirements: &str) -> String {
    let parsed: Vec<Requirement> = serde_json::from_str(requirements).unwrap_or_default();
    let said: Vec<String> = parsed.iter().map(ToString::to_string).collect();
    if said.is_empty() {
        "somebody".to_owned()
    } else {
        said.join(" and ")
    }
}

fn nobody_yet(needs: Refusal) -> Refusal {
    let hint = needs.hint.clone().unwrap_or_default();
    needs.hint(format!(
        "nobody can approve yet: a person runs `secondkey trust init` once; or {hint}"
    ))
}

/// The refusal for a request that this caller has none of.
pub fn unknown(id: &RequestId) -> Refusal {
    Refusal::new(
        Code::UnknownRequest,
        format!("there is no request {id} of yours"),
    )
    .hint("`request` with action `list` shows yours")
}
