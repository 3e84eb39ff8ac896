//! What is queued, leased and settled, by several handles on one folder.

use super::*;
use crate::core::audit::EventKind;
use crate::core::request::{PENDING_MS, Request};
use crate::store::State;
use crate::store::requests::tests::{NOW, Rig, asked, id};

const WAITING: &str = "select count(*) from notices";
const ENTRIES: &str = "select count(*) from audit where kind like 'notification.%'";

async fn file(state: &State, number: u8) {
    let now = state.now();
    let change = Request::submit(asked(number), now).then(|request| request.pend(now));
    state.requests().file(change.unwrap(), None).await.unwrap();
}

async fn lease(state: &State, destination: &str, lease: &str) -> Option<Leased> {
    state
        .notices()
        .lease(destination, lease.to_owned())
        .await
        .unwrap()
}

fn delivered() -> Draft {
    Draft::new(NOW, EventKind::NotificationDelivered)
}

#[tokio::test]
async fn a_message_is_queued_only_for_those_who_want_it() {
    let rig = Rig::new();
    let state = rig.open();
    file(&state, 1).await;
    assert_eq!(rig.count(WAITING), 0, "nobody is told where nobody listens");
    let notices = state.notices();
    notices.speak_for("a", Event::ALL).await.unwrap();
    notices.speak_for("b", [Event::Rejected]).await.unwrap();
    assert_eq!(notices.waiting("a"), Ok(false));
    file(&state, 2).await;
    assert_eq!(rig.count(WAITING), 1);
    assert_eq!(
        (notices.waiting("a"), notices.waiting("b")),
        (Ok(true), Ok(false))
    );
    let leased = lease(&state, "a", "x").await.unwrap();
    assert_eq!((leased.event, &leased.request), (Event::Pending, &id(2)));
    assert_eq!((leased.at, leased.attempt), (NOW, 1));
    assert_eq!(leased.until, Some(NOW.plus_ms(PENDING_MS)));
    assert_eq!(leased.id, Event::Pending.message_id(&id(2)));
}

#[tokio::test]
async fn what_time_does_is_told_too() {
    let rig = Rig::new();
    let state = rig.open();
    state
        .notices()
        .speak_for("a", [Event::Expired])
        .await
        .unwrap();
    file(&state, 1).await;
    rig.clock.jump(PENDING_MS);
    file(&state, 2).await;
    let leased = lease(&state, "a", "x").await.unwrap();
    assert_eq!(
        (leased.event, &leased.request, leased.until),
        (Event::Expired, &id(1), None)
    );
}

#[tokio::test]
async fn one_process_sends_and_another_only_when_that_one_is_gone() {
    let rig = Rig::new();
    let (one, two) = (rig.open(), rig.open());
    one.notices().speak_for("a", Event::ALL).await.unwrap();
    file(&one, 1).await;
    let first = lease(&one, "a", "first").await.unwrap();
    assert_eq!(lease(&two, "a", "second").await, None);
    assert_eq!(two.notices().waiting("a"), Ok(false));
    rig.clock.jump(LEASE_MS);
    let second = lease(&two, "a", "second").await.unwrap();
    assert_eq!((&second.id, second.attempt), (&first.id, 2));
    // The first is not gone after all: it must not take the message out of the second's hands.
    let soon = Settled::Again(rig.now());
    one.notices()
        .settle(first.clone(), soon, None)
        .await
        .unwrap();
    assert_eq!(lease(&one, "a", "third").await, None);
    // But if it was delivered, it was delivered.
    one.notices()
        .settle(first, Settled::Over, Some(delivered()))
        .await
        .unwrap();
    assert_eq!((rig.count(WAITING), rig.count(ENTRIES)), (0, 1));
    two.notices().settle(second, soon, None).await.unwrap();
    assert_eq!(rig.count(WAITING), 0);
}

#[tokio::test]
async fn a_failure_waits_its_time_and_an_end_stops_all() {
    let rig = Rig::new();
    let state = rig.open();
    let notices = state.notices();
    notices.speak_for("a", Event::ALL).await.unwrap();
    for number in [1, 2] {
        file(&state, number).await;
    }
    let leased = lease(&state, "a", "x").await.unwrap();
    let due = rig.now().plus_ms(5_000);
    let failed = Some(Draft::new(NOW, EventKind::NotificationFailed));
    notices
        .settle(leased.clone(), Settled::Again(due), failed)
        .await
        .unwrap();
    assert_eq!(rig.count(ENTRIES), 1);
    let other = lease(&state, "a", "y").await.unwrap();
    assert_ne!(other.id, leased.id);
    assert_eq!(lease(&state, "a", "z").await, None);
    rig.clock.jump(5_000);
    assert_eq!(lease(&state, "a", "z").await.unwrap().attempt, 2);
    notices.settle(other, Settled::Stop, None).await.unwrap();
    assert_eq!(rig.count(WAITING), 0);
    file(&state, 3).await;
    assert_eq!(rig.count(WAITING), 0, "nothing is queued any more");
}

#[tokio::test]
async fn a_destination_that_nobody_speaks_for_is_forgotten() {
    let rig = Rig::new();
    let state = rig.open();
    let notices = state.notices();
    notices.speak_for("old", Event::ALL).await.unwrap();
    file(&state, 1).await;
    assert_eq!(rig.count(WAITING), 1);
    rig.clock.jump(SPOKEN_FOR_MS);
    file(&state, 2).await;
    assert_eq!(rig.count(WAITING), 1, "nothing new is queued for it");
    notices.speak_for("new", Event::ALL).await.unwrap();
    assert_eq!(rig.count(WAITING), 0, "what waited for it is gone");
}

#[tokio::test]
async fn a_row_that_somebody_else_wrote_is_in_nobodys_way() {
    let rig = Rig::new();
    let state = rig.open();
    state.notices().speak_for("a", Event::ALL).await.unwrap();
    rig.raw()
        .execute_batch(
            "insert into notices (id, destination, event, request, at, attempts, due_at)
            values ('x', 'a', 'no.event', 'nothing', 1, 0, 1)",
        )
        .unwrap();
    file(&state, 1).await;
    assert_eq!(lease(&state, "a", "x").await, None);
    assert_eq!(lease(&state, "a", "x").await.unwrap().request, id(1));
}

#[tokio::test]
async fn a_destination_shows_nothing_of_its_address() {
    let (one, two) = (Rig::new(), Rig::new());
    let (one, two) = (one.open(), two.open());
    let name = one.destination(&[b"https://hooks.example/secret"]);
    assert_eq!(name, one.destination(&[b"https://hooks.example/secret"]));
    assert_ne!(name, two.destination(&[b"https://hooks.example/secret"]));
    assert_ne!(
        one.destination(&[b"ab", b"c"]),
        one.destination(&[b"a", b"bc"])
    );
}
