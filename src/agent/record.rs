//! What the audit log and the caller are told about how a run ended.

use crate::agent::collect::Collected;
use crate::core::audit::{Draft, EventKind};
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Ending;
use crate::core::statement::Effect;
use crate::core::time::Clock;
use crate::core::token::Claims;
use crate::store::StoreError;

/// The entry about the end of a run.
pub(super) fn outcome(
    claims: &Claims,
    outcome: &Result<Collected, Refusal>,
    elapsed_ms: u64,
    clock: &dyn Clock,
) -> Draft {
    let kind = match outcome {
        Ok(_) => EventKind::ExecutionSucceeded,
        Err(refusal) if refusal.code == Code::Cancelled => EventKind::ExecutionCancelled,
        Err(refusal) if refusal.code == Code::OutcomeUnknown => EventKind::ExecutionUnknown,
        Err(_) => EventKind::ExecutionFailed,
    };
    let draft = draft(claims, kind, clock).elapsed_ms(elapsed_ms);
    match outcome {
        Ok(collected) => {
            let parts = collected.parts.iter().map(|part| part.rows.len());
            let shown = (collected.rows.len() + parts.sum::<usize>()) as u64;
            let draft = draft.number("shown", shown);
            let draft = match collected.parts.len() {
                0 => draft,
                statements => draft.number("statements", statements as u64),
            };
            match (collected.affected, &collected.truncated) {
                (Some(affected), _) => draft.rows(affected),
                (None, None) => draft.rows(shown),
                (None, Some(cut)) => draft.number("at_least", cut.at_least),
            }
        }
        Err(refusal) => draft.refusal(refusal),
    }
}

/// What the end of a run makes of its request.
pub(super) fn ending(outcome: &Result<Collected, Refusal>) -> Ending {
    match outcome {
        Ok(_) => Ending::Succeeded,
        Err(refusal) => Ending::refused(refusal),
    }
}

/// The beginning of every entry about a token.
pub(super) fn draft(claims: &Claims, kind: EventKind, clock: &dyn Clock) -> Draft {
    Draft::new(clock.now(), kind)
        .by(&claims.sub)
        .request(&claims.request)
        .target(&claims.target)
        .purpose(claims.purpose)
}

/// The work was run and the log cannot take its end: says what stands, because the caller must not
/// believe that nothing happened.
pub(super) fn unrecorded(
    effect: Effect,
    outcome: &Result<Collected, Refusal>,
    error: &StoreError,
) -> Refusal {
    let (what, hint) = match outcome {
        Ok(_) if effect == Effect::Read => (
            "the statement has run; its rows are withheld".to_owned(),
            "run it again once a person has mended the state folder",
        ),
        Ok(_) => (
            "the change was made and stands".to_owned(),
            "do not run it again; tell the person who runs secondkey",
        ),
        Err(refusal) => (
            format!("the statement has ended with `{}`", refusal.code),
            "tell the person who runs secondkey; calls work again once this is mended",
        ),
    };
    let message = format!("{what}, and its end cannot be recorded yet: {error}");
    Refusal::new(Code::AuditUnavailable, message).hint(hint)
}

/// The caller left before anything was begun.
pub(super) fn cancelled() -> Refusal {
    Refusal::new(
        Code::Cancelled,
        "the call was cancelled before the statement was begun",
    )
}

/// A run that panicked. What became of a change is not known then.
pub(super) fn broken_while(effect: Effect) -> Refusal {
    if effect == Effect::Read {
        return broken();
    }
    Refusal::new(
        Code::OutcomeUnknown,
        "the statement's task broke, and whether the change was made is not known",
    )
    .hint("look at the data before you run it again")
}

/// What broke inside us while a change was under way may have broken after the change was made.
pub(super) fn honest(effect: Effect, refusal: Refusal) -> Refusal {
    if refusal.code == Code::Internal && effect > Effect::Read {
        broken_while(effect)
    } else {
        refusal
    }
}

/// A task of ours that panicked.
pub(super) fn broken() -> Refusal {
    Refusal::new(
        Code::Internal,
        "the statement's task broke; see the log on stderr",
    )
}
