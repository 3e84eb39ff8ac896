//! What a document binds, and what is not taken for one.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::trust::file::tests::CREATED_MS;

pub(in crate::core) fn work() -> Work {
    Work::Sql {
        text: "update users set city = $1 where id = $2".into(),
        params: vec![json!("Oslo"), json!(7)],
        salt: [3; 16],
    }
}

/// A request to change one row, made at `CREATED_MS` and open for ten minutes.
pub(in crate::core) fn document() -> Document {
    let work = work();
    Document {
        version: VERSION,
        purpose: Purpose::Run,
        workspace: "local".into(),
        request: RequestId::new(1_700_000_000_000, [5; 10]),
        executor: AgentId::new(1_700_000_000_000, [1; 10]),
        target: "shop".into(),
        engine: Engine::Postgres,
        environment: "production".into(),
        requester: Principal::new(PrincipalKind::Ai, "ada/claude"),
        reason: Some("the customer moved".into()),
        work: work.digest(),
        statement: work.text().into(),
        capability: None,
        parts: Vec::new(),
        params: Some(ParamsSeal {
            count: 2,
            commitment: work.commitment().unwrap(),
        }),
        effect: Effect::Write,
        kind: "update".into(),
        because: "updates users".into(),
        reads: vec!["users".into()],
        writes: vec!["users".into()],
        limits: Limits::DEFAULT,
        policy: PolicyDigests {
            workspace: Digest::of(&[b"workspace"]),
            agent: Digest::of(&[b"agent"]),
        },
        preview: None,
        nonce: "0123456789abcdef".repeat(2),
        created_ms: CREATED_MS,
        expires_ms: CREATED_MS + 600_000,
    }
}

