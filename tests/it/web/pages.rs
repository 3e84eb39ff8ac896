//! What the pages show: everything of the document, and nothing of a record that was changed by hand.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use secondkey::core::approval::Verdict;
use secondkey::core::approval::document::Document;
use secondkey::core::approval::sshsig::PublicKey;
use secondkey::core::ids::RequestId;
use secondkey::core::signer::Presence;
use secondkey::core::trust::{KeyKind, SignerKey};
use secondkey::core::work::Digest;

use crate::support::authenticator::Passkey;
use crate::web::rig::{Rig, STATEMENT, VALUE, broken, file, file_statement, trust};

#[tokio::test]
async fn a_request_is_shown_in_full() {
    let rig = Rig::start();
    let long = format!("{STATEMENT}\n{}", "-- and on\n".repeat(3_000));
    let id = file_statement(&rig.state, 1, "production", &long).await;
    let body = rig.enter().get(&format!("/requests/{id}")).body;
    assert!(body.contains("class=\"place tone-red\""));
    assert_eq!(body.matches("-- and on").count(), 3_000);
    let escaped = VALUE.replace('\'', "&#39;");
    assert!(body.contains(&escaped), "{escaped}");
    for part in [
        "<td class=\"num\">2</td>",
        ">42<",
        "1 of dba",
        "In the requester&#39;s own words",
        "&#60;b&#62;arrived",
    ] {
        let plain = part.replace("&#39;", "'");
        assert!(body.contains(part) || body.contains(&plain), "{part}");
    }
    assert!(body.contains("secondkey trust init"));
}

#[tokio::test]
async fn a_record_that_was_changed_by_hand_cannot_be_shown_or_signed() {
    let rig = Rig::start();
    let id = file(&rig.state, 1, "production").await;
    let raw = rusqlite::Connection::open(rig.folder.path().join("state/state.db")).unwrap();
    let document = rig.state.requests().get(&id).unwrap();
    let document = document
        .asked()
        .document
        .text()
        .replace("shipped", "removed");
    let digest = Digest::of(&[document.as_bytes()]).to_string();
    // Once carelessly, once so that the record agrees with itself; the values know better.
    for digest in [None, Some(digest)] {
        let forged = "update request_documents set document = ?1, digest = coalesce(?2, digest)";
        assert_eq!(raw.execute(forged, (&document, &digest)).unwrap(), 1);
        cannot_be_shown_or_signed(&rig, &id);
    }
    raw.execute("delete from request_values", ()).unwrap();
    let session = rig.enter_again();
    let page = session.get(&format!("/requests/{id}")).body;
    assert!(
        page.contains("values of this request are missing"),
        "{page}"
    );
    assert!(
        !page.contains("button type=\"submit\" name=\"decision\""),
        "{page}"
    );
}

fn cannot_be_shown_or_signed(rig: &Rig, id: &RequestId) {
    let session = rig.enter_again();
    let page = session.get(&format!("/requests/{id}"));
    assert!([409, 500].contains(&page.status), "{}", page.body);
    assert!(!page.body.contains("removed"), "{}", page.body);
    assert!(session.get("/").body.contains("damaged"));
    let wish = json!({"decision": "approve", "comment": "", "signer": "human:ada", "document": "0".repeat(64)});
    let refused = session.post(&format!("/requests/{id}/verdict"), &wish.to_string());
    assert!([409, 500].contains(&refused.status), "{}", refused.body);
}

