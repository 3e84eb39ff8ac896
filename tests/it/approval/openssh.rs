//! Our verifier and stock `ssh-keygen` agree, but where ours knows better.

use secondkey::core::approval::signature::SignatureError;
use secondkey::core::approval::verify::{VerdictError, verify};
use secondkey::core::signer::{Presence, Surface};
use secondkey::core::trust::allowed_signers::allowed_signers;
use secondkey::core::trust::{SignerKey, TrustFile};

use super::keygen::{Check, Keygen};
use super::rig::{
    CREATED_MS, NAMESPACE, NOW, OWN, document, pack, passkey_key, signed, ssh_key, trust, verdict,
};
use crate::support::authenticator::{HardwareKey, PRESENT, Passkey};

/// The moment of [`NOW`], as ssh-keygen takes it.
const TIME: &str = "20231114221330Z";

/// What our verifier says to a signature over `text`.
fn ours(text: &str, signature: &str, trust: &TrustFile) -> Result<(), VerdictError> {
    let signed = signed(text.to_owned(), signature.to_owned());
    verify(&signed, &document(), trust, NOW).map(|_| ())
}

/// What ssh-keygen says to it, by the `allowed_signers` that we export.
fn theirs(keygen: &Keygen, text: &str, signature: &str, trust: &TrustFile) -> bool {
    keygen.verify(&Check {
        allowed: &allowed_signers(trust),
        identity: "human:ada",
        namespace: NAMESPACE,
        signature,
        message: text,
        time: TIME,
    })
}

#[test]
fn what_ssh_keygen_signs_we_accept() {
    let Some(keygen) = Keygen::for_test("approval::openssh::what_ssh_keygen_signs_we_accept")
    else {
        return;
    };
    for kind in ["ed25519", "ecdsa"] {
        let line = keygen.make_key(kind);
        let trust = trust(ssh_key(&line, Presence::Passphrase));
        let text = verdict(Surface::Terminal).to_text();
        let signature = keygen.sign(kind, NAMESPACE, &text);
        assert_eq!(ours(&text, &signature, &trust), Ok(()), "{kind}");
        assert!(theirs(&keygen, &text, &signature, &trust), "{kind}");

        let changed = text.replace("approve", "reject");
        let refused = VerdictError::Signature(SignatureError::Signature);
        assert_eq!(ours(&changed, &signature, &trust), Err(refused), "{kind}");
        assert!(!theirs(&keygen, &changed, &signature, &trust), "{kind}");

        let other = keygen.sign(kind, "git", &text);
        let refused = VerdictError::Signature(SignatureError::Namespace);
        assert_eq!(ours(&text, &other, &trust), Err(refused), "{kind}");
        assert!(!theirs(&keygen, &text, &other, &trust), "{kind}");
    }
}

#[test]
fn other_kinds_of_keys_are_refused() {
    let Some(keygen) = Keygen::for_test("approval::openssh::other_kinds_of_keys_are_refused")
    else {
        return;
    };
    let line = keygen.make_key("rsa");
    assert!(
        line.parse::<secondkey::core::approval::sshsig::PublicKey>()
            .is_err()
    );
    let good = keygen.make_key("ed25519");
    let trust = trust(ssh_key(&good, Presence::Passphrase));
    let text = verdict(Surface::Terminal).to_text();
    let signature = keygen.sign("rsa", NAMESPACE, &text);
    let refused = ours(&text, &signature, &trust);
    assert!(
        matches!(refused, Err(VerdictError::Unreadable(_))),
        "{refused:?}"
    );
}

/// Both accept the good one; both refuse changed words; of an untouched key only we notice.
fn agree(keygen: &Keygen, key: SignerKey, surface: Surface, sign: impl Fn(&str, u8) -> String) {
    let trust = trust(key);
    let text = verdict(surface).to_text();
    let good = sign(&text, PRESENT);
    assert_eq!(ours(&text, &good, &trust), Ok(()));
    assert!(theirs(keygen, &text, &good, &trust));

    let changed = text.replace("approve", "reject");
    assert!(ours(&changed, &good, &trust).is_err());
    assert!(!theirs(keygen, &changed, &good, &trust));

    let untouched = sign(&text, 0);
    let refused = VerdictError::Signature(SignatureError::Presence);
    assert_eq!(ours(&text, &untouched, &trust), Err(refused));
    assert!(theirs(keygen, &text, &untouched, &trust));
}

