//! One process, one folder: what is appended is there, once, in order, and survives.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use super::*;
use crate::core::audit::Content;
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::time::Timestamp;

#[derive(Debug)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed))
    }
}

const NOW: i64 = 1_700_000_000_000;

fn open(folder: &TempDir) -> (State, Arc<TestClock>) {
    let clock = Arc::new(TestClock(AtomicI64::new(NOW)));
    let root = folder.path().join("state");
    if !root.exists() {
        elsewhere::share(&root);
    }
    let state = State::open(&root, clock.clone()).unwrap();
    (state, clock)
}

fn draft(request: &RequestId) -> Draft {
    Draft::new(Timestamp::from_unix_ms(NOW), EventKind::ExecutionStarted)
        .by(&Principal::new(PrincipalKind::Ai, "ada/test"))
        .request(request)
        .target("shop")
}

fn start(number: u8) -> Start {
    let request = RequestId::new(1_700_000_000_000, [number; 10]);
    Start {
        intent: draft(&request),
        request,
        token_not_before: Timestamp::from_unix_ms(NOW),
        synced: number.is_multiple_of(2),
        dispatched: None,
    }
}

#[tokio::test]
async fn what_is_appended_is_there_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (state, _) = open(&folder);
    let first = state.log().begin(start(1)).await.unwrap();
    state.log().append_soon(draft(&start(1).request));
    let third = state.log().append(draft(&start(2).request)).await.unwrap();
    // Two keys were made on the first run.
    assert_eq!((first.sequence, third.sequence), (3, 5));

    let of_request = log::Select::Request(start(1).request);
    let shown = state.log().show(&of_request).unwrap();
    assert_eq!(shown.len(), 2);
    let Content::Present(body) = &shown[0].content else {
        panic!("{shown:?}")
    };
    assert_eq!(body.principal.as_deref(), Some("ai:ada/test"));

    let report = state.log().verify(None).unwrap();
    let verified = report.outcome.unwrap();
    assert_eq!((verified.entries, verified.against), (5, None));
    state.close().await.unwrap();
    assert_eq!(
        state.log().append(draft(&start(1).request)).await,
        Err(StoreError::Closed)
    );

    let (state, _) = open(&folder);
    let report = state.log().verify(None).unwrap();
    assert_eq!(report.outcome.unwrap().against.unwrap().count, 5);
    assert_eq!(report.own_heads, 1);
}

#[tokio::test]
async fn a_request_is_consumed_once_whatever_process_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (one, _) = open(&folder);
    let (other, _) = open(&folder);
    one.log().begin(start(1)).await.unwrap();
    for state in [&one, &other] {
        assert_eq!(
            state.log().begin(start(1)).await,
            Err(BeginError::AlreadyUsed)
        );
    }
    one.close().await.unwrap();
    let (again, _) = open(&folder);
    assert_eq!(
        again.log().begin(start(1)).await,
        Err(BeginError::AlreadyUsed)
    );
    let of_request = log::Select::Request(start(1).request);
    assert_eq!(again.log().show(&of_request).unwrap().len(), 1);
}

#[tokio::test]
async fn a_new_journal_refuses_tokens_older_than_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (state, _) = open(&folder);
    let older = Start {
        token_not_before: Timestamp::from_unix_ms(NOW - 1),
        ..start(1)
    };
    assert_eq!(
        state.log().begin(older).await,
        Err(BeginError::OlderThanJournal)
    );
    // The request was not consumed by that.
    state.log().begin(start(1)).await.unwrap();
}

#[test]
fn a_salt_is_the_same_in_each_process_and_another_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let salt = |state: &State, number| state.salt(&start(number).request);
    let (one, _) = open(&folder);
    let (other, _) = open(&folder);
    let (stranger, _) = open(&elsewhere);
    assert_eq!(salt(&one, 1), salt(&other, 1));
    assert_ne!(salt(&one, 1), salt(&one, 2));
    assert_ne!(salt(&one, 1), salt(&stranger, 1));
}