#[tokio::test]
async fn only_the_document_that_the_page_shows_is_put_up_for_signing() {
    let rig = Rig::start();
    let id = file(&rig.state, 1, "production").await;
    let session = rig.enter();
    let wish = json!({"decision": "approve", "comment": "", "signer": "human:ada", "document": "0".repeat(64)});
    let refused = session.post(&format!("/requests/{id}/verdict"), &wish.to_string());
    assert_eq!(refused.status, 409);
    assert!(
        refused.body.contains("not the one that the page shows"),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn what_is_put_up_for_signing_is_the_document_that_the_page_shows() {
    let rig = Rig::start();
    let passkey = Passkey::new(5, "localhost");
    let key = SignerKey {
        kind: KeyKind::Passkey {
            rp_id: "localhost".into(),
            origins: BTreeSet::from([rig.origin()]),
            credential: "aWQ".into(),
        },
        public: PublicKey::passkey("localhost", &passkey.point()).unwrap(),
        presence: Presence::Hardware,
        user_verification: false,
        label: "a passkey".into(),
    };
    trust(&rig.state, &rig.origin(), vec![("ada", key)]).await;
    let id = file(&rig.state, 1, "staging").await;
    let kept = rig.state.requests().get(&id).unwrap();
    let text = kept.asked().document.text();
    assert_eq!(
        Document::parse(text.as_bytes()).unwrap().statement,
        STATEMENT
    );
    let digest = Digest::of(&[text.as_bytes()]).to_string();

    let session = rig.enter();
    let page = session.get(&format!("/requests/{id}")).body;
    assert!(page.contains(&digest), "{page}");
    let wish =
        json!({"decision": "approve", "comment": "", "signer": "human:ada", "document": digest});
    let to_sign = session.post(&format!("/requests/{id}/verdict"), &wish.to_string());
    assert_eq!(to_sign.status, 200, "{}", to_sign.body);
    let to_sign: Value = serde_json::from_str(&to_sign.body).unwrap();
    let verdict = Verdict::parse(to_sign["verdict"].as_str().unwrap()).unwrap();
    assert_eq!(verdict.document.to_string(), digest);
    assert_eq!(verdict.request, id);
}

#[tokio::test]
async fn what_broke_the_glass_stands_first_until_it_is_reviewed() {
    let rig = Rig::start();
    let waiting = file(&rig.state, 1, "production").await;
    let id = broken(&rig.state, 2).await;
    let session = rig.enter();
    let inbox = session.get("/").body;
    let place = |what: &str| {
        inbox
            .find(what)
            .unwrap_or_else(|| panic!("{what}: {inbox}"))
    };
    assert!(place("to be reviewed") < place("Waiting for a person"));
    assert!(place(id.as_str()) < place(waiting.as_str()));
    assert!(inbox.contains("BREAK GLASS, review open"), "{inbox}");
    let page = session.get(&format!("/requests/{id}")).body;
    assert!(page.contains("<strong>Break glass.</strong>"), "{page}");
    assert!(page.contains("Review: open"), "{page}");
    assert!(page.contains("secondkey requests review"), "{page}");
    // Nothing is put up for signing but what the page shows, and nothing without words.
    let shown = rig.state.requests().get(&id).unwrap();
    let digest = shown.asked().document.digest().to_string();
    for (document, comment, said) in [
        ("0".repeat(64), "seen", "not the one that the page shows"),
        (digest.clone(), " ", "needs a comment"),
        (digest, "seen", "no trust file"),
    ] {
        let wish = json!({"decision": "accepted", "comment": comment, "signer": "human:bo", "document": document});
        let refused = session.post(&format!("/requests/{id}/review"), &wish.to_string());
        assert_eq!(refused.status, 409, "{}", refused.body);
        assert!(refused.body.contains(said), "{said}: {}", refused.body);
    }
    assert!(rig.state.requests().get(&id).unwrap().has_open_review());
}

#[tokio::test]
async fn the_audit_log_is_verified_on_the_page() {
    let rig = Rig::start();
    file(&rig.state, 1, "production").await;
    let session = rig.enter();
    let whole = session.post("/audit/verify", "").body;
    assert!(whole.contains("The log is whole"), "{whole}");
    let raw = rusqlite::Connection::open(rig.folder.path().join("state/state.db")).unwrap();
    let forged = "update audit set body = replace(cast(body as text), 'ada', 'eve') where request is not null";
    assert!(raw.execute(forged, ()).unwrap() > 0);
    let broken = session.post("/audit/verify", "").body;
    assert!(broken.contains("The log is broken: entry"), "{broken}");
}
