//! Reviews: what somebody else signs about work that was run ahead of it.
//!
//! A review names the request, its document and how the run ended, and is signed in a namespace of its own,
//! so that no approval is ever taken for one.

use serde::{Deserialize, Serialize};

use crate::core::approval::REVIEW;
use crate::core::approval::document::{Document, Purpose};
use crate::core::approval::sshsig::SshSig;
use crate::core::approval::verdict::LONGEST_COMMENT;
use crate::core::approval::verify::{self, CLOCK_SKEW_MS, VerdictError};
use crate::core::checks::Checks;
use crate::core::exact::{ExactError, GREATEST, read_canonical};
use crate::core::ids::RequestId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::Status;
use crate::core::signer::{Presence, Surface, Vote};
use crate::core::time::Timestamp;
use crate::core::trust::{self, TrustFile};
use crate::core::visible::shown_in;
use crate::core::work::{Digest, canonical_json};

/// The longest review, in bytes.
pub const LONGEST: usize = 16 * 1024;
/// The only version there is.
pub const VERSION: u32 = 1;

/// What a review is for: nothing else is signed in its namespace.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewPurpose {
    /// To close the review of work that broke the glass.
    Review,
}

/// What the reviewer makes of it. Either closes the review.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The glass was broken with good reason, and what was run is in order.
    Accepted,
    /// It was not.
    Objected,
}

impl Finding {
    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Objected => "objected",
        }
    }
}

/// What a reviewer says. The signed message is exactly its canonical JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewVerdict {
    /// [`VERSION`].
    pub version: u32,
    /// What it is for.
    pub purpose: ReviewPurpose,
    /// The request.
    pub request: RequestId,
    /// The digest of the document under which it was run.
    pub document: Digest,
    /// How the run had ended by then.
    pub outcome: Status,
    /// What the reviewer makes of it.
    pub finding: Finding,
    /// Why, in their own words.
    pub comment: String,
    /// Who reviews.
    pub signer: Principal,
    /// Where they saw it.
    pub surface: Surface,
    /// When, unix milliseconds by the reviewer's own clock.
    pub at_ms: i64,
}

/// A review and its signature, as they travel and are kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReview {
    /// The review's canonical JSON.
    pub review: String,
    /// An armored SSHSIG over exactly that text.
    pub signature: String,
}

/// Why a signed review does not count. Each names the check that failed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum ReviewError {
    /// It says nothing.
    #[error("a review needs a comment of 1 to {LONGEST_COMMENT} characters")]
    Comment,
    /// The text is not this JSON.
    #[error("the review is malformed: {0}")]
    Exact(#[from] ExactError),
    /// The run has ended in another way than it says.
    #[error("the review is about another outcome than the one that is recorded")]
    Outcome,
    /// Whoever broke the glass closes no review of it.
    #[error("whoever broke the glass cannot review it; somebody else has to")]
    SamePerson,
    /// Its time lies outside all time.
    #[error("the review's time makes no sense")]
    Time,
    /// Whatever is wrong with a verdict can be wrong with it.
    #[error("the review does not count: {0}")]
    Verdict(VerdictError),
    /// A version that is not known here.
    #[error("the review is of another version")]
    Version,
    /// It is about work that waited for its approvals.
    #[error("only what broke the glass is reviewed")]
    NothingToReview,
}

impl<E: Into<VerdictError>> From<E> for ReviewError {
    fn from(error: E) -> Self {
        Self::Verdict(error.into())
    }
}

impl From<ReviewError> for Refusal {
    fn from(error: ReviewError) -> Self {
        let hint = match &error {
            ReviewError::SamePerson => "ask another person whom the trust file lets approve",
            ReviewError::Comment => "say what you have looked at",
            ReviewError::Verdict(error) => error.hint(),
            ReviewError::Exact(_)
            | ReviewError::NothingToReview
            | ReviewError::Outcome
            | ReviewError::Time
            | ReviewError::Version => "look at the request again and sign what is shown now",
        };
        Self::new(Code::ApprovalRefused, error.to_string()).hint(hint)
    }
}

