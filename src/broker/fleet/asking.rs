//! Questions to an agent that has dialed in, and its answers.

use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use std::collections::HashMap;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::fleet::run::Run;
use crate::broker::fleet::{Connected, Waiting, Way};
use crate::core::approval::Purpose;
use crate::core::ids::{AgentId, HandleId};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::report::{Assessment, PageOfRows};
use crate::core::schema::{TableDescription, TableSummary};
use crate::core::target::{Target, TargetName};
use crate::core::work::Work;
use crate::wire::Answer;
use crate::wire::fleet::{FromRelay, Question, Reply, Sent};

/// How long an agent may take over a question that runs nothing of a caller's.
pub(super) const QUESTION: Duration = Duration::from_mins(1);
/// How long an agent may take to say whether a database answers.
const REACH: Duration = Duration::from_secs(8);

/// Room for one order at an agent, until it is dropped.
pub struct Room(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Room")
    }
}

/// A question that was put, until its answer has come or nobody waits any more.
pub(super) struct Asked {
    pub(super) connected: Arc<Connected>,
    pub(super) call: u64,
    pub(super) answer: oneshot::Receiver<Answer<Reply>>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        // Somebody who left: the agent need not go on. After an answer this finds nothing.
        if let Some(waiting) = self.connected.calls().remove(&self.call) {
            waiting.cancel.cancel();
            self.connected.say_cancel(self.call, false);
        }
    }
}

impl Connected {
    /// Whom tokens must name.
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// A target as this agent itself serves it, whatever another says of its own of the same name.
    pub fn target(&self, name: &TargetName) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| target.name == *name)
    }

    /// Waits until it has room for one more order, for as long as the caller does and no longer than is good.
    pub async fn slot(
        &self,
        whose: (&Principal, &TargetName),
        cancel: &CancellationToken,
    ) -> Result<Room, Refusal> {
        let gone = || {
            Refusal::new(
                Code::Cancelled,
                "the call was cancelled before its turn came",
            )
        };
        let room = async {
            match &self.way {
                Way::Here { slots, .. } => {
                    let slot = Arc::clone(slots).take(whose).await?;
                    Ok(Room(Box::new(slot)))
                }
                Way::Away(away) => away.peer.slot(&self.id, whose).await.map(Room),
            }
        };
        tokio::select! {
            room = room => room,
            () = self.gone.cancelled() => Err(self.lost()),
            () = cancel.cancelled() => Err(gone()),
        }
    }

    /// What it says of work, before anybody orders it.
    pub async fn assess(
        self: &Arc<Self>,
        target: &Target,
        work: &Work,
        (requester, purpose): (&Principal, Purpose),
    ) -> Result<Assessment, Refusal> {
        let question = Question::Assess {
            target: target.name.clone(),
            work: Sent::from(work),
            requester: requester.clone(),
            purpose,
        };
        let Reply::Assessed {
            statement,
            judgement,
        } = self.ask_simply(question, QUESTION).await?
        else {
            return Err(strange());
        };
        Ok(Assessment {
            statement: Arc::new(*statement),
            judgement,
        })
    }

    /// The tables and views of a target.
    pub async fn list_tables(
        self: &Arc<Self>,
        target: &Target,
        schema: Option<&str>,
        search: Option<&str>,
    ) -> Result<Vec<TableSummary>, Refusal> {
        let question = Question::Tables {
            target: target.name.clone(),
            schema: schema.map(str::to_owned),
            search: search.map(str::to_owned),
        };
        let Reply::Tables(tables) = self.ask_simply(question, QUESTION).await? else {
            return Err(strange());
        };
        Ok(tables)
    }

    /// One table or view of a target.
    pub async fn describe_table(
        self: &Arc<Self>,
        target: &Target,
        table: &str,
    ) -> Result<TableDescription, Refusal> {
        let question = Question::Table {
            target: target.name.clone(),
            table: table.to_owned(),
        };
        let Reply::Table(table) = self.ask_simply(question, QUESTION).await? else {
            return Err(strange());
        };
        Ok(table)
    }

    /// Whether the database answers and takes the login.
    pub async fn reach(self: &Arc<Self>, target: &Target) -> Result<(), Refusal> {
        let question = Question::Reach {
            target: target.name.clone(),
        };
        let Reply::Reached = self.ask_simply(question, REACH).await? else {
            return Err(strange());
        };
        Ok(())
    }

    /// Further rows of a result.
    pub(crate) async fn page(
        self: &Arc<Self>,
        owner: &Principal,
        handle: &HandleId,
        (from, max_rows): (u64, Option<u32>),
    ) -> Result<PageOfRows, Refusal> {
        let question = Question::Page {
            owner: owner.clone(),
            handle: handle.clone(),
            from,
            max_rows,
        };
        let Reply::Page(page) = self.ask_simply(question, QUESTION).await? else {
            return Err(strange());
        };
        Ok(page)
    }

    async fn ask_simply(
        self: &Arc<Self>,
        question: Question,
        patience: Duration,
    ) -> Result<Reply, Refusal> {
        let mut asked = self.ask(question, None).await?;
        match timeout(patience, &mut asked.answer).await {
            Ok(Ok(answer)) => answer.into(),
            Ok(Err(_)) => Err(self.lost()),
            Err(_) => Err(
                Refusal::new(Code::AgentUnavailable, "the agent did not answer in time")
                    .hint("try again in a minute"),
            ),
        }
    }

    /// Puts a question; refused where it surely did not arrive.
    pub(super) async fn ask(
        self: &Arc<Self>,
        question: Question,
        run: Option<Run>,
    ) -> Result<Asked, Refusal> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let cancel = CancellationToken::new();
        let out = match &self.way {
            Way::Here { out, .. } => out,
            Way::Away(away) => {
                let waiting = Waiting {
                    answer: sender,
                    run: None,
                    cancel: cancel.clone(),
                };
                self.calls().insert(call, waiting);
                self.ask_away(away, call, (question, run), cancel);
                return Ok(Asked {
                    connected: Arc::clone(self),
                    call,
                    answer,
                });
            }
        };
        let waiting = Waiting {
            answer: sender,
            run,
            cancel,
        };
        self.calls().insert(call, waiting);
        let asked = Asked {
            connected: Arc::clone(self),
            call,
            answer,
        };
        let question = FromRelay::Ask {
            call,
            question: Box::new(question),
        };
        tokio::select! {
            biased;
            () = self.gone.cancelled() => {
                self.calls().remove(&call);
                Err(self.lost())
            }
            sent = out.send(question) => {
                if sent.is_ok() {
                    return Ok(asked);
                }
                self.calls().remove(&call);
                Err(self.lost())
            }
        }
    }

    /// Tells the agent that nobody waits for a call any more, or that it has to stop it; whether there was room
    /// to say so.
    pub(super) fn say_cancel(&self, call: u64, stop: bool) -> bool {
        match &self.way {
            Way::Here { out, .. } => out.try_send(FromRelay::Cancel { call, stop }).is_ok(),
            // The relay that has it tells it, once the call is let go of.
            Way::Away(_) => true,
        }
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lost(&self) -> Refusal {
        Refusal::new(
            Code::AgentUnavailable,
            format!("the connection to agent {} was lost", self.id),
        )
        .hint("make the call again; the agent comes back by itself")
    }
}

fn strange() -> Refusal {
    Refusal::new(
        Code::AgentUnavailable,
        "the agent's answer is not one to what it was asked",
    )
    .hint("install the same version of secondkey on both sides")
}
