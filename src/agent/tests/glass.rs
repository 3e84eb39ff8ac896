//! Attacks on what breaks the glass.

use super::*;

/// An order that breaks the glass: Zoe asks, Dana, who is marked for it, has signed.
fn glass(rig: &Rig) -> Order {
    glass_with(rig, |_| {})
}

fn glass_with(rig: &Rig, change: impl FnOnce(&mut Document)) -> Order {
    let order = rig.order();
    let mut document = order.document();
    document.purpose = Purpose::BreakGlass;
    document.requester = human("zoe");
    document.reason = Some("orders are stuck".into());
    change(&mut document);
    let verdicts = vec![approve(&document, "dana", &dana_key())];
    Order::new(rig, document, verdicts, order.work)
}

fn two_of_anyone(more: &str) -> Arc<PolicySet> {
    let two = "@ask(\"2 of anyone\") permit (principal, action, resource);";
    policy(&format!("{two}\n{more}"))
}

#[tokio::test]
async fn one_marked_signature_breaks_the_glass_once() {
    let rig = Rig::with_policy(Defences::all(), two_of_anyone("")).await;
    rig.run(&glass(&rig)).await.unwrap();
    assert_eq!(rig.orders(), ["closed", "open"]);
    let log = rig.log().await;
    let marked = |line: &&str| line.contains("execution.") && line.contains("break_glass");
    assert_eq!(log.lines().filter(marked).count(), 2, "{log}");

    // Replayed under another token: the request id is used up.
    let mut again = glass(&rig);
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
async fn a_program_never_breaks_the_glass() {
    for kind in [PrincipalKind::Ai, PrincipalKind::Service] {
        let program = Principal::new(kind, "ada/claude");
        let attack = |rig: &Rig| glass_with(rig, |document| document.requester = program.clone());
        let without = |document: bool, backing: bool| {
            let mut defences = Defences::all();
            if document {
                let check = DocumentError::BreakGlassRequester;
                defences.document = defences.document.without(check);
            }
            if backing {
                defences.backing = defences.backing.without(BackingError::NotAPerson);
            }
            defences
        };
        // Either of the two is enough alone.
        let document = DocumentError::BreakGlassRequester.to_string();
        for (defences, said) in [
            (without(false, false), document.clone()),
            (without(false, true), document),
            (without(true, false), BackingError::NotAPerson.to_string()),
        ] {
            let rig = Rig::new(defences).await;
            refused(&rig, &attack(&rig), &said).await;
        }
        let rig = Rig::new(without(true, true)).await;
        rig.run(&attack(&rig)).await.unwrap();
        assert_ne!(rig.orders(), BEFORE);
    }
}

#[tokio::test]
async fn a_signer_without_the_mark_breaks_no_glass() {
    let unmarked = |rig: &Rig, order: &mut Order| {
        *order = glass(rig);
        let document = order.document();
        order.give(vec![approve(&document, "bob", &bob_key())]);
    };
    stopped_by(unmarked, VerdictError::Purpose.into()).await;
}

#[tokio::test]
async fn an_approval_counts_for_the_purpose_that_was_signed() {
    // Dana, who may do both, has signed the one document, and the broker shows the other.
    let to_glass = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.requester = human("zoe"));
        order.claims.sub = human("zoe");
        let document = order.document();
        order.give(vec![approve(&document, "dana", &dana_key())]);
        order.forge(|document| document.purpose = Purpose::BreakGlass);
        order.claims.purpose = Purpose::BreakGlass;
    };
    stopped_by(to_glass, VerdictError::Document.into()).await;
    let to_run = |rig: &Rig, order: &mut Order| {
        *order = glass(rig);
        order.forge(|document| document.purpose = Purpose::Run);
        order.claims.purpose = Purpose::Run;
    };
    stopped_by(to_run, VerdictError::Document.into()).await;
    // The document is the signed one, and the token says something else.
    let token_of_glass = |_: &Rig, order: &mut Order| {
        order.approved(|document| document.requester = human("zoe"));
        order.claims.sub = human("zoe");
        order.claims.purpose = Purpose::BreakGlass;
    };
    stopped_by(token_of_glass, BackingError::Purpose).await;
    let token_of_run = |rig: &Rig, order: &mut Order| {
        *order = glass(rig);
        order.claims.purpose = Purpose::Run;
    };
    stopped_by(token_of_run, BackingError::Purpose).await;
    // A quorum of two is not met by a token that says that the glass is broken.
    let rig = Rig::with_policy(Defences::all(), two_of_anyone("")).await;
    let mut order = rig.order();
    token_of_glass(&rig, &mut order);
    refused(&rig, &order, "for another purpose").await;
}

#[tokio::test]
async fn without_a_reason_no_glass_is_broken() {
    for reason in [None, Some("   fire   ".to_owned())] {
        let mute = |rig: &Rig, order: &mut Order| {
            *order = glass_with(rig, |document| document.reason.clone_from(&reason));
        };
        stopped_by(mute, DocumentError::BreakGlassReason.into()).await;
    }
}

#[tokio::test]
async fn without_a_signature_no_glass_is_broken() {
    let quorum = Check::Count(Uncounted::Quorum);
    // A policy that asks nobody asks for this signature all the same.
    let lax = || policy("permit (principal, action, resource);");
    for rules in [PolicySet::agent_default(), lax()] {
        let unsigned = |rig: &Rig, order: &mut Order| {
            *order = glass(rig);
            order.give(Vec::new());
        };
        held_by(rules, unsigned, std::slice::from_ref(&quorum)).await;
    }
    let bare = |rig: &Rig, order: &mut Order| {
        *order = glass(rig);
        order.backing = None;
        order.claims.document = None;
        order.claims.approvals = Vec::new();
    };
    let both = [Check::Backing(BackingError::Missing), quorum];
    held_by(lax(), bare, &both).await;
}

#[tokio::test]
async fn what_the_agents_policy_forbids_stays_forbidden() {
    let forbids = "forbid (principal, action, resource) when { context.break_glass };";
    let breaking = |rig: &Rig, order: &mut Order| *order = glass(rig);
    let forbidden = [Check::Count(Uncounted::Forbidden)];
    held_by(two_of_anyone(forbids), breaking, &forbidden).await;
    let rig = Rig::with_policy(Defences::all(), two_of_anyone("")).await;
    rig.run(&glass(&rig)).await.unwrap();
    // How a rule wants its approvals given holds here too.
    let touched = "@ask(\"1 of anyone; presence=hardware\") permit (principal, action, resource);";
    let weaker = [Check::Count(Uncounted::Presence)];
    held_by(two_of_anyone(touched), breaking, &weaker).await;
}
