//! What people's commands get over the socket. Who asks is whom the kernel names; what counts as theirs
//! follows from that, except for signatures, which anybody may carry.

use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::broker::{explain, requests, reviews, votes};
use crate::core::ids::RequestId;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Request, Status};
use crate::core::trust::{Purpose, SignedTrust};
use crate::socket::glass;
use crate::socket::serve::Serving;
use crate::store::State;
use crate::store::requests::{Filter, Page, Summary};
use crate::system::Peer;
use crate::web;
use crate::wire::people::{
    Call, Kept, LONGEST_LIST, LONGEST_WAIT_MS, Line, Listed, Reply, Standby, Standing,
};
use crate::wire::ran::Explained;

/// The most requests that are looked at to find one's own.
const LOOKED_AT: usize = 5_000;
/// How many of them at a time.
const AT_A_TIME: usize = 500;

/// Answers one call of one user.
pub(super) async fn answer(serving: &Serving, peer: &Peer, call: Call) -> Result<Reply, Refusal> {
    match call {
        Call::List {
            statuses,
            target,
            reviews,
            before,
            limit,
        } => {
            let filter = Filter {
                statuses,
                target,
                open_reviews: reviews,
                before,
                limit: limit.min(LONGEST_LIST),
                ..Filter::default()
            };
            list(serving, peer, filter).await.map(Reply::Listed)
        }
        Call::Show { request } => show(serving, peer, request).await,
        Call::Wait {
            request,
            at_most_ms,
        } => wait(serving, peer, &request, at_most_ms).await,
        Call::Vote { request, signed } => {
            let request = votes::cast(&serving.state, &request, signed).await?;
            Ok(kept(&request))
        }
        Call::Review { request, signed } => {
            let request = reviews::close(&serving.state, &request, signed).await?;
            Ok(kept(&request))
        }
        Call::Cancel { request } => cancel(serving, peer, &request).await,
        Call::Trust {} => {
            let state = serving.state.clone();
            let versions = blocking(move || Ok(state.trust_versions()?)).await?;
            Ok(Reply::Trust(versions))
        }
        Call::InstallTrust { signed } => install(&serving.state, signed).await,
        Call::PageLink { request } => page_link(serving, peer, request).await,
        Call::Level {} => level(serving, peer).await,
        Call::Explain { request } => explained(serving, peer, request).await,
        Call::BreakGlass {
            sql,
            params,
            target,
            reason,
        } => glass::file(serving, peer, (sql, params.0), (target, reason)).await,
        Call::Run { request } => glass::run(serving, peer, &request).await,
    }
}

async fn list(serving: &Serving, peer: &Peer, filter: Filter) -> Result<Listed, Refusal> {
    let everybodys = approves(serving, peer).await?;
    let (state, user) = (serving.state.clone(), peer.name.clone());
    let page = blocking(move || {
        if everybodys {
            requests::list(&state, &filter)
        } else {
            own(&state, &user, filter)
        }
    });
    let page = page.await?;
    // A damaged record says nothing of whose it is.
    let damaged = page.damaged.iter().filter(|_| everybodys);
    Ok(Listed {
        damaged: damaged.map(ToString::to_string).collect(),
        requests: page.requests.into_iter().map(line).collect(),
        next: page.next,
    })
}

/// The requests of one user and of their clients. Blocks.
fn own(state: &State, user: &str, filter: Filter) -> Result<Page, Refusal> {
    let (limit, mut looked_at) = (filter.limit, 0);
    let mut filter = Filter {
        limit: AT_A_TIME,
        ..filter
    };
    let mut found = Page {
        requests: Vec::new(),
        damaged: Vec::new(),
        next: None,
    };
    loop {
        let page = requests::list(state, &filter)?;
        for summary in page.requests {
            looked_at += 1;
            if !is_of(&summary.requester, user) {
                continue;
            }
            if found.requests.len() >= limit {
                found.next = found.requests.last().map(|last| last.id.clone());
                return Ok(found);
            }
            found.requests.push(summary);
        }
        match page.next {
            Some(next) if looked_at < LOOKED_AT => filter.before = Some(next),
            next => {
                found.next = next;
                return Ok(found);
            }
        }
    }
}

async fn show(serving: &Serving, peer: &Peer, id: RequestId) -> Result<Reply, Refusal> {
    let state = serving.state.clone();
    let shown = blocking(move || requests::show(&state, &id)).await;
    let shown = shown?;
    visible(serving, peer, &shown.request).await?;
    Ok(Reply::Shown {
        request: Box::new(Kept::from(&shown.request)),
        values: shown.values.map(Into::into),
    })
}

async fn explained(serving: &Serving, peer: &Peer, id: RequestId) -> Result<Reply, Refusal> {
    let state = serving.state.clone();
    let shown = blocking(move || requests::show(&state, &id)).await?;
    visible(serving, peer, &shown.request).await?;
    let said = explain::explain(&serving.broker, &shown).await?;
    let said = said.map(|one| Explained {
        policy: one.policy,
        judgement: one.explanation.judgement,
        overshadowed: one.explanation.overshadowed,
    });
    Ok(Reply::Explained(said.into()))
}

