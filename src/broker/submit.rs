//! One `sql_execute` or `sql_batch`, from the question to the answer.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::agent::{NotRun, Report};
use crate::broker::approvals::ask_people;
use crate::broker::{Broker, Caller, Lane, capability, repeat};
use crate::core::approval::{Called, Purpose};
use crate::core::audit::{Draft, EventKind};
use crate::core::ids::RequestId;
use crate::core::limits::{Limits, PARAMETERS};
use crate::core::policy::{Decision, Grant, Judgement, Question, decide};
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::{Statement, batch};
use crate::core::target::Target;
use crate::core::work::{Digest, Fingerprint, Salt, Work};

/// The longest reason, in bytes: people read it.
const LONGEST_REASON: usize = 2_000;

/// What a caller asks for.
#[derive(Debug)]
pub struct Ask {
    /// What is to be run.
    pub what: Wanted,
    /// The target's name, where there are several.
    pub target: Option<String>,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// Rows wanted on the first page.
    pub max_rows: Option<u32>,
    /// Milliseconds the statement may run.
    pub timeout_ms: Option<u32>,
    /// The caller's own name for this call, under which it runs once ([`crate::core::idempotency`]).
    pub key: Option<String>,
}

/// What is to be run.
#[derive(Debug)]
pub enum Wanted {
    /// A statement.
    Sql {
        /// Its text.
        text: String,
        /// The values for its placeholders.
        params: Vec<Value>,
    },
    /// A capability.
    Capability {
        /// Its name.
        name: String,
        /// The values of its parameters.
        params: Map<String, Value>,
    },
    /// Several statements that all stand or all do not, each with its values.
    Batch(Vec<(String, Vec<Value>)>),
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
    Ran(Box<Answer>),
    /// It waits for people, as this request: [`approvals::settle`](super::approvals::settle) waits with it.
    Filed(RequestId),
}

