//! What makes a verdict count. For each check: the attack that it stands against is refused by that
//! check, and works once that check alone is left out.

use proptest::prelude::*;

use super::*;
use crate::core::approval::authenticator::{PRESENT, Passkey, client_data};
use crate::core::approval::document::tests::document;
use crate::core::approval::sshsig::{Authenticator, ClientPart, PublicKey};
use crate::core::approval::webauthn::{Assertion, challenge};
use crate::core::approval::{ENROL, verdict};
use crate::core::ids::RequestId;
use crate::core::trust::file::tests::{
    CREATED_MS, OWN, RELAY, hardware, human, passkey, relay_passkey, software, trust,
};

const NOW: Timestamp = Timestamp::from_unix_ms(CREATED_MS + 10_000);

fn verdict_of(name: &str, surface: Surface) -> Verdict {
    Verdict {
        version: verdict::VERSION,
        decision: Decision::Approve,
        document: document().digest(),
        request: document().request,
        signer: human(name),
        surface,
        comment: Some("looks right".into()),
        at_ms: CREATED_MS + 5_000,
    }
}

/// Bo's, signed with the software key.
fn by_bo(verdict: &Verdict) -> SignedVerdict {
    let text = verdict.to_text();
    let sig = SshSig::sign_ed25519(&software(12), APPROVAL, text.as_bytes()).unwrap();
    SignedVerdict {
        verdict: text,
        signature: sig.armored(),
    }
}

fn bo() -> Verdict {
    verdict_of("bo", Surface::Terminal)
}

/// Cleo's, signed with the hardware key and these flags.
fn by_cleo(flags: u8) -> SignedVerdict {
    let text = verdict_of("cleo", Surface::Terminal).to_text();
    let signature = hardware().sign(APPROVAL, text.as_bytes(), flags);
    SignedVerdict {
        verdict: text,
        signature,
    }
}

/// What a page does with a passkey, changed in the parts that a page has a say in.
struct Page {
    passkey: Passkey,
    kind: &'static str,
    /// What the page has signed, where not the verdict.
    challenge: Option<Vec<u8>>,
    origin: &'static str,
    /// What the envelope says of the origin, where not the same.
    envelope: Option<&'static str>,
    more: &'static str,
    surface: Surface,
}

/// Ada's, on her own page.
fn own_page() -> Page {
    Page {
        passkey: passkey(),
        kind: "webauthn.get",
        challenge: None,
        origin: OWN,
        envelope: None,
        more: "",
        surface: Surface::OwnPage,
    }
}

fn by_ada(page: &Page) -> SignedVerdict {
    let text = verdict_of("ada", page.surface).to_text();
    let challenge = page.challenge.clone();
    let challenge = challenge.unwrap_or_else(|| challenge_of(&text));
    let client = client_data(page.kind, &challenge, page.origin, page.more);
    let (authenticator_data, signature) = page.passkey.get(&client);
    let key = PublicKey::passkey(&page.passkey.rp_id, &page.passkey.point()).unwrap();
    let sig = if let Some(origin) = page.envelope {
        let part = ClientPart {
            origin: origin.into(),
            client_data: client,
            extensions: Vec::new(),
        };
        let authenticator = Authenticator {
            flags: authenticator_data[32],
            counter: 7,
        };
        SshSig::from_passkey(key, APPROVAL, &signature, authenticator, part).unwrap()
    } else {
        let assertion = Assertion {
            authenticator_data,
            client_data: client,
            signature,
        };
        assertion.pack(&key, APPROVAL).unwrap()
    };
    SignedVerdict {
        verdict: text,
        signature: sig.armored(),
    }
}

fn challenge_of(text: &str) -> Vec<u8> {
    challenge(APPROVAL, text.as_bytes())
}

/// One attack: what is presented, to whom, and when.
struct Attack {
    signed: SignedVerdict,
    document: Document,
    trust: TrustFile,
    now: Timestamp,
}

impl Attack {
    fn with(signed: SignedVerdict) -> Self {
        Self {
            signed,
            document: document(),
            trust: trust(),
            now: NOW,
        }
    }

    fn run(&self, checks: &Checks<VerdictError>) -> Result<VerifiedVerdict, VerdictError> {
        verify_with(checks, &self.signed, &self.document, &self.trust, self.now)
    }

