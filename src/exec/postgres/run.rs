//! What reads and changes have in common: their order, their limits and what stops them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;

use super::pool::Loan;
use super::{errors, params};
use crate::core::limits::Limits;
use crate::core::refusal::Refusal;
use crate::core::statement::Statement;
use crate::core::token::{Claims, Keep};

/// How much longer than the server's own limit a statement may take before we stop it.
const GRACE: Duration = Duration::from_secs(1);
/// The most bytes of rows that are held at a time.
pub(super) const HELD: usize = 64 * 1024 * 1024;
/// The server cuts names after so many bytes (`NAMEDATALEN` - 1).
const LONGEST_NAME: usize = 63;

/// What to run.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
    pub(super) statement: Arc<Statement>,
    pub(super) limits: Limits,
    /// What has to hold before a change is kept.
    pub(super) keep: Keep,
    /// What the server shows of it while it runs; see [`application_name`].
    pub(super) name: String,
    pub(super) cancel: CancellationToken,
}

/// The request and who asked, for `application_name`, which `pg_stat_activity` and the server's log show: at most 63
/// bytes, of characters that mean nothing in a literal.
pub(super) fn application_name(claims: &Claims) -> String {
    shown(&format!("{} {}", claims.request, claims.sub))
}

fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/@ ".contains(c);
    let name = name.chars().map(|c| if plain(c) { c } else { '?' });
    name.take(LONGEST_NAME).collect()
}

/// Why a statement was stopped before its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stopped {
    /// The caller went away or cancelled.
    Cancelled,
    /// Its time was over.
    Time,
}

impl From<Stopped> for Refusal {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Cancelled => errors::cancelled(),
            Stopped::Time => errors::time_limit(),
        }
    }
}

/// Waits for work until it is done, cancelled, or later than the server would let it be.
pub(super) async fn bounded<T>(
    work: BoxFuture<'_, T>,
    gone: BoxFuture<'_, ()>,
    limit: Duration,
) -> Result<T, Stopped> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = gone => Err(Stopped::Cancelled),
        () = tokio::time::sleep(limit.saturating_add(GRACE)) => Err(Stopped::Time),
    }
}

/// Stops what runs on a connection, at the server, and gives the connection up: a late cancel
/// must not meet the next statement.
pub(super) async fn abandon(loan: Loan) {
    let pool = Arc::clone(loan.pool());
    loan.into_session().give_up(&pool.address).boxed().await;
}

/// Ends a transaction without keeping anything, and returns the connection if that worked.
pub(super) async fn roll_back(loan: Loan) {
    let ended = tokio::time::timeout(GRACE * 5, loan.session.client.batch_execute("rollback"));
    if matches!(ended.await, Ok(Ok(()))) {
        loan.give_back();
    }
}

/// The refusal for an error, told as a parameter's where the server says so.
pub(super) fn failure(error: &tokio_postgres::Error, types: &[Type]) -> Refusal {
    let number = errors::parameter(error);
    let kind = number.and_then(|n| types.get(n.checked_sub(1)?));
    match (number, kind) {
        (Some(number), Some(kind)) => params::mismatch(number, kind)
            .hint("send it in the form that PostgreSQL reads for this type"),
        _ => errors::refusal(error),
    }
}

/// The refusal as it is to be told: a connection that the wire guard ended was not lost.
pub(super) fn told(loan: &Loan, refusal: Refusal) -> Refusal {
    if loan.session.tripped.is_set() {
        errors::too_large()
    } else {
        refusal
    }
}

/// Time that runs only while the server works.
#[derive(Debug)]
pub(super) struct Budget {
    left: Duration,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            left: Duration::from_millis(limits.time_ms.into()),
        }
    }

    pub(super) fn left(&self) -> Duration {
        self.left
    }

    pub(super) fn spend(&mut self, since: Instant) {
        self.left = self.left.saturating_sub(since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_and_needs_no_quoting() {
        let name =
            shown("req_01a205fb98717062a698bde8bf1cd0ad ai:ada/it's \\ ü\n; drop table users --");
        assert_eq!(name.len(), LONGEST_NAME);
        assert!(name.ends_with(" ai:ada/it?s ? ??? drop tab"), "{name}");
    }
}
