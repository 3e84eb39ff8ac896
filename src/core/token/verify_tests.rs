//! What a token survives: nothing. Each change to it, to the work or to the time is refused.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::approval::Purpose;
use crate::core::engine::Engine;
use crate::core::ids::{RequestId, TokenId};
use crate::core::limits::Limits;
use crate::core::policy::{Decision, Grant, PolicySet, Question, Standing, decide};
use crate::core::principal::{Principal, PrincipalKind};
use crate::core::review::Settings;
use crate::core::statement::{Effect, Name, Names, Shape, Statement};
use crate::core::target::{Target, TargetName};
use crate::core::token::{SignedToken, Signer, TOKEN_LIFE_MS};
use crate::core::work::canonical_json;

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn agent(number: u8) -> AgentId {
    AgentId::new(1_700_000_000_000, [number; 10])
}

fn verifier() -> Verifier {
    Verifier::new(agent(1), [key(1).verifying_key()])
}

fn work() -> Work {
    Work::Sql {
        text: "select name from users where id = $1 and city = $2".into(),
        params: vec![json!(7), json!("Oslo")],
        salt: [3; 16],
    }
}

/// A grant as the broker comes by one: by deciding.
fn grant(work: &Work) -> Grant {
    let statement = Statement {
        engine: Engine::Sqlite,
        effect: Effect::Read,
        kind: "select".into(),
        shape: Shape::Query,
        reasons: Vec::new(),
        reads: BTreeSet::from([Name::bare("users")]),
        writes: BTreeSet::new(),
        names: Names::default(),
        columns_written: BTreeSet::new(),
        functions: BTreeSet::new(),
        has_where: None,
        findings: BTreeSet::new(),
        parts: Vec::new(),
        placeholders: 2,
        redacted: work.text().into(),
    };
    let target = Target {
        name: TargetName::try_from("shop".to_owned()).unwrap(),
        engine: Engine::Sqlite,
        environment: "test".into(),
        labels: BTreeMap::new(),
        allow: BTreeSet::from([Effect::Read]),
        limits: Limits::DEFAULT,
        trusted: BTreeSet::new(),
        sync_reads: false,
        only_capabilities: false,
    };
    let (_, decision) = decide(&Question {
        request: &RequestId::new(1_700_000_000_000, [5; 10]),
        principal: &Principal::new(PrincipalKind::Ai, "ada/test"),
        standing: &Standing::NONE,
        target: &target,
        capability: None,
        agent: &agent(1),
        work: work.digest(),
        statement: &statement,
        found: None,
        limits: Limits::DEFAULT,
        policy: &PolicySet::starter(),
        review: &Settings::DEFAULT,
        approved: None,
        purpose: Purpose::Run,
        at: Timestamp::from_unix_ms(1_000),
    });
    match decision {
        Decision::Allow(grant) => grant,
        other @ (Decision::NeedsApproval(_) | Decision::Deny(_)) => panic!("{other:?}"),
    }
}

fn token() -> SignedToken {
    let id = TokenId::new(1_700_000_000_000, [6; 10]);
    Signer::new(key(1)).sign(grant(&work()), id, NOW)
}

fn verify(token: &[u8]) -> Result<VerifiedToken, TokenError> {
    verifier().verify(token, work(), NOW)
}

fn refusal(token: &str) -> TokenError {
    verify(token.as_bytes()).unwrap_err()
}

/// The three parts of the good token.
fn parts() -> [String; 3] {
    let token = token();
    let mut parts = token.as_str().split('.').map(str::to_owned);
    std::array::from_fn(|_| parts.next().unwrap())
}

fn claims() -> Claims {
    verify(token().as_str().as_bytes()).unwrap().claims
}

#[test]
fn the_token_of_a_grant_is_accepted_and_says_what_was_granted() {
    let verified = verify(token().as_str().as_bytes()).unwrap();
    assert_eq!(verified.work(), &work());
    let claims = verified.claims();
    assert_eq!(claims.work, work().digest());
    assert_eq!(claims.effect, Effect::Read);
    assert_eq!(
        (&claims.reads, &claims.writes),
        (&vec!["users".to_owned()], &vec![])
    );
    assert_eq!(
        (claims.target.as_str(), claims.aud.clone()),
        ("shop", agent(1))
    );
    assert_eq!(claims.expires_ms - claims.not_before_ms, TOKEN_LIFE_MS);
}

