//! EXECUTOR: verifies a token, judges the work again, writes the intent, runs, records, reports.
//!
//! Nothing but bytes comes in from the broker. Whatever the broker thought of the work, the agent
//! parses it itself, asks the database what only that can know, and takes the worse.

pub mod collect;
pub mod pages;
pub mod spool;

mod assess;
mod capability;
mod changed;
pub mod drift;
mod ledger;
mod policy;
mod reading;
mod record;
pub mod rehearse;
mod repeated;
mod vectors;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Notify, RwLock, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::capabilities::Capabilities;
use crate::core::approval::{Backing, Defences, Executing, Purpose, approvals, check_backing};
use crate::core::audit::{Draft, EventKind};
use crate::core::ids::AgentId;
use crate::core::policy::{Judgement, Principals};
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Ending;
use crate::core::review::Settings;
use crate::core::signer::Vote;
use crate::core::statement::{Effect, Statement};
use crate::core::target::Target;
use crate::core::time::{Clock, Timestamp};
use crate::core::token::{Claims, VerifiedToken};
use crate::core::work::Work;
use crate::exec::{Executor, ParsePool};
use crate::policies::Policies;
use crate::store::{BeginError, Dispatched, Start, State, StoreError};

pub use crate::core::report::{Assessment, Cut, PartReport, Report, Truncated};
pub use pages::Pages;

pub use capability::takes_free_sql;
pub use vectors::can_have_vectors;

use capability::Planned;
use collect::Collected;
use vectors::Vectors;

/// One executor process: the targets it serves and everything it trusts.
#[derive(Debug)]
pub struct Agent {
    executors: BTreeMap<String, Arc<Executor>>,
    parser: Arc<ParsePool>,
    state: State,
    pages: Arc<Pages>,
    policies: Arc<Policies>,
    capabilities: BTreeMap<String, Arc<Capabilities>>,
    changes: watch::Sender<u64>,
    /// Has the capabilities looked at soon.
    nudge: Arc<Notify>,
    vectors: Arc<Vectors>,
    principals: Arc<Principals>,
    review: Settings,
    defences: Defences,
    issuer: Issuer,
    clock: Arc<dyn Clock>,
    /// Held by each run that is under way.
    working: Arc<RwLock<()>>,
}

/// What an agent is made of.
#[derive(Debug)]
pub struct Parts {
    /// The targets, by name.
    pub executors: BTreeMap<String, Arc<Executor>>,
    /// Where statements are parsed.
    pub parser: Arc<ParsePool>,
    /// The keys it trusts, its journal and the audit log.
    pub state: State,
    /// Rows beyond the first page.
    pub pages: Arc<Pages>,
    /// Its own policy.
    pub policies: Arc<Policies>,
    /// What its targets offer by name, by target.
    pub capabilities: BTreeMap<String, Arc<Capabilities>>,
    /// Counts the changes of what they offer.
    pub changes: watch::Sender<u64>,
    /// The roles and groups of those who ask.
    pub principals: Arc<Principals>,
    /// What becomes of what the review rules find.
    pub review: Settings,
    /// What is checked of approvals.
    pub defences: Defences,
    /// Whose tokens it takes.
    pub issuer: Issuer,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Whose tokens an agent takes.
#[derive(Debug)]
pub enum Issuer {
    /// Those that its own state folder signs.
    Own,
    /// Those of the relay that it has joined, and no others.
    Joined,
}

/// Whoever looks on while something runs.
#[derive(Debug, Default)]
pub struct Watch {
    /// Fires when nobody waits for a read any more.
    pub cancel: CancellationToken,
    /// Fires when whatever it is has to stop, as far as it is not committed.
    pub stop: CancellationToken,
    /// Told once the request is consumed and the intent on record.
    pub begun: Option<oneshot::Sender<()>>,
}

impl From<CancellationToken> for Watch {
    fn from(cancel: CancellationToken) -> Self {
        Self {
            cancel,
            stop: CancellationToken::new(),
            begun: None,
        }
    }
}

/// Why the agent did not run something.
#[derive(Debug)]
pub struct NotRun {
    /// For the caller.
    pub refusal: Refusal,
    /// What the agent found, where that is worse than the token allows: the broker may decide anew.
    pub found: Option<Arc<Statement>>,
}

/// Work that the agent has judged and lets run.
struct Judged {
    executor: Arc<Executor>,
    statement: Arc<Statement>,
    judgement: Judgement,
    planned: Option<Planned>,
}

/// What the agent found work to be.
struct Found {
    planned: Option<Planned>,
    statement: Arc<Statement>,
    /// What of it may be seen elsewhere.
    shown: Arc<Statement>,
}

impl From<Refusal> for NotRun {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            found: None,
        }
    }
}

