//! Opening the workspaces of a relay.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::boot;
use crate::broker::approvals::Page;
use crate::broker::fleet::Fleet;
use crate::cli::relay::Clock;
use crate::cli::relay::serve::issuer;
use crate::config::{self, Flags, Surroundings};
use crate::core::audit::{Draft, EventKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::workspace::WorkspaceName;
use crate::relay::{Issuer, Open, Workspace};
use crate::store::{Members, State, Workspaces};
use crate::web::Address;

/// How long a call waits for a person.
const APPROVAL_WAIT: Duration = Duration::from_secs(45);
/// The configuration of a further workspace, in its folder: its `policy` and its `[oidc]` are read.
const CONFIG: &str = "secondkey.toml";

/// What it takes to open a workspace.
#[derive(Debug)]
pub(super) struct Opening {
    /// Where they lie.
    pub(super) workspaces: Workspaces,
    /// The names that clients may ask for.
    pub(super) hosts: Vec<String>,
    /// Where people's browsers come, if they may.
    pub(super) page: Option<Address>,
    /// The time.
    pub(super) clock: Clock,
}

impl Opening {
    /// Opens one by its name, as often as is asked for.
    pub(super) fn opener(self: Arc<Self>) -> Arc<Open> {
        Arc::new(move |name| {
            let this = Arc::clone(&self);
            Box::pin(async move { this.open(name).await })
        })
    }

    async fn open(&self, name: WorkspaceName) -> Result<Workspace, Refusal> {
        let (path, clock) = (self.workspaces.path(&name), Arc::clone(&self.clock));
        let found = spawn_blocking(move || {
            let settings = settings(path.join(CONFIG))?;
            let state = State::open(&path, clock)?;
            let members = Members::open(&state)?;
            Ok::<_, Refusal>((state, members, settings))
        });
        let found = found.await;
        let (state, members, settings) = found
            .map_err(|_| Refusal::new(Code::Internal, "a state folder cannot be opened"))??;
        let version = env!("CARGO_PKG_VERSION");
        let started = Draft::new(self.clock.now(), EventKind::ServerStarted);
        let started = started.text("version", version);
        state.log().append(started).await?;
        self.opened(&name, (state, members), settings).await
    }

    /// One whose state folder is open already.
    pub(super) async fn opened(
        &self,
        name: &WorkspaceName,
        (state, members): (State, Members),
        (policy, issuer): Settings,
    ) -> Result<Workspace, Refusal> {
        let Some(serving) = self.workspaces.serve(name)? else {
            let sentence = format!("another relay serves the workspace `{name}` of this folder");
            return Err(Refusal::new(Code::InvalidArgument, sentence)
                .hint("end that one first, or name another folder with --state"));
        };
        let known = members.members().await?.into_iter();
        let known = known.filter(|member| member.revoked_ms.is_none());
        let known = known.map(|member| {
            // What an older version has written is said anew when the agent is back.
            let served = serde_json::from_str(&member.served).unwrap_or_default();
            (member.id, served)
        });
        let fleet = Arc::new(Fleet::new(state.clone(), known));
        let at = |address: &Address| Page::Public(address.origin().to_owned());
        let page = self.page.as_ref().map_or(Page::AtTheRelay, at);
        let settings = (policy, page, APPROVAL_WAIT);
        let broker = boot::hub((&state, &fleet), settings, &self.clock)?;
        let parts = (state, members, serving);
        let faces = (self.hosts.clone(), self.page.as_ref(), issuer);
        Workspace::new(parts, fleet, broker, faces)
    }
}

/// A workspace's policy, and the identity provider whose tokens count there.
type Settings = (Option<PathBuf>, Option<Issuer>);

/// What a configuration file names; nothing where there is no such file.
fn settings(config: PathBuf) -> Result<Settings, Refusal> {
    if !config.exists() {
        return Ok((None, None));
    }
    let flags = Flags {
        config: Some(config),
        ..Flags::default()
    };
    let around = Surroundings::of_process();
    let broken = |problems: config::Problems| {
        Refusal::new(Code::PolicyUnavailable, problems.to_string())
            .hint("mend it; it is tried again every three seconds")
    };
    let [policy, _] = config::load_policies(&flags, &around).map_err(broken)?;
    let oidc = config::load_oidc(&flags, &around).map_err(broken)?;
    Ok((policy, oidc.map(issuer)))
}
