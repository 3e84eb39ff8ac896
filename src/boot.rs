//! The one place where the parts are put together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::{Agent, Issuer, Pages, Parts};
use tokio::sync::watch;

use crate::broker::approvals::Page;
use crate::broker::fleet::Fleet;
use crate::broker::{Broker, CapabilityTools, Link, Turns};
use crate::capabilities::{ByTarget, Capabilities};
use crate::config::{self, Config, Notify, Surroundings, TargetConfig, WebhookConfig};
use crate::core::approval::Defences;
use crate::core::audit::Draft;
use crate::core::capability::Voucher;
use crate::core::notice::Reach;
use crate::core::policy::{PolicySet, Principals};
use crate::core::refusal::{Code, Refusal};
use crate::core::review::Settings as Review;
use crate::core::target::Target;
use crate::core::time::Clock;
use crate::exec::{Executor, ParsePool, Settings};
use crate::ids::Ids;
use crate::notify::{Courier, Desktop, Webhook};
use crate::policies::{Policies, Trusted, Unusable};
use crate::store::State;

/// Everything of local mode: broker and agent in one process, over one state folder.
#[derive(Debug)]
pub struct Local {
    /// The deciding part, which holds the agent.
    pub broker: Arc<Broker>,
    /// The state folder; close it at the end.
    pub state: State,
    /// Tells people of what happens here, once it is set to work.
    pub courier: Option<Courier>,
}

impl Local {
    /// Waits for work that goes on without its caller, records `last`, and closes the state folder.
    pub async fn close(&self, last: Draft) -> Result<(), Refusal> {
        self.broker.link.finish().await;
        self.state.log().append_soon(last);
        Ok(self.state.close().await?)
    }
}

/// Puts local mode together. Connects to no target: a database that is down is no reason not to
/// start.
pub fn local(config: Config, clock: &Arc<dyn Clock>) -> Result<Local, Refusal> {
    let state = State::open(&config.home.state_dir, Arc::clone(clock))?;
    let parser = parse_pool()?;
    let ids = ids(clock)?;
    let targets: Vec<Target> = config
        .targets
        .iter()
        .map(|config| config.target.clone())
        .collect();
    let courier = courier(config.notify, &state)?;
    let principals = Arc::new(config.principals);
    let workspace = policies(config.policy, PolicySet::starter(), (&state, clock));
    let own = policies(
        config.agent_policy,
        PolicySet::agent_default(),
        (&state, clock),
    );
    let (workspace, own) = both(workspace, own)?;
    let agent = agent(AgentSide {
        targets: config.targets,
        around: config.around,
        parser: Arc::clone(&parser),
        ids: &ids,
        state: &state,
        policies: own,
        principals: Arc::clone(&principals),
        review: config.review.clone(),
        issuer: Issuer::Own,
        clock,
    })?;
    agent.keep_capabilities();
    agent.keep_vectors();
    let broker = Broker {
        link: Link::here(agent, targets),
        state: state.clone(),
        parser,
        ids,
        policies: workspace,
        principals,
        review: config.review,
        page: Page::Here,
        approval_wait: config.approval_wait,
        capability_tools: match config.capability_tools {
            config::CapabilityTools::Auto => CapabilityTools::Auto,
            config::CapabilityTools::Each => CapabilityTools::Each,
            config::CapabilityTools::Call => CapabilityTools::Call,
        },
        turns: Turns::default(),
        clock: Arc::clone(clock),
    };
    Ok(Local {
        broker: Arc::new(broker),
        state,
        courier,
    })
}

/// An agent for a relay that it has joined, whose orders it takes and nobody else's.
pub fn dialing(
    config: Config,
    state: &State,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Agent>, Refusal> {
    let own = policies(
        config.agent_policy,
        PolicySet::agent_default(),
        (state, clock),
    );
    let own = own.map_err(|policy| unusable(&policy))?;
    let agent = agent(AgentSide {
        targets: config.targets,
        around: config.around,
        parser: parse_pool()?,
        ids: &ids(clock)?,
        state,
        policies: own,
        principals: Arc::new(config.principals),
        review: config.review,
        issuer: Issuer::Joined,
        clock,
    })?;
    agent.keep_capabilities();
    agent.keep_vectors();
    Ok(agent)
}

/// The deciding part of a relay, with the executors that dial in.
pub fn hub(
    (state, fleet): (&State, &Arc<Fleet>),
    (policy, page, approval_wait): (Option<PathBuf>, Page, Duration),
    clock: &Arc<dyn Clock>,
) -> Result<Broker, Refusal> {
    let workspace = policies(policy, PolicySet::starter(), (state, clock));
    Ok(Broker {
        link: Link::Dialed(Arc::clone(fleet)),
        state: state.clone(),
        parser: parse_pool()?,
        ids: ids(clock)?,
        policies: workspace.map_err(|policy| unusable(&policy))?,
        principals: Arc::default(),
        review: Review::DEFAULT,
        page,
        approval_wait,
        capability_tools: CapabilityTools::Auto,
        turns: Turns::default(),
        clock: Arc::clone(clock),
    })
}

/// What an agent is made of, wherever its orders come from.
struct AgentSide<'a> {
    targets: Vec<TargetConfig>,
    around: Surroundings,
    parser: Arc<ParsePool>,
    ids: &'a Ids,
    state: &'a State,
    policies: Arc<Policies>,
    principals: Arc<Principals>,
    review: Review,
    issuer: Issuer,
    clock: &'a Arc<dyn Clock>,
}

