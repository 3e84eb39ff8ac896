//! Orders to an agent that has dialed in, and what the relay's own records make of its reports.
//!
//! The relay records that an order leaves before it does, and how it ended before anybody is told. A
//! request that people approved moves by what the agent says: begun, ended. Where the connection is lost
//! in between, its end is unknown until the agent comes back and says it: nothing is run again.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot::error::RecvError;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::agent::NotRun;
use crate::broker::fleet::{Connected, Way};
use crate::core::approval::Backing;
use crate::core::audit::{Draft, EventKind};
use crate::core::ids::{AgentId, RequestId, TokenId};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::report::Report;
use crate::core::request::{self, Ending, InvalidTransition, Request};
use crate::core::statement::Effect;
use crate::core::time::Timestamp;
use crate::core::token::SignedToken;
use crate::core::work::Work;
use crate::store::RequestError;
use crate::wire::Answer;
use crate::wire::fleet::{Ended, FromAgent, FromRelay, Order, Question, Reply, Sent};

/// What is remembered of an order while it is out.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Run {
    request: RequestId,
    token: TokenId,
    principal: Principal,
    target: String,
    time_ms: u32,
    /// Whether people approved it, so that there is a record that has to follow.
    has_a_life: bool,
    #[serde(skip)]
    begun: bool,
    /// Whether the agent was told to stop it.
    #[serde(skip)]
    stopped: bool,
}

impl Run {
    /// How long its answer may take.
    pub(super) fn patience(&self) -> Duration {
        AROUND + Duration::from_millis(u64::from(self.time_ms))
    }
}

/// What an order allows, and whether anybody still waits for it.
struct Bounds {
    effect: Effect,
    /// How long an answer may take.
    patience: Duration,
    cancel: CancellationToken,
}

/// How long an agent may take beside its work to answer an order: to judge it, to record it, and for the way.
/// It is never begun once its token has lapsed.
const AROUND: Duration = Duration::from_secs(30);

impl Connected {
    /// Has work run on an order.
    pub async fn execute(
        self: &Arc<Self>,
        order: &SignedToken,
        work: &Work,
        backing: Option<&Backing>,
        cancel: CancellationToken,
    ) -> Result<Report, NotRun> {
        let claims = order.claims();
        let run = Run {
            request: claims.request.clone(),
            token: claims.jti.clone(),
            principal: claims.sub.clone(),
            target: claims.target.clone(),
            time_ms: claims.limits.time_ms,
            has_a_life: !claims.approvals.is_empty(),
            begun: false,
            stopped: false,
        };
        let question = Question::Order(Box::new(Order {
            request: run.request.clone(),
            token_id: run.token.clone(),
            token: order.as_str().to_owned(),
            work: Sent::from(work),
            backing: backing.cloned(),
        }));
        let bounds = Bounds {
            effect: claims.effect,
            patience: run.patience(),
            cancel,
        };
        let this = Arc::clone(self);
        // A task of its own: its end is recorded whatever becomes of the caller.
        let task = tokio::spawn(async move { this.run(run, question, bounds).await });
        task.await.unwrap_or_else(|_| {
            let broken = "the task that waits for the agent broke; see the log on stderr";
            Err(Refusal::new(Code::OutcomeUnknown, broken).into())
        })
    }

    async fn run(
        self: Arc<Self>,
        run: Run,
        question: Question,
        bounds: Bounds,
    ) -> Result<Report, NotRun> {
        if !run.has_a_life {
            // That of a request with a life says so itself.
            let draft = self.draft(EventKind::RequestDispatched, &run);
            let draft = draft.token(&run.token);
            self.state
                .log()
                .append(draft)
                .await
                .map_err(Refusal::from)?;
        }
        let mut asked = self.ask(question, Some(run.clone())).await?;
        let until = Instant::now() + bounds.patience;
        let answer = tokio::select! {
            answer = timeout_at(until, &mut asked.answer) => answer,
            () = bounds.cancel.cancelled() => {
                self.cancel(asked.call);
                timeout_at(until, &mut asked.answer).await
            }
        };
        if let (Ok(Err(_)), Way::Away(_), true) = (&answer, &self.way, run.has_a_life) {
            // The other relay may not have come to it.
            self.lose(&run).await;
        }
        let outcome = match answer {
            Ok(answer) => self.outcome(answer, bounds.effect),
            Err(_) => Err(self.silent(bounds.effect).into()),
        };
        if !run.has_a_life {
            let draft = self.ended(&run, &outcome);
            self.state
                .log()
                .append(draft)
                .await
                .map_err(Refusal::from)?;
        }
        outcome
    }

