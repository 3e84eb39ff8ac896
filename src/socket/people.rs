//! What people's commands get over the socket. Who asks is whom the kernel names.

use tokio::task::spawn_blocking;

use crate::broker::people::{self, APPROVERS, Person};
use crate::broker::{acceptances, requests};
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::socket::glass;
use crate::socket::serve::Serving;
use crate::system::Peer;
use crate::web;
use crate::wire::people::{Call, Reply, Standby, Standing};

/// Answers one call of one user.
pub(super) async fn answer(serving: &Serving, peer: &Peer, call: Call) -> Result<Reply, Refusal> {
    match call {
        Call::PageLink { request } => page_link(serving, peer, request).await,
        Call::Level {} => level(serving, peer).await,
        Call::BreakGlass {
            sql,
            params,
            target,
            reason,
        } => glass::file(serving, peer, (sql, params.0), (target, reason)).await,
        Call::Statement { request } => statement(serving, peer, request).await,
        Call::Changes {} => changes(serving, peer).await,
        Call::Accept { signed } => {
            let one = acceptances::accept(&serving.state, &signed).await?;
            Ok(Reply::Accepted(Box::new(one)))
        }
        Call::Run { request } => glass::run(serving, peer, &request).await,
        Call::List { .. }
        | Call::Show { .. }
        | Call::Wait { .. }
        | Call::Vote { .. }
        | Call::Review { .. }
        | Call::Cancel { .. }
        | Call::Settle { .. }
        | Call::Trust {}
        | Call::InstallTrust { .. }
        | Call::Explain { .. } => {
            people::answer(&serving.broker, &person(serving, peer), call).await
        }
    }
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

/// The statement behind a request, which is shown to nobody but those who approve.
async fn statement(serving: &Serving, peer: &Peer, id: RequestId) -> Result<Reply, Refusal> {
    if !approves(serving, peer).await? {
        let sentence = "the statement of a capability is for those who approve";
        return Err(Refusal::new(Code::Forbidden, sentence).hint(APPROVERS));
    }
    let state = serving.state.clone();
    let shown = blocking(move || requests::show(&state, &id)).await?;
    let statement = serving.broker.link.statement_behind(&shown.document)?;
    Ok(Reply::Statement(statement))
}

/// Statements are for those who approve.
async fn changes(serving: &Serving, peer: &Peer) -> Result<Reply, Refusal> {
    if !approves(serving, peer).await? {
        let sentence = "what has changed is shown with its statement, and is for those who approve";
        return Err(Refusal::new(Code::Forbidden, sentence).hint(APPROVERS));
    }
    Ok(Reply::Changed(acceptances::changed(&serving.state).await?))
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

/// Whether somebody sees everybody's requests.
pub(super) async fn approves(serving: &Serving, peer: &Peer) -> Result<bool, Refusal> {
    people::approves(&serving.broker, &person(serving, peer)).await
}

/// The user at the other end, as those know them who decide what they see.
pub(super) fn person(serving: &Serving, peer: &Peer) -> Person {
    Person {
        user: peer.name.clone(),
        named: peer.is_one_of(&serving.approvers),
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
