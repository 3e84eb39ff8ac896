//! Where work is run: in this process, or by executors that have dialed in.
//!
//! Nothing but bytes and the work itself crosses a link. What is on the other side of it believes
//! none of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::agent::pages::PageOfRows;
use crate::agent::{Agent, Assessment, NotRun, Report};
use crate::broker::fleet::{Connected, Fleet};
use crate::core::approval::{Backing, Purpose};
use crate::core::ids::{AgentId, HandleId};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{TableDescription, TableSummary};
use crate::core::target::Target;
use crate::core::token::SignedToken;
use crate::core::work::Work;
use crate::policies::Policies;

/// How long a target may take to answer before it counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(5);

/// The executors that a broker can give work to.
#[derive(Debug)]
pub enum Link {
    /// One, in this process.
    Here {
        /// The executor.
        agent: Arc<Agent>,
        /// Its targets, in the order of the configuration.
        targets: Arc<[Arc<Target>]>,
    },
    /// Those that dial this relay.
    Dialed(Arc<Fleet>),
}

/// One executor, for work on one target.
#[derive(Clone, Debug)]
pub enum Lane {
    /// In this process.
    Here(Arc<Agent>),
    /// At the other end of a connection.
    Dialed(Arc<Fleet>, Arc<Connected>),
}

/// Room for one order, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot(
    #[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
);

impl Link {
    /// An executor in this process.
    pub fn here(agent: Arc<Agent>, targets: impl IntoIterator<Item = Target>) -> Self {
        Self::Here {
            agent,
            targets: targets.into_iter().map(Arc::new).collect(),
        }
    }

    /// The targets that can be named.
    pub fn targets(&self) -> Arc<[Arc<Target>]> {
        match self {
            Self::Here { targets, .. } => Arc::clone(targets),
            Self::Dialed(fleet) => fleet.targets(),
        }
    }

    /// The executor for a target; `named` is the one that a signed document names, where there is one.
    /// One that has dialed in before and is not there is waited for, a little.
    pub async fn lane(&self, target: &Target, named: Option<&AgentId>) -> Result<Lane, Refusal> {
        match self {
            Self::Here { agent, .. } => {
                let same = named.is_none_or(|named| named == agent.id());
                if same && agent.executor(target.name.as_str()).is_some() {
                    Ok(Lane::Here(Arc::clone(agent)))
                } else {
                    Err(nobody(target))
                }
            }
            Self::Dialed(fleet) => {
                let connected = fleet.agent_for(target, named).await?;
                Ok(Lane::Dialed(Arc::clone(fleet), connected))
            }
        }
    }

    /// Further rows of a result, from row `from` on.
    pub async fn page(
        &self,
        owner: &Principal,
        handle: &HandleId,
        (from, max_rows): (u64, Option<u32>),
    ) -> Result<PageOfRows, Refusal> {
        match self {
            Self::Here { agent, .. } => agent.pages().page(owner, handle, from, max_rows).await,
            Self::Dialed(fleet) => match fleet.keeper(handle) {
                Some(agent) => agent.page(owner, handle, (from, max_rows)).await,
                None => Err(
                    Refusal::new(Code::PageGone, "there are no rows behind this handle")
                        .hint("run the statement again"),
                ),
            },
        }
    }

    /// The executor's own policy, where it is in this process. Those that dial in keep theirs to themselves.
    pub fn policies(&self) -> Option<&Policies> {
        match self {
            Self::Here { agent, .. } => Some(agent.policies()),
            Self::Dialed(_) => None,
        }
    }

    /// Waits for the end of what is under way in this process, and begins nothing more.
    pub async fn finish(&self) {
        match self {
            Self::Here { agent, .. } => agent.finish().await,
            Self::Dialed(_) => {}
        }
    }
}

impl Lane {
    /// Whether what runs there is on record somewhere else than here.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Dialed(..))
    }

    /// Whom tokens must name.
    pub fn id(&self) -> &AgentId {
        match self {
            Self::Here(agent) => agent.id(),
            Self::Dialed(_, agent) => agent.id(),
        }
    }

    /// Waits for room for one more order. Whoever signs one has it first, so that waiting does not age it.
    pub(super) async fn slot(&self, cancel: &CancellationToken) -> Result<Slot, Refusal> {
        match self {
            Self::Here(_) => Ok(Slot(None)),
            Self::Dialed(_, agent) => Ok(Slot(Some(agent.slot(cancel).await?))),
        }
    }

    /// What the executor says of work, before anybody orders it.
    pub async fn assess(
        &self,
        target: &Target,
        work: &Work,
        asks: (&Principal, Purpose),
    ) -> Result<Assessment, Refusal> {
        match self {
            Self::Here(agent) => agent.assess(target.name.as_str(), work, asks).await,
            Self::Dialed(_, agent) => agent.assess(target, work, asks).await,
        }
    }

    /// Has `work` run on an order. Once it is begun, work above `read` goes on to its end whatever becomes
    /// of the caller; a read is cancelled when `cancel` fires.
    pub async fn execute(
        &self,
        order: &SignedToken,
        work: Work,
        backing: Option<&Backing>,
        cancel: CancellationToken,
    ) -> Result<Report, NotRun> {
        match self {
            Self::Here(agent) => {
                let order = order.as_str().as_bytes();
                agent.execute(order, work, backing, cancel).await
            }
            Self::Dialed(fleet, agent) => {
                let report = agent.execute(order, &work, backing, cancel).await?;
                let handle = report
                    .truncated
                    .as_ref()
                    .and_then(|cut| cut.handle.as_ref());
                if let Some(handle) = handle {
                    fleet.keep_handle(handle, agent.id());
                }
                Ok(report)
            }
        }
    }

    /// The tables and views of a target.
    pub async fn list_tables(
        &self,
        target: &Target,
        schema: Option<&str>,
        search: Option<&str>,
    ) -> Result<Vec<TableSummary>, Refusal> {
        match self {
            Self::Here(agent) => match agent.executor(target.name.as_str()) {
                Some(executor) => executor.list_tables(schema, search).await,
                None => Err(nobody(target)),
            },
            Self::Dialed(_, agent) => agent.list_tables(target, schema, search).await,
        }
    }

    /// One table or view of a target.
    pub async fn describe_table(
        &self,
        target: &Target,
        table: &str,
    ) -> Result<TableDescription, Refusal> {
        match self {
            Self::Here(agent) => match agent.executor(target.name.as_str()) {
                Some(executor) => executor.describe_table(table).await,
                None => Err(nobody(target)),
            },
            Self::Dialed(_, agent) => agent.describe_table(target, table).await,
        }
    }

    /// Whether the database answers and takes the login.
    pub async fn reach(&self, target: &Target) -> Result<(), Refusal> {
        match self {
            Self::Here(agent) => match agent.executor(target.name.as_str()) {
                Some(executor) => tokio::time::timeout(PATIENCE, executor.reach())
                    .await
                    .unwrap_or_else(|_| Err(silent())),
                None => Err(nobody(target)),
            },
            Self::Dialed(_, agent) => agent.reach(target).await,
        }
    }
}

fn silent() -> Refusal {
    Refusal::new(Code::DatabaseUnavailable, "no answer within 5 seconds")
}

fn nobody(target: &Target) -> Refusal {
    let sentence = format!("no agent serves `{}`", target.name);
    Refusal::new(Code::UnknownTarget, sentence)
}