#[test]
fn a_document_survives_being_written_and_read() {
    let document = document();
    assert_eq!(Document::parse(&document.canonical()), Ok(document.clone()));
    let text = String::from_utf8(document.canonical()).unwrap();
    assert!(
        text.starts_with(r#"{"because":"updates users","created_ms":1700000000000,"#),
        "{text}"
    );
}

#[test]
fn a_change_to_any_field_is_another_digest_or_no_document() {
    let good = serde_json::to_value(document()).unwrap();
    let digest = document().digest();
    for (field, value) in good.as_object().unwrap() {
        let others = match value {
            Value::String(text) => vec![json!(format!("{text}x")), json!(""), json!(null)],
            Value::Number(number) => vec![json!(number.as_i64().unwrap() + 1)],
            Value::Null => vec![json!(Digest::of(&[]))],
            Value::Array(_) => vec![json!([]), json!(["users", "orders"])],
            Value::Object(_) => vec![json!(null)],
            Value::Bool(_) => panic!("no field is a bool"),
        };
        for other in others {
            let mut bad = good.clone();
            bad[field] = other.clone();
            let bytes = canonical_json(&bad);
            if let Ok(document) = Document::parse(&bytes) {
                assert_ne!(document.digest(), digest, "{field} = {other}");
            }
        }
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(field);
        let bytes = canonical_json(&without);
        assert!(Document::parse(&bytes).is_err(), "{field} is left out");
    }
}

#[test]
fn only_the_canonical_bytes_are_a_document() {
    let text = String::from_utf8(document().canonical()).unwrap();
    let pretty = serde_json::to_string_pretty(&document()).unwrap();
    for bad in [
        pretty,
        format!("{text}\n"),
        text.replacen('{', r#"{"because":"reads","#, 1),
        text.replacen('{', r#"{"zzz":1,"#, 1),
        text.replace("updates", "\\u0075pdates"),
    ] {
        assert!(
            matches!(
                Document::parse(bad.as_bytes()),
                Err(DocumentError::Exact(_))
            ),
            "{bad}"
        );
    }
    let long = vec![b' '; LONGEST + 1];
    assert_eq!(
        Document::parse(&long),
        Err(ExactError::TooLong(LONGEST).into())
    );
}

#[test]
fn what_the_types_cannot_say_is_checked() {
    let error = |change: fn(&mut Document)| {
        let mut document = document();
        change(&mut document);
        Document::parse(&document.canonical()).unwrap_err()
    };
    assert_eq!(error(|d| d.version = 2), DocumentError::Version);
    assert_eq!(error(|d| d.nonce = "00".into()), DocumentError::Nonce);
    assert_eq!(error(|d| d.nonce = "A".repeat(32)), DocumentError::Nonce);
    assert_eq!(error(|d| d.expires_ms = d.created_ms), DocumentError::Times);
    assert_eq!(error(|d| d.created_ms = -1), DocumentError::Times);
    assert_eq!(
        error(|d| d.statement = " ".repeat(STATEMENT_BYTES + 1)),
        DocumentError::Size
    );
    assert_eq!(
        error(|d| d.params.as_mut().unwrap().count = 1_001),
        DocumentError::Size
    );
}

#[test]
fn breaking_the_glass_is_for_humans_who_say_why() {
    let checked = |requester: PrincipalKind, reason: Option<&str>| {
        let mut document = document();
        document.purpose = Purpose::BreakGlass;
        document.requester = Principal::new(requester, "ada");
        document.reason = reason.map(str::to_owned);
        document.check()
    };
    let why = Some("it burns here");
    assert_eq!(checked(PrincipalKind::Human, why), Ok(()));
    for who in [PrincipalKind::Ai, PrincipalKind::Service] {
        assert_eq!(checked(who, why), Err(DocumentError::BreakGlassRequester));
    }
    let blank = "\u{200b}\u{3164}".repeat(20);
    for why in [None, Some("  "), Some("it  \n  burns"), Some(&blank)] {
        let error = Err(DocumentError::BreakGlassReason);
        assert_eq!(checked(PrincipalKind::Human, why), error);
    }
}

#[test]
fn a_document_is_about_one_work_alone() {
    let document = document();
    assert!(document.is_about(&work()));
    let (text, params) = (work().text().to_owned(), work().params().to_vec());
    let salt = work().salt();
    let others = [
        (text.clone() + " ", params.clone(), salt),
        (text.clone(), vec![json!("Rome"), json!(7)], salt),
        (text.clone(), vec![], salt),
        (text.clone(), params.clone(), [4; 16]),
    ];
    for (text, params, salt) in others {
        assert!(!document.is_about(&Work::Sql { text, params, salt }));
    }
    let mut lies = [document.clone(), document.clone(), document];
    lies[0].statement = "select 1".into();
    lies[1].params = None;
    lies[2].work = Digest::of(&[]);
    assert!(lies.iter().all(|lie| !lie.is_about(&work())));
}

#[test]
fn a_document_of_a_batch_shows_exactly_its_statements() {
    let one = |text: &str, params| (text.to_owned(), params);
    let batch = |statements| Work::batch(statements, [3; 16]);
    let work = batch(vec![
        one("delete from a", vec![]),
        one("delete from b where id = $1", vec![json!(7)]),
    ]);
    let part = |statement: &str, params| Part {
        statement: statement.into(),
        params,
        effect: Effect::Write,
        kind: "delete".into(),
        because: "deletes rows".into(),
    };
    let document = Document {
        work: work.digest(),
        statement: work.text().into(),
        parts: vec![
            part("delete from a", 0),
            part("delete from b where id = $1", 1),
        ],
        params: Some(ParamsSeal {
            count: 1,
            commitment: work.commitment().unwrap(),
        }),
        ..document()
    };
    assert!(document.is_about(&work));
    assert_eq!(document.work_with(work.params().to_vec(), [3; 16]), work);
    assert_eq!(Document::parse(&document.canonical()).unwrap(), document);
    let mut lies = [(); 4].map(|()| document.clone());
    lies[0].parts.clear();
    lies[1].parts.swap(0, 1);
    lies[2].parts[0].statement = "select 1".into();
    lies[3].parts.truncate(1);
    assert!(lies.iter().all(|lie| !lie.is_about(&work)));
    let moved = batch(vec![
        one("delete from a", vec![json!(7)]),
        one("delete from b where id = $1", vec![]),
    ]);
    assert!(!document.is_about(&moved));
    let bare = Work::Sql {
        text: work.text().to_owned(),
        params: vec![json!(7)],
        salt: [3; 16],
    };
    assert!(!document.is_about(&bare));
}

proptest! {
    #[test]
    fn no_bytes_crash_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Document::parse(&bytes).is_err());
    }

    #[test]
    fn any_text_in_a_document_survives(statement in ".{0,60}", reason in ".{0,60}") {
        let document = Document { statement, reason: Some(reason), ..document() };
        prop_assert_eq!(Document::parse(&document.canonical()), Ok(document));
    }
}