    /// Refused by exactly this check, which is all that stands against it.
    fn is_stopped_by(&self, error: impl Into<VerdictError>) {
        let error = error.into();
        assert_eq!(self.run(&Checks::all()).as_ref(), Err(&error));
        let weak = self.run(&Checks::all().without(error.clone()));
        assert!(weak.is_ok(), "without {error:?}: {weak:?}");
    }
}

#[test]
fn each_kind_of_key_counts_for_what_it_is() {
    let verified = |signed: &SignedVerdict| verify(signed, &document(), &trust(), NOW).unwrap();
    let ada = verified(&by_ada(&own_page()));
    assert_eq!(
        (ada.presence(), ada.surface()),
        (Presence::Hardware, Surface::OwnPage)
    );
    let bo = verified(&by_bo(&bo()));
    assert_eq!(
        (bo.presence(), bo.surface()),
        (Presence::Passphrase, Surface::Terminal)
    );
    let cleo = verified(&by_cleo(PRESENT));
    assert_eq!(
        (cleo.presence(), cleo.surface()),
        (Presence::Hardware, Surface::Terminal)
    );
    let relayed = verified(&by_ada(&Page {
        passkey: relay_passkey(),
        origin: RELAY,
        surface: Surface::RelayPage,
        ..own_page()
    }));
    assert_eq!(relayed.surface(), Surface::RelayPage);
    assert_ne!(relayed.key(), ada.key());
}

#[test]
fn a_verified_verdict_says_who_said_what() {
    let signed = by_bo(&bo());
    let verified = verify(&signed, &document(), &trust(), NOW).unwrap();
    assert_eq!(verified.verdict(), &bo());
    assert_eq!(verified.digest(), Digest::of(&[signed.verdict.as_bytes()]));
    assert_eq!(
        (verified.signer(), verified.decision()),
        (&human("bo"), Decision::Approve)
    );
    assert_eq!(verified.comment(), Some("looks right"));
    let vote = verified.vote();
    assert_eq!(
        (&vote.signer, vote.key.as_str()),
        (verified.signer(), verified.key())
    );
    assert_eq!(vote.groups, BTreeSet::from(["dba".to_owned()]));
    assert!(vote.key.starts_with("SHA256:"));
}

#[test]
fn rejections_are_verified_too() {
    let no = Verdict {
        decision: Decision::Reject,
        ..bo()
    };
    let verified = verify(&by_bo(&no), &document(), &trust(), NOW).unwrap();
    assert_eq!(verified.decision(), Decision::Reject);
}

#[test]
fn a_key_that_is_not_in_the_trust_file() {
    let mut attack = Attack::with(by_bo(&bo()));
    attack.trust.signers[1].keys = vec![trust().signers[2].keys[0].clone()];
    attack.trust.signers[1].keys[0].presence = Presence::Passphrase;
    attack.is_stopped_by(VerdictError::UnknownKey);
}

#[test]
fn a_key_of_somebody_else() {
    let attack = Attack::with(by_bo(&verdict_of("ada", Surface::Terminal)));
    attack.is_stopped_by(VerdictError::WrongSigner);
}

#[test]
fn a_program_as_signer() {
    let ai = Principal::new(PrincipalKind::Ai, "bo/claude");
    let mut attack = Attack::with(by_bo(&Verdict {
        signer: ai.clone(),
        ..bo()
    }));
    attack.trust.signers[1].name = ai;
    attack.is_stopped_by(VerdictError::NotHuman);
}

#[test]
fn a_signer_who_may_not() {
    let mut attack = Attack::with(by_bo(&bo()));
    attack.trust.signers[1].purposes = BTreeSet::from([trust::Purpose::Trust]);
    attack.is_stopped_by(VerdictError::Purpose);
    // Whoever may approve may not break the glass, and the other way round.
    let glass = Document {
        purpose: Purpose::BreakGlass,
        requester: human("bo"),
        ..document()
    };
    let mut attack = Attack::with(by_bo(&Verdict {
        document: glass.digest(),
        ..bo()
    }));
    attack.document = glass;
    attack.is_stopped_by(VerdictError::Purpose);
    attack.trust.signers[1].purposes = BTreeSet::from([trust::Purpose::BreakGlass]);
    assert!(attack.run(&Checks::all()).is_ok());
}

