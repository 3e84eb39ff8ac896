//! Several relays on one store: each finds the others there, tells them of the agents that have dialed in to it, and
//! asks those for them.
//!
//! They speak HTTP/2 over TLS 1.3 at addresses of their own. Nothing that comes over it decides anything that an
//! agent would not decide again: whoever asks signs the order, and the agent checks the signature. Rows pass from one
//! to the other and lie nowhere.

mod answer;
mod line;
mod roster;
mod tls;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::core::refusal::{Code, Refusal};
use crate::ids::random;
use crate::relay::Relay;
use crate::store::State;
use crate::store::shared::{Replica, Replicas};
use line::Line;
use tls::Identity;

/// How often a replica says that it is there, and looks who else is.
const BEAT: Duration = Duration::from_secs(1);
/// How long to wait for one that was killed to lapse.
const PATIENCE: Duration = Duration::from_secs(13);

/// A relay's place among those that share its store.
#[derive(Debug)]
pub struct Cluster {
    replicas: Replicas,
    own: Replica,
    /// Where the others come; nothing where there are none.
    meeting: Option<(TcpListener, Identity)>,
}

/// The lines to the others, by their ids.
type Lines = HashMap<String, Arc<Line>>;
/// Whom is listened to, by the other's id and the workspace.
type Followed = HashMap<(String, String), Following>;

/// What is done for one workspace beside one other relay, until this is dropped.
struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Cluster {
    /// Takes a place; nothing where the store is a file, which has one relay anyway.
    ///
    /// # Errors
    ///
    /// Where another relay is there and one of the two does not say where it is reached.
    pub async fn enter(state: &State, advertise: Option<String>) -> Result<Option<Self>, Refusal> {
        let Some(replicas) = state.replicas() else {
            return match advertise {
                None => Ok(None),
                Some(_) => Err(no_store()),
            };
        };
        let (advertise, meeting) = match advertise {
            None => (None, None),
            Some(address) => {
                let (listener, address) = listen(&address).await?;
                let identity = Identity::of(&state.cluster_key()?)?;
                (Some(address), Some((listener, identity)))
            }
        };
        let id = random::<8>().map_err(|_| Refusal::new(Code::Internal, "no randomness"))?;
        let own = Replica {
            id: hex::encode(id),
            advertise,
        };
        let this = Self {
            replicas,
            own,
            meeting,
        };
        let until = Instant::now() + PATIENCE;
        while !this.beat().await? {
            if Instant::now() >= until {
                return Err(alone());
            }
            tracing::warn!("another relay uses this store; it is waited for, a little");
            sleep(BEAT).await;
        }
        Ok(Some(this))
    }

    async fn beat(&self) -> Result<bool, Refusal> {
        let (replicas, own) = (self.replicas.clone(), self.own.clone());
        let beaten = spawn_blocking(move || replicas.enter(&own)).await;
        Ok(beaten.map_err(|_| Refusal::new(Code::Internal, "a thread broke"))??)
    }

    async fn others(&self) -> Result<Vec<Replica>, Refusal> {
        let replicas = self.replicas.clone();
        let all = spawn_blocking(move || replicas.all()).await;
        let all = all.map_err(|_| Refusal::new(Code::Internal, "a thread broke"))??;
        Ok(all
            .into_iter()
            .filter(|one| one.id != self.own.id)
            .collect())
    }

    /// Keeps the place until the relay closes, and the others in sight.
    pub(super) async fn keep(mut self, relay: Arc<Relay>) {
        let closing = relay.closing.clone();
        let identity = self.meeting.take().map(|(listener, identity)| {
            let serving = answer::serve(Arc::clone(&relay), (listener, identity.clone()));
            tokio::spawn(serving);
            identity
        });
        let (mut lines, mut following) = (Lines::new(), Followed::new());
        while !closing.is_cancelled() {
            match self.beat().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!("another relay has taken the store; this one ends");
                    closing.cancel();
                    break;
                }
                // It goes on: requests fail as long as the store is away, and nobody else can do better.
                Err(refusal) => tracing::error!(%refusal, "the store cannot be reached"),
            }
            if let (Some(identity), Ok(others)) = (&identity, self.others().await) {
                follow(&relay, identity, &others, (&mut lines, &mut following));
            }
            tokio::select! {
                () = sleep(BEAT) => {}
                () = closing.cancelled() => {}
            }
        }
        drop(following);
        let (replicas, own) = (self.replicas.clone(), self.own.clone());
        if let Ok(Err(error)) = spawn_blocking(move || replicas.leave(&own)).await {
            tracing::warn!(%error, "the others find out by themselves that this relay has ended");
        }
    }
}

/// Follows those that are there, for each workspace, and no others.
fn follow(
    relay: &Arc<Relay>,
    identity: &Identity,
    others: &[Replica],
    (lines, following): (&mut Lines, &mut Followed),
) {
    lines.retain(|id, _| others.iter().any(|other| other.id == *id));
    for other in others {
        if let Some(address) = &other.advertise {
            let line = || Arc::new(Line::new(address.clone(), identity.clone()));
            lines.entry(other.id.clone()).or_insert_with(line);
        }
    }
    let workspaces = relay.hall.all();
    let name = |workspace: &crate::relay::Workspace| workspace.state.log().workspace().to_owned();
    following.retain(|(id, of), following| {
        let there = workspaces.iter().any(|workspace| name(workspace) == *of);
        lines.contains_key(id) && there && !following.0.is_finished()
    });
    for (id, line) in &*lines {
        for workspace in &workspaces {
            let key = (id.clone(), name(workspace));
            following.entry(key).or_insert_with(|| {
                let fleet = Arc::clone(&workspace.fleet);
                let told = roster::follow(Arc::clone(line), (id.clone(), name(workspace)), fleet);
                Following(tokio::spawn(told).abort_handle())
            });
        }
    }
}

/// Listens where the others are told to come: at that address if it is one, else at every address of this machine.
/// Port 0 is any free one. Gives what the others are to be told.
async fn listen(advertise: &str) -> Result<(TcpListener, String), Refusal> {
    let parts = advertise.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let Some((host, port)) = parts.filter(|(host, _)| !host.is_empty()) else {
        let sentence = "`--advertise` is no address with a port";
        return Err(Refusal::new(Code::InvalidArgument, sentence)
            .hint("write where the other relays reach this one, such as `10.0.0.5:7340`"));
    };
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let address: SocketAddr = advertise.parse().unwrap_or(any);
    let failed = |error: &std::io::Error| {
        let sentence = format!("cannot listen at {address} for the other relays: {error}");
        Refusal::new(Code::InvalidArgument, sentence).hint("name another address with --advertise")
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| failed(&error))?;
    let port = listener
        .local_addr()
        .map_err(|error| failed(&error))?
        .port();
    Ok((listener, format!("{host}:{port}")))
}

fn alone() -> Refusal {
    let sentence = "another relay uses this store, and not both say where they are reached";
    Refusal::new(Code::InvalidArgument, sentence).hint(
        "start each with `--advertise HOST:PORT`, at which the others reach it; or end the other one first",
    )
}

fn no_store() -> Refusal {
    let sentence =
        "`--advertise` is for several relays on one store, and this one has files of its own";
    Refusal::new(Code::InvalidArgument, sentence)
        .hint("name the PostgreSQL that they share with `--store`")
}

/// Fires when it is dropped: whoever asked has left.
struct Left(CancellationToken);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
