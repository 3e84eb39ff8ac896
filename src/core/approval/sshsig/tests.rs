//! What is taken for a signature. The vectors were made with stock `ssh-keygen` 9.2.

use proptest::prelude::*;

use super::*;
use crate::core::approval::authenticator::{HardwareKey, PRESENT};

const MESSAGE: &[u8] = b"let it run";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn good() -> SshSig {
    SshSig::sign_ed25519(&key(), "approval@secondkey.dev", MESSAGE).unwrap()
}

fn holds(sig: &SshSig, namespace: &str, message: &[u8]) -> bool {
    sig.is_over(&signed_data(namespace, message))
}

#[test]
fn what_we_sign_we_accept_and_can_write_again() {
    let sig = SshSig::parse(&good().armored()).unwrap();
    assert_eq!(sig, good());
    assert!(holds(&sig, "approval@secondkey.dev", MESSAGE));
    assert!(!holds(&sig, "approval@secondkey.dev", b"let it be"));
    assert!(!holds(&sig, "trust@secondkey.dev", MESSAGE));
    assert_eq!(sig.authenticator(), None);
}

#[test]
fn hardware_keys_of_both_kinds_are_understood() {
    for key in [HardwareKey::ed25519(2), HardwareKey::p256(3)] {
        let sig = SshSig::parse(&key.sign("n", MESSAGE, PRESENT)).unwrap();
        assert_eq!(sig.key().to_string(), key.line());
        assert!(holds(&sig, "n", MESSAGE));
        assert!(!holds(&sig, "n", b"let it be"));
        assert_eq!(sig.authenticator().unwrap().flags, PRESENT);
        assert_eq!(sig.authenticator().unwrap().counter, 9);
        assert_eq!(SshSig::from_blob(&sig.to_blob()), Ok(sig));
    }
}

/// The same fields with one of them replaced.
fn with(field: usize, value: &[u8]) -> Vec<u8> {
    let sig = good();
    let mut parts = [
        sig.key.to_blob(),
        sig.namespace.clone().into_bytes(),
        Vec::new(),
        HASH.into(),
        sig.proof.to_bytes(),
    ];
    parts[field] = value.to_vec();
    let mut blob = b"SSHSIG\0\0\0\x01".to_vec();
    for part in &parts {
        put(&mut blob, part);
    }
    blob
}

#[test]
fn other_versions_hashes_and_kinds_are_refused() {
    let refused = |blob: &[u8], error| assert_eq!(SshSig::from_blob(blob), Err(error));
    let mut version = good().to_blob();
    version[9] = 2;
    refused(&version, SshSigError::Version);
    refused(&with(3, b"sha256"), SshSigError::Hash);
    let reserved = SshSigError::Malformed("its reserved field is not empty");
    refused(&with(2, b"x"), reserved);
    let hardware = SshSig::parse(&HardwareKey::ed25519(2).sign("n", MESSAGE, 1)).unwrap();
    refused(&with(4, &hardware.proof.to_bytes()), SshSigError::Kind);
    refused(&with(0, &hardware.key.to_blob()), SshSigError::Kind);
    let mut rsa = Vec::new();
    put(&mut rsa, b"ssh-rsa");
    refused(&with(0, &rsa), SshSigError::Algorithm);
    let mut longer = good().to_blob();
    longer.push(0);
    refused(
        &longer,
        SshSigError::Malformed("there are bytes after its end"),
    );
    refused(&vec![0; LONGEST_BLOB + 1], SshSigError::TooLong);
}

#[test]
fn bytes_after_any_inner_part_are_refused() {
    let sig = good();
    let more = |mut bytes: Vec<u8>| {
        bytes.push(0);
        bytes
    };
    assert!(SshSig::from_blob(&with(0, &more(sig.key.to_blob()))).is_err());
    assert!(SshSig::from_blob(&with(4, &more(sig.proof.to_bytes()))).is_err());
    let whole = good().to_blob();
    for end in 0..whole.len() {
        assert!(SshSig::from_blob(&whole[..end]).is_err(), "cut at {end}");
    }
}

/// Each flipped bit of an armored signature, for each kind of key.
#[test]
fn a_signature_with_any_bit_flipped_is_refused() {
    let texts = [
        good().armored(),
        HardwareKey::ed25519(2).sign("approval@secondkey.dev", MESSAGE, 1),
        HardwareKey::p256(3).sign("approval@secondkey.dev", MESSAGE, 1),
    ];
    for text in texts {
        let line = SshSig::parse(&text).unwrap().key.to_string();
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let sig = std::str::from_utf8(&flipped)
                .ok()
                .and_then(|t| SshSig::parse(t).ok());
            let counts = sig.is_some_and(|sig| {
                let same = sig.key.to_string() == line;
                let named = sig.namespace() == "approval@secondkey.dev";
                same && named && holds(&sig, "approval@secondkey.dev", MESSAGE)
            });
            assert!(!counts, "bit {bit} of {line}");
        }
    }
}

/// `printf 'let it run' | ssh-keygen -Y sign -f KEY -n approval@secondkey.dev`.
const STOCK: &[&str] = &[
    include_str!("vectors/ed25519.sig"),
    include_str!("vectors/ecdsa.sig"),
];

#[test]
fn what_ssh_keygen_signed_is_accepted_and_written_the_same() {
    for stock in STOCK {
        let sig = SshSig::parse(stock).unwrap();
        assert!(holds(&sig, "approval@secondkey.dev", MESSAGE));
        assert!(!holds(&sig, "approval@secondkey.dev", b"let it be"));
        assert_eq!(sig.armored(), **stock);
    }
}

proptest! {
    #[test]
    fn no_bytes_crash_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(SshSig::from_blob(&bytes).is_err());
        prop_assert!(PublicKey::from_blob(&bytes).is_err());
        prop_assert!(SshSig::parse(&String::from_utf8_lossy(&bytes)).is_err());
    }

    /// Good prefixes lead deeper than chance would.
    #[test]
    fn no_changed_signature_crashes_the_reader(
        at in 0..230_usize, bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut blob = SshSig::parse(&HardwareKey::p256(3).sign("n", MESSAGE, 1)).unwrap().to_blob();
        let end = (at + bytes.len()).min(blob.len());
        blob.splice(at.min(end)..end, bytes);
        if let Ok(sig) = SshSig::from_blob(&blob) {
            prop_assert_eq!(sig.to_blob(), blob);
        }
    }
}