async fn wait(
    serving: &Serving,
    peer: &Peer,
    id: &RequestId,
    at_most_ms: u64,
) -> Result<Reply, Refusal> {
    let found = find(&serving.state, id).await?;
    visible(serving, peer, &found).await?;
    let patience = Duration::from_millis(at_most_ms.min(LONGEST_WAIT_MS));
    let decided = |request: &Request| {
        let status = request.status();
        !matches!(
            status,
            Status::Submitted | Status::Measuring | Status::Pending
        )
    };
    let request = serving.state.requests().wait(id, patience, decided);
    Ok(kept(&request.await?))
}

async fn cancel(serving: &Serving, peer: &Peer, id: &RequestId) -> Result<Reply, Refusal> {
    let found = find(&serving.state, id).await?;
    visible(serving, peer, &found).await?;
    if !is_of(&found.asked().requester, &peer.name) {
        let sentence = "only whoever asked can take a request back";
        return Err(Refusal::new(Code::Forbidden, sentence)
            .hint("`secondkey requests reject` says no to it, with your signature"));
    }
    let by = person(peer);
    let request = requests::cancel(&serving.state, id, &by).await?;
    Ok(kept(&request))
}

/// The first version says whom this agent trusts at all: that is for whoever runs it.
async fn install(state: &State, signed: SignedTrust) -> Result<Reply, Refusal> {
    if signed.trust.version <= 1 {
        let sentence = "the first version of the trust file is not taken over the socket";
        return Err(Refusal::new(Code::TrustRefused, sentence)
            .hint("run `secondkey trust init` or `trust install` as the agent's own user, with its --state"));
    }
    state.install_trust(signed).await?;
    Ok(Reply::Installed {})
}

async fn page_link(
    serving: &Serving,
    peer: &Peer,
    request: Option<RequestId>,
) -> Result<Reply, Refusal> {
    if !approves(serving, peer).await? {
        let sentence = "the page shows everybody's requests, and is for those who approve";
        return Err(Refusal::new(Code::Forbidden, sentence).hint(APPROVERS));
    }
    let state = serving.state.clone();
    let link = blocking(move || Ok(web::link(&state, web::PORT, request.as_ref())?)).await?;
    Ok(Reply::Link(link))
}

async fn level(serving: &Serving, peer: &Peer) -> Result<Reply, Refusal> {
    let (setup, peer) = (serving.setup.clone(), peer.clone());
    let standing = blocking(move || {
        let file = |(what, path): &(_, std::path::PathBuf)| Standby {
            what: *what,
            path: path.display().to_string(),
        };
        Ok(Standing {
            spoilt: setup.level(Some(&peer)).spoilt,
            files: setup.files.iter().map(file).collect(),
        })
    });
    Ok(Reply::Level(standing.await?))
}

pub(super) const APPROVERS: &str = "be a signer of the trust file under your user name, or be named in `agent.approvers` of the agent's configuration";

/// Whether somebody sees everybody's requests: a signer of the trust file, by their user name, or one
/// whom the configuration names.
pub(super) async fn approves(serving: &Serving, peer: &Peer) -> Result<bool, Refusal> {
    let (state, peer) = (serving.state.clone(), peer.clone());
    let named = serving.approvers.clone();
    blocking(move || {
        let now = state.now();
        let signs = state.trust()?.is_some_and(|trust| {
            let person = person(&peer);
            let good = [Purpose::Approve, Purpose::BreakGlass, Purpose::Trust];
            trust
                .signers
                .iter()
                .any(|one| one.name == person && good.iter().any(|good| one.may(*good, now)))
        });
        Ok(signs || peer.is_one_of(&named))
    })
    .await
}

/// Another's request is not there for those who do not approve.
async fn visible(serving: &Serving, peer: &Peer, request: &Request) -> Result<(), Refusal> {
    if is_of(&request.asked().requester, &peer.name) || approves(serving, peer).await? {
        return Ok(());
    }
    let sentence = format!("there is no request `{}` that you may see", request.id());
    Err(Refusal::new(Code::UnknownRequest, sentence).hint(APPROVERS))
}

/// Whether a request was asked by a user in person or by one of their clients.
fn is_of(requester: &Principal, user: &str) -> bool {
    match requester.kind() {
        PrincipalKind::Ai => requester.os_user() == user,
        PrincipalKind::Human => *requester == Principal::new(PrincipalKind::Human, user),
        PrincipalKind::Service => false,
    }
}

pub(super) fn person(peer: &Peer) -> Principal {
    Principal::new(PrincipalKind::Human, &peer.name)
}

pub(super) async fn find(state: &State, id: &RequestId) -> Result<Request, Refusal> {
    let (state, id) = (state.clone(), id.clone());
    blocking(move || Ok(state.requests().get(&id)?)).await
}

pub(super) fn kept(request: &Request) -> Reply {
    Reply::Request(Box::new(Kept::from(request)))
}

fn line(summary: Summary) -> Line {
    Line {
        id: summary.id,
        requester: summary.requester,
        target: summary.target,
        environment: summary.environment,
        engine: summary.engine,
        effect: summary.effect,
        kind: summary.kind,
        statement: summary.statement,
        created: summary.created,
        updated: summary.updated,
        version: summary.version,
        state: summary.state,
        purpose: summary.purpose,
        review: summary.review,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(Refusal::new(
            Code::Internal,
            "the state folder could not be read",
        ))
    })
}
