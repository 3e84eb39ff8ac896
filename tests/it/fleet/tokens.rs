//! Tokens of an identity provider, each as somebody would write one: what makes one count, and that nothing
//! else does.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use secondkey::core::oidc::{Bearer, KeySet, Rejected, Settings, verify};
use secondkey::core::time::Timestamp;

const NOW: i64 = 1_700_000_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn keys() -> KeySet {
    let x = B64.encode(key().verifying_key().as_bytes());
    let secret = json!({"kty": "oct", "kid": "shared", "k": "AAAA"});
    let set = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "a", "use": "sig", "x": x},
        {"kty": "OKP", "crv": "Ed25519", "kid": "sealing", "use": "enc", "x": x},
        {"kty": "OKP", "crv": "Ed25519", "kid": "other", "alg": "ES256", "x": x},
        secret, 5,
    ]});
    KeySet::read(set.to_string().as_bytes()).unwrap()
}

fn settings() -> Settings {
    Settings {
        issuer: "https://login.example".into(),
        audience: "https://relay.example/mcp".into(),
        resource: "https://relay.example/mcp".into(),
        name_claim: "sub".into(),
        kind_claim: Some("kind".into()),
        roles_claim: "roles".into(),
        roles: [("db".to_owned(), "developer".to_owned())].into(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://login.example", "aud": ["https://relay.example/mcp"], "sub": "ada",
        "exp": NOW + 60, "nbf": NOW, "roles": ["db", "admin"],
    })
}

fn head() -> Value {
    json!({"alg": "EdDSA", "kid": "a", "typ": "at+jwt"})
}

fn token(head: &str, claims: &str) -> String {
    let signed = format!("{}.{}", B64.encode(head), B64.encode(claims));
    let signature = key().sign(signed.as_bytes());
    format!("{signed}.{}", B64.encode(signature.to_bytes()))
}

fn check(head: &Value, claims: &Value) -> Result<Bearer, Rejected> {
    judge(&token(&head.to_string(), &claims.to_string()))
}

fn judge(token: &str) -> Result<Bearer, Rejected> {
    let now = Timestamp::from_unix_ms(NOW * 1_000);
    verify(token, &keys(), &settings(), now)
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

#[test]
fn a_good_token_gives_who_acts_and_the_roles_that_are_mapped() {
    let bearer = check(&head(), &claims()).unwrap();
    assert_eq!(bearer.principal.to_string(), "ai:ada");
    assert_eq!(bearer.roles, ["developer".to_owned()].into());
    assert_eq!(bearer.expires.unix_ms(), (NOW + 60) * 1_000);
    let person = check(&head(), &with(claims(), "kind", json!("human"))).unwrap();
    assert_eq!(person.principal.to_string(), "human:ada");
    for typ in ["JWT", "application/at+jwt", "AT+JWT"] {
        assert!(check(&with(head(), "typ", json!(typ)), &claims()).is_ok());
    }
    let scoped = with(claims(), "roles", json!("other db"));
    assert_eq!(check(&head(), &scoped).unwrap().roles.len(), 1);
}

#[test]
fn a_header_gets_nothing_that_it_asks_for() {
    for (name, value, why) in [
        ("alg", json!("none"), Rejected::Algorithm),
        ("alg", json!("HS256"), Rejected::Algorithm),
        ("alg", json!("ES256"), Rejected::Algorithm),
        ("alg", json!("eddsa"), Rejected::Algorithm),
        ("alg", json!(5), Rejected::Algorithm),
        ("typ", json!("dpop+jwt"), Rejected::Kind),
        ("typ", json!("secondkey-order+jwt"), Rejected::Kind),
        ("typ", json!(1), Rejected::Kind),
        ("crit", json!(["exp"]), Rejected::Critical),
        ("crit", json!([]), Rejected::Critical),
        ("kid", json!("b"), Rejected::UnknownKey),
        ("kid", json!("../../keys/a"), Rejected::UnknownKey),
        ("kid", json!("shared"), Rejected::UnknownKey),
        ("kid", json!("sealing"), Rejected::UnknownKey),
        ("kid", json!("other"), Rejected::UnknownKey),
        ("kid", json!(null), Rejected::UnknownKey),
    ] {
        let head = with(head(), name, value);
        assert_eq!(check(&head, &claims()), Err(why), "{head}");
    }
    // Where a key is said to be is of no interest: the one that is known decides.
    let mallory = SigningKey::from_bytes(&[8; 32]);
    let x = B64.encode(mallory.verifying_key().as_bytes());
    for (name, value) in [
        ("jku", json!("https://mallory.example/keys")),
        ("x5u", json!("https://mallory.example/x")),
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": x})),
    ] {
        let head = with(head(), name, value).to_string();
        let signed = format!("{}.{}", B64.encode(head), B64.encode(claims().to_string()));
        let signature = B64.encode(mallory.sign(signed.as_bytes()).to_bytes());
        let forged = format!("{signed}.{signature}");
        assert_eq!(judge(&forged), Err(Rejected::Signature), "{name}");
    }
}

#[test]
fn claims_that_do_not_hold_here_and_now_are_refused() {
    for (name, value, why) in [
        ("iss", json!("https://login.example/"), Rejected::Issuer),
        ("iss", json!(null), Rejected::Issuer),
        ("aud", json!("https://other.example"), Rejected::Audience),
        ("aud", json!([]), Rejected::Audience),
        ("aud", json!(null), Rejected::Audience),
        ("exp", json!(NOW), Rejected::Expired),
        ("exp", json!(null), Rejected::Expired),
        ("exp", json!("9999999999"), Rejected::Expired),
        ("exp", json!(1e300), Rejected::Expired),
        ("nbf", json!(NOW + 31), Rejected::Early),
        ("nbf", json!("now"), Rejected::Early),
        ("sub", json!(null), Rejected::Nobody),
        ("sub", json!(""), Rejected::Nobody),
        ("sub", json!("ada/other"), Rejected::Nobody),
        ("sub", json!("a\nb"), Rejected::Nobody),
        ("kind", json!("root"), Rejected::Nobody),
    ] {
        let claims = with(claims(), name, value);
        assert_eq!(check(&head(), &claims), Err(why), "{claims}");
    }
    let twice = claims().to_string().replacen('{', r#"{"sub":"root","#, 1);
    let twice = token(&head().to_string(), &twice);
    assert_eq!(judge(&twice), Err(Rejected::Malformed));
}

#[test]
fn no_bit_of_a_token_can_be_another() {
    let good = token(&head().to_string(), &claims().to_string());
    assert!(judge(&good).is_ok());
    let mut tried = 0;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(judge(&text).is_err(), "{at}, {bit}");
                tried += 1;
            }
        }
    }
    assert!(tried > 1_000);
    let mut cut = good.clone();
    cut.pop();
    for text in ["", ".", "..", "a.b", "a.b.c.d", &cut] {
        assert!(judge(text).is_err(), "{text}");
    }
}
