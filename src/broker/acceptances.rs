//! Acceptances of changed capabilities: which wait, and taking one that somebody has signed.

use crate::broker::votes::pinned;
use crate::core::approval::acceptance::{Change, verify_acceptance};
use crate::core::approval::{Acceptance, AcceptanceError, SignedAcceptance};
use crate::core::audit::{Draft, EventKind};
use crate::core::capability::Remembered;
use crate::core::checks::Checks;
use crate::core::refusal::{Code, Refusal};
use crate::store::State;

/// The capabilities that are not what was accepted, by target and name.
pub async fn changed(state: &State) -> Result<Vec<Remembered>, Refusal> {
    Ok(state.memory().changed().await?)
}

/// Verifies an acceptance of what a capability is now, and lets it be called; gives what was accepted. A refusal is
/// in the audit log before it is returned.
pub async fn accept(state: &State, signed: &SignedAcceptance) -> Result<Remembered, Refusal> {
    accept_with(&Checks::all(), state, signed).await
}

pub(in crate::broker) async fn accept_with(
    checks: &Checks<AcceptanceError>,
    state: &State,
    signed: &SignedAcceptance,
) -> Result<Remembered, Refusal> {
    match accepted(checks, state, signed).await {
        Ok(one) => Ok(one),
        Err(refusal) => {
            let draft = Draft::new(state.now(), EventKind::CapabilityAcceptanceRefused);
            state.log().append(draft.refusal(&refusal)).await?;
            Err(refusal)
        }
    }
}

async fn accepted(
    checks: &Checks<AcceptanceError>,
    state: &State,
    signed: &SignedAcceptance,
) -> Result<Remembered, Refusal> {
    let trust = pinned(state)?;
    let said = Acceptance::parse(&signed.acceptance)?;
    let mut changed = changed(state).await?.into_iter();
    let one = changed.find(|one| one.target == said.target && one.name == said.capability);
    let one = one.ok_or_else(|| nothing(&said.capability))?;
    let change = Change {
        target: &one.target,
        capability: &one.name,
        from: one.before(),
        to: one.seen.0,
        since: one.seen_at,
    };
    let said = verify_acceptance(checks, signed, &change, (&trust, state.now()))?;
    let draft = Draft::new(state.now(), EventKind::CapabilityAccepted)
        .by(&said.signer)
        .target(&one.target)
        .text("capability", &one.name)
        .text("to", &one.seen.0.to_string());
    let draft = match &said.comment {
        Some(comment) => draft.text("comment", comment),
        None => draft,
    };
    state.log().append(draft).await?;
    if state.memory().accept(&one, signed).await? {
        Ok(one)
    } else {
        // It has changed once more, between the look and the writing.
        Err(AcceptanceError::Change.into())
    }
}

/// There is nothing to accept.
pub fn nothing(name: &str) -> Refusal {
    let sentence = format!(
        "no change of `{}` waits to be accepted",
        name.escape_debug()
    );
    Refusal::new(Code::UnknownCapability, sentence)
        .hint("`secondkey capability list` shows which have changed")
}
