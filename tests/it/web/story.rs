//! A person with a passkey in a real browser: from enrolment to the approved request.

use std::path::PathBuf;

use secondkey::core::approval::{Document, SignedVerdict, verify};
use secondkey::core::request::Status;
use secondkey::core::signer::{Presence, Surface};
use secondkey::core::trust::{Proposal, SignedProposal};

use crate::web::browser::Browser;
use crate::web::rig::{REASON, Rig, STATEMENT, VALUE, file, open, trust};

#[tokio::test]
async fn a_person_enrols_a_passkey_and_approves_one_request_and_rejects_another() {
    let Some(browser) = Browser::start("web::story") else {
        return;
    };
    let rig = Rig::start();
    let first = file(&rig.state, 1, "production").await;
    let second = file(&rig.state, 2, "staging").await;
    browser.add_authenticator();
    browser.open(&rig.link);
    browser.says("main", "Nobody can approve yet");
    browser.picture("inbox-without-trust");
    let proposal = enrol(&browser, &rig, "ada");
    trust(&rig.state, &rig.origin(), vec![("ada", proposal.key)]).await;
    look_around(&browser, &rig);

    browser.open(&format!("{}/r/{first}", rig.origin()));
    shown_is_asked(&browser);
    browser.write("textarea[name=comment]", "checked with the customer");
    browser.picture("request");
    browser.click("button.go");
    browser.says("#standing", "approved");
    browser.picture("approved");
    let life = browser.says(".timeline", "Approved");
    assert!(
        life.contains("A signed vote was counted by human:ada (approve)"),
        "{life}"
    );
    assert!(!life.contains("signed by ai:"), "{life}");
    let request = open(rig.folder.path()).requests().get(&first).unwrap();
    assert_eq!(request.status(), Status::Approved);
    let vote = &request.state().votes()[0];
    assert_eq!(vote.signer.to_string(), "human:ada");
    assert_eq!(vote.comment.as_deref(), Some("checked with the customer"));
    assert_eq!(
        (vote.surface, vote.presence),
        (Surface::OwnPage, Presence::Hardware)
    );
    // What is kept is a signature that anybody with the trust file can check.
    let signed: SignedVerdict = serde_json::from_str(&vote.signed).unwrap();
    let document = Document::parse(request.asked().document.text().as_bytes()).unwrap();
    let pinned = rig.state.trust().unwrap().unwrap();
    let verified = verify(&signed, &document, &pinned, rig.state.now()).unwrap();
    assert_eq!(verified.digest(), vote.verdict);

    browser.open(&format!("{}/requests/{second}", rig.origin()));
    browser.click("button.stop");
    browser.says("#standing", "People said no");
    let status = |id| open(rig.folder.path()).requests().get(id).unwrap().status();
    assert_eq!(status(&second), Status::Rejected);
    assert_eq!(status(&first), Status::Approved);
    assert!(rig.state.log().verify(None).unwrap().outcome.is_ok());
}

#[tokio::test]
async fn a_passkey_that_nobody_added_approves_nothing() {
    let Some(browser) = Browser::start("web::story") else {
        return;
    };
    let rig = Rig::start();
    let id = file(&rig.state, 1, "production").await;
    browser.add_authenticator();
    browser.open(&rig.link);
    let mine = enrol(&browser, &rig, "ada");
    // Somebody else's key is trusted under this name; the browser holds only the first.
    browser.open(&format!("{}/trust", rig.origin()));
    let other = enrol(&browser, &rig, "ada");
    assert_ne!(mine.key.public, other.key.public);
    let mut forged = other.key;
    forged.kind = mine.key.kind;
    trust(&rig.state, &rig.origin(), vec![("ada", forged)]).await;
    browser.open(&format!("{}/requests/{id}", rig.origin()));
    browser.click("button.go");
    browser.says("#outcome", "does not match");
    let request = open(rig.folder.path()).requests().get(&id).unwrap();
    assert_eq!(request.status(), Status::Pending);
    assert!(request.state().votes().is_empty());
}

/// Makes a passkey on the trust page, and reads the proposal that is kept.
pub(super) fn enrol(browser: &Browser, rig: &Rig, name: &str) -> Proposal {
    browser.open(&format!("{}/trust", rig.origin()));
    browser.write("input[name=name]", name);
    browser.write("input[name=label]", "test laptop");
    browser.click("#enrol-form button");
    let code = browser.says("#proposal-code", "-");
    browser.picture("proposal");
    let command = browser.says("#proposal-command", "secondkey trust add ");
    let path = PathBuf::from(command.strip_prefix("secondkey trust add ").unwrap().trim());
    let text = std::fs::read_to_string(&path).unwrap();
    let signed: SignedProposal = serde_json::from_str(&text).unwrap();
    let proposal = signed.verify().unwrap();
    assert_eq!(proposal.short_code(), code.trim());
    assert_eq!(proposal.name.to_string(), format!("human:{name}"));
    proposal
}

/// All that is asked stands on the page, and the reason apart from it.
fn shown_is_asked(browser: &Browser) {
    let said = browser.says("#statement", "shipped");
    assert_eq!(said.trim_end(), STATEMENT);
    browser.says(".values", VALUE);
    browser.says(".place", "orders");
    let colour = "return getComputedStyle(document.querySelector('.place')).backgroundColor";
    assert_eq!(browser.run(colour), "rgb(179, 33, 27)");
    assert!(
        browser
            .says(".words", "Nobody has checked them")
            .contains(REASON)
    );
    browser.says("#vote", "ada");
}

/// Every page, large and small, light and dark: nothing is wider than the window.
fn look_around(browser: &Browser, rig: &Rig) {
    let request = rig
        .state
        .requests()
        .list(&secondkey::store::requests::Filter::default());
    let request = request.unwrap().requests.pop().unwrap().id;
    let pages = [
        "/",
        "/history",
        "/audit",
        "/trust",
        &format!("/requests/{request}"),
    ];
    for (name, width, dark) in [
        ("wide", 1200, false),
        ("dark", 1200, true),
        ("phone", 390, false),
    ] {
        browser.resize(width, 900);
        browser.dark(dark);
        for page in pages {
            browser.open(&format!("{}{page}", rig.origin()));
            browser.find("main");
            let wider = "return document.documentElement.scrollWidth > innerWidth";
            assert_eq!(browser.run(wider), false, "{page} on {name}");
            let title = page.split('/').nth(1).filter(|title| !title.is_empty());
            browser.picture(&format!("{name}-{}", title.unwrap_or("inbox")));
        }
    }
    browser.resize(1200, 1400);
    browser.dark(false);
}
