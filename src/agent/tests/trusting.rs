//! Attacks on who is trusted.

use super::*;
use crate::core::trust::TrustError;

/// The version after the first, unsigned.
fn second(change: impl FnOnce(&mut TrustFile)) -> SignedTrust {
    let mut trust = trust_file();
    trust.version = 2;
    trust.previous = Some(trust_file().digest());
    trust.created_ms = NOW_MS - 4_000;
    change(&mut trust);
    SignedTrust::unsigned(trust)
}

fn eve_key() -> SigningKey {
    SigningKey::from_bytes(&[66; 32])
}

fn software(key: &SigningKey) -> PublicKey {
    PublicKey::ed25519(key.verifying_key()).unwrap()
}

fn order_by(rig: &Rig, name: &str, key: &SigningKey) -> Order {
    let mut order = rig.order();
    let document = order.document();
    order.give(vec![approve(&document, name, key)]);
    order
}

#[tokio::test]
async fn a_strangers_key_does_not_count() {
    let stranger = |rig: &Rig, order: &mut Order| *order = order_by(rig, "ada", &eve_key());
    stopped_by(stranger, VerdictError::UnknownKey.into()).await;
}

#[tokio::test]
async fn a_key_that_was_taken_out_of_the_trust_file_does_not_count() {
    // Bob has a new key, and somebody has found the old one.
    let replaced = async |defences| {
        let rig = Rig::new(defences).await;
        let mut next = second(|trust| {
            let new = SigningKey::from_bytes(&[22; 32]);
            trust.signers[1].keys[0].public = software(&new);
        });
        next.sign(&ada_key()).unwrap();
        rig.state.install_trust(next).await.unwrap();
        let order = order_by(&rig, "bob", &bob_key());
        (rig, order)
    };
    let unknown = VerdictError::UnknownKey;
    let (rig, order) = replaced(Defences::all()).await;
    refused(&rig, &order, &unknown.to_string()).await;
    let (rig, order) = replaced(Check::Verdict(unknown).left_out_of(Defences::all())).await;
    rig.run(&order).await.unwrap();
    assert_ne!(rig.orders(), BEFORE);
}

#[tokio::test]
async fn a_signer_who_was_removed_does_not_count() {
    let rig = Rig::new(Defences::all()).await;
    let mut next = second(|trust| drop(trust.signers.remove(1)));
    next.sign(&ada_key()).unwrap();
    rig.state.install_trust(next).await.unwrap();
    let order = order_by(&rig, "bob", &bob_key());
    let said = VerdictError::UnknownKey.to_string();
    refused(&rig, &order, &said).await;
    // Without that version he counts.
    std::fs::remove_file(rig.folder.path().join("state/trust/0002.json")).unwrap();
    rig.run(&order).await.unwrap();
    assert_ne!(rig.orders(), BEFORE);
}

#[tokio::test]
async fn a_next_trust_file_that_no_trust_admin_signed_is_not_installed() {
    let none = TrustError::Quorum {
        wanted: 1,
        there: 0,
    };
    // Bob may approve and is no trust admin; Eve is known to the next version alone.
    for (by, check) in [
        (Some(bob_key()), TrustError::Stranger),
        (Some(eve_key()), TrustError::Stranger),
        (None, none),
    ] {
        let both = [trust::Purpose::Approve, trust::Purpose::Trust];
        let eve = signer("eve", software(&eve_key()), Presence::Passphrase, &both);
        let mut next = second(|trust| trust.signers.push(eve));
        if let Some(key) = by {
            next.sign(&key).unwrap();
        }
        let rig = Rig::new(Defences::all()).await;
        let error = rig.state.install_trust(next.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), check.to_string());
        let clock: Arc<dyn Clock> = Arc::<Hand>::clone(&rig.clock);
        let again = State::open(&rig.folder.path().join("state"), clock).unwrap();
        assert_eq!(again.trust().unwrap().unwrap().version, 1);
        let order = order_by(&rig, "eve", &eve_key());
        refused(&rig, &order, &VerdictError::UnknownKey.to_string()).await;

        let mut scrutiny = Scrutiny::all();
        scrutiny.trust = scrutiny.trust.without(check);
        let rig = Rig::over(scrutiny, Defences::all(), PolicySet::agent_default()).await;
        rig.state.install_trust(next).await.unwrap();
        rig.run(&order_by(&rig, "eve", &eve_key())).await.unwrap();
        assert_ne!(rig.orders(), BEFORE);
    }
}
