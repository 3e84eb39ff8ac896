//! A review that is closed in a real browser, by the passkey of somebody else than who broke the glass.

use secondkey::core::approval::review::Reviewing;
use secondkey::core::approval::{Document, Finding, SignedReview, verify_review};
use secondkey::core::checks::Checks;
use secondkey::core::request::{RecordedVote, Request, Review};
use secondkey::core::signer::{Presence, Surface};

use crate::web::browser::Browser;
use crate::web::rig::{Rig, broken, open, trust};
use crate::web::story::enrol;

#[tokio::test]
async fn somebody_elses_passkey_closes_a_review_and_that_of_who_broke_the_glass_does_not() {
    let Some(browser) = Browser::start("web::reviewing") else {
        return;
    };
    let rig = Rig::start();
    // Signed by Ada.
    let id = broken(&rig.state, 1).await;
    browser.add_authenticator();
    browser.open(&rig.link);
    let ada = enrol(&browser, &rig, "ada");
    let bo = enrol(&browser, &rig, "bo");
    let both = vec![("ada", ada.key), ("bo", bo.key)];
    trust(&rig.state, &rig.origin(), both).await;
    // Everything is read anew, on a connection of its own.
    let now = || -> Request { open(rig.folder.path()).requests().get(&id).unwrap() };

    let page = format!("{}/requests/{id}", rig.origin());
    let sign_as = |name: &str, comment: &str| {
        browser.open(&page);
        browser.find("#review-form");
        let choose = "document.querySelector('#review-form select[name=signer]').value";
        browser.run(&format!("{choose} = 'human:{name}'"));
        assert_eq!(
            browser.run(&format!("return {choose}")),
            format!("human:{name}")
        );
        browser.write("#review-form textarea[name=comment]", comment);
        browser.click("#review-form button.go");
    };
    browser.open(&page);
    let offered = browser.says("#review-form select", "human:ada (broke the glass)");
    assert!(offered.contains("human:bo"), "{offered}");
    sign_as("ada", "it was me, and it was right");
    browser.says("#review-outcome", "broke the glass");
    assert!(now().has_open_review(), "{:?}", now().review());
    let refused = rig.state.log().list(&secondkey::store::Filter {
        kind: Some(secondkey::core::audit::EventKind::ReviewRefused),
        limit: 10,
        ..secondkey::store::Filter::default()
    });
    assert_eq!(refused.unwrap().len(), 1);

    sign_as("bo", "looked at the row; INC-4711");
    browser.says(".decide", "Review: closed");
    browser.picture("reviewed");
    let request = now();
    let Some(Review::Closed(closed)) = request.review() else {
        panic!("{:?}", request.review());
    };
    assert_eq!(closed.reviewer.to_string(), "human:bo");
    assert_eq!(closed.finding, Finding::Accepted);
    assert_eq!(closed.comment, "looked at the row; INC-4711");
    assert_eq!(
        (closed.surface, closed.presence),
        (Surface::OwnPage, Presence::Hardware)
    );
    // What is kept is a signature that anybody with the trust file can check.
    let signed: SignedReview = serde_json::from_str(&closed.signed).unwrap();
    let document = Document::parse(request.asked().document.text().as_bytes()).unwrap();
    let pinned = rig.state.trust().unwrap().unwrap();
    let broken_by = request.state().votes().iter();
    let broken_by: Vec<_> = broken_by.map(RecordedVote::vote).collect();
    let reviewing = Reviewing {
        document: &document,
        outcome: request.status(),
        broken_by: &broken_by,
    };
    let now = rig.state.now();
    verify_review(&Checks::all(), &signed, &reviewing, &pinned, now).unwrap();
    assert!(rig.state.log().verify(None).unwrap().outcome.is_ok());
}