    /// Stops whatever runs for a principal and for all of their clients. Its end is recorded like any other.
    pub(super) fn stop_work_of(&self, principal: &Principal) {
        let mut calls = self.calls();
        let runs = calls.iter_mut();
        let runs = runs.filter_map(|(call, waiting)| Some((*call, waiting.run.as_mut()?)));
        for (call, run) in runs.filter(|(_, run)| run.principal.is_of(principal)) {
            // Said again at the next look where there was no room to say it.
            run.stopped |= !run.stopped && self.say_cancel(call, true);
        }
    }

    fn outcome(
        &self,
        answer: Result<Answer<Reply>, RecvError>,
        effect: Effect,
    ) -> Result<Report, NotRun> {
        match answer {
            Ok(Answer::Ok(Reply::Ran(report))) if report.effect > effect => {
                Err(self.beyond(report.effect, effect).into())
            }
            Ok(Answer::Ok(Reply::Ran(report))) => Ok(report),
            Ok(Answer::Ok(Reply::NotRun { refusal, found })) => Err(NotRun {
                refusal,
                found: found.map(|found| Arc::new(*found)),
            }),
            Ok(Answer::Refused(refusal)) => Err(refusal.into()),
            Err(_) | Ok(Answer::Ok(_)) if effect == Effect::Read => Err(self.lost().into()),
            Err(_) | Ok(Answer::Ok(_)) => {
                let sentence = format!(
                    "the connection to agent {} was lost, and whether the change was made is not known",
                    self.id
                );
                let unknown = Refusal::new(Code::OutcomeUnknown, sentence)
                    .hint("look at the data before you run it again");
                Err(unknown.into())
            }
        }
    }

    /// An order was not answered in time. The agent may do it all the same.
    fn silent(&self, effect: Effect) -> Refusal {
        let id = &self.id;
        if effect == Effect::Read {
            let sentence = format!("agent {id} did not answer in time");
            return Refusal::new(Code::AgentUnavailable, sentence).hint("try again in a minute");
        }
        let sentence = format!(
            "agent {id} did not answer in time, and whether the change was made is not known"
        );
        Refusal::new(Code::OutcomeUnknown, sentence)
            .hint("look at the data before you run it again")
    }

    /// What an agent says it did is more than it was ordered to: one of the two programs is not what it should be.
    fn beyond(&self, did: Effect, ordered: Effect) -> Refusal {
        let id = &self.id;
        tracing::error!(agent = %id, %did, %ordered, "an agent reports more than it was ordered to do");
        let sentence =
            format!("agent {id} reports an effect `{did}`, and its order was for `{ordered}`");
        Refusal::new(Code::ClassificationMismatch, sentence)
            .hint("tell the person who runs secondkey: that agent is not to be trusted")
    }

    /// The relay's own entry about the end of a run of which there is no other record.
    fn ended(&self, run: &Run, outcome: &Result<Report, NotRun>) -> Draft {
        let (kind, refusal) = match outcome {
            Ok(_) => (EventKind::ExecutionSucceeded, None),
            Err(not_run) => (ending_kind(&not_run.refusal), Some(&not_run.refusal)),
        };
        let draft = self.draft(kind, run);
        match (outcome, refusal) {
            (_, Some(refusal)) => draft.refusal(refusal),
            (Ok(report), None) => {
                let rows = report.affected.unwrap_or(report.rows.len() as u64);
                draft.rows(rows).effect(report.effect)
            }
            (Err(_), None) => draft,
        }
    }

    /// Takes what the agent says in its own time. Recorded before this returns.
    pub async fn hear(&self, said: FromAgent) -> Result<(), Refusal> {
        match said {
            FromAgent::Begun { call } => {
                let begun = self.calls().get_mut(&call).and_then(|waiting| {
                    let run = waiting.run.as_mut()?;
                    run.begun = true;
                    Some(run.clone())
                });
                match begun {
                    Some(run) if run.has_a_life => self.start(&run).await,
                    Some(_) | None => Ok(()),
                }
            }
            FromAgent::Ended(ended) => self.end(ended).await,
            FromAgent::Answer { call, answer } => {
                let waiting = self.calls().remove(&call);
                if let Some(waiting) = waiting {
                    // Whoever asked may have left.
                    drop(waiting.answer.send(*answer));
                }
                Ok(())
            }
            FromAgent::Offers {
                target,
                offers,
                vectors,
            } => {
                self.vectors_are(target.as_str(), vectors);
                self.offers_are(target.as_str(), offers);
                Ok(())
            }
            FromAgent::Beat { .. }
            | FromAgent::Draining
            | FromAgent::Hello(_)
            | FromAgent::Proof(_)
            | FromAgent::Ready(_) => Ok(()),
        }
    }

    /// The connection is lost: what was begun, or may have been, has an end that nobody knows.
    pub(super) async fn lose_all(&self) {
        let waiting: Vec<_> = self.calls().drain().collect();
        for (_, waiting) in waiting {
            let Some(run) = waiting.run.filter(|run| run.has_a_life) else {
                continue;
            };
            self.lose(&run).await;
            // Dropped only now: whoever waits is told when it is on record.
            drop(waiting.answer);
        }
    }

