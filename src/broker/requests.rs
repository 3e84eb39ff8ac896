//! Requests as people meet them: what there is, what exactly one of them asks, and taking it back.

use crate::core::approval::Document;
use crate::core::approval::verdict::LONGEST_COMMENT;
use crate::core::ids::RequestId;
use crate::core::policy::{Progress, Requirement};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Decision, Request, Settlement, Values};
use crate::core::signer::Vote;
use crate::core::trust::Purpose;
use crate::store::State;
use crate::store::requests::{Filter, Page};

/// Everything about one request, checked to be about the same thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The request as it is now.
    pub request: Request,
    /// What people sign. What is shown of the request is taken from here and nowhere else.
    pub document: Document,
    /// The values of the parameters, checked against the document; gone once the request is over.
    pub values: Option<Values>,
    /// What the policies want.
    pub requirements: Vec<Requirement>,
}

impl Shown {
    /// How far each requirement has come, in their order.
    pub fn progress(&self) -> Vec<Progress> {
        let approvals = votes(&self.request, Decision::Approve);
        let requester = &self.document.requester;
        let of = |one: &Requirement| one.met_by(&approvals, requester);
        self.requirements.iter().map(of).collect()
    }
}

/// The requests that a filter lets through, the newest first. Blocks.
pub fn list(state: &State, filter: &Filter) -> Result<Page, Refusal> {
    Ok(state.requests().list(filter)?)
}

/// The newest requests of one requester, at most `limit`. Blocks.
pub fn of(state: &State, requester: &Principal, limit: usize) -> Result<Page, Refusal> {
    let filter = Filter {
        requester: Some(requester.clone()),
        limit,
        ..Filter::default()
    };
    list(state, &filter)
}

/// How many requests wait for people, of one requester or of all.
pub async fn waiting(state: &State, requester: Option<&Principal>) -> Result<u64, Refusal> {
    let (state, requester) = (state.clone(), requester.cloned());
    let count = move || state.requests().waiting(requester.as_ref());
    let count = tokio::task::spawn_blocking(count).await;
    let count = count.map_err(|_| Refusal::new(Code::Internal, "the requests could not be read"));
    Ok(count??)
}

/// How many requests wait for people now, of all clients of the one whose this requester is.
pub async fn waiting_of_all(state: &State, requester: &Principal) -> Result<u64, Refusal> {
    let (state, requester) = (state.clone(), requester.clone());
    let count = move || state.requests().waiting_of_all(&requester);
    let count = tokio::task::spawn_blocking(count).await;
    let count = count.map_err(|_| Refusal::new(Code::Internal, "the requests could not be read"));
    Ok(count??)
}

/// One request with its document and values. Blocks.
///
/// Refused where the record was changed by hand so that its parts are no longer about one thing.
pub fn show(state: &State, id: &RequestId) -> Result<Shown, Refusal> {
    let request = state.requests().get(id)?;
    let values = if request.status().needs_values() {
        state.requests().values(id)?
    } else {
        None
    };
    assemble(request, values)
}

/// Puts the parts of one request together, wherever they come from. Refused unless they are about one
/// thing: whoever signs believes only what was checked on their own side.
pub fn assemble(request: Request, values: Option<Values>) -> Result<Shown, Refusal> {
    let document = document(&request)?;
    let requirements = requirements(&request)?;
    if let Some(values) = &values {
        check_values(&document, values)?;
    }
    Ok(Shown {
        request,
        document,
        values,
        requirements,
    })
}

/// Whether somebody is a signer of the trust file, by their own name: they see everybody's requests. Blocks.
pub fn signs(state: &State, person: &Principal) -> Result<bool, Refusal> {
    let now = state.now();
    let good = [Purpose::Approve, Purpose::BreakGlass, Purpose::Trust];
    Ok(state.trust()?.is_some_and(|trust| {
        let mut own = trust.signers.iter().filter(|one| one.name == *person);
        own.any(|one| good.iter().any(|good| one.may(*good, now)))
    }))
}

/// Whether a request was asked by a person of this name or by one of their clients.
pub fn is_of(requester: &Principal, user: &str) -> bool {
    match requester.kind() {
        PrincipalKind::Ai => requester.os_user() == user,
        PrincipalKind::Human => *requester == Principal::new(PrincipalKind::Human, user),
        PrincipalKind::Service => false,
    }
}

/// Stops a request that no agent was told to run yet.
pub async fn cancel(state: &State, id: &RequestId, by: &Principal) -> Result<Request, Refusal> {
    let by = by.clone();
    let cancelled = state
        .requests()
        .transact(id, move |request, now| Ok(request.cancel(&by, now)?));
    Ok(cancelled.await?)
}

/// Records what somebody found out about a request whose end is not known. `comment` says how they know.
pub async fn settle(
    state: &State,
    id: &RequestId,
    (found, comment): (Settlement, &str),
    by: &Principal,
) -> Result<Request, Refusal> {
    let length = comment.chars().count();
    if !(1..=LONGEST_COMMENT).contains(&length) {
        let sentence =
            format!("a comment has 1 to {LONGEST_COMMENT} characters, and this has {length}");
        return Err(Refusal::new(Code::InvalidArgument, sentence).hint("say how you know"));
    }
    let (by, comment) = (by.clone(), comment.to_owned());
    let settled = state.requests().transact(id, move |request, now| {
        Ok(request.settle((found, &comment), &by, now)?)
    });
    Ok(settled.await?)
}

/// The document of a request, which has to say what the record says.
pub(super) fn document(request: &Request) -> Result<Document, Refusal> {
    let asked = request.asked();
    let document = Document::parse(asked.document.text().as_bytes())?;
    let same = document.request == asked.id
        && document.purpose == asked.purpose
        && document.workspace == asked.workspace
        && document.requester == asked.requester
        && document.executor == asked.agent
        && document.target == asked.target
        && document.environment == asked.environment
        && document.engine == asked.engine
        && document.effect == asked.effect
        && document.kind == asked.kind
        && document.reason == asked.reason
        && document.work == asked.work
        && document.policy.workspace == asked.workspace_policy
        && document.policy.agent == asked.agent_policy
        && document.expires_ms == asked.document.expires().unix_ms();
    if same { Ok(document) } else { Err(tampered()) }
}

/// What the policies want for a request.
pub(super) fn requirements(request: &Request) -> Result<Vec<Requirement>, Refusal> {
    serde_json::from_str(&request.asked().requirements).map_err(|_| tampered())
}

/// The votes of one kind, as a policy counts them.
pub(super) fn votes(request: &Request, decision: Decision) -> Vec<Vote> {
    let cast = request.state().votes().iter();
    cast.filter(|vote| vote.decision == decision)
        .map(crate::core::request::RecordedVote::vote)
        .collect()
}

/// What a person is shown has to be what they sign for.
fn check_values(document: &Document, values: &Values) -> Result<(), Refusal> {
    let work = document.work_with(values.params.clone(), values.salt);
    if document.is_about(&work) {
        Ok(())
    } else {
        Err(tampered())
    }
}

fn tampered() -> Refusal {
    Refusal::new(
        Code::ApprovalRefused,
        "the record of this request was changed by hand: its parts are not about the same thing",
    )
    .hint("do not sign it; look at `secondkey audit` and file the request again")
}
