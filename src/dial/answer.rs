//! What an agent answers.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::agent::{NotRun, Watch, takes_free_sql};
use crate::core::refusal::{Code, Refusal};
use crate::core::report::Report;
use crate::core::request::Ending;
use crate::core::work::Work;
use crate::dial::Dialer;
use crate::wire::Answer;
use crate::wire::fleet::{Ended, FromAgent, Order, Question, Reply};

/// What ends the work on a question early.
#[derive(Clone, Debug, Default)]
pub(super) struct Halt {
    /// Nobody waits any more: a read ends.
    pub(super) cancel: CancellationToken,
    /// Whoever asked may not any more: a change ends, too.
    pub(super) stop: CancellationToken,
}

/// Where answers go.
type Out = mpsc::Sender<FromAgent>;

/// Answers one question. Where the connection is gone meanwhile, nobody hears it.
pub(super) async fn answer(
    dialer: &Dialer,
    (call, question): (u64, Question),
    out: &Out,
    halt: Halt,
) {
    let answer = if let Question::Order(order) = question {
        run(dialer, (call, *order), out, halt).await
    } else {
        let answering = simple(dialer, question);
        tokio::select! {
            answer = answering => answer,
            () = halt.cancel.cancelled() => return,
        }
    };
    let answer = Box::new(Answer::from(answer));
    drop(out.send(FromAgent::Answer { call, answer }).await);
}

async fn simple(dialer: &Dialer, question: Question) -> Result<Reply, Refusal> {
    let _room = dialer.questions.acquire().await;
    let agent = &dialer.agent;
    Ok(match question {
        Question::Assess {
            target,
            work,
            requester,
            purpose,
        } => {
            let work = Work::from(work);
            let assessed = agent.assess(target.as_str(), &work, (&requester, purpose));
            let assessed = assessed.await?;
            Reply::Assessed {
                statement: Box::new(Arc::unwrap_or_clone(assessed.statement)),
                judgement: assessed.judgement,
            }
        }
        Question::Page {
            owner,
            handle,
            from,
            max_rows,
        } => Reply::Page(agent.page(&owner, &handle, (from, max_rows)).await?),
        Question::Tables {
            target,
            schema,
            search,
        } => {
            takes_free_sql(agent.serving(&target)?.target())?;
            let which = (schema.as_deref(), search.as_deref());
            Reply::Tables(agent.list_tables(&target, which).await?)
        }
        Question::Table { target, table } => {
            takes_free_sql(agent.serving(&target)?.target())?;
            Reply::Table(agent.describe_table(&target, &table).await?)
        }
        Question::Reach { target } => {
            agent.serving(&target)?.reach().await?;
            Reply::Reached
        }
        Question::Order(_) => return Err(busy()),
    })
}

/// Runs an order if it is one, and says when it is begun and how it ended. The end is in the journal by then,
/// to be said again after each reconnect until the relay has it on record.
async fn run(
    dialer: &Dialer,
    (call, order): (u64, Order),
    out: &Out,
    halt: Halt,
) -> Result<Reply, Refusal> {
    // The relay waits for room before it signs; one that does not is told.
    let room = dialer.slots.try_acquire().map_err(|_| busy());
    let _room = match room.and_then(|room| dialer.clocks.check().map(|()| room)) {
        Ok(room) => room,
        Err(refusal) => {
            dialer.agent.turn_down(&refusal).await?;
            return Err(refusal);
        }
    };
    let Order {
        request,
        token_id,
        token,
        work,
        backing,
    } = order;
    let (begun, mut has_begun) = oneshot::channel();
    let watch = Watch {
        cancel: halt.cancel,
        stop: halt.stop,
        begun: Some(begun),
    };
    let running = dialer
        .agent
        .execute(token.as_bytes(), Work::from(work), backing.as_ref(), watch);
    tokio::pin!(running);
    let mut begins = false;
    let outcome = tokio::select! {
        outcome = &mut running => outcome,
        told = &mut has_begun => {
            begins = told.is_ok();
            if begins {
                drop(out.send(FromAgent::Begun { call }).await);
            }
            running.await
        }
    };
    if !begins && has_begun.try_recv().is_ok() {
        begins = true;
        drop(out.send(FromAgent::Begun { call }).await);
    }
    if begins && backing.is_some() {
        let ended = Ended {
            request,
            token: token_id,
            ending: ending(&outcome),
            rows: outcome.as_ref().ok().and_then(Report::counted),
        };
        drop(out.send(FromAgent::Ended(ended)).await);
    }
    Ok(match outcome {
        Ok(report) => Reply::Ran(report),
        Err(NotRun { refusal, found }) => Reply::NotRun {
            refusal,
            found: found.map(|found| Box::new(Arc::unwrap_or_clone(found))),
        },
    })
}

fn ending(outcome: &Result<Report, NotRun>) -> Ending {
    match outcome {
        Ok(_) => Ending::Succeeded,
        // It may have been done and not recorded: the agent's own log has its end once it is mended.
        Err(not_run) if not_run.refusal.code == Code::AuditUnavailable => Ending::Unknown,
        Err(not_run) => Ending::refused(&not_run.refusal),
    }
}

fn busy() -> Refusal {
    Refusal::new(Code::AgentUnavailable, "the agent has no room for more")
        .hint("make the call again in a moment")
}