/// Decides and, if the policy allows, lets the agent run it. Every outcome is in the audit log
/// before it is returned.
pub async fn submit(
    broker: &Broker,
    caller: &Caller,
    ask: Ask,
    cancel: CancellationToken,
) -> Result<Submitted, Refusal> {
    // Given back on return: whoever waits for people keeps nobody from working.
    let target = broker.target(ask.target.as_deref());
    let (request, named) =
        repeat::request(broker, caller, target.as_ref().ok(), ask.key.as_deref());
    let draft = |kind| broker.draft(kind, caller).request(&request);
    let _turn = match broker.turns.take(caller, &cancel).await {
        Ok(turn) => turn,
        Err(refusal) => {
            let refused = draft(EventKind::RequestRefused);
            broker.record_refusal(refused, &refusal).await?;
            return Err(refusal);
        }
    };
    let prepared = match named {
        Ok(()) => prepare(broker, &request, ask, Purpose::Run).await,
        Err(refusal) => Err(refusal),
    };
    let prepared = match prepared {
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
    let asked = (&request, &prepared);
    match repeat::filed(broker, asked).await {
        Ok(false) => {}
        Ok(true) => return Ok(Submitted::Filed(request)),
        Err(refusal) => {
            let refused = draft(EventKind::RequestRefused).target(prepared.target.name.as_str());
            broker.record_refusal(refused, &refusal).await?;
            return Err(refusal);
        }
    }
    match decided(broker, caller, asked, cancel).await {
        // Somebody else may have filed it meanwhile, under the same key.
        Err(refusal) => match repeat::filed(broker, asked).await {
            Ok(true) => Ok(Submitted::Filed(request)),
            Ok(false) | Err(_) => Err(refusal),
        },
        done => done,
    }
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
            let why = (&judgement, refusal);
            return Err(attempt.refuse(found.as_deref(), why).await);
        }
        let grant = match decision {
            Decision::Allow(grant) => grant,
            Decision::NeedsApproval(needed) => {
                let refused = attempt.refused(found.as_deref(), &judgement);
                let needs = (judgement, needed.refusal);
                return ask_people(broker, caller, asked, (needs, refused)).await;
            }
            Decision::Deny(refusal) => {
                let why = (&judgement, refusal);
                return Err(attempt.refuse(found.as_deref(), why).await);
            }
        };
        attempt.record_allowed(found.as_deref(), &judgement);
        let on = (found.as_deref(), &judgement);
        let run = attempt.run(grant, on, cancel.clone());
        match run.await {
            Ok(mut report) => {
                report.also_found(&judgement.findings);
                return Ok(Submitted::Ran(Box::new(Answer {
                    request: request.clone(),
                    report,
                })));
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
    /// What a document says of the capability, where it is one.
    pub(super) called: Option<Called>,
}

impl Prepared {
    /// The capability and its bundle, as policies see them.
    fn named(&self) -> Option<(&str, Digest)> {
        let called = self.called.as_ref()?;
        Some((&called.name, called.bundle))
    }
}

pub(super) async fn prepare(
    broker: &Broker,
    request: &RequestId,
    ask: Ask,
    purpose: Purpose,
) -> Result<Prepared, Refusal> {
    let target = broker.target(ask.target.as_deref())?;
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
    let (lane, work, called, statement) = match ask.what {
        Wanted::Sql { text, params } => {
            let work = sql(text, params, broker.state.salt(request))?;
            free(broker, &target, purpose, work).await?
        }
        Wanted::Batch(statements) => {
            let work = several(statements, broker.state.salt(request))?;
            free(broker, &target, purpose, work).await?
        }
        Wanted::Capability { name, params } => {
            let lane = broker.link.lane(&target, None).await?;
            let offer = lane.offer(&target, &name)?;
            let salt = broker.state.salt(request);
            let (work, statement) = capability::call(&offer, target.engine, params, salt)?;
            (lane, work, Some(Called::of(&offer)), Arc::new(statement))
        }
    };
    let target = lane.target(&target);
    let limits = Limits {
        rows: ask.max_rows.unwrap_or(target.limits.rows).max(1),
        bytes: target.limits.bytes,
        time_ms: ask.timeout_ms.unwrap_or(target.limits.time_ms).max(1),
    };
    Ok(Prepared {
        target,
        lane,
        fingerprint: work.fingerprint(),
        work,
        statement,
        limits,
        reason: ask.reason,
        purpose,
        called,
    })
}

/// Free SQL, parsed, and who would run it.
async fn free(
    broker: &Broker,
    target: &Target,
    purpose: Purpose,
    work: Work,
) -> Result<(Lane, Work, Option<Called>, Arc<Statement>), Refusal> {
    if purpose == Purpose::Run {
        capability::takes_free_sql(target)?;
    }
    let statement = broker.parser.parse_work(target.engine, &work).await?;
    let lane = broker.link.lane(target, None).await?;
    Ok((lane, work, None, statement))
}

/// A statement and its values as work.
pub(super) fn sql(text: String, params: Vec<Value>, salt: Salt) -> Result<Work, Refusal> {
    not_too_many(params.len())?;
    Ok(Work::Sql { text, params, salt })
}

/// Several statements, each with its values, as one piece of work.
pub(super) fn several(statements: Vec<(String, Vec<Value>)>, salt: Salt) -> Result<Work, Refusal> {
    let bytes = statements.iter().map(|(text, _)| text.len()).sum();
    batch::fits(statements.len(), bytes)?;
    not_too_many(statements.iter().map(|(_, params)| params.len()).sum())?;
    Ok(Work::batch(statements, salt))
}

fn not_too_many(values: usize) -> Result<(), Refusal> {
    if values > PARAMETERS {
        let message = format!("{values} values were given and the limit is {PARAMETERS}");
        return Err(Refusal::new(Code::ParameterCount, message));
    }
    Ok(())
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
            capability: self.prepared.named(),
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

    /// Waits for room, signs the order, and has it run.
    async fn run(
        &self,
        grant: Grant,
        (found, judgement): (Option<&Statement>, &Judgement),
        cancel: CancellationToken,
    ) -> Result<Report, NotRun> {
        let (broker, lane) = (self.broker, &self.prepared.lane);
        let whose = (&self.caller.principal, &self.prepared.target.name);
        let _slot = match lane.slot(whose, &cancel).await {
            Ok(slot) => slot,
            Err(refusal) => return Err(self.refuse(found, (judgement, refusal)).await.into()),
        };
        // Their key may have been ended while they waited for room.
        if let Err(refusal) = self.caller.still_counts() {
            return Err(self.refuse(found, (judgement, refusal)).await.into());
        }
        let keys = broker.state.token_keys().map_err(Refusal::from)?;
        let token = keys
            .signer
            .sign(grant, broker.ids.token(), broker.clock.now());
        let work = self.prepared.work.clone();
        lane.execute(&token, work, None, cancel).await
    }

    /// Records a refusal, and gives it back to be told; or why it cannot be recorded.
    async fn refuse(
        &self,
        found: Option<&Statement>,
        (judgement, refusal): (&Judgement, Refusal),
    ) -> Refusal {
        let refused = self.refused(found, judgement);
        let recorded = self.broker.record_refusal(refused, &refusal).await;
        recorded.err().unwrap_or(refusal)
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
            Some(commitment) => draft.params(work.count(), commitment),
            None => draft,
        }
    }
}
