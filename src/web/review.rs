//! Closing the review of work that broke the glass, with a passkey of somebody else.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::broker::requests::Shown;
use crate::broker::{requests, reviews, votes};
use crate::core::approval::review::{ReviewPurpose, VERSION};
use crate::core::approval::{Finding, REVIEW, ReviewVerdict, SignedReview};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Review;
use crate::core::signer::Surface;
use crate::core::trust::{self, Signer, TrustFile};
use crate::core::work::Digest;
use crate::web::answer::{json, malformed};
use crate::web::request::parse;
use crate::web::site::Site;
use crate::web::text::{Text, When, line};
use crate::web::vote::{Signed, ToSign, keys_here, no_passkey, read, to_sign, unusable};
use crate::web::words;

/// What a reviewer says on the page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    decision: Finding,
    comment: String,
    signer: Principal,
    /// The digest of the document that the page shows.
    document: Digest,
}

/// What came of it.
#[derive(Serialize)]
struct Closed {
    standing: String,
}

/// The review of a request, as its page shows it.
pub(super) struct Shows {
    pub(super) open: bool,
    /// Whether its run is over, so that it can be closed.
    pub(super) ready: bool,
    pub(super) since: When,
    /// Who can close it here.
    pub(super) signers: Vec<Reviewer>,
    pub(super) accepted: bool,
    pub(super) reviewer: String,
    pub(super) how: String,
    pub(super) at: Option<When>,
    pub(super) comment: Option<Text>,
}

/// Somebody who has a passkey for this page.
pub(super) struct Reviewer {
    pub(super) name: String,
    pub(super) chosen: bool,
    /// Why their review would not count, if it would not.
    pub(super) objection: &'static str,
}

/// What the page of a request shows of its review, where there is one.
pub(super) fn of(
    here: (&Site, &Principal),
    trust: Option<&TrustFile>,
    shown: &Shown,
) -> Option<Shows> {
    let review = shown.request.review()?;
    let mut part = Shows {
        open: review.is_open(),
        ready: shown.request.check_reviewable().is_ok(),
        since: When::new(review.since()),
        signers: Vec::new(),
        accepted: false,
        reviewer: String::new(),
        how: String::new(),
        at: None,
        comment: None,
    };
    match review {
        Review::Open { .. } => {
            part.signers = trust.map_or_else(Vec::new, |trust| reviewers(here, trust, shown));
        }
        Review::Closed(recorded) => {
            part.accepted = recorded.finding == Finding::Accepted;
            part.reviewer = line(&recorded.reviewer.to_string());
            part.how = format!(
                "{}; {}; key {}; the run had {}",
                words::surface(recorded.surface),
                words::presence(recorded.presence),
                recorded.key,
                recorded.outcome
            );
            part.at = Some(When::new(recorded.at));
            part.comment = Some(Text::of(&recorded.comment));
        }
    }
    Some(part)
}

fn reviewers((site, you): (&Site, &Principal), trust: &TrustFile, shown: &Shown) -> Vec<Reviewer> {
    let (origin, now) = (site.origin(), site.now());
    let broke = |signer: &Signer| {
        let votes = shown.request.state().votes();
        signer.name == shown.document.requester
            || votes.iter().any(|vote| vote.signer == signer.name)
    };
    let here = trust.signers.iter().filter(|signer| {
        signer.keys.iter().any(|key| key.allows_origin(&origin))
            && signer.may(trust::Purpose::Approve, now)
    });
    let reviewer = |signer: &Signer| Reviewer {
        name: signer.name.to_string(),
        chosen: signer.name == *you,
        objection: if broke(signer) { "broke the glass" } else { "" },
    };
    let mut reviewers: Vec<Reviewer> = here.map(reviewer).collect();
    reviewers.sort_by_key(|one| (!one.objection.is_empty(), !one.chosen));
    reviewers
}

/// `POST /requests/ID/review`: what to sign.
pub(super) async fn review(
    State(site): State<Site>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let written = site.blocking(move |site| written(site, &id, &body));
    json(written.await)
}

fn written(site: &Site, id: &str, body: &Bytes) -> Result<ToSign, Refusal> {
    let wish: Wish = read(body)?;
    let shown = requests::show(site.state(), &parse(id)?)?;
    shown.request.check_reviewable()?;
    if shown.document.digest() != wish.document {
        let sentence = "the request is not the one that the page shows";
        return Err(Refusal::new(Code::ApprovalRefused, sentence).hint("load the page again"));
    }
    let trust = votes::pinned(site.state());
    let review = ReviewVerdict {
        version: VERSION,
        purpose: ReviewPurpose::Review,
        request: shown.document.request,
        document: wish.document,
        outcome: shown.request.status(),
        finding: wish.decision,
        comment: wish.comment.trim().to_owned(),
        signer: wish.signer,
        surface: trust
            .as_ref()
            .map_or(Surface::RelayPage, |trust| site.surface(trust)),
        at_ms: site.now().unix_ms(),
    };
    let text = review.to_text();
    // Nobody is asked to sign what would not count for its form.
    ReviewVerdict::parse(&text)?;
    let trust = trust?;
    to_sign(site, &trust, &review.signer, (REVIEW, text))
}

/// `POST /requests/ID/reviewed`: what was signed.
pub(super) async fn reviewed(
    State(site): State<Site>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    json(close(&site, &id, &body).await)
}

async fn close(site: &Site, id: &str, body: &Bytes) -> Result<Closed, Refusal> {
    let id = parse(id)?;
    let signed: Signed = read(body)?;
    let packed = site.blocking(move |site| {
        let review = ReviewVerdict::parse(&signed.verdict).map_err(|_| malformed("the review"))?;
        let trust = votes::pinned(site.state())?;
        let keys = keys_here(&trust, &review.signer, &site.origin());
        let mut of = keys.iter().filter(|(_, id)| **id == signed.credential);
        let (key, _) = of.next().ok_or_else(|| no_passkey(&review.signer))?;
        let packed = signed.assertion.read()?.pack(&key.public, REVIEW);
        let signature = packed.map_err(|error| unusable(&error.to_string()))?;
        Ok(SignedReview {
            review: signed.verdict,
            signature: signature.armored(),
        })
    });
    reviews::close(site.state(), &id, packed.await?).await?;
    Ok(Closed {
        standing: "The review is closed.".to_owned(),
    })
}
