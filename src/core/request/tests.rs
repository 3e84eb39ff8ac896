//! The life of a request, step by step, and every step that is not in it.

use proptest::prelude::*;

use super::*;
use crate::core::audit::EventKind;
use crate::core::ids::TokenId;
use crate::core::principal::PrincipalKind;
use crate::core::refusal::{Code, Refusal};
use crate::core::signer::{Presence, Surface};

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

fn asked() -> Asked {
    Asked {
        purpose: Purpose::Run,
        id: RequestId::new(1, [1; 10]),
        workspace: "local".into(),
        requester: Principal::new(PrincipalKind::Ai, "ada/claude"),
        target: "orders".into(),
        environment: "production".into(),
        engine: Engine::Postgres,
        agent: AgentId::new(1, [2; 10]),
        effect: Effect::Write,
        kind: "update".into(),
        statement: "update orders set state = ?".into(),
        reason: Some("the customer asked".into()),
        work: Digest::of(&[b"work"]),
        document: Document::new("{}".into(), NOW.plus_ms(25 * 60 * 60 * 1_000)),
        requirements: "[]".into(),
        workspace_policy: Digest::of(&[b"workspace"]),
        agent_policy: Digest::of(&[b"agent"]),
    }
}

fn vote(signer: &str, key: &str) -> RecordedVote {
    RecordedVote {
        signer: Principal::new(PrincipalKind::Human, signer),
        key: key.into(),
        decision: Decision::Approve,
        comment: None,
        surface: Surface::Terminal,
        presence: Presence::Hardware,
        groups: ["dba".to_owned()].into(),
        at: NOW,
        verdict: Digest::of(&[key.as_bytes()]),
        signed: "signed".into(),
    }
}

fn token(byte: u8) -> TokenId {
    TokenId::new(1, [byte; 10])
}

fn intent() -> Draft {
    Draft::new(NOW, EventKind::ExecutionStarted)
}

fn outcome() -> Draft {
    Draft::new(NOW, EventKind::ExecutionSucceeded)
}

fn ada() -> Principal {
    Principal::new(PrincipalKind::Human, "ada")
}

fn pending() -> Request {
    Request::submit(asked(), NOW)
        .then(|request| request.pend(NOW))
        .unwrap()
        .into_request()
}

fn approved() -> Request {
    pending()
        .vote(vote("ada", "k1"), NOW, |_| Standing::Met)
        .unwrap()
        .into_request()
}

fn dispatched() -> Request {
    let lapses = NOW.plus_ms(60_000);
    approved()
        .dispatch(token(1), lapses, NOW)
        .unwrap()
        .into_request()
}

fn running() -> Request {
    dispatched()
        .start(&token(1), 30_000, NOW, intent())
        .unwrap()
        .into_request()
}

fn kinds(change: &Change) -> Vec<EventKind> {
    change.events().iter().map(|event| event.kind).collect()
}

#[test]
fn a_whole_life_leaves_an_entry_for_each_step() {
    let filed = Request::submit(asked(), NOW)
        .then(|request| request.measure(NOW))
        .unwrap()
        .then(|request| request.pend(NOW))
        .unwrap();
    assert_eq!((filed.before(), filed.request().version()), (0, 3));
    assert_eq!(
        kinds(&filed),
        [
            EventKind::RequestSubmitted,
            EventKind::RequestMeasuring,
            EventKind::RequestPending
        ]
    );
    let first = filed
        .into_request()
        .vote(vote("ada", "k1"), NOW, |votes| {
            assert_eq!(votes.len(), 1);
            Standing::Open
        })
        .unwrap();
    assert_eq!(kinds(&first), [EventKind::VoteCast]);
    assert_eq!(first.request().status(), Status::Pending);
    let second = first
        .into_request()
        .vote(vote("bob", "k2"), NOW, |votes| {
            assert_eq!(votes.len(), 2);
            Standing::Met
        })
        .unwrap();
    assert_eq!(
        kinds(&second),
        [EventKind::VoteCast, EventKind::RequestApproved]
    );
    let sent = second
        .into_request()
        .dispatch(token(1), NOW.plus_ms(60_000), NOW)
        .unwrap();
    assert_eq!(kinds(&sent), [EventKind::RequestDispatched]);
    let begun = sent
        .into_request()
        .start(&token(1), 30_000, NOW, intent())
        .unwrap();
    assert_eq!(kinds(&begun), [EventKind::ExecutionStarted]);
    let over = begun
        .into_request()
        .end(Ending::Succeeded, NOW, outcome())
        .unwrap();
    assert_eq!(kinds(&over), [EventKind::ExecutionSucceeded]);
    assert_eq!(over.request().status(), Status::Succeeded);
    assert_eq!(over.request().state().votes().len(), 2);
    assert_eq!(over.request().version(), 8);
}

