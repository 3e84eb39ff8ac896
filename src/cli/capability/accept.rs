//! Accepting a capability that is not what it was: show what has changed, ask, sign, hand it in.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::broker::acceptances::nothing;
use crate::cli::desk::{AgentArgs, Desk};
use crate::cli::place::{agrees, can_ask};
use crate::cli::signing::OwnKey;
use crate::cli::{Exit, Failure, Shared, output};
use crate::core::approval::acceptance::{AcceptancePurpose, VERSION};
use crate::core::approval::verdict::LONGEST_COMMENT;
use crate::core::approval::{Acceptance, CAPABILITY, SignedAcceptance};
use crate::core::capability::Remembered;
use crate::core::refusal::{Code, Refusal};
use crate::core::signer::Surface;
use crate::core::visible::visible;

/// What to accept.
#[derive(Args, Debug)]
pub(super) struct AcceptArgs {
    /// Its name
    name: String,
    /// The target that offers it, where several do
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    #[command(flatten)]
    agent: AgentArgs,
    /// The key to sign with [default: the strongest of yours that the trust file holds]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What you have to say about it; it is signed too
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Sign without being asked, if this is its digest now; needed where no terminal is
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
}

pub(super) async fn run(args: &AcceptArgs, shared: Shared) -> Result<Exit, Failure> {
    let desk = Desk::open(&args.agent, shared).await?;
    let done = accept(&desk, args).await;
    desk.close(done).await
}

async fn accept(desk: &Desk, args: &AcceptArgs) -> Result<Exit, Failure> {
    let one = find(desk, args).await?;
    let trust = desk.trust().await?;
    let (key, signer) = OwnKey::find(args.key.as_deref(), &trust, &desk.around)?;
    output::complain(&shown(&one));
    let print = key.public().fingerprint();
    let question = format!("You sign as {signer} with {print}.\nType `accept` to sign:");
    agree(args.digest.as_deref(), &one, &question)?;
    let acceptance = Acceptance {
        version: VERSION,
        purpose: AcceptancePurpose::AcceptCapability,
        target: one.target.clone(),
        capability: one.name.clone(),
        from: one.before(),
        to: one.seen.0,
        comment: args.comment.clone(),
        signer,
        surface: Surface::Terminal,
        at_ms: desk.now().unix_ms(),
    };
    let text = acceptance.to_text();
    // Nobody is asked to sign what would not count for its form.
    Acceptance::parse(&text).map_err(Refusal::from)?;
    let handed_in = SignedAcceptance {
        signature: key.sign(CAPABILITY, text.as_bytes())?,
        acceptance: text,
    };
    let accepted = desk.accept(handed_in).await?;
    let (name, target) = (&accepted.name, &accepted.target);
    output::say(&format!("`{name}` on {target} is accepted as it is."))?;
    Ok(Exit::Done)
}

/// The one that is meant, among those that are not what was accepted.
async fn find(desk: &Desk, args: &AcceptArgs) -> Result<Remembered, Failure> {
    let comment = args.comment.as_deref().unwrap_or_default();
    if comment.chars().count() > LONGEST_COMMENT {
        let sentence = format!("a comment may have {LONGEST_COMMENT} characters");
        return Err(Failure::Misused(Refusal::new(
            Code::InvalidArgument,
            sentence,
        )));
    }
    let wanted = |one: &Remembered| {
        one.name == args.name && args.target.as_ref().is_none_or(|it| *it == one.target)
    };
    let mut found = desk.changes().await?.into_iter().filter(wanted);
    let one = found.next().ok_or_else(|| nothing(&args.name))?;
    if found.next().is_some() {
        let refusal = Refusal::new(Code::UnknownTarget, "it has changed on several targets");
        return Err(Failure::Misused(refusal.hint("say which with --target")));
    }
    Ok(one)
}

/// What has changed, part by part.
fn shown(one: &Remembered) -> String {
    let mut text = match one.before() {
        Some(before) => format!("{} on {}, known as {before},\n", one.name, one.target),
        None => format!("{} on {}, which is new,\n", one.name, one.target),
    };
    // Writing to a string has no way to fail.
    let _: std::fmt::Result = writeln!(text, "is {} since {}.\n", one.seen.0, one.seen_at);
    for (part, (was, is)) in one.differences() {
        let _: std::fmt::Result = writeln!(text, "{part}");
        for (sign, value) in [("-", was), ("+", is)] {
            for line in value.iter().flat_map(|value| value.lines()) {
                let _: std::fmt::Result = writeln!(text, "  {sign} {}", visible(line));
            }
        }
    }
    text
}

/// The digest stands for having seen it. Without it somebody has to be asked.
fn agree(said: Option<&str>, one: &Remembered, question: &str) -> Result<(), Failure> {
    let refused = |message: &str| {
        let hint = "read what is shown, in a terminal, or give its digest with --digest";
        Failure::Refused(Refusal::new(Code::ApprovalRefused, message).hint(hint))
    };
    match said {
        Some(said) if said == one.seen.0.to_string() => return Ok(()),
        Some(_) => return Err(refused("nothing was signed: it has another digest now")),
        None if !can_ask() => {
            return Err(refused("nothing was signed: nobody is here to be asked"));
        }
        None => {}
    }
    if agrees(question, "accept")? {
        Ok(())
    } else {
        Err(refused("nothing was signed, as you did not say so"))
    }
}