#[test]
fn hardware_keys_are_verified_by_both_and_presence_by_us() {
    let Some(keygen) = Keygen::for_test("approval::openssh::hardware_keys") else {
        return;
    };
    for key in [HardwareKey::ed25519(1), HardwareKey::p256(2)] {
        let entry = ssh_key(&key.line(), Presence::Hardware);
        agree(&keygen, entry, Surface::Terminal, |text, flags| {
            key.sign(NAMESPACE, text.as_bytes(), flags)
        });
    }
}

#[test]
fn passkeys_are_verified_by_both_and_presence_by_us() {
    let Some(keygen) = Keygen::for_test("approval::openssh::passkeys") else {
        return;
    };
    // With extensions and without.
    for extensions in [vec![], vec![0xa1, 0x61, b'x', 0xf5]] {
        let with = |flags| {
            let mut passkey = Passkey::new(3, "localhost");
            passkey.flags = flags;
            passkey.extensions = extensions.clone();
            passkey
        };
        let entry = passkey_key(&with(PRESENT));
        agree(&keygen, entry, Surface::OwnPage, |text, flags| {
            pack(&with(flags), NAMESPACE, text, OWN).armored()
        });
    }
}

#[test]
fn a_passkeys_page_cannot_be_changed_afterwards() {
    let Some(keygen) = Keygen::for_test("approval::openssh::a_passkeys_page") else {
        return;
    };
    let passkey = Passkey::new(3, "localhost");
    let trust = trust(passkey_key(&passkey));
    let text = verdict(Surface::OwnPage).to_text();
    let elsewhere = pack(&passkey, NAMESPACE, &text, "http://localhost:8000");
    // The page is not in the key's list: ssh-keygen has no such list.
    let refused = || Err(VerdictError::Signature(SignatureError::Origin));
    assert_eq!(ours(&text, &elsewhere.armored(), &trust), refused());
    assert!(theirs(&keygen, &text, &elsewhere.armored(), &trust));
    // The envelope's word for it, outside the signature, is changed: both notice.
    let swapped = swap_first(
        &elsewhere.to_blob(),
        b"http://localhost:8000",
        b"http://localhost:7321",
    );
    let swapped = secondkey::core::approval::sshsig::SshSig::from_blob(&swapped).unwrap();
    assert_eq!(ours(&text, &swapped.armored(), &trust), refused());
    assert!(!theirs(&keygen, &text, &swapped.armored(), &trust));
}

fn swap_first(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(from.len())
        .position(|part| part == from)
        .unwrap();
    let mut swapped = bytes.to_vec();
    swapped[at..at + from.len()].copy_from_slice(to);
    swapped
}

#[test]
fn what_we_sign_with_a_software_key_ssh_keygen_accepts_while_it_is_valid() {
    let Some(keygen) = Keygen::for_test("approval::openssh::software_key") else {
        return;
    };
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let text = verdict(Surface::Terminal).to_text();
    let sign = |namespace: &str| {
        use secondkey::core::approval::sshsig::SshSig;
        SshSig::sign_ed25519(&key, namespace, text.as_bytes()).unwrap()
    };
    let sig = sign(NAMESPACE);
    let trust = trust(ssh_key(&sig.key().to_string(), Presence::Unattended));
    let allowed = allowed_signers(&trust);
    let armored = sig.armored();
    let good = Check {
        allowed: &allowed,
        identity: "human:ada",
        namespace: NAMESPACE,
        signature: &armored,
        message: &text,
        time: TIME,
    };
    assert!(keygen.verify(&good));
    // CREATED_MS is 22:13:20; a day later the signer's time is over.
    assert_eq!(CREATED_MS, 1_700_000_000_000);
    for (time, valid) in [
        ("20231114221319Z", false),
        ("20231114221321Z", true),
        ("20231115221318Z", true),
        ("20231115221320Z", false),
    ] {
        assert_eq!(keygen.verify(&Check { time, ..good }), valid, "{time}");
    }
    assert!(!keygen.verify(&Check {
        identity: "human:bo",
        ..good
    }));
    let enrol = sign("enrol@secondkey.dev").armored();
    let other = Check {
        namespace: "enrol@secondkey.dev",
        signature: &enrol,
        ..good
    };
    assert!(!keygen.verify(&other), "the export names its namespaces");
}