#[test]
fn a_request_waits_for_people_for_24_hours_and_then_for_its_requester_for_one() {
    let last = NOW.plus_ms(PENDING_MS - 1);
    assert_eq!(pending().as_of(last).status(), Status::Pending);
    assert_eq!(
        pending().as_of(last.plus_ms(1)).state(),
        &State::Expired {
            was: Status::Pending,
            at: last.plus_ms(1),
            votes: vec![],
        }
    );
    let last = NOW.plus_ms(APPROVED_MS - 1);
    assert_eq!(approved().as_of(last).status(), Status::Approved);
    let expired = approved().as_of(NOW.plus_ms(10 * APPROVED_MS));
    let State::Expired { was, at, votes } = expired.state() else {
        panic!("{expired:?}")
    };
    assert_eq!((*was, *at), (Status::Approved, last.plus_ms(1)));
    assert_eq!(votes.len(), 1);
}

#[test]
fn nothing_waits_longer_than_its_document() {
    let mut asked = asked();
    asked.document = Document::new("{}".into(), NOW.plus_ms(10));
    let request = Request::submit(asked, NOW)
        .then(|request| request.pend(NOW))
        .unwrap()
        .into_request();
    let voted = request
        .vote(vote("ada", "k1"), NOW.plus_ms(9), |_| Standing::Met)
        .unwrap()
        .into_request();
    assert_eq!(voted.status(), Status::Approved);
    assert_eq!(voted.as_of(NOW.plus_ms(10)).status(), Status::Expired);
}

#[test]
fn a_vote_by_the_same_person_or_key_or_by_no_person_does_not_count() {
    let once = pending()
        .vote(vote("ada", "k1"), NOW, |_| Standing::Open)
        .unwrap()
        .into_request();
    let refused = |vote| once.clone().vote(vote, NOW, |_| Standing::Met).unwrap_err();
    assert_eq!(
        refused(vote("ada", "k2")),
        InvalidTransition::AlreadyVoted(ada())
    );
    assert_eq!(refused(vote("bob", "k1")), InvalidTransition::KeyUsed);
    let mut model = vote("ada/claude", "k3");
    model.signer = asked().requester;
    assert_eq!(
        refused(model),
        InvalidTransition::NotAPerson(asked().requester)
    );
}

#[test]
fn a_late_vote_is_refused_and_one_in_time_is_not() {
    let cast = |at| pending().vote(vote("ada", "k1"), at, |_| Standing::Met);
    assert!(cast(NOW.plus_ms(PENDING_MS - 1)).is_ok());
    assert_eq!(
        cast(NOW.plus_ms(PENDING_MS)),
        Err(InvalidTransition::State {
            is: Status::Expired,
            wanted: "pending",
            what: "voted on"
        })
    );
}

#[test]
fn a_rejection_ends_the_request() {
    let rejected = pending()
        .vote(vote("ada", "k1"), NOW, |_| Standing::Refused)
        .unwrap();
    assert_eq!(
        kinds(&rejected),
        [EventKind::VoteCast, EventKind::RequestRejected]
    );
    let rejected = rejected.into_request();
    assert!(rejected.status().is_over());
    assert!(
        rejected
            .vote(vote("bob", "k2"), NOW, |_| Standing::Met)
            .is_err()
    );
}

#[test]
fn a_lapsed_token_gives_the_approval_back_once_and_is_recorded_with_the_next_step() {
    let later = NOW.plus_ms(60_000);
    let lapsed = dispatched().as_of(later);
    assert_eq!(lapsed.status(), Status::Approved);
    assert_eq!(lapsed.version(), dispatched().version());
    let again = lapsed
        .dispatch(token(2), later.plus_ms(60_000), later)
        .unwrap();
    assert_eq!(
        kinds(&again),
        [EventKind::RequestLapsed, EventKind::RequestDispatched]
    );
    let again = again.into_request();
    assert_eq!(
        again.clone().start(&token(1), 1, later, intent()),
        Err(InvalidTransition::OtherToken)
    );
    assert!(again.start(&token(2), 1, later, intent()).is_ok());
}

#[test]
fn an_order_of_which_nothing_was_heard_has_an_unknown_end_until_its_agent_reports() {
    let lapses = NOW.plus_ms(60_000);
    let sent = approved().dispatch_away(token(1), lapses, NOW).unwrap();
    assert_eq!(kinds(&sent), [EventKind::RequestDispatched]);
    let silent = sent.into_request().as_of(lapses);
    assert_eq!(silent.status(), Status::Unknown);
    let again = silent
        .clone()
        .dispatch_away(token(2), lapses.plus_ms(1), lapses);
    assert!(again.is_err());
    assert!(silent.clone().give_back(&token(1), lapses).is_err());
    let late = lapses.plus_ms(1);
    let reported = silent.end(Ending::Succeeded, late, outcome()).unwrap();
    assert_eq!(reported.request().status(), Status::Succeeded);
}

