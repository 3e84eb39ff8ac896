//! What can end a statement before it is done, and how it is made to end at the server.

use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnectOptions;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::core::refusal::Refusal;
use crate::exec::Event;
use crate::exec::mysql::{errors, session};

/// How much later than the server's own limit we step in.
const GRACE: Duration = Duration::from_millis(500);

/// Why a statement has to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// The caller cancelled it, or does not listen any more.
    Cancelled,
    /// Its time is over.
    Time,
}

impl Why {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Cancelled => errors::cancelled(),
            Self::Time => errors::time_limit(),
        }
    }
}

/// Watches over one statement.
#[derive(Debug)]
pub(super) struct Watch {
    options: MySqlConnectOptions,
    cancel: CancellationToken,
    end: Instant,
    /// Set for reads: they stop when nobody listens.
    events: Option<mpsc::Sender<Event>>,
}

impl Watch {
    pub(super) fn new(
        options: &MySqlConnectOptions,
        cancel: CancellationToken,
        limit_ms: u32,
        events: Option<mpsc::Sender<Event>>,
    ) -> Self {
        Self {
            options: options.clone(),
            cancel,
            end: Instant::now() + Duration::from_millis(limit_ms.into()) + GRACE,
            events,
        }
    }

    /// Waits until the statement has to end.
    pub(super) async fn over(&self) -> Why {
        let unheard = async {
            match &self.events {
                Some(events) => events.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.cancel.cancelled() => Why::Cancelled,
            () = unheard => Why::Cancelled,
            () = tokio::time::sleep_until(self.end.into()) => Why::Time,
        }
    }

    /// Does `work`, unless the statement has to end first.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, Why> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            why = self.over() => Err(why),
        }
    }

    /// Makes the server stop what the connection `id` does.
    pub(super) async fn kill(&self, id: u64) {
        if let Err(refusal) = session::kill(&self.options, id).await {
            // The server's own limit is what is left.
            tracing::warn!(code = %refusal.code, "a statement could not be stopped at the server");
        }
    }
}
