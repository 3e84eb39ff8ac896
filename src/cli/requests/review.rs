//! Closing a review: show what was run and how it ended, ask, sign, hand it in.

use std::path::PathBuf;

use clap::Args;

use crate::cli::desk::Desk;
use crate::cli::place::{agrees, can_ask};
use crate::cli::requests::look::Look;
use crate::cli::requests::{json, print};
use crate::cli::signing::OwnKey;
use crate::cli::{Exit, Failure, output};
use crate::core::approval::review::{ReviewPurpose, VERSION};
use crate::core::approval::{Finding, REVIEW, ReviewVerdict, SignedReview};
use crate::core::ids::RequestId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::signer::Surface;

/// What to review.
#[derive(Args, Debug)]
pub(super) struct ReviewArgs {
    /// The request
    request: RequestId,
    /// What you have looked at and found; it is signed too
    #[arg(long, value_name = "TEXT")]
    comment: String,
    /// Close the review with an objection: the glass should not have been broken, or not for this
    #[arg(long)]
    object: bool,
    /// The key to sign with [default: the strongest of yours that the trust file holds]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign without being asked, if the document has this digest; needed where no terminal is
    #[arg(long, value_name = "DIGEST")]
    document: Option<String>,
    /// Answer with one JSON object; needs `--document`
    #[arg(long, requires = "document")]
    json: bool,
}

/// Shows what was run, has the review signed, and closes it.
pub(super) async fn close(desk: &Desk, args: &ReviewArgs) -> Result<Exit, Failure> {
    let shown = desk.show(&args.request).await?;
    let reviewable = shown.request.check_reviewable();
    reviewable.map_err(Refusal::from)?;
    let trust = desk.trust().await?;
    let (key, signer) = OwnKey::find(args.key.as_deref(), &trust, &desk.around)?;
    if !args.json {
        output::complain(&print::whole(&shown, &Look::of_questions()));
    }
    let digest = shown.document.digest();
    let meant = args
        .document
        .as_ref()
        .map(|said| *said == digest.to_string());
    agree(meant, &signer, &key)?;
    let review = ReviewVerdict {
        version: VERSION,
        purpose: ReviewPurpose::Review,
        request: args.request.clone(),
        document: digest,
        outcome: shown.request.status(),
        finding: if args.object {
            Finding::Objected
        } else {
            Finding::Accepted
        },
        comment: args.comment.clone(),
        signer,
        surface: Surface::Terminal,
        at_ms: desk.now().unix_ms(),
    };
    // Nobody is asked to sign what would not count for its form.
    ReviewVerdict::parse(&review.to_text()).map_err(Refusal::from)?;
    let text = review.to_text();
    let closing = SignedReview {
        signature: key.sign(REVIEW, text.as_bytes())?,
        review: text,
    };
    let request = desk.review(&args.request, closing).await?;
    if args.json {
        output::say(&json::request(&request))?;
    } else {
        let (id, finding) = (request.id(), review.finding.as_str());
        output::say(&format!("The review of {id} is closed: {finding}."))?;
    }
    Ok(Exit::Done)
}

/// The digest of the document stands for having seen it. Without it somebody has to be asked.
fn agree(meant: Option<bool>, signer: &Principal, key: &OwnKey) -> Result<(), Failure> {
    let refused = |message: &str| {
        Failure::Refused(Refusal::new(Code::ApprovalRefused, message).hint(
            "read what `secondkey requests show` says, in a terminal, or give its digest with --document",
        ))
    };
    match meant {
        Some(true) => return Ok(()),
        Some(false) => return Err(refused("nothing was signed: the document is another one")),
        None => {}
    }
    if !can_ask() {
        return Err(refused("nothing was signed: nobody is here to be asked"));
    }
    let print = key.public().fingerprint();
    let question = format!("You sign as {signer} with {print}.\nType `review` to sign:");
    if agrees(&question, "review")? {
        Ok(())
    } else {
        Err(refused("nothing was signed, as you did not say so"))
    }
}