fn agent(side: AgentSide<'_>) -> Result<Arc<Agent>, Refusal> {
    let handles = side.ids.clone();
    let pages = Pages::new(Arc::clone(side.clock), Box::new(move || handles.handle()));
    let changes = watch::Sender::new(0);
    let capabilities = capabilities(
        (&side.targets, &side.around),
        (side.state, side.clock),
        &changes,
    )?;
    Ok(Arc::new(Agent::new(Parts {
        capabilities,
        changes,
        executors: executors(side.targets, &side.parser)?,
        parser: side.parser,
        state: side.state.clone(),
        pages: Arc::new(pages),
        policies: side.policies,
        principals: side.principals,
        review: side.review,
        defences: Defences::all(),
        issuer: side.issuer,
        clock: Arc::clone(side.clock),
    })))
}

/// What each target offers by name, for somebody who looks at it and runs nothing.
pub fn offered(
    config: &Config,
    state: &State,
    clock: &Arc<dyn Clock>,
) -> Result<ByTarget, Refusal> {
    let changes = watch::Sender::new(0);
    capabilities((&config.targets, &config.around), (state, clock), &changes)
}

/// What each target offers by name.
fn capabilities(
    (targets, around): (&[TargetConfig], &Surroundings),
    (state, clock): (&State, &Arc<dyn Clock>),
    changes: &watch::Sender<u64>,
) -> Result<ByTarget, Refusal> {
    let mut all = BTreeMap::new();
    for TargetConfig {
        target,
        capabilities,
        when_changed,
        ..
    } in targets
    {
        let Some(file) = capabilities else { continue };
        let with = (Arc::clone(clock), changes.clone());
        let voucher = Voucher {
            agent: state.agent().clone(),
            target: target.name.as_str().to_owned(),
            key: state.dial_key()?,
        };
        let how = (target.engine, *when_changed, voucher);
        let follow = Capabilities::follow(file.clone(), how, around.clone(), with);
        let follow = follow.map_err(|problems| {
            Refusal::new(Code::InvalidArgument, problems).hint("see `secondkey capability check`")
        })?;
        // Before the first call: one that has changed while nobody looked is not called unseen.
        follow.remember(&state.memory().of_now(target.name.as_str())?);
        all.insert(target.name.as_str().to_owned(), Arc::new(follow));
    }
    Ok(all)
}

fn ids(clock: &Arc<dyn Clock>) -> Result<Ids, Refusal> {
    Ids::new(Arc::clone(clock)).map_err(|error| {
        Refusal::new(
            Code::Internal,
            format!("no randomness from the operating system: {error}"),
        )
    })
}

fn unusable(policy: &Unusable) -> Refusal {
    Refusal::new(Code::PolicyUnavailable, policy.to_string()).hint("see `secondkey policy check`")
}

/// Who tells people; nobody where they are told in no way.
pub fn courier(notify: Notify, state: &State) -> Result<Option<Courier>, Refusal> {
    let desktop = notify.desktop.then_some(Desktop);
    let webhook = notify.webhook.map(webhook).transpose()?;
    if desktop.is_none() && webhook.is_none() {
        return Ok(None);
    }
    let courier = Courier::new(state.clone(), notify.page_url, desktop, webhook);
    Ok(Some(courier))
}

/// The webhook of a configuration.
pub fn webhook(config: WebhookConfig) -> Result<Webhook, Refusal> {
    let reach = Reach::new(config.allow_private);
    let form = (config.format, config.secret);
    let events = config.events.into_iter().collect();
    Webhook::new(config.url, form, reach, events).ok_or_else(|| {
        Refusal::new(Code::InvalidArgument, "the webhook has no address")
            .hint("see `notify.webhook.url` in the configuration")
    })
}

/// The policy of a file, else the one that ships with the program. Its groups are checked against the
/// trust file of the state folder, whenever one of the two has changed.
fn policies(
    file: Option<PathBuf>,
    built_in: Arc<PolicySet>,
    (state, clock): (&State, &Arc<dyn Clock>),
) -> Result<Arc<Policies>, Unusable> {
    let clock = Arc::clone(clock);
    let state = state.clone();
    // A trust file that does not count leaves nobody to approve; it says nothing of the policy.
    let trusted = Trusted::by(move || state.trust().ok().flatten());
    Ok(Arc::new(match file {
        None => Policies::built_in(built_in, clock),
        Some(file) => Policies::follow(file, trusted, clock)?,
    }))
}

/// Both policies, or what is wrong with each of them.
fn both<T>(one: Result<T, Unusable>, other: Result<T, Unusable>) -> Result<(T, T), Refusal> {
    let problems = match (one, other) {
        (Ok(one), Ok(other)) => return Ok((one, other)),
        (Err(only), Ok(_)) | (Ok(_), Err(only)) => only.to_string(),
        (Err(one), Err(other)) => format!("{one}\n{other}"),
    };
    Err(Refusal::new(Code::PolicyUnavailable, problems).hint("see `secondkey policy check`"))
}

/// Starts the threads that statements are parsed on.
pub fn parse_pool() -> Result<Arc<ParsePool>, Refusal> {
    ParsePool::start().map(Arc::new).map_err(|error| {
        Refusal::new(
            Code::Internal,
            format!("no threads to parse statements on: {error}"),
        )
    })
}

/// An executor for each target.
pub fn executors(
    targets: Vec<TargetConfig>,
    parser: &Arc<ParsePool>,
) -> Result<BTreeMap<String, Arc<Executor>>, Refusal> {
    let open = |config: TargetConfig| {
        let name = config.target.name.as_str().to_owned();
        let settings = Settings {
            target: config.target,
            url: config.url,
            logins: config.logins,
            allow_privileged_login: config.allow_privileged_login,
        };
        let executor = Executor::new(settings, Arc::clone(parser))?;
        Ok((name, Arc::new(executor.with_ledger(config.ledger))))
    };
    targets.into_iter().map(open).collect()
}
