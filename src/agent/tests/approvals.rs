//! Attacks on what people approved.

use super::*;

/// A policy that lets everything run.
const LAX: &str = "permit (principal, action, resource);";

#[tokio::test]
async fn what_a_person_approved_runs_once_and_only_once() {
    let rig = Rig::new(Defences::all()).await;
    let order = rig.order();
    rig.run(&order).await.unwrap();
    assert_eq!(rig.orders(), ["closed", "open"]);

    // Two tokens for one approval: the request id is used up, whatever the token's.
    let mut again = rig.order();
    again.claims.jti = TokenId::new(1_700_000_000_001, [9; 10]);
    let refusal = rig.run(&again).await.unwrap_err();
    assert_eq!(refusal.code, Code::TokenRefused);

    // Without the journal's line it would run again.
    let database = rig.folder.path().join("state/state.db");
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.execute("delete from journal", ()).unwrap();
    rig.run(&again).await.unwrap();
}

#[tokio::test]
async fn nothing_runs_that_nobody_signed() {
    let rig = Rig::new(Defences::all()).await;
    let mut order = rig.order();
    order.backing = None;
    order.claims.document = None;
    order.claims.approvals = Vec::new();
    refused(&rig, &order, "needs a human's approval").await;

    // An empty list of verdicts, as a store that somebody edited would give it.
    let mut order = rig.order();
    order.give(Vec::new());
    refused(&rig, &order, "needs a human's approval").await;

    // Without the agent's own policy the broker's word would be enough.
    let rig = Rig::with_policy(Defences::all(), policy(LAX)).await;
    let mut order = rig.order();
    order.give(Vec::new());
    rig.run(&order).await.unwrap();
    assert_ne!(rig.orders(), BEFORE);

    // And so it would be if the agent did not hold the votes against its policy.
    let nobody = |_: &Rig, order: &mut Order| order.give(Vec::new());
    let quorum = [Check::Count(Uncounted::Quorum)];
    held_by(PolicySet::agent_default(), nobody, &quorum).await;
}

#[tokio::test]
async fn a_rejection_is_no_approval() {
    let rejected = |_: &Rig, order: &mut Order| {
        let no = verdict_by(&order.document(), "ada", Decision::Reject);
        order.give(vec![signed(&no, &ada_key())]);
    };
    let counted = [Check::Count(Uncounted::Decision)];
    held_by(PolicySet::agent_default(), rejected, &counted).await;
}

#[tokio::test]
async fn a_document_that_differs_from_the_signed_one_is_refused() {
    let attack = |_: &Rig, order: &mut Order| {
        order.other_work("update orders set status = 'gone'", vec![]);
        let work = order.work.clone();
        order.forge(|document| {
            work.text().clone_into(&mut document.statement);
            document.work = work.digest();
            document.params = None;
        });
    };
    stopped_by(attack, VerdictError::Document.into()).await;
}

#[tokio::test]
async fn other_work_under_the_same_approval_is_refused() {
    let other_text = |_: &Rig, order: &mut Order| {
        order.other_work("update orders set status = 'gone'", vec![]);
    };
    stopped_by(other_text, BackingError::Work).await;
    let other_values = |_: &Rig, order: &mut Order| order.other_work(SQL, vec![json!("gone")]);
    stopped_by(other_values, BackingError::Work).await;
}

#[tokio::test]
async fn an_approval_counts_for_its_own_request_target_agent_and_workspace() {
    let request = |_: &Rig, order: &mut Order| {
        order.claims.request = RequestId::new(1_700_000_000_000, [8; 10]);
    };
    stopped_by(request, BackingError::Request).await;
    let target = |_: &Rig, order: &mut Order| order.claims.target = "other".into();
    stopped_by(target, BackingError::Target).await;
    let agent = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.executor = AgentId::new(1, [7; 10]));
    };
    stopped_by(agent, BackingError::Executor).await;
    let workspace = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.workspace = "other".into());
    };
    stopped_by(workspace, BackingError::Workspace).await;
    let environment = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.environment = "test".into());
    };
    stopped_by(environment, BackingError::Environment).await;
    let requester = |_: &Rig, order: &mut Order| {
        order.claims.sub = Principal::new(PrincipalKind::Ai, "eve/claude");
    };
    stopped_by(requester, BackingError::Requester).await;
}

#[tokio::test]
async fn what_was_shown_is_the_most_that_runs() {
    let effect = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.effect = Effect::Read);
    };
    stopped_by(effect, BackingError::Effect).await;
    let relations = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.writes = vec!["notes".into()]);
    };
    stopped_by(relations, BackingError::Relations).await;
    let reads = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.reads = vec!["notes".into()]);
    };
    stopped_by(reads, BackingError::Relations).await;
    let reasons = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.because = "tidies up".into());
    };
    stopped_by(reasons, BackingError::Reasons).await;
    let limits = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.limits.rows = 1);
    };
    stopped_by(limits, BackingError::Limits).await;
}

