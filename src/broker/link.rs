//! Where work is run: in this process, or by executors that have dialed in.
//!
//! Nothing but bytes and the work itself crosses a link. What is on the other side of it believes
//! none of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::pages::PageOfRows;
use crate::agent::{Agent, Assessment, NotRun, Report};
use crate::broker::fleet::{self, Connected, Fleet};
use crate::capabilities::{ByTarget, statement_behind, unknown};
use crate::core::approval::Document;
use crate::core::approval::{Backing, Purpose};
use crate::core::capability::Offer;
use crate::core::ids::{AgentId, HandleId};
use crate::core::mode::Mode;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{TableDescription, TableSummary};
use crate::core::target::{Target, TargetName};
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
pub(super) struct Slot(#[expect(dead_code, reason = "held for its drop")] Option<fleet::Room>);

impl Link {
    /// How it is set up.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Here { .. } => Mode::Local,
            Self::Dialed(fleet) => fleet.mode(),
        }
    }

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

    /// What is offered by name on a target.
    pub fn offers(&self, target: &Target) -> Arc<[Arc<Offer>]> {
        match self {
            Self::Here { agent, .. } => agent.offers(target.name.as_str()),
            Self::Dialed(fleet) => fleet.offers(target),
        }
    }

    /// Whether a target has columns for vectors, as far as its executor has said.
    pub fn has_vectors(&self, target: &Target) -> bool {
        match self {
            Self::Here { agent, .. } => agent.has_vectors(target.name.as_str()),
            Self::Dialed(fleet) => fleet.has_vectors(target),
        }
    }

    /// Fires at each change of what is offered anywhere.
    pub fn changes(&self) -> watch::Receiver<u64> {
        match self {
            Self::Here { agent, .. } => agent.changes(),
            Self::Dialed(fleet) => fleet.changes(),
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
            Self::Here { agent, .. } => agent.page(owner, handle, (from, max_rows)).await,
            Self::Dialed(fleet) => match fleet.keeper(handle).await {
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

    /// The files of capabilities that are here; none of an executor that dials in.
    pub fn capabilities(&self) -> ByTarget {
        match self {
            Self::Here { agent, .. } => agent.all_capabilities().clone(),
            Self::Dialed(_) => ByTarget::new(),
        }
    }

    /// The statement of the capability that a document names. An executor that dials in gives it to nobody elsewhere.
    pub fn statement_behind(&self, document: &Document) -> Result<String, Refusal> {
        match self {
            Self::Here { agent, .. } => statement_behind(agent.all_capabilities(), document),
            Self::Dialed(_) => {
                let sentence = "the statement stays at the agent";
                Err(Refusal::new(Code::Forbidden, sentence).hint(
                    "ask on the agent's machine: `secondkey requests show REQUEST --statement` prints it",
                ))
            }
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

    /// A capability of a target by its name, as its executor offers it.
    pub(super) fn offer(&self, target: &Target, name: &str) -> Result<Arc<Offer>, Refusal> {
        let offers = match self {
            Self::Here(agent) => agent.offers(target.name.as_str()),
            Self::Dialed(_, agent) => agent.offers(target),
        };
        let mut all = offers.iter();
        let found = all.find(|offer| offer.said.contract.name.as_str() == name);
        found.map(Arc::clone).ok_or_else(|| unknown(name))
    }

    /// Waits for room for one more order. Whoever signs one has it first, so that waiting does not age it.
    pub(super) async fn slot(
        &self,
        whose: (&Principal, &TargetName),
        cancel: &CancellationToken,
    ) -> Result<Slot, Refusal> {
        match self {
            Self::Here(_) => Ok(Slot(None)),
            Self::Dialed(_, agent) => Ok(Slot(Some(agent.slot(whose, cancel).await?))),
        }
    }

    /// A target as whoever runs work on it serves it: of several agents that serve one name, each may say
    /// other limits and labels.
    pub fn target(&self, target: &Arc<Target>) -> Arc<Target> {
        match self {
            Self::Here(_) => Arc::clone(target),
            Self::Dialed(_, agent) => Arc::clone(agent.target(&target.name).unwrap_or(target)),
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
                    fleet.keep_handle(handle, agent.id()).await;
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
            Self::Here(agent) => agent.list_tables(&target.name, (schema, search)).await,
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
            Self::Here(agent) => agent.describe_table(&target.name, table).await,
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
