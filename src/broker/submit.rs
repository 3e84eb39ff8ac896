//! One `sql_execute`, from the question to the answer.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::agent::{NotRun, Report};
use crate::broker::approvals::ask_people;
use crate::broker::{Broker, Caller, Lane};
use crate::core::approval::Purpose;
use crate::core::audit::{Draft, EventKind};
use crate::core::ids::RequestId;
use crate::core::limits::{Limits, PARAMETERS};
use crate::core::policy::{Decision, Judgement, Question, decide};
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::Statement;
use crate::core::target::Target;
use crate::core::work::{Fingerprint, Work};

/// The longest reason, in bytes: people read it.
const LONGEST_REASON: usize = 2_000;

/// What a caller asks for.
#[derive(Debug)]
pub struct SqlAsk {
    /// The statement.
    pub sql: String,
    /// The values for its placeholders.
    pub params: Vec<Value>,
    /// The target's name, where there are several.
    pub target: Option<String>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// Rows wanted on the first page.
    pub max_rows: Option<u32>,
    /// Milliseconds the statement may run.
    pub timeout_ms: Option<u32>,
}

/// What came of it.
#[derive(Debug)]
pub struct Answer {
    /// The request, for the audit log.
    pub request: RequestId,
    /// What the agent reported.
    pub report: Report,
}

/// What became of a statement that was not refused.
#[derive(Debug)]
pub enum Submitted {
    /// It has run.
    Ran(Answer),
    /// It waits for people, as this request: [`approvals::settle`](super::approvals::settle) waits with it.
    Filed(RequestId),
}

/// Decides and, if the policy allows, lets the agent run it. Every outcome is in the audit log
/// before it is returned.
pub async fn submit(
    broker: &Broker,
    caller: &Caller,
    ask: SqlAsk,
    cancel: CancellationToken,
) -> Result<Submitted, Refusal> {
    // Given back on return: whoever waits for people keeps nobody from working.
    let request = broker.ids.request();
    let draft = |kind| broker.draft(kind, caller).request(&request);
    let _turn = match broker.turns.take(caller, &cancel).await {
        Ok(turn) => turn,
        Err(refusal) => {
            let refused = draft(EventKind::RequestRefused);
            broker.record_refusal(refused, &refusal).await?;
            return Err(refusal);
        }
    };
    let target = broker.target(ask.target.as_deref());
    let prepared = match prepare(broker, &request, ask, Purpose::Run).await {
        Ok(prepared) => prepared,
        Err(refusal) => {
            let refused = draft(EventKind::RequestRefused);
            let refused = match target {
                Ok(target) => refused.target(target.name.as_str()),
                Err(_) => refused,
            };
            broker.record_refusal(refused, &refusal).await?;
            return Err(refusal);
        }
    };
    decided(broker, caller, (&request, &prepared), cancel).await
}

/// Does what the policy says: runs it, has people asked, or refuses.
async fn decided(
    broker: &Broker,
    caller: &Caller,
    asked: (&RequestId, &Prepared),
    cancel: CancellationToken,
) -> Result<Submitted, Refusal> {
    let (request, prepared) = asked;
    let mut found = None;
    loop {
        let attempt = Attempt {
            broker,
            caller,
            request,
            prepared,
        };
        let (judgement, decision) = attempt.decide(found.as_deref());
        let effect = found.as_ref().unwrap_or(&prepared.statement).effect;
        if let Err(refusal) = caller.may(effect) {
            let refused = attempt.refused(found.as_deref(), &judgement);
            broker.record_refusal(refused, &refusal).await?;
            return Err(refusal);
        }
        let grant = match decision {
            Decision::Allow(grant) => grant,
            Decision::NeedsApproval(needed) => {
                let refused = attempt.refused(found.as_deref(), &judgement);
                let needs = (judgement, needed.refusal);
                return ask_people(broker, caller, asked, (needs, refused)).await;
            }
            Decision::Deny(refusal) => {
                let refused = attempt.refused(found.as_deref(), &judgement);
                broker.record_refusal(refused, &refusal).await?;
                return Err(refusal);
            }
        };
        attempt.record_allowed(found.as_deref(), &judgement);
        let _slot = prepared.lane.slot(&cancel).await?;
        let keys = broker.state.token_keys()?;
        let token = keys
            .signer
            .sign(grant, broker.ids.token(), broker.clock.now());
        let work = prepared.work.clone();
        let run = prepared.lane.execute(&token, work, None, cancel.clone());
        match run.await {
            Ok(mut report) => {
                report.also_found(&judgement.findings);
                return Ok(Submitted::Ran(Answer {
                    request: request.clone(),
                    report,
                }));
            }
            // The agent saw more than the text shows. Decide once more, on its finding.
            Err(NotRun {
                found: Some(worse), ..
            }) if found.is_none() => found = Some(worse),
            // The agent's own policy wants somebody whom the workspace's does not.
            Err(NotRun { refusal, .. }) if refusal.code == Code::ApprovalRequired => {
                let refused = attempt.refused(found.as_deref(), &judgement);
                let needs = (judgement, refusal);
                return ask_people(broker, caller, asked, (needs, refused)).await;
            }
            Err(NotRun { refusal, .. }) => return Err(refusal),
        }
    }
}

