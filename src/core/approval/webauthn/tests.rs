//! What is taken from a browser, and what is not.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::core::approval::authenticator::{PRESENT, Passkey, client_data};

const ORIGIN: &str = "http://localhost:7321";

fn passkey() -> Passkey {
    Passkey::new(1, "localhost")
}

fn key() -> PublicKey {
    PublicKey::passkey("localhost", &passkey().point()).unwrap()
}

fn assertion(passkey: &Passkey) -> Assertion {
    let client = client_data("webauthn.get", &challenge("n", b"yes"), ORIGIN, "");
    let (authenticator_data, signature) = passkey.get(&client);
    Assertion {
        authenticator_data,
        client_data: client,
        signature,
    }
}

#[test]
fn an_assertion_becomes_a_signature_that_can_be_read_again() {
    let mut extended = passkey();
    extended.extensions = vec![0xa1, 0x61, b'x', 0xf5];
    for passkey in [passkey(), extended] {
        let sig = assertion(&passkey).pack(&key(), "n").unwrap();
        assert_eq!(SshSig::parse(&sig.armored()), Ok(sig.clone()));
        assert!(sig.is_over(&challenge("n", b"yes")));
        assert_eq!(sig.client().unwrap().origin, ORIGIN);
        assert_eq!(sig.client().unwrap().extensions, passkey.extensions);
    }
}

#[test]
fn what_breaks_the_format_is_not_packed() {
    let packed = |change: &dyn Fn(&mut Assertion)| {
        let mut assertion = assertion(&passkey());
        change(&mut assertion);
        assertion.pack(&key(), "n").unwrap_err()
    };
    let data = |error: WebAuthnError| matches!(error, WebAuthnError::AuthenticatorData(_));
    assert_eq!(
        packed(&|a| a.authenticator_data[0] ^= 1),
        WebAuthnError::RelyingParty
    );
    assert!(data(packed(&|a| a.authenticator_data.push(0))));
    assert!(data(packed(&|a| a.authenticator_data.truncate(36))));
    assert!(data(packed(&|a| a.authenticator_data[32] |= EXTENSIONS)));
    assert!(data(packed(&|a| a.authenticator_data[32] |= ATTESTED)));
    assert!(data(packed(
        &|a| a.authenticator_data = passkey().create(b"id")
    )));
    assert!(data(packed(&|a| {
        a.authenticator_data[32] |= EXTENSIONS;
        a.authenticator_data.extend([0xa0, 0xa0]);
    })));
    let der = packed(&|a| a.signature.push(0));
    assert!(matches!(der, WebAuthnError::Signature(_)));
    let other = PublicKey::passkey("example.com", &passkey().point()).unwrap();
    let packed = assertion(&passkey()).pack(&other, "n");
    assert_eq!(packed, Err(WebAuthnError::RelyingParty));
}

