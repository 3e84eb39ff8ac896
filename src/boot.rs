//! The one place where the parts are put together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::agent::{Agent, Pages, Parts};
use crate::broker::{Broker, Turns};
use crate::config::{Config, Notify, TargetConfig, WebhookConfig};
use crate::core::approval::Defences;
use crate::core::audit::Draft;
use crate::core::notice::Reach;
use crate::core::policy::PolicySet;
use crate::core::refusal::{Code, Refusal};
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
        self.broker.agent.finish().await;
        self.state.log().append_soon(last);
        Ok(self.state.close().await?)
    }
}

/// Puts local mode together. Connects to no target: a database that is down is no reason not to
/// start.
pub fn local(config: Config, clock: &Arc<dyn Clock>) -> Result<Local, Refusal> {
    let state = State::open(&config.home.state_dir, Arc::clone(clock))?;
    let parser = parse_pool()?;
    let ids = Ids::new(Arc::clone(clock)).map_err(|error| {
        Refusal::new(
            Code::Internal,
            format!("no randomness from the operating system: {error}"),
        )
    })?;
    let handles = ids.clone();
    let pages = Pages::new(Arc::clone(clock), Box::new(move || handles.handle()));
    let targets = config
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
    let agent = Agent::new(Parts {
        executors: executors(config.targets, &parser)?,
        parser: Arc::clone(&parser),
        state: state.clone(),
        pages: Arc::new(pages),
        policies: own,
        principals: Arc::clone(&principals),
        review: config.review.clone(),
        defences: Defences::all(),
        clock: Arc::clone(clock),
    });
    let broker = Broker {
        targets,
        agent: Arc::new(agent),
        state: state.clone(),
        parser,
        ids,
        policies: workspace,
        principals,
        review: config.review,
        approval_wait: config.approval_wait,
        turns: Turns::default(),
        clock: Arc::clone(clock),
    };
    Ok(Local {
        broker: Arc::new(broker),
        state,
        courier,
    })
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
            allow_privileged_login: config.allow_privileged_login,
        };
        Ok((name, Arc::new(Executor::new(settings, Arc::clone(parser))?)))
    };
    targets.into_iter().map(open).collect()
}
