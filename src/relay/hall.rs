//! The workspaces of a relay, and how it finds one: by what somebody can prove, and nothing that they say.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant};

use crate::core::handshake::Hex32;
use crate::core::refusal::Refusal;
use crate::core::workspace::WorkspaceName;
use crate::relay::workspace::Workspace;
use crate::store::Workspaces;
use crate::store::members::{self, Holder};

/// How long until one that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(3);

/// Opens a workspace.
pub type Open =
    dyn Fn(WorkspaceName) -> BoxFuture<'static, Result<Workspace, Refusal>> + Send + Sync;

/// Every workspace that is open. The first is open for as long as the relay runs.
pub struct Hall {
    folder: Workspaces,
    open: Arc<Open>,
    first: Arc<Workspace>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    further: BTreeMap<WorkspaceName, Arc<Workspace>>,
    /// Those that could not be opened, and when.
    broken: HashMap<WorkspaceName, Instant>,
    /// Where a key was last found, by its id.
    keys: HashMap<String, WorkspaceName>,
}

impl fmt::Debug for Hall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hall").finish_non_exhaustive()
    }
}

impl Hall {
    /// With the relay's first workspace; [`Self::follow`] opens the others.
    pub fn new(folder: Workspaces, first: Workspace, open: Arc<Open>) -> Self {
        Self {
            folder,
            open,
            first: Arc::new(first),
            inside: Mutex::default(),
        }
    }

    /// The one that a relay begins with.
    pub(super) fn first(&self) -> &Arc<Workspace> {
        &self.first
    }

    /// All of them, the first before the others.
    pub(super) fn all(&self) -> Vec<Arc<Workspace>> {
        let inside = self.lock();
        let further = inside.further.values();
        std::iter::once(&self.first)
            .chain(further)
            .cloned()
            .collect()
    }

    /// Whether every workspace that there is could be opened.
    pub(super) fn is_whole(&self) -> bool {
        self.lock().broken.is_empty()
    }

    /// Opens what was made beside this process, and lets go of what is taken away.
    pub async fn follow(&self) {
        let folder = self.folder.clone();
        let there = match spawn_blocking(move || folder.further()).await {
            Ok(Ok(there)) => there,
            Ok(Err(error)) => return tracing::error!(%error, "the workspaces cannot be read"),
            Err(_) => return,
        };
        for gone in self.take_gone(&there) {
            gone.end().await;
        }
        for name in self.missing(&there) {
            let opened = (self.open)(name.clone()).await;
            let mut inside = self.lock();
            match opened {
                Ok(workspace) => {
                    tracing::info!(workspace = %name, "a workspace is open");
                    inside.broken.remove(&name);
                    inside.further.insert(name, Arc::new(workspace));
                }
                Err(refusal) => {
                    tracing::error!(workspace = %name, %refusal, "a workspace cannot be opened");
                    inside.broken.insert(name, Instant::now());
                }
            }
        }
    }

    /// Ends what is open, but for the state folder of the first, which is another's to close.
    pub(super) async fn end(&self) {
        self.first.clients.end_all();
        for gone in self.take_gone(&[]) {
            gone.end().await;
        }
    }

    /// Takes out those that are not there any more.
    fn take_gone(&self, there: &[WorkspaceName]) -> Vec<Arc<Workspace>> {
        let mut inside = self.lock();
        let Inside {
            further,
            broken,
            keys,
        } = &mut *inside;
        broken.retain(|name, _| there.contains(name));
        keys.retain(|_, name| name.is_first() || there.contains(name));
        let gone = further.extract_if(.., |name, _| !there.contains(name));
        gone.map(|(_, workspace)| workspace).collect()
    }

    fn missing(&self, there: &[WorkspaceName]) -> Vec<WorkspaceName> {
        let inside = self.lock();
        let waits = |name: &WorkspaceName| {
            let tried = inside.broken.get(name);
            tried.is_some_and(|tried| tried.elapsed() < AGAIN)
        };
        let missing = there.iter();
        let missing = missing.filter(|name| !inside.further.contains_key(*name) && !waits(name));
        missing.cloned().collect()
    }

    /// Whoever holds an API key, if it counts now, and the workspace that it is of.
    pub(super) async fn holder(
        &self,
        shown: &str,
    ) -> Result<Option<(Arc<Workspace>, Holder)>, Refusal> {
        let Some(id) = members::key_id(shown) else {
            return Ok(None);
        };
        let mut failed = None;
        for (name, workspace) in self.likely(id) {
            match workspace.members.holder(shown).await {
                Ok(Some(holder)) => {
                    self.lock().keys.insert(holder.id.clone(), name);
                    return Ok(Some((workspace, holder)));
                }
                Ok(None) => {}
                Err(refusal) => failed = Some(refusal),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// All of them, the one where a key was last found before the others.
    fn likely(&self, key: &str) -> Vec<(WorkspaceName, Arc<Workspace>)> {
        let inside = self.lock();
        let further = inside.further.iter();
        let further = further.map(|(name, one)| (name.clone(), Arc::clone(one)));
        let first = (WorkspaceName::first(), Arc::clone(&self.first));
        let mut all: Vec<_> = std::iter::once(first).chain(further).collect();
        if let Some(known) = inside.keys.get(key) {
            all.sort_by_key(|(name, _)| name != known);
        }
        all
    }

    /// The workspace that signs with this key, or with one that follows it; the first for whoever names none of ours, to whom it proves
    /// that it is not the relay they want.
    pub(super) fn meant(&self, relay: Option<Hex32>) -> Arc<Workspace> {
        let signs =
            |workspace: &Arc<Workspace>| relay.is_some_and(|wanted| workspace.answers_to(wanted));
        let found = self.all().into_iter().find(signs);
        found.unwrap_or_else(|| Arc::clone(&self.first))
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