#[test]
fn client_data_are_read_strictly() {
    let read = |text: &str| ClientData::read(text.as_bytes());
    let good = |more: &str| {
        let bytes = client_data("webauthn.get", b"x", ORIGIN, more);
        String::from_utf8(bytes).unwrap()
    };
    let client = read(&good("")).unwrap();
    assert_eq!(client.ceremony, Some(Ceremony::Get));
    assert_eq!(
        (client.challenge.as_slice(), client.origin.as_str()),
        (&b"x"[..], ORIGIN)
    );
    assert!(!client.cross_origin);
    // Browsers add fields at will, so that nobody compares the text.
    let more = r#","crossOrigin":false,"other_keys_can_be_added_here":"do not compare"#;
    assert!(!read(&good(&format!("{more}\""))).unwrap().cross_origin);
    for more in [
        r#","crossOrigin":true"#,
        r#","crossOrigin":"false""#,
        r#","crossOrigin":null"#,
        r#","crossOrigin":false,"topOrigin":"https://evil.example""#,
    ] {
        assert!(read(&good(more)).unwrap().cross_origin, "{more}");
    }
    for bad in [
        good(r#","origin":"http://localhost:7321""#),
        good(r#","x":1,"x":1"#),
        good(r#","x":{"y":1,"y":2}"#),
        good("") + " {}",
        good("").replace(r#"{"type""#, r#"{ "type""#),
        good("").replace("webauthn.get", "webauthn\\u002eget"),
        good("").replace(r#""eA""#, r#""eA==""#),
        good("").replace(r#""eA""#, r#""eB""#),
        good("").replace(r#""challenge":"eA","#, ""),
        good("").replace(r#""eA""#, "7"),
        format!("[{}]", good("")),
        format!("{{\"origin\":\"{ORIGIN}\",\"type\":\"webauthn.get\",\"challenge\":\"eA\"}}"),
        good(&format!(r#","x":"{}""#, "x".repeat(4096))),
    ] {
        assert!(
            matches!(read(&bad), Err(WebAuthnError::ClientData(_))),
            "{bad}"
        );
    }
    let other = String::from_utf8(client_data("payment.get", b"x", ORIGIN, "")).unwrap();
    assert_eq!(read(&other).unwrap().ceremony, None);
}

/// A registration, changed by the parts that a page or an authenticator has a say in.
struct Page {
    passkey: Passkey,
    kind: &'static str,
    challenge: &'static [u8],
    origin: &'static str,
    more: &'static str,
}

fn page() -> Page {
    Page {
        passkey: passkey(),
        kind: "webauthn.create",
        challenge: b"fresh",
        origin: ORIGIN,
        more: "",
    }
}

fn registered(page: &Page) -> Result<Registered, WebAuthnError> {
    let registration = Registration {
        authenticator_data: page.passkey.create(b"credential"),
        client_data: client_data(page.kind, page.challenge, page.origin, page.more),
    };
    let expected = Expected {
        challenge: b"fresh",
        rp_id: "localhost",
        origins: &BTreeSet::from([ORIGIN.to_owned()]),
        user_verification: true,
    };
    register(&registration, &expected)
}

#[test]
fn a_registration_gives_the_key_that_then_signs() {
    let mut extended = page();
    // credProtect, as Chrome writes it.
    extended.passkey.extensions = [&[0xa1, 0x6b], &b"credProtect"[..], &[0x02]].concat();
    for page in [page(), extended] {
        let new = registered(&page).unwrap();
        assert_eq!(new.key, key());
        assert_eq!(
            (new.credential.as_slice(), new.origin.as_str()),
            (&b"credential"[..], ORIGIN)
        );
    }
}

#[test]
fn a_registration_for_anything_else_is_refused() {
    let refused = |change: &dyn Fn(&mut Page)| {
        let mut page = page();
        change(&mut page);
        registered(&page).unwrap_err()
    };
    assert_eq!(refused(&|p| p.kind = "webauthn.get"), WebAuthnError::Type);
    assert_eq!(
        refused(&|p| p.challenge = b"stale"),
        WebAuthnError::Challenge
    );
    assert_eq!(
        refused(&|p| p.origin = "http://localhost:1"),
        WebAuthnError::Origin
    );
    let framed = refused(&|p| p.more = r#","crossOrigin":true"#);
    assert_eq!(framed, WebAuthnError::CrossOrigin);
    let elsewhere = refused(&|p| p.passkey.rp_id = "example.com".into());
    assert_eq!(elsewhere, WebAuthnError::RelyingParty);
    assert_eq!(refused(&|p| p.passkey.flags = 0), WebAuthnError::Presence);
    assert_eq!(
        refused(&|p| p.passkey.flags = PRESENT),
        WebAuthnError::Verification
    );
}

#[test]
fn a_registered_key_is_a_whole_p256_key() {
    let expected = Expected {
        challenge: b"x",
        rp_id: "localhost",
        origins: &BTreeSet::from([ORIGIN.to_owned()]),
        user_verification: false,
    };
    let good = passkey().create(b"id");
    let registers = |authenticator_data: Vec<u8>| {
        let client_data = client_data("webauthn.create", b"x", ORIGIN, "");
        let registration = Registration {
            authenticator_data,
            client_data,
        };
        register(&registration, &expected).is_ok()
    };
    assert!(registers(good.clone()));
    for end in 0..good.len() {
        assert!(!registers(good[..end].to_vec()), "cut at {end}");
    }
    assert!(
        !registers([good.clone(), vec![0]].concat()),
        "bytes left over"
    );
    // From the length of the id on, nothing is free but the id's two bytes.
    for bit in 53 * 8..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            (55..57).contains(&(bit / 8)) || !registers(flipped),
            "bit {bit}"
        );
    }
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    for good in [
        "https://example.com",
        "https://a.example.com:8443",
        ORIGIN,
        "http://localhost",
    ] {
        assert!(is_origin(good), "{good}");
    }
    for bad in [
        "",
        "null",
        "https://",
        "http://example.com",
        "https://example.com/",
        "HTTPS://example.com",
        "https://example.com:443",
        "https://Example.com",
        "https://user@example.com",
        "https://example.com?x",
        "file:///etc",
        "http://localhost.evil.com",
        "https://exa\"mple.com",
    ] {
        assert!(!is_origin(bad), "{bad}");
    }
    assert!(is_within("https://a.example.com", "example.com"));
    assert!(is_within(ORIGIN, "localhost"));
    for (origin, rp_id) in [
        ("https://evilexample.com", "example.com"),
        ("https://example.com", "a.example.com"),
        ("https://example.com", ""),
        ("https://example.com", ".com"),
        ("https://127.0.0.1", "127.0.0.1"),
    ] {
        assert!(!is_within(origin, rp_id), "{origin} {rp_id}");
    }
}

proptest! {
    #[test]
    fn no_bytes_crash_the_readers(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(ClientData::read(&bytes).is_err());
        prop_assert!(bytes.len() >= 37 || AuthenticatorData::read(&bytes).is_err());
        let changed = Assertion { authenticator_data: bytes.clone(), ..assertion(&passkey()) };
        prop_assert!(changed.pack(&key(), "n").is_err());
        let changed = Assertion { signature: bytes, ..assertion(&passkey()) };
        prop_assert!(changed.pack(&key(), "n").is_err());
    }
}
