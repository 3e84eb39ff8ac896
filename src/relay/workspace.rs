//! One workspace of a relay, as its faces know it: who may come, who is here, and what decides.

use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::fleet::Fleet;
use crate::core::handshake::Hex32;
use crate::core::refusal::Refusal;
use crate::core::succession::heir;
use crate::mcp::Server;
use crate::relay::clients::Clients;
use crate::relay::issuer::Issuer;
use crate::relay::page::Page;
use crate::store::workspaces::Serving;
use crate::store::{Members, State};
use crate::web::Address;

/// A workspace that is open. It knows nothing of the others.
#[derive(Debug)]
pub struct Workspace {
    pub(super) state: State,
    pub(super) members: Members,
    pub(super) fleet: Arc<Fleet>,
    pub(super) clients: Clients,
    pub(super) broker: Arc<Broker>,
    /// For people's browsers, where there is one.
    pub(super) page: Option<Page>,
    /// The identity provider whose tokens count besides API keys.
    pub(super) issuer: Option<Issuer>,
    #[expect(dead_code, reason = "held for its drop")]
    serving: Serving,
}

impl Workspace {
    /// Puts the faces before what decides. `hosts` are the names that clients may ask for, `page` is where
    /// browsers come; without an `issuer` only API keys count.
    pub fn new(
        (state, members, serving): (State, Members, Serving),
        fleet: Arc<Fleet>,
        broker: Broker,
        (hosts, page, issuer): (Vec<String>, Option<&Address>, Option<Issuer>),
    ) -> Result<Self, Refusal> {
        let broker = Arc::new(broker);
        let server = Server::new(Arc::clone(&broker), "");
        Ok(Self {
            page: page.map(|page| Page::new(&state, page)).transpose()?,
            issuer,
            state,
            members,
            fleet,
            clients: Clients::new(server, hosts),
            broker,
            serving,
        })
    }

    /// Lets go of keys and agents that were ended beside this process.
    pub(super) async fn look(&self) -> Result<(), Refusal> {
        let now = self.state.now().unix_ms();
        let keys = self.members.api_keys().await?;
        let suspended = self.members.suspended().await?;
        self.clients.keep(now, &suspended, |id| {
            let key = keys.iter().find(|key| key.id == id);
            key.is_some_and(|key| key.counts(now))
        });
        // At each look: an order may have been on its way.
        for principal in &suspended {
            self.fleet.stop_work_of(principal);
        }
        let out = self.members.members().await?;
        for member in out.iter().filter(|member| member.revoked_ms.is_some()) {
            self.fleet.forget(&member.id);
        }
        Ok(())
    }

    /// Whether it signs with this key, or with one that follows it.
    pub(super) fn answers_to(&self, wanted: Hex32) -> bool {
        let Ok(keys) = self.state.token_keys() else {
            return false;
        };
        let now = keys.signer.public();
        let follows = || {
            let chain = self.state.successions();
            chain.is_ok_and(|chain| heir(&chain, wanted) == Some(now))
        };
        now == wanted || follows()
    }

    /// Whether the keys are there and the members can be read.
    pub(super) async fn is_sound(&self) -> bool {
        self.state.token_keys().is_ok() && self.members.members().await.is_ok()
    }

    /// Ends every session and every agent's connection, and closes the state folder.
    pub(super) async fn end(&self) {
        self.clients.end_all();
        self.fleet.forget_all();
        if let Err(error) = self.state.close().await {
            tracing::error!(%error, "a workspace that was taken away could not be closed");
        }
    }
}