#[test]
fn a_signer_whose_time_is_not_now() {
    let mut attack = Attack::with(by_bo(&bo()));
    attack.trust.signers[1].valid_until_ms = Some(NOW.unix_ms());
    attack.is_stopped_by(VerdictError::NoLongerTrusted);
    attack.trust.signers[1].valid_until_ms = Some(NOW.unix_ms() + 1);
    assert!(attack.run(&Checks::all()).is_ok());
    attack.trust.signers[1].valid_from_ms = NOW.unix_ms() + 1;
    attack.trust.signers[1].valid_until_ms = None;
    attack.is_stopped_by(VerdictError::NotYetTrusted);
}

#[test]
fn a_verdict_on_another_document_or_request() {
    let mut attack = Attack::with(by_bo(&bo()));
    attack.document.target = "orders".into();
    attack.is_stopped_by(VerdictError::Document);
    let request = RequestId::new(1, [9; 10]);
    Attack::with(by_bo(&Verdict { request, ..bo() })).is_stopped_by(VerdictError::Request);
}

#[test]
fn a_verdict_outside_of_its_time() {
    let at = |at_ms: i64| by_bo(&Verdict { at_ms, ..bo() });
    let early = document().created_ms - CLOCK_SKEW_MS;
    assert!(Attack::with(at(early)).run(&Checks::all()).is_ok());
    Attack::with(at(early - 1)).is_stopped_by(VerdictError::BeforeDocument);

    let end = document().expires_ms;
    let mut attack = Attack::with(at(end - 1));
    attack.now = Timestamp::from_unix_ms(end - 1);
    assert!(attack.run(&Checks::all()).is_ok());
    attack.now = Timestamp::from_unix_ms(end);
    attack.is_stopped_by(VerdictError::DocumentExpired);
    attack.now = Timestamp::from_unix_ms(end - 1);
    attack.signed = at(end);
    attack.is_stopped_by(VerdictError::AfterDocument);

    attack.now = Timestamp::from_unix_ms(end - 1 - CLOCK_SKEW_MS);
    attack.signed = at(end - 1);
    assert!(attack.run(&Checks::all()).is_ok());
    attack.now = Timestamp::from_unix_ms(end - 2 - CLOCK_SKEW_MS);
    attack.is_stopped_by(VerdictError::Future);
}

#[test]
fn a_changed_verdict() {
    let changed = SignedVerdict {
        verdict: by_bo(&bo()).verdict.replace("looks right", "looks wrong"),
        ..by_bo(&bo())
    };
    Attack::with(changed).is_stopped_by(SignatureError::Signature);
}

#[test]
fn a_signature_made_for_another_use() {
    let text = bo().to_text();
    let sig = SshSig::sign_ed25519(&software(12), ENROL, text.as_bytes()).unwrap();
    let signed = SignedVerdict {
        verdict: text,
        signature: sig.armored(),
    };
    Attack::with(signed).is_stopped_by(SignatureError::Namespace);
}

#[test]
fn a_key_that_nobody_touched() {
    Attack::with(by_cleo(0)).is_stopped_by(SignatureError::Presence);
    let mut page = own_page();
    page.passkey.flags = 0x04;
    Attack::with(by_ada(&page)).is_stopped_by(SignatureError::Presence);
    // A software key that the trust file was made to call a hardware key.
    let mut attack = Attack::with(by_bo(&bo()));
    attack.trust.signers[1].keys[0].presence = Presence::Hardware;
    attack.is_stopped_by(SignatureError::Presence);
}

#[test]
fn a_key_touched_by_anybody() {
    let mut page = own_page();
    page.passkey.flags = PRESENT;
    let mut attack = Attack::with(by_ada(&page));
    attack.is_stopped_by(SignatureError::Verification);
    attack.trust.signers[0].keys[0].user_verification = false;
    assert!(attack.run(&Checks::all()).is_ok());
}

