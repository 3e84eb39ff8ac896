//! Who can make the next trust file: as many admins of the pinned one as it asks for, and nobody else.

use super::*;
use crate::core::approval::authenticator::{PRESENT, client_data};
use crate::core::approval::sshsig::PublicKey;
use crate::core::approval::webauthn::{Assertion, challenge};
use crate::core::approval::{APPROVAL, TRUST};
use crate::core::trust::file::tests::{
    CREATED_MS, OWN, hardware, passkey, signer, software, software_of, trust,
};
use crate::core::work::Digest;

const NOW: Timestamp = Timestamp::from_unix_ms(CREATED_MS + 1);

/// Version 2, which brings in Eve, unsigned.
fn second() -> SignedTrust {
    let mut next = trust();
    next.version = 2;
    next.previous = Some(trust().digest());
    next.signers.push(signer("eve", vec![software_of(66)]));
    SignedTrust::unsigned(next)
}

fn by_bo(signed: &mut SignedTrust) {
    signed.sign(&software(12)).unwrap();
}

fn by_cleo(signed: &mut SignedTrust, flags: u8) {
    let signature = hardware().sign(TRUST, &signed.trust.canonical(), flags);
    signed.signatures.push(signature);
}

fn by_ada(signed: &mut SignedTrust) {
    let challenge = challenge(TRUST, &signed.trust.canonical());
    let client_data = client_data("webauthn.get", &challenge, OWN, "");
    let (authenticator_data, signature) = passkey().get(&client_data);
    let assertion = Assertion {
        authenticator_data,
        client_data,
        signature,
    };
    let key = PublicKey::passkey("localhost", &passkey().point()).unwrap();
    signed
        .signatures
        .push(assertion.pack(&key, TRUST).unwrap().armored());
}

fn is_stopped_by(current: &TrustFile, candidate: &SignedTrust, error: TrustError) {
    assert_eq!(next(current, candidate, NOW).as_ref(), Err(&error));
    let checks = Checks::all().without(error);
    let weak = next_with(&checks, current, candidate, NOW);
    assert_eq!(weak.as_ref(), Ok(&candidate.trust));
}

#[test]
fn two_admins_of_the_version_before_make_the_next() {
    let mut next_one = second();
    by_bo(&mut next_one);
    by_ada(&mut next_one);
    assert_eq!(next(&trust(), &next_one, NOW), Ok(next_one.trust.clone()));
    by_cleo(&mut next_one, PRESENT);
    assert!(next(&trust(), &next_one, NOW).is_ok(), "three are as good");
}

#[test]
fn one_admin_is_not_two() {
    let mut alone = second();
    by_bo(&mut alone);
    let quorum = |there| TrustError::Quorum { wanted: 2, there };
    is_stopped_by(&trust(), &alone, quorum(1));
    by_bo(&mut alone);
    is_stopped_by(&trust(), &alone, quorum(1));
    is_stopped_by(&trust(), &second(), quorum(0));
    // One person with two keys is one person.
    let mut two_keys = trust();
    two_keys.signers[1].keys.push(software_of(77));
    let mut candidate = second();
    candidate.trust.previous = Some(two_keys.digest());
    by_bo(&mut candidate);
    candidate.sign(&software(77)).unwrap();
    is_stopped_by(&two_keys, &candidate, quorum(1));
}

#[test]
fn those_whom_only_the_next_version_trusts_do_not_count() {
    let mut forged = second();
    by_bo(&mut forged);
    forged.sign(&software(66)).unwrap();
    is_stopped_by(&trust(), &forged, TrustError::Stranger);
    // Nor does a key that nobody holds.
    let mut unknown = second();
    by_bo(&mut unknown);
    unknown.sign(&software(99)).unwrap();
    assert_eq!(next(&trust(), &unknown, NOW), Err(TrustError::Stranger));
}

#[test]
fn those_who_may_not_or_no_longer_do_not_count() {
    let stranger = |change: fn(&mut Signer)| {
        let mut current = trust();
        change(&mut current.signers[1]);
        let mut candidate = second();
        candidate.trust.previous = Some(current.digest());
        by_bo(&mut candidate);
        by_cleo(&mut candidate, PRESENT);
        is_stopped_by(&current, &candidate, TrustError::Stranger);
    };
    stranger(|bo| {
        bo.purposes.remove(&Purpose::Trust);
    });
    stranger(|bo| bo.valid_until_ms = Some(NOW.unix_ms()));
    stranger(|bo| bo.valid_from_ms = NOW.unix_ms() + 1);
}

#[test]
fn a_version_follows_exactly_the_one_before() {
    let signed = |change: fn(&mut TrustFile)| {
        let mut candidate = second();
        change(&mut candidate.trust);
        by_bo(&mut candidate);
        by_cleo(&mut candidate, PRESENT);
        candidate
    };
    is_stopped_by(&trust(), &signed(|t| t.version = 3), TrustError::Version(3));
    let other = signed(|t| t.previous = Some(Digest::of(&[])));
    is_stopped_by(&trust(), &other, TrustError::Previous);
    // An old version again.
    let again = signed(|_| {});
    let pinned = next(&trust(), &again, NOW).unwrap();
    assert_eq!(next(&pinned, &again, NOW), Err(TrustError::Version(2)));
}

#[test]
fn each_signature_is_over_this_file_for_this_use() {
    let mut changed = second();
    by_bo(&mut changed);
    by_cleo(&mut changed, PRESENT);
    changed.trust.admin_quorum = 1;
    is_stopped_by(&trust(), &changed, SignatureError::Signature.into());
    let mut untouched = second();
    by_bo(&mut untouched);
    by_cleo(&mut untouched, 0);
    is_stopped_by(&trust(), &untouched, SignatureError::Presence.into());
    let mut approval = second();
    by_cleo(&mut approval, PRESENT);
    let sig = SshSig::sign_ed25519(&software(12), APPROVAL, &approval.trust.canonical()).unwrap();
    approval.signatures.push(sig.armored());
    is_stopped_by(&trust(), &approval, SignatureError::Namespace.into());
    let mut nonsense = second();
    nonsense.signatures.push("x".into());
    assert_eq!(
        next(&trust(), &nonsense, NOW),
        Err(SshSigError::Armor.into())
    );
    nonsense.signatures = vec!["x".into(); MOST_SIGNATURES + 1];
    assert_eq!(next(&trust(), &nonsense, NOW), Err(TrustError::TooMany));
}

#[test]
fn a_faulty_file_is_refused_whoever_signed_it() {
    let mut faulty = second();
    faulty.trust.admin_quorum = 9;
    by_bo(&mut faulty);
    by_ada(&mut faulty);
    let found = vec![Fault::Admins {
        wanted: 9,
        there: 4,
    }];
    assert_eq!(next(&trust(), &faulty, NOW), Err(TrustError::Faults(found)));
}

#[test]
fn the_first_version_is_signed_by_its_own_admins() {
    let mut one = SignedTrust::unsigned(trust());
    by_bo(&mut one);
    let short = TrustError::Quorum {
        wanted: 2,
        there: 1,
    };
    assert_eq!(first(&one, NOW), Err(short));
    by_cleo(&mut one, PRESENT);
    assert_eq!(first(&one, NOW), Ok(trust()));
    assert_eq!(first(&second(), NOW), Err(TrustError::NotFirst));
}
