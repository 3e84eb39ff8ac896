//! A call that is made again under its idempotency key. It runs nothing: whoever was first is waited for,
//! and what the journal and the log know of that run is told.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, ledger, record};
use crate::core::audit::EventKind;
use crate::core::idempotency::{self, LIFE_MS};
use crate::core::refusal::{Code, Refusal};
use crate::core::report::Report;
use crate::core::statement::Effect;
use crate::core::token::Claims;
use crate::exec::Executor;
use crate::store::Past;

/// How often the first run is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a run may take beyond its own limit, in milliseconds, before it is taken to have died.
const GRACE_MS: i64 = 10_000;

impl Agent {
    /// What came of the run that a request was begun for before.
    pub(super) async fn repeated(
        &self,
        (claims, effect, executor): (&Claims, Effect, &Executor),
        cancel: CancellationToken,
    ) -> Result<Report, Refusal> {
        let of = (claims, effect, executor);
        let told = self.wait_for_first(of, cancel).await;
        if let Err(refusal) = &told
            && refusal.code == Code::IdempotencyConflict
        {
            self.record_refusal(Some(claims), refusal).await?;
        }
        told
    }

    async fn wait_for_first(
        &self,
        (claims, effect, executor): (&Claims, Effect, &Executor),
        cancel: CancellationToken,
    ) -> Result<Report, Refusal> {
        let note = self.note(claims, (executor, effect));
        let mut looked = false;
        loop {
            let (state, id) = (self.state.clone(), claims.request.clone());
            let past = tokio::task::spawn_blocking(move || state.log().past(&id))
                .await
                .map_err(|_| record::broken())??
                .ok_or_else(record::broken)?;
            let age_ms = self
                .clock
                .now()
                .unix_ms()
                .saturating_sub(past.begun.unix_ms());
            same(claims, &past, age_ms)?;
            let over = age_ms > i64::from(claims.limits.time_ms).saturating_add(GRACE_MS);
            let ended = match past.ended(effect) {
                Ok(None) if over => Err(unknown()),
                ended => ended,
            };
            let is_lost = matches!(&ended, Err(refusal) if refusal.code == Code::OutcomeUnknown);
            if let Some(note) = &note
                && (is_lost || (matches!(ended, Ok(None)) && !looked))
            {
                looked = true;
                let found = if is_lost {
                    executor.settle(note).await.map(Some)
                } else {
                    executor.recall(note).await
                };
                // Where the database cannot be asked, it is as without a ledger.
                if let Ok(Some(entry)) = found {
                    return ledger::replayed(note, &entry, effect);
                }
            }
            if let Some(report) = ended? {
                return Ok(report);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = cancel.cancelled() => return Err(record::cancelled()),
            }
        }
    }
}

/// Refuses to tell anything of a run that is somebody else's, of other work, or long ago.
fn same(claims: &Claims, past: &Past, age_ms: i64) -> Result<(), Refusal> {
    let own = past.principal.as_deref() == Some(claims.sub.to_string().as_str())
        && past.target.as_deref() == Some(claims.target.as_str())
        && past.work.as_deref() == Some(claims.work.to_string().as_str());
    if !own {
        return Err(idempotency::conflict());
    }
    if age_ms > LIFE_MS {
        return Err(idempotency::too_old());
    }
    Ok(())
}

fn unknown() -> Refusal {
    Refusal::new(
        Code::OutcomeUnknown,
        "the call with this idempotency key was begun before and never ended here; whether its change was made is not known",
    )
    .hint("look at the data; it is not run again under this key")
}

impl Past {
    /// What is told of its end: the report, or why nothing of it stands. Nothing before the end.
    pub(crate) fn ended(&self, effect: Effect) -> Result<Option<Report>, Refusal> {
        let Some(end) = &self.end else {
            return Ok(None);
        };
        let code = end.code.as_deref().unwrap_or("an error");
        let failed = |code, what: &str| {
            Err(
                Refusal::new(code, format!("the call with this idempotency key {what}"))
                    .hint("take another key to try it anew"),
            )
        };
        if end.kind == EventKind::ExecutionSucceeded {
            Ok(Some(Report::replayed(effect, end.rows, end.statements)))
        } else if end.kind == EventKind::ExecutionUnknown {
            Err(unknown())
        } else if end.kind == EventKind::ExecutionCancelled {
            failed(
                Code::Cancelled,
                "was stopped before, and nothing of it stands",
            )
        } else {
            failed(
                Code::RequestState,
                &format!("failed before (`{code}`), and nothing of it stands"),
            )
        }
    }
}
