//! Breaking the glass over the socket: filed by whom the kernel names, signed in their own program, and
//! run for them alone.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::broker::people::{APPROVERS, find, kept};
use crate::broker::submit::{Answer, Ask, Wanted};
use crate::broker::{Caller, approvals, break_glass, requests};
use crate::core::approval::Purpose;
use crate::core::ids::RequestId;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Status;
use crate::socket::people::{approves, person};
use crate::socket::serve::Serving;
use crate::system::Peer;
use crate::wire::people::Reply;
use crate::wire::ran::{Ran, Rest};

/// Requests of one user that may wait at the same time.
const MOST_WAITING: u64 = 10;

/// Files it, for those who approve: each is told of, and nobody else can do so at will.
pub(super) async fn file(
    serving: &Serving,
    peer: &Peer,
    (sql, params): (String, Vec<Value>),
    (target, reason): (Option<String>, String),
) -> Result<Reply, Refusal> {
    let ask = Ask {
        what: Wanted::Sql { text: sql, params },
        target,
        reason: Some(reason),
        max_rows: None,
        timeout_ms: None,
        key: None,
    };
    let caller = Caller::of(person(serving, peer).principal());
    let broker = &serving.broker;
    if let Err(refusal) = may_file(serving, peer, &caller).await {
        break_glass::turn_away(broker, &caller, &refusal).await?;
        return Err(refusal);
    }
    let id = break_glass::file(broker, &caller, ask).await?;
    Ok(kept(&find(&serving.state, &id).await?))
}

async fn may_file(serving: &Serving, peer: &Peer, caller: &Caller) -> Result<(), Refusal> {
    if !approves(serving, peer).await? {
        let sentence = "over the socket, those who approve break the glass";
        return Err(Refusal::new(Code::Forbidden, sentence).hint(APPROVERS));
    }
    if requests::waiting(&serving.state, Some(&caller.principal)).await? < MOST_WAITING {
        return Ok(());
    }
    let sentence = format!("{MOST_WAITING} requests of yours wait for a signature already");
    Err(Refusal::new(Code::ApprovalRequired, sentence)
        .hint("`secondkey requests cancel` takes back those that are no longer wanted"))
}

/// Runs what is signed. A read ends with its caller; anything above goes on without them.
pub(super) async fn run(serving: &Serving, peer: &Peer, id: &RequestId) -> Result<Reply, Refusal> {
    let caller = Caller::of(person(serving, peer).principal());
    let request = find(&serving.state, id).await?;
    let asked = request.asked();
    if asked.purpose != Purpose::BreakGlass || asked.requester != caller.principal {
        return Err(approvals::unknown(id));
    }
    if request.status() == Status::Pending {
        return Err(approvals::standing(&request, &serving.broker.page));
    }
    let stopped = CancellationToken::new();
    let gone = stopped.clone().drop_guard();
    let ran = Box::pin(approvals::settle(&serving.broker, &caller, id, stopped)).await;
    drop(gone.disarm());
    let answer = ran?;
    let request = find(&serving.state, id).await?;
    Ok(Reply::Ran(Box::new(ran_as(answer, request.status()))))
}

/// What it has answered, as it travels and is shown.
pub fn ran_as(answer: Answer, status: Status) -> Ran {
    let report = answer.report;
    Ran {
        request: answer.request,
        status,
        effect: report.effect,
        columns: report.columns,
        rows: report.rows,
        affected: report.affected,
        truncated: report.truncated.map(|cut| Rest {
            by: cut.by.as_str().to_owned(),
            shown: cut.shown,
            at_least: cut.at_least,
            exact: cut.exact,
        }),
        elapsed_ms: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}
