//! Acceptances of changed capabilities from outside: whose count, and for what.

use super::*;
use crate::broker::acceptances::{accept, accept_with, changed};
use crate::config::capability;
use crate::core::approval::acceptance::AcceptancePurpose;
use crate::core::approval::{
    Acceptance, AcceptanceError, CAPABILITY, SignatureError, SignedAcceptance, VerdictError,
};
use crate::core::capability::{Bundle, WhenChanged, news};
use crate::core::checks::Checks;

fn bundle(rig: &Rig, sql: &str) -> Bundle {
    let file = rig.folder.path().join("capability.yaml");
    let text = format!(
        "capabilities:\n  one:\n    sql: {sql}\n    result: {{ n: {{ type: integer }} }}\n"
    );
    std::fs::write(&file, text).unwrap();
    capability::load(&file, Engine::Sqlite).unwrap().bundle
}

impl Rig {
    /// What the file says is seen for the target `shop`.
    async fn sees(&self, sql: &str) {
        let known = self.state.memory().of("shop").await.unwrap();
        let how = (WhenChanged::Ask, self.state.now());
        let news = news(&known, ("shop", &bundle(self, sql)), how);
        self.state.memory().keep(news).await.unwrap();
    }

    /// A capability that was `select 1 as n` and is `select 2 as n`.
    async fn with_a_change() -> Self {
        let rig = Self::new().await;
        rig.sees("select 1 as n").await;
        assert!(
            changed(&rig.again()).await.unwrap().is_empty(),
            "first seen"
        );
        rig.sees("select 2 as n").await;
        rig
    }

    async fn acceptance(&self, name: &str) -> Acceptance {
        let one = changed(&self.again()).await.unwrap().pop().unwrap();
        Acceptance {
            version: 1,
            purpose: AcceptancePurpose::AcceptCapability,
            target: "shop".into(),
            capability: "one".into(),
            from: one.before(),
            to: one.seen.0,
            comment: None,
            signer: human(name),
            surface: Surface::Terminal,
            at_ms: NOW,
        }
    }

    /// How many another handle finds changed.
    async fn waiting(&self) -> usize {
        changed(&self.again()).await.unwrap().len()
    }
}

fn signed_in(namespace: &str, acceptance: &Acceptance, name: &str) -> SignedAcceptance {
    let text = acceptance.to_text();
    let signature = SshSig::sign_ed25519(&key(name), namespace, text.as_bytes()).unwrap();
    SignedAcceptance {
        acceptance: text,
        signature: signature.armored(),
    }
}

#[tokio::test]
async fn who_may_approve_accepts_what_is_there_now() {
    let rig = Rig::with_a_change().await;
    let first = signed_in(CAPABILITY, &rig.acceptance("bo").await, "bo");
    accept(&rig.state, &first).await.unwrap();
    assert_eq!(rig.waiting().await, 0);
    // It holds for that, and not for what comes next, nor for the way back.
    for sql in ["select 3 as n", "select 1 as n"] {
        rig.sees(sql).await;
        assert_eq!(rig.waiting().await, 1);
        let refused = accept(&rig.state, &first).await.unwrap_err();
        assert_eq!(refused.message, AcceptanceError::Change.to_string());
        assert_eq!(rig.waiting().await, 1);
    }
    rig.sees("select 2 as n").await;
    assert_eq!(rig.waiting().await, 0, "what was accepted stays so");
    assert!(rig.again().log().verify(None).unwrap().outcome.is_ok());
}

#[tokio::test]
async fn a_signature_for_the_same_change_before_does_not_count_again() {
    let rig = Rig::with_a_change().await;
    let first = signed_in(CAPABILITY, &rig.acceptance("bo").await, "bo");
    accept(&rig.state, &first).await.unwrap();
    for (sql, ms) in [("select 1 as n", 1_000), ("select 2 as n", 2_000)] {
        rig.clock.0.store(NOW + ms, Ordering::Relaxed);
        rig.sees(sql).await;
        if ms == 1_000 {
            let mut back = rig.acceptance("bo").await;
            back.at_ms = NOW + ms;
            accept(&rig.state, &signed_in(CAPABILITY, &back, "bo"))
                .await
                .unwrap();
        }
    }
    let again = accept(&rig.state, &first).await.unwrap_err();
    assert_eq!(
        again.message,
        AcceptanceError::from(VerdictError::BeforeDocument).to_string()
    );
    assert_eq!(rig.waiting().await, 1);
}

#[tokio::test]
async fn what_does_not_count_is_refused_and_counts_once_exactly_that_is_left_out() {
    let rig = Rig::with_a_change().await;
    let good = rig.acceptance("bo").await;
    let by = |name: &str, from: &Acceptance| Acceptance {
        signer: human(name),
        ..from.clone()
    };
    let other = Acceptance {
        target: "other".into(),
        ..good.clone()
    };
    // Nothing of that target has changed.
    let nothing = accept(&rig.state, &signed_in(CAPABILITY, &other, "bo")).await;
    assert!(
        nothing
            .unwrap_err()
            .message
            .contains("waits to be accepted")
    );
    let earlier = Acceptance {
        to: good.from.unwrap(),
        ..good.clone()
    };
    let before = Acceptance {
        at_ms: NOW - 10 * 60 * 1_000,
        ..good.clone()
    };
    let cases: Vec<(SignedAcceptance, AcceptanceError)> = vec![
        (
            signed_in(CAPABILITY, &by("cleo", &good), "cleo"),
            VerdictError::Purpose.into(),
        ),
        (
            signed_in(CAPABILITY, &good, "ada"),
            VerdictError::WrongSigner.into(),
        ),
        (
            signed_in(APPROVAL, &good, "bo"),
            SignatureError::Namespace.into(),
        ),
        (
            signed_in(CAPABILITY, &earlier, "bo"),
            AcceptanceError::Change,
        ),
        (
            signed_in(CAPABILITY, &before, "bo"),
            VerdictError::BeforeDocument.into(),
        ),
    ];
    for (signed, error) in cases {
        let refused = accept(&rig.state, &signed).await.unwrap_err();
        assert_eq!(refused.message, error.to_string());
        assert_eq!(rig.waiting().await, 1, "{error}");
        let weak = Rig::with_a_change().await;
        let checks = Checks::all().without(error.clone());
        accept_with(&checks, &weak.state, &signed).await.unwrap();
        assert_eq!(weak.waiting().await, 0, "{error}");
    }
}