#[test]
fn every_single_flipped_bit_is_refused() {
    let token = token().as_str().as_bytes().to_vec();
    for bit in 0..token.len() * 8 {
        let mut flipped = token.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn every_removed_or_doubled_byte_is_refused() {
    let token = token().as_str().as_bytes().to_vec();
    for index in 0..token.len() {
        let mut shorter = token.clone();
        let byte = shorter.remove(index);
        assert!(verify(&shorter).is_err(), "without byte {index}");
        let mut longer = token.clone();
        longer.insert(index, byte);
        assert!(verify(&longer).is_err(), "byte {index} twice");
        assert!(verify(&token[..index]).is_err(), "cut at {index}");
    }
}

proptest! {
    #[test]
    fn no_other_bytes_are_a_token(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(verify(&bytes).is_err());
    }

    #[test]
    fn no_other_text_in_three_parts_is_a_token(text in "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,200}\\.[A-Za-z0-9_-]{86}") {
        prop_assert!(verify(text.as_bytes()).is_err());
        let [header, payload, signature] = parts();
        let mut pieces = text.split('.');
        let other: [&str; 3] = std::array::from_fn(|_| pieces.next().unwrap());
        let payload_swapped = format!("{header}.{}.{signature}", other[1]);
        let signature_swapped = format!("{header}.{payload}.{}", other[2]);
        prop_assert!(verify(payload_swapped.as_bytes()).is_err());
        prop_assert!(verify(signature_swapped.as_bytes()).is_err());
    }

    #[test]
    fn several_flipped_bits_are_refused(bits in proptest::collection::btree_set(0_usize..4_000, 1..12)) {
        let good = token().as_str().as_bytes().to_vec();
        let mut flipped = good.clone();
        for bit in bits {
            let bit = bit % (good.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assume!(flipped != good);
        prop_assert!(verify(&flipped).is_err());
    }

    #[test]
    fn another_text_is_other_work(text in ".{0,60}") {
        prop_assume!(text != work().text());
        let other = Work::Sql { text, params: work().params().to_vec(), salt: [3; 16] };
        let refused = verifier().verify(token().as_str().as_bytes(), other, NOW).unwrap_err();
        prop_assert_eq!(refused, TokenError::Work);
    }
}

/// The claims with each field changed, by its name.
fn changed_claims() -> Vec<(String, Value)> {
    let good = serde_json::to_value(claims()).unwrap();
    let others = json!({
        "jti": TokenId::new(1, [0; 10]),
        "request": RequestId::new(1, [0; 10]),
        "iss": "0000000000000000",
        "aud": agent(2),
        "target": "other",
        "sub": "human:ada",
        "purpose": "break_glass",
        "work": "00".repeat(32),
        "effect": "admin",
        "reads": ["users", "salaries"],
        "writes": ["users"],
        "limits": { "rows": 10_000, "bytes": 65_536, "time_ms": 30_000 },
        "not_before_ms": 0,
        "expires_ms": 9_007_199_254_740_991_i64,
        "document": "00".repeat(32),
        "approvals": ["00".repeat(32)],
    });
    let names: Vec<&String> = good.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        others.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    let change = |(name, other): (&String, &Value)| {
        let mut changed = good.clone();
        assert_ne!(&changed[name], other, "{name}");
        changed[name] = other.clone();
        (name.clone(), changed)
    };
    others.as_object().unwrap().iter().map(change).collect()
}

#[test]
fn every_changed_claim_is_refused_under_the_old_signature() {
    let [header, _, signature] = parts();
    for (name, claims) in changed_claims() {
        let payload = BASE64URL.encode(canonical_json(&claims));
        let refused = refusal(&format!("{header}.{payload}.{signature}"));
        assert_eq!(refused, TokenError::Signature, "{name}");
    }
}

#[test]
fn every_claim_signed_by_a_strangers_key_is_refused() {
    let stranger = Signer::new(key(2));
    let [header, ..] = parts();
    let mut all = changed_claims();
    all.push(("nothing".into(), serde_json::to_value(claims()).unwrap()));
    for (name, claims) in all {
        let claims: Claims = serde_json::from_value(claims).unwrap();
        let signed = stranger.sign_claims(&claims);
        assert_eq!(refusal(&signed), TokenError::Issuer, "{name}");
        // Under the header of the known key the signature does not match.
        let (_, rest) = signed.split_once('.').unwrap();
        assert_eq!(
            refusal(&format!("{header}.{rest}")),
            TokenError::Signature,
            "{name}"
        );
    }
}

#[test]
fn claims_that_are_signed_well_but_not_true_here_are_refused() {
    let signer = Signer::new(key(1));
    let refused = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        refusal(&signer.sign_claims(&claims))
    };
    assert_eq!(
        refused(&|claims| claims.aud = agent(2)),
        TokenError::Audience
    );
    assert_eq!(
        refused(&|claims| claims.iss = "0".repeat(16)),
        TokenError::Issuer
    );
    assert_eq!(
        refused(&|claims| claims.work = Work::digest(&Work::Sql {
            text: String::new(),
            params: Vec::new(),
            salt: [3; 16],
        })),
        TokenError::Work
    );
    assert_eq!(
        refused(&|claims| claims.not_before_ms = NOW.unix_ms() + 1),
        TokenError::NotYet
    );
    assert_eq!(
        refused(&|claims| claims.expires_ms = NOW.unix_ms()),
        TokenError::Expired
    );
}

#[test]
fn a_token_is_valid_for_its_life_to_the_millisecond() {
    let at = |ms| verifier().verify(token().as_str().as_bytes(), work(), NOW.plus_ms(ms));
    assert_eq!(at(-1).unwrap_err(), TokenError::NotYet);
    assert!(at(0).is_ok());
    assert!(at(TOKEN_LIFE_MS - 1).is_ok());
    assert_eq!(at(TOKEN_LIFE_MS).unwrap_err(), TokenError::Expired);
    assert_eq!(at(TOKEN_LIFE_MS + 1).unwrap_err(), TokenError::Expired);
}

#[test]
fn other_work_is_refused_down_to_a_byte_and_a_type() {
    let sql = |text: &str, params: Vec<Value>| Work::Sql {
        text: text.into(),
        params,
        salt: [3; 16],
    };
    let text = work().text().to_owned();
    let others = [
        sql(&text.replace("id", "iD"), work().params().to_vec()),
        sql(&format!("{text} "), work().params().to_vec()),
        sql(&text, vec![json!(8), json!("Oslo")]),
        sql(&text, vec![json!("7"), json!("Oslo")]),
        sql(&text, vec![json!(7.0), json!("Oslo")]),
        sql(&text, vec![json!(7), json!("oslo")]),
        sql(&text, vec![json!("Oslo"), json!(7)]),
        sql(&text, vec![json!(7)]),
        sql(&text, vec![json!(7), json!("Oslo"), json!(null)]),
        sql(&text, vec![json!([7, "Oslo"])]),
    ];
    for other in others {
        let refused = verifier().verify(token().as_str().as_bytes(), other.clone(), NOW);
        assert_eq!(refused.unwrap_err(), TokenError::Work, "{other:?}");
    }
}

#[test]
fn another_agent_refuses_the_token() {
    let other = Verifier::new(agent(2), [key(1).verifying_key()]);
    let refused = other.verify(token().as_str().as_bytes(), work(), NOW);
    assert_eq!(refused.unwrap_err(), TokenError::Audience);
}

#[test]
fn a_rotated_key_is_accepted_while_it_is_known_and_no_longer() {
    let verify = |keys: &[u8]| {
        let keys = keys.iter().map(|seed| key(*seed).verifying_key());
        Verifier::new(agent(1), keys).verify(token().as_str().as_bytes(), work(), NOW)
    };
    assert!(verify(&[1, 2]).is_ok());
    assert!(verify(&[2, 1]).is_ok());
    assert_eq!(verify(&[2]).unwrap_err(), TokenError::Issuer);
    assert_eq!(verify(&[]).unwrap_err(), TokenError::Issuer);
}

#[test]
fn every_other_header_is_refused_even_when_it_is_signed_well() {
    use ed25519_dalek::Signer as _;

    let id = key_id(&key(1).verifying_key());
    let [_, payload, _] = parts();
    let headers = [
        format!(r#"{{"alg":"none","kid":"{id}","typ":"secondkey-exec+jwt"}}"#),
        format!(r#"{{"alg":"ES256","kid":"{id}","typ":"secondkey-exec+jwt"}}"#),
        format!(r#"{{"alg":"EdDSA","crit":["exp"],"kid":"{id}","typ":"secondkey-exec+jwt"}}"#),
        format!(
            r#"{{"alg":"EdDSA","jku":"https://evil.example/k","kid":"{id}","typ":"secondkey-exec+jwt"}}"#
        ),
        format!(r#"{{"alg":"EdDSA","jwk":{{}},"kid":"{id}","typ":"secondkey-exec+jwt"}}"#),
        format!(r#"{{"alg":"EdDSA","b64":false,"kid":"{id}","typ":"secondkey-exec+jwt"}}"#),
        format!(r#"{{"kid":"{id}","alg":"EdDSA","typ":"secondkey-exec+jwt"}}"#),
        format!(r#"{{"alg": "EdDSA","kid":"{id}","typ":"secondkey-exec+jwt"}}"#),
        format!(r#"{{"alg":"EdDSA","alg":"none","kid":"{id}","typ":"secondkey-exec+jwt"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{id}","typ":"JWT"}}"#),
        format!(r#"{{"alg":"EdDSA","kid":"{id}"}}"#),
        r#"{"alg":"EdDSA","typ":"secondkey-exec+jwt"}"#.to_owned(),
        "{}".to_owned(),
        String::new(),
    ];
    for header in headers {
        let input = format!("{}.{payload}", BASE64URL.encode(&header));
        let signature = BASE64URL.encode(key(1).sign(input.as_bytes()).to_bytes());
        for signature in [signature.as_str(), ""] {
            assert_eq!(
                refusal(&format!("{input}.{signature}")),
                TokenError::Issuer,
                "{header}"
            );
        }
    }
}

#[test]
fn the_public_key_is_no_hmac_secret() {
    use sha2::{Digest as _, Sha256};

    let public = *key(1).verifying_key().as_bytes();
    let id = key_id(&key(1).verifying_key());
    let [good_header, payload, _] = parts();
    let hs256 = format!(r#"{{"alg":"HS256","kid":"{id}","typ":"secondkey-exec+jwt"}}"#);
    // HMAC (RFC 2104) by hand: the block of SHA-256 has 64 bytes.
    let hmac = |input: &str| {
        let pad = |with: u8| {
            let mut block = [with; 64];
            block
                .iter_mut()
                .zip(public)
                .for_each(|(byte, key)| *byte ^= key);
            block
        };
        let inner = Sha256::new()
            .chain_update(pad(0x36))
            .chain_update(input)
            .finalize();
        Sha256::new()
            .chain_update(pad(0x5c))
            .chain_update(inner)
            .finalize()
    };
    let forged = format!("{}.{payload}", BASE64URL.encode(hs256));
    let forged = format!("{forged}.{}", BASE64URL.encode(hmac(&forged)));
    assert_eq!(refusal(&forged), TokenError::Issuer);
    let input = format!("{good_header}.{payload}");
    let forged = format!("{input}.{}", BASE64URL.encode(hmac(&input)));
    assert_eq!(refusal(&forged), TokenError::Malformed);
}

#[test]
fn nothing_may_stand_before_between_or_behind() {
    let token = token().as_str().to_owned();
    let [header, payload, signature] = parts();
    for other in [
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}="),
        format!("{token}=="),
        format!("{token}.{signature}"),
        format!("{token}A"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}.{signature}."),
        format!("{header}..{payload}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("Bearer {token}"),
        String::new(),
        "..".to_owned(),
        "a".repeat(LONGEST + 1),
    ] {
        assert!(verify(other.as_bytes()).is_err(), "{other}");
    }
}

#[test]
fn claims_have_no_room_for_more_or_less() {
    use ed25519_dalek::Signer as _;

    let [header, ..] = parts();
    let sign = |claims: &Value| {
        let input = format!("{header}.{}", BASE64URL.encode(canonical_json(claims)));
        let signature = BASE64URL.encode(key(1).sign(input.as_bytes()).to_bytes());
        format!("{input}.{signature}")
    };
    let good = serde_json::to_value(claims()).unwrap();
    assert!(verify(sign(&good).as_bytes()).is_ok());
    let mut more = good.clone();
    more["admin"] = json!(true);
    assert_eq!(refusal(&sign(&more)), TokenError::Malformed);
    for name in good.as_object().unwrap().keys() {
        let mut less = good.clone();
        less.as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(&sign(&less)), TokenError::Malformed, "{name}");
    }
}