#[test]
fn an_order_that_was_not_begun_is_given_back_by_its_own_token_alone() {
    let back = dispatched().give_back(&token(1), NOW).unwrap();
    assert_eq!(kinds(&back), [EventKind::RequestLapsed]);
    assert_eq!(back.request().state(), approved().state());
    let other = dispatched().give_back(&token(2), NOW);
    assert_eq!(other, Err(InvalidTransition::OtherToken));
    assert!(running().give_back(&token(1), NOW).is_err());
    assert!(approved().give_back(&token(1), NOW).is_err());
}

#[test]
fn a_lapsed_token_does_not_outlive_its_approval() {
    let change = dispatched().catch_up(NOW.plus_ms(APPROVED_MS)).unwrap();
    assert_eq!(
        kinds(&change),
        [EventKind::RequestLapsed, EventKind::RequestExpired]
    );
    assert_eq!(change.request().status(), Status::Expired);
    assert_eq!(change.request().version(), dispatched().version() + 1);
    assert!(dispatched().catch_up(NOW).is_err(), "nothing has happened");
}

#[test]
fn a_silent_agent_leaves_an_unknown_end_that_its_late_report_settles() {
    let silent = NOW.plus_ms(30_000 + REPORT_MS);
    assert_eq!(
        running().as_of(silent.plus_ms(-1)).status(),
        Status::Running
    );
    let unknown = running().as_of(silent);
    assert_eq!(unknown.status(), Status::Unknown);
    let settled = unknown
        .clone()
        .end(Ending::Succeeded, silent, outcome())
        .unwrap();
    assert_eq!(
        kinds(&settled),
        [EventKind::ExecutionUnknown, EventKind::ExecutionSucceeded]
    );
    let never = unknown
        .clone()
        .settle((Settlement::Failed, "looked"), &ada(), silent)
        .unwrap();
    assert_eq!(never.request().status(), Status::Failed);
    assert!(
        unknown
            .dispatch(token(2), silent.plus_ms(1), silent)
            .is_err(),
        "never run again"
    );
}

#[test]
fn each_ending_has_a_state_of_its_own() {
    let end = |ending| {
        let change = running().end(ending, NOW, outcome()).unwrap();
        change.into_request().status()
    };
    let refused = |code| Ending::refused(&Refusal::new(code, "no"));
    assert_eq!(end(Ending::Succeeded), Status::Succeeded);
    assert_eq!(end(refused(Code::DatabaseError)), Status::Failed);
    assert_eq!(end(refused(Code::Cancelled)), Status::Cancelled);
    assert_eq!(end(refused(Code::OutcomeUnknown)), Status::Unknown);
}

#[test]
fn what_is_with_an_agent_cannot_be_cancelled_here() {
    let statuses = [pending(), approved()].map(|request| {
        let change = request.cancel(&ada(), NOW).unwrap();
        assert_eq!(kinds(&change), [EventKind::RequestCancelled]);
        change.into_request().status()
    });
    assert_eq!(statuses, [Status::Cancelled; 2]);
    for request in [dispatched(), running()] {
        assert!(request.cancel(&ada(), NOW).is_err());
    }
}

/// Every step there is, from each state; what is possible is exactly what the picture shows.
#[test]
fn no_step_leaves_the_picture() {
    let submitted = || Request::submit(asked(), NOW).into_request();
    let unknown = || {
        let change = running().end(Ending::Unknown, NOW, outcome());
        change.unwrap().into_request()
    };
    let over = || {
        let change = running().end(Ending::Succeeded, NOW, outcome());
        change.unwrap().into_request()
    };
    let states = [
        submitted(),
        submitted().measure(NOW).unwrap().into_request(),
        pending(),
        approved(),
        dispatched(),
        running(),
        unknown(),
        over(),
    ];
    let possible: Vec<String> = states
        .iter()
        .map(|from| {
            let steps: Vec<String> = steps(from)
                .into_iter()
                .filter_map(Result::ok)
                .map(|change| {
                    assert!(!change.events().is_empty());
                    change.request().status().to_string()
                })
                .collect();
            format!("{}: {}", from.status(), steps.join(" "))
        })
        .collect();
    assert_eq!(
        possible,
        [
            "submitted: denied approved measuring pending cancelled",
            "measuring: denied approved pending cancelled",
            "pending: pending approved rejected cancelled",
            "approved: cancelled dispatched",
            "dispatched: running",
            "running: succeeded",
            "unknown: succeeded failed",
            "succeeded: ",
        ]
    );
}