/// An ask whose form is in order.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) target: Arc<Target>,
    /// Who would run it.
    pub(super) lane: Lane,
    pub(super) work: Work,
    pub(super) fingerprint: Fingerprint,
    pub(super) statement: Arc<Statement>,
    pub(super) limits: Limits,
    pub(super) reason: Option<String>,
    pub(super) purpose: Purpose,
}

pub(super) async fn prepare(
    broker: &Broker,
    request: &RequestId,
    ask: SqlAsk,
    purpose: Purpose,
) -> Result<Prepared, Refusal> {
    let target = broker.target(ask.target.as_deref())?;
    if ask.params.len() > PARAMETERS {
        let message = format!(
            "{} values were given and the limit is {PARAMETERS}",
            ask.params.len()
        );
        return Err(Refusal::new(Code::ParameterCount, message));
    }
    if ask
        .reason
        .as_ref()
        .is_some_and(|reason| reason.len() > LONGEST_REASON)
    {
        let message = format!("the reason is longer than {LONGEST_REASON} bytes");
        return Err(
            Refusal::new(Code::InvalidArgument, message).hint("say it in a sentence or two")
        );
    }
    let statement = broker.parser.parse(target.engine, &ask.sql).await?;
    let limits = Limits {
        rows: ask.max_rows.unwrap_or(target.limits.rows).max(1),
        bytes: target.limits.bytes,
        time_ms: ask.timeout_ms.unwrap_or(target.limits.time_ms).max(1),
    };
    let work = Work::Sql {
        text: ask.sql,
        params: ask.params,
        salt: broker.state.salt(request),
    };
    let lane = broker.link.lane(&target, None).await?;
    Ok(Prepared {
        target,
        lane,
        fingerprint: work.fingerprint(),
        work,
        statement,
        limits,
        reason: ask.reason,
        purpose,
    })
}

/// One look at an ask by the workspace's policy.
pub(super) struct Attempt<'a> {
    pub(super) broker: &'a Broker,
    pub(super) caller: &'a Caller,
    pub(super) request: &'a RequestId,
    pub(super) prepared: &'a Prepared,
}

impl Attempt<'_> {
    pub(super) fn decide(&self, found: Option<&Statement>) -> (Judgement, Decision) {
        let Prepared {
            target,
            fingerprint,
            statement,
            limits,
            purpose,
            ..
        } = self.prepared;
        decide(&Question {
            request: self.request,
            principal: &self.caller.principal,
            standing: &self.broker.standing(self.caller),
            target,
            agent: self.prepared.lane.id(),
            work: fingerprint.digest,
            statement,
            found,
            limits: *limits,
            policy: &self.broker.policies.current(),
            review: &self.broker.review,
            approved: None,
            purpose: *purpose,
            at: self.broker.clock.now(),
        })
    }

    /// Queued, not awaited: the agent's intent comes after it in the same queue and is awaited.
    fn record_allowed(&self, found: Option<&Statement>, judgement: &Judgement) {
        let allowed = self.describe(EventKind::RequestAllowed, found, judgement);
        self.broker.state.log().append_soon(allowed);
    }

    fn refused(&self, found: Option<&Statement>, judgement: &Judgement) -> Draft {
        self.describe(EventKind::RequestRefused, found, judgement)
    }

    fn describe(&self, kind: EventKind, found: Option<&Statement>, judgement: &Judgement) -> Draft {
        let Prepared {
            target,
            work,
            fingerprint,
            statement,
            reason,
            ..
        } = self.prepared;
        let judged = found.unwrap_or(statement);
        let draft = self.broker.draft(kind, self.caller);
        let draft = draft
            .request(self.request)
            .target(target.name.as_str())
            .statement(judged)
            .policy(&judgement.digest, &judgement.rules)
            .work(&fingerprint.digest);
        let draft = match reason {
            Some(reason) => draft.text("reason", reason),
            None => draft,
        };
        match &fingerprint.commitment {
            Some(commitment) => draft.params(work.params().len(), commitment),
            None => draft,
        }
    }
}
