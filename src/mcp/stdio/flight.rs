//! The requests that were taken and are not answered yet.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rmcp::model::RequestId;
use tokio::sync::Notify;

/// So many at most; then no more is read until one is answered.
const MOST: usize = 1_000;

/// Requests under way, by their ids.
#[derive(Debug, Default)]
pub(in crate::mcp) struct Flight {
    ids: Mutex<HashSet<RequestId>>,
    changed: Notify,
}

impl Flight {
    /// Notes a request; false if one of this id is under way already.
    pub(in crate::mcp) fn begin(&self, id: &RequestId) -> bool {
        let new = self.lock().insert(id.clone());
        self.changed.notify_waiters();
        new
    }

    /// Notes that a request will hear nothing more.
    pub(in crate::mcp) fn end(&self, id: &RequestId) {
        self.lock().remove(id);
        self.changed.notify_waiters();
    }

    /// Waits until none is under way.
    pub(in crate::mcp) async fn idle(&self) {
        self.until(|count| count == 0).await;
    }

    /// Waits until one is under way.
    pub(in crate::mcp) async fn busy(&self) {
        self.until(|count| count > 0).await;
    }

    /// Waits until one more can be taken.
    pub(in crate::mcp) async fn room(&self) {
        self.until(|count| count < MOST).await;
    }

    async fn until(&self, enough: impl Fn(usize) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if enough(self.lock().len()) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn an_id_is_under_way_once() {
        let flight = Flight::default();
        let (one, other) = (RequestId::Number(1), RequestId::String("1".into()));
        assert!(flight.begin(&one) && flight.begin(&other));
        assert!(!flight.begin(&one));
        flight.end(&one);
        assert!(flight.begin(&one));
    }

    #[tokio::test]
    async fn waiting_ends_when_it_is_time() {
        let flight = Flight::default();
        let id = RequestId::Number(1);
        assert!(flight.idle().now_or_never().is_some());
        flight.begin(&id);
        assert!(flight.idle().now_or_never().is_none());
        let answered = async {
            tokio::task::yield_now().await;
            flight.end(&id);
        };
        tokio::join!(flight.idle(), answered);
        for number in 0..MOST {
            assert!(flight.room().now_or_never().is_some());
            flight.begin(&RequestId::Number(i64::try_from(number).unwrap()));
        }
        assert!(flight.room().now_or_never().is_none());
    }
}