impl Agent {
    /// Puts an agent together.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            executors,
            parser,
            state,
            pages,
            policies,
            capabilities,
            changes,
            principals,
            review,
            defences,
            issuer,
            clock,
        } = parts;
        Self {
            executors,
            parser,
            state,
            pages,
            policies,
            capabilities,
            changes,
            nudge: Arc::default(),
            vectors: Arc::default(),
            principals,
            review,
            defences,
            issuer,
            clock,
            working: Arc::default(),
        }
    }

    /// Waits for the end of what is under way, and begins nothing more. Work above `read` goes on
    /// when its caller has left, and has to be recorded before the process may end.
    pub async fn finish(&self) {
        let working = Arc::clone(&self.working).write_owned().await;
        // For good: whoever comes now would not be recorded.
        std::mem::forget(working);
    }

    /// Whom tokens must name.
    pub fn id(&self) -> &AgentId {
        self.state.agent()
    }

    /// The rows that wait for collection.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Its own policy.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The engine that serves a target.
    pub fn executor(&self, target: &str) -> Option<&Arc<Executor>> {
        self.executors.get(target)
    }

    /// Runs `work` if `token` orders it. Once the intent is written, work above `read` goes on to
    /// its end whatever becomes of the caller; a read is cancelled when `cancel` fires.
    ///
    /// `backing` is what people approved, where the token says that they did.
    pub async fn execute(
        self: &Arc<Self>,
        token: &[u8],
        work: Work,
        backing: Option<&Backing>,
        watch: impl Into<Watch>,
    ) -> Result<Report, NotRun> {
        let watch = watch.into();
        let verified = match self.verified(token, work) {
            Ok(verified) => verified,
            Err(refusal) => {
                self.record_refusal(None, &refusal).await?;
                return Err(refusal.into());
            }
        };
        match self.judge(&verified, backing).await {
            Ok(..) if watch.cancel.is_cancelled() => {
                let refusal = record::cancelled();
                self.record_refusal(Some(verified.claims()), &refusal)
                    .await?;
                Err(refusal.into())
            }
            Ok(Judged {
                executor,
                statement,
                judgement,
                planned,
            }) => {
                let working = Arc::clone(&self.working).read_owned().await;
                let agent = Arc::clone(self);
                let task = tokio::spawn(async move {
                    let _working = working;
                    let verified = verified
                        .narrowed(judgement.limits)
                        .planned(planned.as_ref().map(Planned::plan));
                    let judged = Judged {
                        executor,
                        statement,
                        judgement,
                        planned,
                    };
                    agent.run_to_the_end(verified, judged, watch).await
                });
                task.await
                    .unwrap_or_else(|_| Err(record::broken()))
                    .map_err(NotRun::from)
            }
            Err(not_run) => {
                self.record_refusal(Some(verified.claims()), &not_run.refusal)
                    .await?;
                Err(not_run)
            }
        }
    }

    /// The permission that a token gives, unless nothing may run here.
    fn verified(&self, token: &[u8], work: Work) -> Result<VerifiedToken, Refusal> {
        self.awake()?;
        let (checks, now) = (&self.defences.token, self.clock.now());
        Ok(match &self.issuer {
            Issuer::Own => {
                let keys = self.state.token_keys()?;
                keys.verifier.verify_with(checks, token, work, now)
            }
            Issuer::Joined => {
                let joined = self.state.relay_verifier()?;
                joined.verify_with(checks, token, work, now)
            }
        }?)
    }

    /// Records that an order was refused before anybody looked at it.
    pub async fn turn_down(&self, refusal: &Refusal) -> Result<(), Refusal> {
        self.record_refusal(None, refusal).await
    }

    /// The targets that it serves.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.executors.values().map(|executor| executor.target())
    }

    /// Parses and judges the work anew, and holds the finding against the token's ceiling and the
    /// agent's own policy.
    async fn judge(
        &self,
        token: &VerifiedToken,
        backing: Option<&Backing>,
    ) -> Result<Judged, NotRun> {
        let claims = token.claims();
        let executor = self.executors.get(&claims.target).ok_or_else(|| {
            Refusal::new(
                Code::TokenRefused,
                "the token is for a target that is not served here",
            )
        })?;
        let target = executor.target();
        let Found {
            planned,
            statement,
            shown,
        } = self.found(token, executor).await?;
        if statement.effect > claims.effect {
            let message = format!(
                "the database's own catalogue shows more than the text: it {}",
                shown.because()
            );
            let refusal = Refusal::new(Code::ClassificationMismatch, message);
            return Err(NotRun {
                refusal,
                found: Some(shown),
            });
        }
        let workspace = self.state.served_workspace().map_err(Refusal::from)?;
        let called = planned.as_ref().map(Planned::called);
        let here = Executing {
            agent: self.id(),
            workspace: &workspace,
            environment: &target.environment,
            work: token.work(),
            called: called.as_ref(),
            statement: &shown,
        };
        let votes = self.votes((claims, backing), &here)?;
        let judged = (statement.as_ref(), planned.as_ref());
        let judgement = policy::judge(self, (&claims.sub, claims.purpose), target, judged);
        let counted = (&self.defences.counting, votes.as_slice());
        policy::approvals_met(&judgement, counted, &claims.sub, (target, &shown))?;
        self.counted(target, planned.as_ref())?;
        Ok(Judged {
            executor: Arc::clone(executor),
            statement,
            judgement,
            planned,
        })
    }

    /// What the work is run as, and what it can do on this database.
    async fn found(&self, token: &VerifiedToken, executor: &Executor) -> Result<Found, Refusal> {
        let (claims, target) = (token.claims(), executor.target());
        let planned = self.planned(target, token.work(), &claims.sub)?;
        if planned.is_none() && claims.purpose == Purpose::Run {
            takes_free_sql(target)?;
        }
        let told = |refusal| self.told(planned.as_ref(), refusal, claims.request.as_str());
        let work = planned.as_ref().map_or(token.work(), |it| &it.sql);
        let parsed = self.parser.parse_work(target.engine, work).await;
        let parsed = parsed.map_err(told)?;
        if planned.is_none() {
            within_relations(claims, &parsed)?;
        }
        let statement = executor.judge(parsed, work).await.map_err(told)?;
        ledger::keeps_off(executor, &statement, work)?;
        let shown = match &planned {
            Some(planned) => {
                planned.within(&statement)?;
                Arc::new(planned.masked(&statement))
            }
            None => Arc::clone(&statement),
        };
        Ok(Found {
            planned,
            statement,
            shown,
        })
    }

    /// The approvals that count here, by this agent's own trust file.
    fn votes(
        &self,
        order: (&Claims, Option<&Backing>),
        here: &Executing<'_>,
    ) -> Result<Vec<Vote>, Refusal> {
        let trust = match order {
            (_, Some(_)) => self.state.trust()?,
            (_, None) => None,
        };
        let verdicts = check_backing(
            &self.defences,
            order,
            here,
            trust.as_deref(),
            self.clock.now(),
        )?;
        Ok(approvals(&self.defences.counting, &verdicts))
    }

    /// From the intent to the outcome, both of them recorded.
    async fn run_to_the_end(
        &self,
        token: VerifiedToken,
        judged: Judged,
        watch: Watch,
    ) -> Result<Report, Refusal> {
        let Judged {
            executor,
            statement,
            judgement,
            planned,
        } = judged;
        let claims = token.claims().clone();
        let effect = statement.effect;
        let begun = self.begin(&claims, &statement, (&judgement, executor.target()));
        if !begun.await? {
            let of = (&claims, effect, executor.as_ref());
            let told = self.repeated(of, watch.cancel).await?;
            return Ok(planned.iter().fold(told, |report, it| it.hush(report)));
        }
        let started = self.clock.now();
        // Whoever looked on may have left.
        if let Some(begun) = watch.begun {
            let _nobody_looks = begun.send(());
        }
        let cancel = if effect == Effect::Read {
            watch.cancel
        } else {
            watch.stop
        };
        let run = (executor.as_ref(), statement, planned.as_ref());
        let outcome = self
            .run_noted(token, run, cancel)
            .await
            .map_err(|refusal| self.told(planned.as_ref(), refusal, claims.request.as_str()));
        let elapsed_ms = self.ms_since(started);
        let draft = record::outcome(&claims, &outcome, elapsed_ms, self.clock.as_ref());
        self.record_end(&claims, record::ending(&outcome), draft)
            .await
            .map_err(|error| record::unrecorded(effect, &outcome, &error))?;
        let collected = outcome?;
        let report = Report {
            capability: false,
            effect,
            columns: collected.columns,
            rows: collected.rows,
            affected: collected.affected,
            truncated: collected.truncated,
            parts: collected.parts,
            replayed: collected.replayed,
            findings: judgement.findings,
            elapsed: Duration::from_millis(elapsed_ms),
        };
        Ok(planned.iter().fold(report, |report, it| it.hush(report)))
    }

    /// Runs the work, unless the ledger knows it, and says what became of it.
    async fn run_noted(
        &self,
        token: VerifiedToken,
        (executor, statement, planned): (&Executor, Arc<Statement>, Option<&Planned>),
        cancel: CancellationToken,
    ) -> Result<Collected, Refusal> {
        let (claims, effect) = (token.claims().clone(), statement.effect);
        let note = self.note(&claims, (executor, effect));
        let token = token.noted(note.clone());
        let run = async {
            if let Some(told) = ledger::before(executor, note.as_ref()).await? {
                return Ok(told);
            }
            let kept = (&self.pages, executor.target().limits);
            if token.work().is_batch() {
                let runs = executor.run_batch(token, statement, cancel).await?;
                return collect::first_pages(runs, &claims, kept).await;
            }
            let running = executor.run(token, statement, cancel).await?;
            if let Some(planned) = planned {
                return planned.collect(running, &claims, effect).await;
            }
            collect::first_page(running, &claims, effect, kept).await
        };
        let outcome = AssertUnwindSafe(run)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(record::broken_while(effect)))
            .map_err(|refusal| record::honest(effect, refusal));
        ledger::after(executor, note.as_ref(), outcome).await
    }

    fn ms_since(&self, started: Timestamp) -> u64 {
        let passed = self.clock.now().unix_ms().saturating_sub(started.unix_ms());
        u64::try_from(passed).unwrap_or(0)
    }

    /// Consumes the request and writes the intent, in one transaction. False where the request comes of an
    /// idempotency key and was begun before.
    async fn begin(
        &self,
        claims: &Claims,
        statement: &Statement,
        (judgement, target): (&Judgement, &Target),
    ) -> Result<bool, Refusal> {
        let intent = self
            .draft(EventKind::ExecutionStarted, claims)
            .agent(self.id())
            .effect(statement.effect)
            .policy(&judgement.digest, &judgement.rules)
            .token(&claims.jti)
            .work(&claims.work);
        let start = Start {
            request: claims.request.clone(),
            token_not_before: Timestamp::from_unix_ms(claims.not_before_ms),
            synced: statement.effect > Effect::Read || target.sync_reads,
            intent,
            dispatched: has_a_life(claims).then(|| Dispatched {
                token: claims.jti.clone(),
                time_ms: claims.limits.time_ms,
            }),
        };
        match self.state.log().begin(start).await {
            Ok(_) => Ok(true),
            Err(BeginError::AlreadyUsed) if claims.request.is_keyed() => Ok(false),
            Err(error) => {
                let refusal = Refusal::from(error);
                if refusal.code == Code::TokenRefused {
                    self.record_refusal(Some(claims), &refusal).await?;
                }
                Err(refusal)
            }
        }
    }

    /// Writes the outcome. One that cannot be written is tried again until it can, and nothing else
    /// runs before that.
    async fn record_end(
        &self,
        claims: &Claims,
        ending: Ending,
        outcome: Draft,
    ) -> Result<(), StoreError> {
        if claims.effect >= Effect::Schema {
            self.vectors.look_again();
        }
        let (log, request) = (self.state.log(), &claims.request);
        let written = if has_a_life(claims) {
            log.end(request, ending.clone(), outcome.clone()).await
        } else {
            log.append(outcome.clone()).await
        };
        written.map(drop).inspect_err(|_| {
            if has_a_life(claims) {
                log.end_soon(request, ending, outcome);
            } else {
                log.append_soon(outcome);
            }
        })
    }

    fn draft(&self, kind: EventKind, claims: &Claims) -> Draft {
        record::draft(claims, kind, self.clock.as_ref())
    }

    async fn record_refusal(
        &self,
        claims: Option<&Claims>,
        refusal: &Refusal,
    ) -> Result<(), Refusal> {
        let draft = match claims {
            Some(claims) => self.draft(EventKind::ExecutionRefused, claims),
            None => Draft::new(self.clock.now(), EventKind::ExecutionRefused),
        };
        self.state
            .log()
            .append(draft.agent(self.id()).refusal(refusal))
            .await?;
        Ok(())
    }
}

/// Whether there may be a record of the request that has to follow its run. What the policy allowed
/// at once has none, and is not looked for.
fn has_a_life(claims: &Claims) -> bool {
    !claims.approvals.is_empty()
}

/// The executor's ceiling on relations: what it reads out of the text must be in the token.
fn within_relations(claims: &Claims, parsed: &Statement) -> Result<(), Refusal> {
    let outside = |ceiling: &[String], found: &std::collections::BTreeSet<_>| {
        found
            .iter()
            .any(|name: &crate::core::statement::Name| !ceiling.contains(&name.to_string()))
    };
    if outside(&claims.reads, &parsed.reads) || outside(&claims.writes, &parsed.writes) {
        return Err(Refusal::new(
            Code::ClassificationMismatch,
            "the work touches relations that the token does not name",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
