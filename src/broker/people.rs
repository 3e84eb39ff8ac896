//! What people's commands get from another process: over an agent's socket or from a relay. Who asks is known
//! to whoever calls this; what counts as theirs follows from that, except for signatures, which anybody may carry.

use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::broker::requests::is_of;
use crate::broker::{Broker, explain, requests, reviews, votes};
use crate::core::ids::RequestId;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Request, Settlement, Status};
use crate::core::trust::SignedTrust;
use crate::store::State;
use crate::store::requests::{Filter, Page, Summary};
use crate::wire::people::{Call, Kept, LONGEST_LIST, LONGEST_WAIT_MS, Line, Listed, Reply};
use crate::wire::ran::Explained;

/// The most requests that are looked at to find one's own.
const LOOKED_AT: usize = 5_000;
/// How many of them at a time.
const AT_A_TIME: usize = 500;
/// How somebody comes to see everybody's requests.
pub const APPROVERS: &str = "be a signer of the trust file under your own name; on an agent's machine, `agent.approvers` of its configuration can name you too";

/// Who asks.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their name.
    pub user: String,
    /// Whether they see everybody's requests whoever they are.
    pub named: bool,
}

impl Person {
    /// Who they act as.
    pub fn principal(&self) -> Principal {
        Principal::new(PrincipalKind::Human, &self.user)
    }
}

/// Answers one call of one person. What belongs to one way of coming alone is refused.
pub async fn answer(broker: &Broker, person: &Person, call: Call) -> Result<Reply, Refusal> {
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
            list(broker, person, filter).await.map(Reply::Listed)
        }
        Call::Show { request } => show(broker, person, request).await,
        Call::Wait {
            request,
            at_most_ms,
        } => wait(broker, person, &request, at_most_ms).await,
        Call::Vote { request, signed } => {
            let request = votes::cast(&broker.state, &request, signed).await?;
            Ok(kept(&request))
        }
        Call::Review { request, signed } => {
            let request = reviews::close(&broker.state, &request, signed).await?;
            Ok(kept(&request))
        }
        Call::Cancel { request } => cancel(broker, person, &request).await,
        Call::Settle {
            request,
            found,
            comment,
        } => settle(broker, person, &request, (found, &comment)).await,
        Call::Trust {} => {
            let state = broker.state.clone();
            let versions = blocking(move || Ok(state.trust_versions()?)).await?;
            Ok(Reply::Trust(versions))
        }
        Call::InstallTrust { signed } => install(&broker.state, signed).await,
        Call::Explain { request } => explained(broker, person, request).await,
        Call::Statement { .. }
        | Call::Changes {}
        | Call::Accept { .. }
        | Call::PageLink { .. }
        | Call::Level {}
        | Call::BreakGlass { .. }
        | Call::Run { .. } => {
            let sentence = "this is done on the machine itself, and not from another";
            Err(Refusal::new(Code::InvalidArgument, sentence)
                .hint("run it there, with its --state or --agent"))
        }
    }
}

async fn list(broker: &Broker, person: &Person, filter: Filter) -> Result<Listed, Refusal> {
    let everybodys = approves(broker, person).await?;
    let (state, user) = (broker.state.clone(), person.user.clone());
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

async fn show(broker: &Broker, person: &Person, id: RequestId) -> Result<Reply, Refusal> {
    let state = broker.state.clone();
    let shown = blocking(move || requests::show(&state, &id)).await;
    let shown = shown?;
    visible(broker, person, &shown.request).await?;
    Ok(Reply::Shown {
        request: Box::new(Kept::from(&shown.request)),
        values: shown.values.map(Into::into),
    })
}

async fn explained(broker: &Broker, person: &Person, id: RequestId) -> Result<Reply, Refusal> {
    let state = broker.state.clone();
    let shown = blocking(move || requests::show(&state, &id)).await?;
    visible(broker, person, &shown.request).await?;
    let said = explain::explain(broker, &shown).await?;
    let said = said.map(|one| Explained {
        policy: one.policy,
        judgement: one.explanation.judgement,
        overshadowed: one.explanation.overshadowed,
    });
    Ok(Reply::Explained(said.into()))
}

async fn wait(
    broker: &Broker,
    person: &Person,
    id: &RequestId,
    at_most_ms: u64,
) -> Result<Reply, Refusal> {
    let found = find(&broker.state, id).await?;
    visible(broker, person, &found).await?;
    let patience = Duration::from_millis(at_most_ms.min(LONGEST_WAIT_MS));
    let decided = |request: &Request| {
        let status = request.status();
        !matches!(
            status,
            Status::Submitted | Status::Measuring | Status::Pending
        )
    };
    let request = broker.state.requests().wait(id, patience, decided);
    Ok(kept(&request.await?))
}

async fn cancel(broker: &Broker, person: &Person, id: &RequestId) -> Result<Reply, Refusal> {
    let found = find(&broker.state, id).await?;
    visible(broker, person, &found).await?;
    if !is_of(&found.asked().requester, &person.user) {
        let sentence = "only whoever asked can take a request back";
        return Err(Refusal::new(Code::Forbidden, sentence)
            .hint("`secondkey requests reject` says no to it, with your signature"));
    }
    let by = person.principal();
    let request = requests::cancel(&broker.state, id, &by).await?;
    Ok(kept(&request))
}

async fn settle(
    broker: &Broker,
    person: &Person,
    id: &RequestId,
    found: (Settlement, &str),
) -> Result<Reply, Refusal> {
    let request = find(&broker.state, id).await?;
    visible(broker, person, &request).await?;
    if !approves(broker, person).await? {
        let sentence = "those who approve say what became of a request";
        return Err(Refusal::new(Code::Forbidden, sentence).hint(APPROVERS));
    }
    let by = person.principal();
    let request = requests::settle(&broker.state, id, found, &by).await?;
    Ok(kept(&request))
}

/// The first version says whom this agent trusts at all: that is for whoever runs it.
async fn install(state: &State, signed: SignedTrust) -> Result<Reply, Refusal> {
    if signed.trust.version <= 1 {
        let sentence = "the first version of the trust file is not taken from elsewhere";
        return Err(Refusal::new(Code::TrustRefused, sentence)
            .hint("run `secondkey trust init` or `trust install` as the agent's own user, with its --state"));
    }
    state.install_trust(signed).await?;
    Ok(Reply::Installed {})
}

/// Whether somebody sees everybody's requests: a signer of the trust file, by their user name, or one
/// who is named for it.
pub async fn approves(broker: &Broker, person: &Person) -> Result<bool, Refusal> {
    let (state, principal, named) = (broker.state.clone(), person.principal(), person.named);
    blocking(move || Ok(named || requests::signs(&state, &principal)?)).await
}

/// Another's request is not there for those who do not approve.
async fn visible(broker: &Broker, person: &Person, request: &Request) -> Result<(), Refusal> {
    if is_of(&request.asked().requester, &person.user) || approves(broker, person).await? {
        return Ok(());
    }
    let sentence = format!("there is no request `{}` that you may see", request.id());
    Err(Refusal::new(Code::UnknownRequest, sentence).hint(APPROVERS))
}

/// One request, as it is now.
pub async fn find(state: &State, id: &RequestId) -> Result<Request, Refusal> {
    let (state, id) = (state.clone(), id.clone());
    blocking(move || Ok(state.requests().get(&id)?)).await
}

/// A request as it travels.
pub fn kept(request: &Request) -> Reply {
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
