//! Breaking the glass: a person has work run at once, on one signature, and somebody else reviews it afterwards.
//!
//! Here it is filed; it is signed, counted and dispatched like everything else. The agent believes none of
//! it: document and signature travel along, and its own policy is asked about exactly this.

use crate::broker::approvals;
use crate::broker::submit::{Ask, Attempt, Prepared, prepare};
use crate::broker::votes::pinned;
use crate::broker::{Broker, Caller};
use crate::core::approval::document::check_break_glass;
use crate::core::approval::{DocumentError, Purpose};
use crate::core::audit::EventKind;
use crate::core::checks::Checks;
use crate::core::ids::RequestId;
use crate::core::policy::Decision;
use crate::core::refusal::{Code, Refusal};
use crate::core::trust;

/// Files work that breaks the glass: from here on one signature by somebody whom the trust file marks for
/// it has it run. Never for a program, and never without a reason. A refusal is in the audit log before it is
/// returned.
pub async fn file(broker: &Broker, caller: &Caller, ask: Ask) -> Result<RequestId, Refusal> {
    file_with(&Checks::all(), broker, caller, ask).await
}

/// Records that somebody was turned away before anything was looked at.
pub async fn turn_away(broker: &Broker, caller: &Caller, refusal: &Refusal) -> Result<(), Refusal> {
    let draft = broker.draft(EventKind::RequestRefused, caller);
    let draft = draft.purpose(Purpose::BreakGlass);
    broker.record_refusal(draft, refusal).await
}

async fn file_with(
    checks: &Checks<DocumentError>,
    broker: &Broker,
    caller: &Caller,
    ask: Ask,
) -> Result<RequestId, Refusal> {
    let request = broker.ids.request();
    let draft = broker
        .draft(EventKind::RequestRefused, caller)
        .request(&request)
        .purpose(Purpose::BreakGlass);
    let draft = match broker.target(ask.target.as_deref()) {
        Ok(target) => draft.target(target.name.as_str()),
        Err(_) => draft,
    };
    match filed(checks, broker, caller, (&request, ask)).await {
        Ok(()) => Ok(request),
        Err(refusal) => {
            broker.record_refusal(draft, &refusal).await?;
            Err(refusal)
        }
    }
}

async fn filed(
    checks: &Checks<DocumentError>,
    broker: &Broker,
    caller: &Caller,
    (request, ask): (&RequestId, Ask),
) -> Result<(), Refusal> {
    check_break_glass(checks, &caller.principal, ask.reason.as_deref()).map_err(forbidden)?;
    somebody_may(broker)?;
    let prepared: Prepared = prepare(broker, request, ask, Purpose::BreakGlass).await?;
    let attempt = Attempt {
        broker,
        caller,
        request,
        prepared: &prepared,
    };
    let (workspace, decision) = attempt.decide(None);
    if let Decision::Deny(refusal) = decision {
        return Err(refusal);
    }
    approvals::file_judged(broker, caller, (request, &prepared), workspace).await
}

/// The refusal of somebody who may not even ask.
fn forbidden(error: DocumentError) -> Refusal {
    let code = match &error {
        DocumentError::BreakGlassRequester => Code::Forbidden,
        DocumentError::BreakGlassReason => Code::InvalidArgument,
        DocumentError::Contract
        | DocumentError::Exact(_)
        | DocumentError::Nonce
        | DocumentError::Size
        | DocumentError::Times
        | DocumentError::Version => Code::ApprovalRefused,
    };
    Refusal {
        code,
        ..Refusal::from(error)
    }
}

/// Nothing is filed where nobody could sign it.
fn somebody_may(broker: &Broker) -> Result<(), Refusal> {
    let now = broker.clock.now();
    let trust = pinned(&broker.state)?;
    let may = |signer: &trust::Signer| signer.may(trust::Purpose::BreakGlass, now);
    if trust.signers.iter().any(may) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::ApprovalRefused,
        "nobody in the trust file is marked to break the glass",
    )
    .hint(
        "`secondkey trust init --break-glass` does, and `secondkey trust add PROPOSAL --purposes approve,break-glass`",
    ))
}

#[cfg(test)]
mod tests;
