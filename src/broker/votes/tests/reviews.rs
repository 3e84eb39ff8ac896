//! Reviews from outside: who closes one, who does not, and what another handle on the folder sees.

use super::*;
use crate::broker::reviews::{close, close_with, open};
use crate::core::approval::review::ReviewPurpose;
use crate::core::approval::{
    Finding, REVIEW, ReviewError, ReviewVerdict, SignatureError, SignedReview, VerdictError,
};
use crate::core::checks::Checks;
use crate::core::ids::TokenId;
use crate::core::request::{Ending, Review};
use crate::store::{Dispatched, Scrutiny, Start};

/// One signature by anybody who may, whoever asked.
fn at_once() -> Requirement {
    Requirement {
        own_requests: true,
        ..ask(&[(1, "anyone")])
    }
}

fn token() -> TokenId {
    TokenId::new(1, [4; 10])
}

impl Rig {
    /// A request of Dora's that Finn has signed to break the glass, begun by the agent.
    async fn begun(&self) -> Document {
        let document = self.file_for(1, Aim::BreakGlass, &[at_once()]).await;
        self.cast(yes("finn", &document)).await.unwrap();
        let id = document.request.clone();
        let sent = self.state.requests().transact(&id, |request, now| {
            Ok(request.dispatch(token(), now.plus_ms(60_000), now)?)
        });
        sent.await.unwrap();
        let start = Start {
            request: id.clone(),
            token_not_before: self.state.now(),
            synced: true,
            intent: Draft::new(self.state.now(), EventKind::ExecutionStarted).request(&id),
            dispatched: Some(Dispatched {
                token: token(),
                time_ms: 30_000,
            }),
        };
        self.state.log().begin(start).await.unwrap();
        document
    }

    /// The same, and it has run.
    async fn broken(&self) -> Document {
        let document = self.begun().await;
        let id = &document.request;
        let outcome = Draft::new(self.state.now(), EventKind::ExecutionSucceeded).request(id);
        let ended = self.state.log().end(id, Ending::Succeeded, outcome);
        ended.await.unwrap();
        document
    }

    /// How many reviews another handle finds open.
    fn open(&self) -> usize {
        open(&self.again(), 10).unwrap().requests.len()
    }

    async fn refused(&self, document: &Document, signed: SignedReview, error: ReviewError) {
        let refusal = close(&self.state, &document.request, signed).await;
        assert_eq!(refusal.unwrap_err().message, error.to_string());
        assert_eq!(self.open(), 1);
    }
}

fn review(name: &str, document: &Document) -> ReviewVerdict {
    ReviewVerdict {
        version: 1,
        purpose: ReviewPurpose::Review,
        request: document.request.clone(),
        document: document.digest(),
        outcome: Status::Succeeded,
        finding: Finding::Accepted,
        comment: "looked at it".into(),
        signer: human(name),
        surface: Surface::Terminal,
        at_ms: NOW,
    }
}

fn signed_in(namespace: &str, review: &ReviewVerdict, name: &str) -> SignedReview {
    let text = review.to_text();
    let signature = SshSig::sign_ed25519(&key(name), namespace, text.as_bytes()).unwrap();
    SignedReview {
        review: text,
        signature: signature.armored(),
    }
}

fn signed(review: &ReviewVerdict, name: &str) -> SignedReview {
    signed_in(REVIEW, review, name)
}

fn by(name: &str, document: &Document) -> SignedReview {
    signed(&review(name, document), name)
}

#[tokio::test]
async fn somebody_else_closes_a_review_once() {
    let rig = Rig::new().await;
    let document = rig.broken().await;
    assert_eq!(rig.open(), 1);
    let closed = close(&rig.state, &document.request, by("bo", &document)).await;
    let Some(Review::Closed(recorded)) = closed.unwrap().review().cloned() else {
        panic!("the review is not closed");
    };
    assert_eq!(recorded.reviewer, human("bo"));
    assert_eq!(recorded.finding, Finding::Accepted);
    assert_eq!(recorded.since.unix_ms(), NOW);
    assert_eq!(rig.open(), 0);
    let again = close(&rig.state, &document.request, by("ada", &document)).await;
    assert_eq!(
        again.unwrap_err().message,
        "no review of this request is open"
    );
    let kept = rig.again().requests().get(&document.request).unwrap();
    assert_eq!(kept.review(), Some(&Review::Closed(recorded)));
    assert!(rig.again().log().verify(None).unwrap().outcome.is_ok());
}

#[tokio::test]
async fn whoever_broke_the_glass_closes_no_review_of_it() {
    // Dora asked for it, Finn signed it. Both may approve what others ask for.
    for name in ["finn", "dora"] {
        let rig = Rig::new().await;
        let document = rig.broken().await;
        let signed = by(name, &document);
        rig.refused(&document, signed.clone(), ReviewError::SamePerson)
            .await;
        let checks = Checks::all().without(ReviewError::SamePerson);
        let closed = close_with(checks, &rig.state, &document.request, signed).await;
        assert!(!closed.unwrap().has_open_review());
        assert_eq!(rig.open(), 0);
    }
}