impl ReviewVerdict {
    /// The bytes that are signed.
    pub fn canonical(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// The bytes that are signed, as text.
    pub fn to_text(&self) -> String {
        // JSON is UTF-8.
        String::from_utf8(self.canonical()).unwrap_or_default()
    }

    /// Reads a review from exactly its canonical text.
    pub fn parse(text: &str) -> Result<Self, ReviewError> {
        let review: Self = read_canonical(text.as_bytes(), LONGEST).map_err(ReviewError::Exact)?;
        if review.version != VERSION {
            return Err(ReviewError::Version);
        }
        if !(0..=GREATEST).contains(&review.at_ms) {
            return Err(ReviewError::Time);
        }
        if review.comment.chars().count() > LONGEST_COMMENT || shown_in(&review.comment) == 0 {
            return Err(ReviewError::Comment);
        }
        Ok(review)
    }
}

/// What is reviewed, as the one who counts reviews knows it.
#[derive(Clone, Copy, Debug)]
pub struct Reviewing<'a> {
    /// The document under which it was run.
    pub document: &'a Document,
    /// How the run has ended.
    pub outcome: Status,
    /// Those who broke the glass.
    pub broken_by: &'a [Vote],
}

/// A review that counts: only [`verify_review`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedReview {
    review: ReviewVerdict,
    digest: Digest,
    key: String,
    presence: Presence,
}

impl VerifiedReview {
    /// One that nobody signed, for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn for_test(review: ReviewVerdict, key: &str) -> Self {
        Self {
            digest: Digest::of(&[&review.canonical()]),
            key: key.to_owned(),
            presence: Presence::Hardware,
            review,
        }
    }

    /// What was signed.
    pub fn review(&self) -> &ReviewVerdict {
        &self.review
    }

    /// SHA-256 over the signed text.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The fingerprint of the key, as OpenSSH writes it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the key proves about the reviewer's presence.
    pub fn presence(&self) -> Presence {
        self.presence
    }
}

/// Checks a signed review of what was run, by the trust file and the time now: by somebody who may approve, and who
/// has not asked for it or broken the glass themselves. Outside of tests there are no other `checks`
/// than all of them.
pub fn verify_review(
    checks: &Checks<ReviewError>,
    signed: &SignedReview,
    reviewing: &Reviewing<'_>,
    trust: &TrustFile,
    now: Timestamp,
) -> Result<VerifiedReview, ReviewError> {
    let review = ReviewVerdict::parse(&signed.review)?;
    let sig = SshSig::parse(&signed.signature)?;
    let Reviewing {
        document,
        outcome,
        broken_by,
    } = reviewing;
    let glass = document.purpose == Purpose::BreakGlass;
    checks.demand(glass, ReviewError::NothingToReview)?;
    let said = (&review.signer, trust::Purpose::Approve);
    let message = signed.review.as_bytes();
    let (owner, key) = verify::who_signed(checks, &sig, said, (REVIEW, message), (trust, now))?;
    let fingerprint = sig.key().fingerprint();
    let their_own = owner.name == document.requester
        || broken_by
            .iter()
            .any(|vote| vote.signer == owner.name || vote.key == fingerprint);
    checks.demand(!their_own, ReviewError::SamePerson)?;
    let this = review.document == document.digest();
    checks.demand(this, VerdictError::Document)?;
    let request = review.request == document.request;
    checks.demand(request, VerdictError::Request)?;
    checks.demand(review.outcome == *outcome, ReviewError::Outcome)?;
    let begun = review.at_ms >= document.created_ms.saturating_sub(CLOCK_SKEW_MS);
    checks.demand(begun, VerdictError::BeforeDocument)?;
    let passed = review.at_ms <= now.unix_ms().saturating_add(CLOCK_SKEW_MS);
    checks.demand(passed, VerdictError::Future)?;
    let place = verify::is_given_at(review.surface, &sig, trust);
    checks.demand(place, VerdictError::Surface)?;
    Ok(VerifiedReview {
        digest: Digest::of(&[message]),
        key: fingerprint,
        presence: key.presence,
        review,
    })
}
