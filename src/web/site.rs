//! What every page needs: the state folder, the origin, and who sits in front of it.

use std::sync::Arc;

use crate::broker::statements::{ByTarget, statement_behind};
use crate::core::approval::Document;
use crate::core::level::Level;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::time::Timestamp;
use crate::core::trust::TrustFile;
use crate::store::{State, StoreError};
use crate::web::session::Sessions;

/// The port of the page. Passkeys are bound to the origin, so it never moves by itself.
pub const PORT: u16 = 7321;

/// One site: a state folder at an origin. Clones share it.
#[derive(Clone, Debug)]
pub struct Site {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    sessions: Sessions,
    port: u16,
    os_user: String,
    /// The agent's own files, where it is in this process.
    capabilities: ByTarget,
}

impl Site {
    /// The site of a state folder. `os_user` is who is taken to sit in front of it, for the name that
    /// is proposed with a key; nothing is decided by it. `level` is said at the foot of each page.
    /// The statements of `capabilities` are shown to whoever decides about a call.
    pub fn new(
        (state, capabilities): (State, ByTarget),
        port: u16,
        os_user: &str,
        level: Level,
    ) -> Result<Self, StoreError> {
        let inner = Inner {
            sessions: Sessions::new(&state.page_secret()?, port, level),
            state,
            port,
            os_user: os_user.to_owned(),
            capabilities,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The state folder.
    pub fn state(&self) -> &State {
        &self.inner.state
    }

    /// The statement behind a call of a capability; an error where it is not known here.
    pub(super) fn statement_behind(&self, document: &Document) -> Result<String, Refusal> {
        statement_behind(&self.inner.capabilities, document)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// The one origin of the page.
    pub fn origin(&self) -> String {
        origin(self.inner.port)
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.state.now()
    }

    /// Whom the operating system says is there.
    pub(super) fn person(&self) -> Principal {
        Principal::new(PrincipalKind::Human, &self.inner.os_user)
    }

    /// The trust file, if there is one.
    pub(super) fn trust(&self) -> Result<Option<Arc<TrustFile>>, Refusal> {
        Ok(self.inner.state.trust()?)
    }

    /// Runs what blocks away from the threads that serve.
    pub(super) async fn blocking<T, F>(&self, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    {
        let site = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&site)).await;
        done.unwrap_or_else(|_| {
            Err(Refusal::new(
                Code::Internal,
                "the page broke while it read the state folder",
            ))
        })
    }
}

/// The origin at a port: a browser leaves out the usual one.
fn origin(port: u16) -> String {
    if port == 80 {
        "http://localhost".to_owned()
    } else {
        format!("http://localhost:{port}")
    }
}

/// A link that lets one browser in, once, within five minutes; on `request`'s page if there is one.
pub fn link(
    state: &State,
    port: u16,
    request: Option<&crate::core::ids::RequestId>,
) -> Result<String, StoreError> {
    let code = state.page_code()?;
    let origin = state.page_origin().unwrap_or_else(|| origin(port));
    let to = request.map_or_else(String::new, |id| format!("&request={id}"));
    Ok(format!("{origin}/enter?code={code}{to}"))
}
