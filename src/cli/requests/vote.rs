//! One vote: show what is signed, ask, sign, hand it in.

use std::path::Path;

use crate::broker::requests::Shown;
use crate::cli::desk::Desk;
use crate::cli::place::{agrees, can_ask};
use crate::cli::requests::look::Look;
use crate::cli::requests::{VoteArgs, json, print};
use crate::cli::signing::OwnKey;
use crate::cli::{Exit, Failure, known_agents, output};
use crate::core::approval::{APPROVAL, Decision, Document, SignedVerdict, Verdict};
use crate::core::ids::RequestId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::request::{Request, Status};
use crate::core::signer::Surface;
use crate::core::visible::on_one_line;
use crate::store::requests::Filter;

/// Shows a request, has it signed, and counts the vote.
pub(in crate::cli) async fn cast(
    desk: &Desk,
    request: Option<RequestId>,
    args: &VoteArgs,
    decision: Decision,
) -> Result<Exit, Failure> {
    let named = match request {
        Some(id) => Some(id),
        None => only_one(desk).await?,
    };
    let Some(id) = named else {
        return Ok(Exit::Misused);
    };
    if args.json && args.document.is_none() {
        let refusal = Refusal::new(
            Code::InvalidArgument,
            "with `--json` there is no document on the screen to agree to",
        );
        return Err(Failure::Refused(
            refusal.hint("say which one you have read with `--document DIGEST`"),
        ));
    }
    let shown = desk.show(&id).await?;
    if shown.request.status() != Status::Pending {
        return Err(Failure::Refused(not_pending(&shown.request)));
    }
    if shown.document.params.is_some() && shown.values.is_none() {
        return Err(Failure::Refused(blind()));
    }
    let digest = shown.document.digest().to_string();
    let signing = Signing {
        key: args.key.as_deref(),
        comment: args.comment.clone(),
        decision,
        word: match decision {
            Decision::Approve => "approve",
            Decision::Reject => "reject",
        },
        quiet: args.json,
        meant: args.document.as_ref().map(|said| *said == digest),
        otherwise: "read what `secondkey requests show` says, in a terminal, or give its digest with --document",
    };
    let request = sign(desk, &shown, &signing).await?;
    tell(desk, &request, decision, args.json).await
}

/// How a vote is signed.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Signing<'a> {
    /// The key that was named.
    pub(in crate::cli) key: Option<&'a Path>,
    /// What its owner has to say.
    pub(in crate::cli) comment: Option<String>,
    /// Yes or no.
    pub(in crate::cli) decision: Decision,
    /// What somebody types to sign.
    pub(in crate::cli) word: &'static str,
    /// Show nothing.
    pub(in crate::cli) quiet: bool,
    /// Whether it was said beforehand that this is meant; else somebody is asked.
    pub(in crate::cli) meant: Option<bool>,
    /// What to do where nobody can be asked.
    pub(in crate::cli) otherwise: &'static str,
}

/// Shows a request, has it signed, and counts the vote; gives the request after it.
pub(in crate::cli) async fn sign(
    desk: &Desk,
    shown: &Shown,
    signing: &Signing<'_>,
) -> Result<Request, Failure> {
    let trust = desk.trust().await?;
    let (key, signer) = OwnKey::find(signing.key, &trust, &desk.around)?;
    let new = if desk.is_at_relay() {
        known_agents::check(&shown.document, &desk.around, signing.quiet)?
    } else {
        None
    };
    if !signing.quiet {
        let look = Look::of_questions();
        output::complain(&print::document(
            &shown.document,
            shown.values.as_ref(),
            &look,
        ));
        output::complain(&print::missing(shown, &look));
        // Whatever has scrolled away above: what matters most stands right before the question.
        output::complain(&again(&shown.document));
    }
    agree(signing, &signer, &key)?;
    let verdict = Verdict {
        version: 1,
        decision: signing.decision,
        document: shown.document.digest(),
        request: shown.document.request.clone(),
        signer,
        surface: Surface::Terminal,
        comment: signing.comment.clone(),
        at_ms: desk.now().unix_ms(),
    };
    let text = verdict.to_text();
    let vote = SignedVerdict {
        signature: key.sign(APPROVAL, text.as_bytes())?,
        verdict: text,
    };
    let request = desk.vote(shown.request.id(), vote).await?;
    new.map(known_agents::New::keep).transpose()?;
    Ok(request)
}

/// The target and the effect once more, and how much there was to read.
fn again(document: &Document) -> String {
    let writes = match document.writes.as_slice() {
        [] => "no relation by name".to_owned(),
        names => names.join(", "),
    };
    let lines = document.statement.lines().count();
    on_one_line(&format!(
        "In short: {} on {} ({}); changes {writes}; {lines} lines of SQL, {} bytes",
        document.effect,
        document.target,
        document.environment,
        document.statement.len()
    ))
}

/// Says what the vote has made of the request.
async fn tell(
    desk: &Desk,
    request: &Request,
    decision: Decision,
    json: bool,
) -> Result<Exit, Failure> {
    let waits = request.status() == Status::Pending;
    if json {
        output::say(&json::request(request))?;
    } else {
        let counted = match decision {
            Decision::Approve => "approval",
            Decision::Reject => "rejection",
        };
        let (id, status) = (request.id(), request.status());
        output::say(&format!("Your {counted} counts: {id} is {status}."))?;
        if waits {
            let shown = desk.show(id).await?;
            output::say(&print::missing(&shown, &Look::of_output()))?;
        }
    }
    Ok(if waits { Exit::Pending } else { Exit::Done })
}

/// The only request that waits. Else says what there is.
async fn only_one(desk: &Desk) -> Result<Option<RequestId>, Failure> {
    let waiting = Filter {
        statuses: vec![Status::Pending],
        ..Filter::default()
    };
    let page = desk.list(waiting).await?;
    match page.requests.as_slice() {
        [only] => Ok(Some(only.id.clone())),
        [] => {
            output::complain("No request waits for anybody.");
            Ok(None)
        }
        several => {
            output::complain(&print::list(several));
            output::complain("Several requests wait; say which one.");
            Ok(None)
        }
    }
}

/// The digest of the document stands for having seen it. Without it somebody has to be asked.
fn agree(signing: &Signing<'_>, signer: &Principal, key: &OwnKey) -> Result<(), Failure> {
    let word = signing.word;
    let refused = |message: &str| {
        Failure::Refused(Refusal::new(Code::ApprovalRefused, message).hint(signing.otherwise))
    };
    match signing.meant {
        Some(true) => return Ok(()),
        Some(false) => return Err(refused("nothing was signed: the document is another one")),
        None => {}
    }
    if !can_ask() {
        return Err(refused("nothing was signed: nobody is here to be asked"));
    }
    let print = key.public().fingerprint();
    let question = format!("You sign as {signer} with {print}.\nType `{word}` to sign:");
    if agrees(&question, word)? {
        Ok(())
    } else {
        Err(refused("nothing was signed, as you did not say so"))
    }
}

fn not_pending(request: &Request) -> Refusal {
    let message = format!(
        "the request is {}, and only one that is pending can be voted on",
        request.status()
    );
    Refusal::new(Code::RequestState, message).hint("look at it with `secondkey requests show`")
}

fn blind() -> Refusal {
    Refusal::new(
        Code::ApprovalRefused,
        "the values of this request are gone, and nobody signs what they cannot see",
    )
    .hint("file the request again")
}