#[test]
fn a_passkey_asked_for_something_else() {
    let page = |change: fn(&mut Page)| {
        let mut page = own_page();
        change(&mut page);
        Attack::with(by_ada(&page))
    };
    page(|p| p.kind = "webauthn.create").is_stopped_by(SignatureError::Ceremony);
    page(|p| p.challenge = Some(b"log in".to_vec())).is_stopped_by(SignatureError::Challenge);
    let framed = page(|p| p.more = r#","crossOrigin":true"#);
    framed.is_stopped_by(SignatureError::CrossOrigin);
}

#[test]
fn a_passkey_used_on_another_page() {
    let page = |origin, envelope| {
        Attack::with(by_ada(&Page {
            origin,
            envelope,
            surface: Surface::RelayPage,
            ..own_page()
        }))
    };
    page("http://localhost:8000", None).is_stopped_by(SignatureError::Origin);
    // The envelope, which is not signed, names a good page.
    let mut lie = page("http://localhost:8000", Some(OWN));
    lie.signed = by_ada(&Page {
        origin: "http://localhost:8000",
        envelope: Some(OWN),
        ..own_page()
    });
    lie.is_stopped_by(SignatureError::Origin);
}

#[test]
fn a_page_of_a_relay_that_calls_itself_the_approvers_own() {
    let page = |surface| {
        Attack::with(by_ada(&Page {
            passkey: relay_passkey(),
            origin: RELAY,
            surface,
            ..own_page()
        }))
    };
    page(Surface::OwnPage).is_stopped_by(VerdictError::Surface);
    page(Surface::Terminal).is_stopped_by(VerdictError::Surface);
    let ssh = Attack::with(by_bo(&verdict_of("bo", Surface::RelayPage)));
    ssh.is_stopped_by(VerdictError::Surface);
}

#[test]
fn a_key_used_in_another_way_than_the_trust_file_says() {
    // A hardware key of SSH, entered as if it were a passkey.
    let mut attack = Attack::with(by_cleo(PRESENT));
    attack.trust.signers[2].keys[0].kind = trust().signers[0].keys[0].kind.clone();
    attack.is_stopped_by(SignatureError::Kind);
}

#[test]
fn only_exact_texts_are_read() {
    let malformed = |verdict: String| {
        let signature = SshSig::sign_ed25519(&software(12), APPROVAL, verdict.as_bytes());
        let signature = signature.unwrap().armored();
        let result = Attack::with(SignedVerdict { verdict, signature }).run(&Checks::all());
        assert!(
            matches!(result, Err(VerdictError::Malformed(_))),
            "{result:?}"
        );
    };
    let text = bo().to_text();
    malformed(format!("{text}\n"));
    malformed(text.replacen('{', r#"{"at_ms":1,"#, 1));
    malformed(text.replacen('{', r#"{"a":1,"#, 1));
    malformed(text.replace(r#""version":1"#, r#""version":2"#));
    malformed(text.replace("looks right", &"x".repeat(verdict::LONGEST_COMMENT + 1)));
    malformed(text.replace("1700000005000", "-1"));
}

#[test]
fn every_refusal_has_a_code_a_sentence_and_a_hint() {
    for error in [
        VerdictError::UnknownKey,
        VerdictError::Signature(SignatureError::Presence),
        VerdictError::DocumentExpired,
    ] {
        let refusal = Refusal::from(error);
        assert_eq!(refusal.code, Code::ApprovalRefused);
        assert!(refusal.hint.is_some_and(|hint| !hint.is_empty()));
    }
}

/// Each flipped bit of text and signature, for a software key and for a passkey.
#[test]
fn a_signed_verdict_with_any_bit_flipped_is_refused() {
    let (document, trust) = (document(), trust());
    let counts = |signed: &SignedVerdict| verify(signed, &document, &trust, NOW).is_ok();
    for good in [by_bo(&bo()), by_ada(&own_page())] {
        assert!(counts(&good));
        let whole = [good.verdict.as_bytes(), good.signature.as_bytes()].concat();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (verdict, signature) = flipped.split_at(good.verdict.len());
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
            if let (Ok(verdict), Ok(signature)) = (text(verdict), text(signature)) {
                assert!(!counts(&SignedVerdict { verdict, signature }), "bit {bit}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_crashes_the_verifier(verdict in ".{0,200}", signature in ".{0,200}") {
        let attack = Attack::with(SignedVerdict { verdict, signature });
        prop_assert!(attack.run(&Checks::all()).is_err());
    }
}