#[tokio::test]
async fn a_review_that_does_not_count_is_refused_recorded_and_changes_nothing() {
    let rig = Rig::new().await;
    let document = rig.broken().await;
    let good = review("bo", &document);
    let refused = |signed, error: VerdictError| rig.refused(&document, signed, error.into());
    refused(by("cleo", &document), VerdictError::Purpose).await;
    refused(by("eve", &document), VerdictError::UnknownKey).await;
    refused(signed(&good, "ada"), VerdictError::WrongSigner).await;
    let approval = signed_in(APPROVAL, &good, "bo");
    let namespace = SignatureError::Namespace;
    refused(approval, namespace.into()).await;
    let other = ReviewVerdict {
        document: Digest::of(&[b"other"]),
        ..good.clone()
    };
    refused(signed(&other, "bo"), VerdictError::Document).await;
    let other = ReviewVerdict {
        request: RequestId::new(1, [9; 10]),
        ..good.clone()
    };
    refused(signed(&other, "bo"), VerdictError::Request).await;
    let other = ReviewVerdict {
        at_ms: NOW + 120_000,
        ..good.clone()
    };
    refused(signed(&other, "bo"), VerdictError::Future).await;
    let other = ReviewVerdict {
        outcome: Status::Failed,
        ..good.clone()
    };
    rig.refused(&document, signed(&other, "bo"), ReviewError::Outcome)
        .await;
    let mute = ReviewVerdict {
        comment: "\u{200b} ".into(),
        ..good.clone()
    };
    rig.refused(&document, signed(&mute, "bo"), ReviewError::Comment)
        .await;

    // Bo is taken out of the trust file.
    let mut next = trust();
    next.trust.version = 2;
    next.trust.previous = Some(trust().trust.digest());
    next.trust.signers.remove(1);
    next.signatures.clear();
    next.sign(&key("ada")).unwrap();
    rig.state.install_trust(next).await.unwrap();
    refused(by("bo", &document), VerdictError::UnknownKey).await;

    let filter = Filter {
        kind: Some(EventKind::ReviewRefused),
        limit: 100,
        ..Filter::default()
    };
    assert_eq!(rig.again().log().list(&filter).unwrap().len(), 10);
}

#[tokio::test]
async fn what_still_runs_or_waited_for_its_approvals_is_not_reviewed() {
    let rig = Rig::new().await;
    let document = rig.begun().await;
    assert_eq!(rig.open(), 1);
    let early = close(&rig.state, &document.request, by("bo", &document)).await;
    let said = early.unwrap_err().message;
    assert!(said.contains("only one that is over"), "{said}");

    let plain = rig.file(2, &[ask(&[(1, "dba")])]).await;
    let none = close(&rig.state, &plain.request, by("bo", &plain)).await;
    let said = none.unwrap_err().message;
    assert_eq!(said, "no review of this request is open");
}

#[tokio::test]
async fn a_review_that_was_taken_out_of_the_record_or_closed_by_hand_shows() {
    let none = "it has a review that it should not have, or none that it should";
    let elsewhere = "its review does not stand where it says";
    for (forged, said) in [
        ("review = null, review_is = null", none),
        ("review_is = 'closed'", elsewhere),
    ] {
        let rig = Rig::new().await;
        let document = rig.broken().await;
        let raw = Connection::open(rig.folder.path().join("state/state.db")).unwrap();
        let forge = format!("update requests set {forged}");
        assert_eq!(raw.execute(&forge, ()).unwrap(), 1);
        let all = crate::store::requests::Filter::default();
        let error = show(&rig.again(), &document.request).unwrap_err().message;
        assert!(error.contains(said), "{forged}: {error}");
        let listed = rig.again().requests().list(&all).unwrap();
        assert_eq!(listed.damaged.len(), 1, "{forged}");
        let refused = close(&rig.again(), &document.request, by("bo", &document)).await;
        assert!(refused.unwrap_err().message.contains(said), "{forged}");

        // Without this check it is as if nothing were to be reviewed.
        let mut scrutiny = Scrutiny::all();
        scrutiny.records = scrutiny.records.without(said);
        let folder = rig.folder.path().join("state");
        let weak = State::open_with(scrutiny, &folder, rig.clock.clone()).unwrap();
        show(&weak, &document.request).unwrap();
        let listed = weak.requests().list(&all).unwrap();
        assert_eq!((listed.requests.len(), listed.damaged.len()), (1, 0));
        assert_eq!(open(&weak, 10).unwrap().requests.len(), 0, "{forged}");
    }
}

#[tokio::test]
async fn a_record_that_says_nothing_of_breaking_the_glass_is_not_that_of_its_document() {
    for (forged, said) in [
        ("purpose = 'run'", "it has a review that it should not have"),
        (
            "purpose = 'run', review = null, review_is = null",
            "its parts are not about the same thing",
        ),
        ("review = '{}'", "its review cannot be read"),
    ] {
        let rig = Rig::new().await;
        let document = rig.broken().await;
        let raw = Connection::open(rig.folder.path().join("state/state.db")).unwrap();
        let forge = format!("update requests set {forged}");
        assert_eq!(raw.execute(&forge, ()).unwrap(), 1);
        let error = show(&rig.again(), &document.request).unwrap_err().message;
        assert!(error.contains(said), "{forged}: {error}");
    }
}
