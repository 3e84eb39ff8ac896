//! What every page needs: the state folder, the origin, and who sits in front of it.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::broker::requests;
use crate::broker::statements::{ByTarget, statement_behind};
use crate::core::approval::Document;
use crate::core::ids::RequestId;
use crate::core::level::Level;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::signer::Surface;
use crate::core::time::Timestamp;
use crate::core::trust::TrustFile;
use crate::store::{State, StoreError};
use crate::web::address::Address;
use crate::web::session::{Session, Sessions, Visitor};

/// The port of the page of this machine. Passkeys are bound to the origin, so it never moves by itself.
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
    address: Address,
    /// Who is taken to sit in front of a page of this machine.
    os_user: String,
    /// The agent's own files, where it is in this process.
    capabilities: ByTarget,
}

impl Site {
    /// The site of a state folder, on this machine alone. `os_user` is who is taken to sit in front of it, for the name
    /// that is proposed with a key; nothing is decided by it. `level` is said at the foot of each page.
    /// The statements of `capabilities` are shown to whoever decides about a call.
    pub fn new(
        (state, capabilities): (State, ByTarget),
        port: u16,
        os_user: &str,
        level: Level,
    ) -> Result<Self, StoreError> {
        let known = (state, capabilities);
        Self::made(known, Address::local(port), (os_user, Some(level)))
    }

    /// The site of a relay's workspace. Whoever comes is somebody, and only those whom the trust file holds see
    /// everybody's requests.
    pub fn of_relay(state: State, address: Address) -> Result<Self, StoreError> {
        Self::made((state, ByTarget::new()), address, ("", None))
    }

    fn made(
        (state, capabilities): (State, ByTarget),
        address: Address,
        (os_user, level): (&str, Option<Level>),
    ) -> Result<Self, StoreError> {
        let inner = Inner {
            sessions: Sessions::new(&state.page_secret()?, address.cookie(), level),
            state,
            address,
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

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.inner.address
    }

    /// The one origin of the page.
    pub fn origin(&self) -> String {
        self.inner.address.origin().to_owned()
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.state.now()
    }

    /// Who is there: at a relay, whoever came by a link that was made for them; else whom the operating system names.
    pub(super) fn person(&self, session: &Session) -> Principal {
        match &session.visitor {
            Some(visitor) => visitor.principal.clone(),
            None => Principal::new(PrincipalKind::Human, &self.inner.os_user),
        }
    }

    /// What signing here counts as: of a relay's page nobody knows but the relay what it has shown.
    pub(super) fn surface(&self, trust: &TrustFile) -> Surface {
        if trust.origins.own.contains(self.inner.address.origin()) {
            Surface::OwnPage
        } else {
            Surface::RelayPage
        }
    }

    /// Whether somebody may come in at all: at a relay it has to be known who they are.
    pub(super) fn takes(&self, session: &Session) -> bool {
        self.inner.address.local_port().is_some() || session.visitor.is_some()
    }

    /// Whether somebody sees everybody's requests. Whoever has this machine's page has its files as well.
    pub(super) fn shows_all(&self, session: &Session) -> Result<bool, Refusal> {
        match &session.visitor {
            Some(visitor) => requests::signs(self.state(), &visitor.principal),
            None => Ok(self.inner.address.local_port().is_some()),
        }
    }

    /// Who comes to this site with these headers, if a session of its own says so.
    pub fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        let found = cookies(headers).find_map(|one| self.sessions().find(one, self.now()));
        found?.visitor
    }

    /// The workspace whose site is meant. Nothing about it is proven.
    pub fn claimed(&self, headers: &HeaderMap) -> Option<String> {
        cookies(headers).find_map(|one| self.sessions().claimed(one))
    }

    /// A link that lets somebody's browser in, once, within five minutes; on `request`'s page if there is one.
    pub fn link(
        &self,
        visitor: &Visitor,
        request: Option<&RequestId>,
    ) -> Result<String, StoreError> {
        let code = self.state().page_code(&visitor.written())?;
        let to = request.map_or_else(String::new, |id| format!("&request={id}"));
        let (origin, workspace) = (self.origin(), &visitor.workspace);
        Ok(format!(
            "{origin}/enter?workspace={workspace}&code={code}{to}"
        ))
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

/// What a browser sends of its cookies.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|value| value.to_str().ok())
}

/// A link that lets one browser in, once, within five minutes; on `request`'s page if there is one.
pub fn link(state: &State, port: u16, request: Option<&RequestId>) -> Result<String, StoreError> {
    let code = state.page_code("")?;
    let here = || Address::local(port).origin().to_owned();
    let origin = state.page_origin().unwrap_or_else(here);
    let to = request.map_or_else(String::new, |id| format!("&request={id}"));
    Ok(format!("{origin}/enter?code={code}{to}"))
}