#[tokio::test]
async fn a_token_names_exactly_what_came_with_it() {
    let approvals = |_: &Rig, order: &mut Order| order.claims.approvals = Vec::new();
    stopped_by(approvals, BackingError::Approvals).await;
    let document = |_: &Rig, order: &mut Order| order.claims.document = None;
    stopped_by(document, BackingError::Document).await;
}

#[tokio::test]
async fn one_second_too_late_is_too_late() {
    let document = |rig: &Rig, order: &mut Order| {
        rig.clock.0.store(NOW_MS + 101_000, Ordering::SeqCst);
        order.claims.not_before_ms = NOW_MS + 100_000;
        order.claims.expires_ms = NOW_MS + 160_000;
    };
    stopped_by(document, VerdictError::DocumentExpired.into()).await;

    let token = |rig: &Rig, order: &mut Order| {
        let late = order.claims.expires_ms + 1_000;
        rig.clock.0.store(late, Ordering::SeqCst);
    };
    let expired = [Check::Token(TokenError::Expired)];
    held_by(PolicySet::agent_default(), token, &expired).await;
}

#[tokio::test]
async fn a_token_is_for_this_agent_this_work_and_now() {
    let early = |_: &Rig, order: &mut Order| order.claims.not_before_ms = NOW_MS + 1_000;
    let not_yet = [Check::Token(TokenError::NotYet)];
    held_by(PolicySet::agent_default(), early, &not_yet).await;
    let agent = |_: &Rig, order: &mut Order| order.claims.aud = AgentId::new(1, [7; 10]);
    let audience = [Check::Token(TokenError::Audience)];
    held_by(PolicySet::agent_default(), agent, &audience).await;
    // The document stands against it too.
    let work = |_: &Rig, order: &mut Order| {
        let named = order.claims.work;
        order.other_work("update orders set status = 'gone'", vec![]);
        order.claims.work = named;
    };
    let both = [
        Check::Token(TokenError::Work),
        Check::Backing(BackingError::Work),
    ];
    held_by(PolicySet::agent_default(), work, &both).await;
}

#[tokio::test]
async fn a_hardware_key_that_nobody_touched_does_not_count() {
    let touched = |flags: u8| {
        move |_: &Rig, order: &mut Order| {
            let text = verdict_by(&order.document(), "cleo", Decision::Approve).to_text();
            let signature = cleo_key().sign(APPROVAL, text.as_bytes(), flags);
            order.give(vec![SignedVerdict {
                verdict: text,
                signature,
            }]);
        }
    };
    let rig = Rig::new(Defences::all()).await;
    let mut order = rig.order();
    touched(PRESENT)(&rig, &mut order);
    rig.run(&order).await.unwrap();
    let presence = VerdictError::from(SignatureError::Presence);
    stopped_by(touched(0), presence.into()).await;
}

#[tokio::test]
async fn one_person_is_no_quorum_of_two() {
    let two = || policy("@ask(\"2 of anyone\") permit (principal, action, resource);");
    let with = |name: &'static str, key: fn() -> SigningKey| {
        move |_: &Rig, order: &mut Order| {
            let document = order.document();
            let mut later = verdict_by(&document, name, Decision::Approve);
            later.at_ms += 1;
            let first = approve(&document, "ada", &ada_key());
            order.give(vec![first, signed(&later, &key())]);
        }
    };
    let (person, key) = (
        Check::Count(Uncounted::Person),
        Check::Count(Uncounted::Key),
    );
    // The same key twice, another key of hers, and her key in somebody else's name.
    let both = [person.clone(), key.clone()];
    held_by(two(), with("ada", ada_key), &both).await;
    held_by(two(), with("ada", second_key), &[person]).await;
    let borrowed = [Check::Verdict(VerdictError::WrongSigner), key];
    held_by(two(), with("bob", ada_key), &borrowed).await;
    // With somebody else's it runs.
    let rig = Rig::with_policy(Defences::all(), two()).await;
    let mut order = rig.order();
    with("bob", bob_key)(&rig, &mut order);
    rig.run(&order).await.unwrap();
    assert_ne!(rig.orders(), BEFORE);
}

#[tokio::test]
async fn a_signature_borrowed_from_another_verdict_does_not_count() {
    let borrowed = |_: &Rig, order: &mut Order| {
        let document = order.document();
        let mut forged = approve(&document, "ada", &ada_key());
        let other = verdict_by(&document, "ada", Decision::Reject);
        forged.signature = signed(&other, &ada_key()).signature;
        order.give(vec![forged]);
    };
    let signature = VerdictError::from(SignatureError::Signature);
    stopped_by(borrowed, signature.into()).await;
}