    /// A run was begun, or may have been, and nobody here will hear its end.
    async fn lose(&self, run: &Run) {
        let ended = Ended {
            request: run.request.clone(),
            token: run.token.clone(),
            ending: Ending::Unknown,
            rows: None,
        };
        let recorded = if run.begun {
            Ok(())
        } else {
            self.start(run).await
        };
        let recorded = match recorded {
            Ok(()) => self.end(ended).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = recorded {
            tracing::error!(request = %run.request, %refusal, "a lost run could not be recorded");
        }
    }

    /// The request of a run moves to running.
    async fn start(&self, run: &Run) -> Result<(), Refusal> {
        let intent = self
            .draft(EventKind::ExecutionStarted, run)
            .token(&run.token);
        let (token, time_ms) = (run.token.clone(), run.time_ms);
        let started = self
            .state
            .requests()
            .transact(&run.request, move |request, now| {
                Ok(request.start(&token, time_ms, now, intent)?)
            });
        follow(started.await.map(drop))
    }

    /// The request of a run comes to its end, and the agent need not say so again.
    async fn end(&self, ended: Ended) -> Result<(), Refusal> {
        let Ended {
            request,
            token,
            ending,
            rows,
        } = ended;
        let (agent, started) = (self.id.clone(), token.clone());
        // Said again after a relay was away: its record may still wait for the beginning.
        let caught_up = self
            .state
            .requests()
            .transact(&request, move |request, now| {
                its_own(&request, &agent)?;
                let intent = about(&request, EventKind::ExecutionStarted, now).token(&started);
                Ok(request.start(&started, 0, now, intent)?)
            });
        follow(caught_up.await.map(drop))?;
        let agent = self.id.clone();
        let settled = self
            .state
            .requests()
            .transact(&request, move |request, now| {
                its_own(&request, &agent)?;
                if !is_run_by(&request, &token) {
                    return Err(InvalidTransition::OtherToken.into());
                }
                let outcome = outcome(&request, (&ending, rows), now).token(&token);
                Ok(request.end(ending, now, outcome)?)
            });
        follow(settled.await.map(drop))?;
        // An agent that is gone says it again when it is back.
        if let Way::Here { out, .. } = &self.way {
            drop(out.try_send(FromRelay::Recorded { request }));
        }
        Ok(())
    }

    fn draft(&self, kind: EventKind, run: &Run) -> Draft {
        Draft::new(self.state.now(), kind)
            .by(&run.principal)
            .request(&run.request)
            .target(&run.target)
            .agent(&self.id)
    }
}

/// What an agent says out of turn moves nothing: a request that is not where it could follow stays.
fn follow(moved: Result<(), RequestError>) -> Result<(), Refusal> {
    match moved {
        Ok(()) | Err(RequestError::Refused(_) | RequestError::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// An agent speaks for the requests that name it, and for no others.
fn its_own(request: &Request, agent: &AgentId) -> Result<(), Refusal> {
    if request.asked().agent == *agent {
        return Ok(());
    }
    tracing::warn!(%agent, request = %request.id(), "an agent reports on another's request");
    Err(Refusal::new(
        Code::Forbidden,
        "the request is another agent's",
    ))
}

fn is_run_by(request: &Request, token: &TokenId) -> bool {
    if let request::State::Running { token: by, .. } = request.state() {
        by == token
    } else if let request::State::Unknown(ended) = request.state() {
        ended.token == *token
    } else {
        false
    }
}

fn about(request: &Request, kind: EventKind, now: Timestamp) -> Draft {
    let asked = request.asked();
    Draft::new(now, kind)
        .by(&asked.requester)
        .request(request.id())
        .target(&asked.target)
        .agent(&asked.agent)
        .purpose(asked.purpose)
}

fn outcome(request: &Request, (ending, rows): (&Ending, Option<u64>), now: Timestamp) -> Draft {
    match ending {
        Ending::Succeeded => {
            let draft = about(request, EventKind::ExecutionSucceeded, now);
            rows.into_iter().fold(draft, Draft::rows)
        }
        Ending::Failed { code, .. } => about(request, EventKind::ExecutionFailed, now).code(*code),
        Ending::Cancelled => about(request, EventKind::ExecutionCancelled, now),
        Ending::Unknown => about(request, EventKind::ExecutionUnknown, now),
    }
}

fn ending_kind(refusal: &Refusal) -> EventKind {
    if refusal.code == Code::Cancelled {
        EventKind::ExecutionCancelled
    } else if refusal.code == Code::OutcomeUnknown {
        EventKind::ExecutionUnknown
    } else {
        EventKind::ExecutionFailed
    }
}