fn steps(from: &Request) -> Vec<Result<Change, InvalidTransition>> {
    let take = || from.clone();
    let cast = |standing| take().vote(vote("eve", "k9"), NOW, |_| standing);
    vec![
        take().deny(Refusal::new(Code::Forbidden, "no"), NOW),
        take().allow(NOW),
        take().measure(NOW),
        take().pend(NOW),
        cast(Standing::Open),
        cast(Standing::Met),
        cast(Standing::Refused),
        take().cancel(&ada(), NOW),
        take().dispatch(token(3), NOW.plus_ms(1), NOW),
        take().start(&token(1), 1, NOW, intent()),
        take().end(Ending::Succeeded, NOW, outcome()),
        take().settle((Settlement::Failed, "looked"), &ada(), NOW),
    ]
}

proptest! {
    /// Looking often and looking once come to the same, and no state is due for ever.
    #[test]
    fn time_is_the_same_however_often_somebody_looks(
        mut looks in proptest::collection::vec(0_i64..100_000_000, 1..6),
        which in 0_usize..4,
    ) {
        looks.sort_unstable();
        let start = [pending(), approved(), dispatched(), running()][which].clone();
        let last = NOW.plus_ms(*looks.last().unwrap());
        let once = start.clone().as_of(last);
        let mut often = start;
        for look in looks {
            often = often.as_of(NOW.plus_ms(look));
        }
        prop_assert_eq!(often.state(), once.state());
        prop_assert_eq!(once.clone().state().clone().as_of(last), once.state().clone());
        prop_assert!(once.state().due().is_none_or(|due| due > last));
        let kinds = |request: &Request| request.unrecorded.iter().map(|event| event.kind).collect::<Vec<_>>();
        prop_assert_eq!(kinds(&often), kinds(&once));
    }

    /// What is written as JSON is read back, and a foreign word in it is not.
    #[test]
    fn states_survive_as_json(which in 0_usize..5) {
        let state = [pending(), approved(), dispatched(), running(), running().as_of(NOW.plus_ms(1_000_000))][which].state().clone();
        let text = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        let foreign = text.replacen("\"is\":\"", "\"is\":\"un", 1);
        prop_assert!(serde_json::from_str::<State>(&foreign).is_err());
    }
}

fn glass() -> Asked {
    Asked {
        purpose: Purpose::BreakGlass,
        requester: ada(),
        ..asked()
    }
}

/// A request that has broken the glass and runs.
fn glass_running() -> Change {
    let lapses = NOW.plus_ms(60_000);
    Request::submit(glass(), NOW)
        .then(|request| request.pend(NOW))
        .unwrap()
        .then(|request| request.vote(vote("ada", "k1"), NOW, |_| Standing::Met))
        .unwrap()
        .then(|request| request.dispatch(token(1), lapses, NOW))
        .unwrap()
        .then(|request| request.start(&token(1), 30_000, NOW, intent()))
        .unwrap()
}

#[test]
fn what_breaks_the_glass_opens_a_review_and_says_so_in_each_entry() {
    let begun = glass_running();
    let last = begun.events().last().unwrap();
    assert_eq!(last.kind, EventKind::ReviewOpened);
    let own = begun
        .events()
        .iter()
        .filter(|event| event.kind != EventKind::ExecutionStarted);
    for event in own {
        let purpose = event.facts().get("purpose").and_then(Value::as_str);
        assert_eq!(purpose, Some("break_glass"), "{event:?}");
    }
    let request = begun.into_request();
    assert!(request.has_open_review());
    // It can be closed once the run is over, however it ends, and time alone does not close it.
    assert!(request.check_reviewable().is_err());
    for ending in [Ending::Succeeded, Ending::Cancelled, Ending::Unknown] {
        let ended = request.clone().end(ending, NOW, outcome()).unwrap();
        assert_eq!(ended.into_request().check_reviewable(), Ok(()));
    }
    let gone = request.as_of(NOW.plus_ms(10 * 60_000));
    assert_eq!(gone.status(), Status::Unknown);
    assert_eq!(gone.check_reviewable(), Ok(()));
    // What waited for its approvals has none.
    assert_eq!(running().review(), None);
}

#[test]
fn the_glass_is_for_people_and_takes_a_signature() {
    let program = Asked {
        requester: asked().requester,
        ..glass()
    };
    let filed = Request::submit(program.clone(), NOW).then(|request| request.pend(NOW));
    let refused = InvalidTransition::GlassOfAProgram(program.requester);
    assert_eq!(filed.unwrap_err(), refused);
    let allowed = Request::submit(glass(), NOW).then(|request| request.allow(NOW));
    assert_eq!(allowed.unwrap_err(), InvalidTransition::Unsigned);
}
