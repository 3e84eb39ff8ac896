//! The next version: somebody added, somebody removed, signatures gathered.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cli::desk::Desk;
use crate::cli::files::read_text;
use crate::cli::place::{agrees, can_ask};
use crate::cli::signing::OwnKey;
use crate::cli::trust::start::{whole_second, write_new};
use crate::cli::trust::{AddArgs, NextArgs, RemoveArgs, SignArgs, about, pin, print, read};
use crate::cli::{Exit, Failure, output};
use crate::core::approval::TRUST;
use crate::core::refusal::{Code, Refusal};
use crate::core::trust::{
    KeyKind, Proposal, Purpose, SignedProposal, SignedTrust, Signer, TrustError, TrustFile,
};

/// The longest proposal file that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Takes a proposed key into the next version.
pub(super) async fn add(desk: &Desk, args: &AddArgs) -> Result<Exit, Failure> {
    let trust = desk.trust().await?;
    let proposal = proposed(&args.proposal)?;
    compare(&proposal, args.code.as_deref())?;
    let now = desk.now().unix_ms();
    let mut next = following(&trust, now, &args.next);
    let groups = args.groups.iter().cloned();
    let purposes = args.purposes.iter().map(|&good| Purpose::from(good));
    allow_pages(&mut next, &proposal, args.relay_page.as_ref());
    let known = next.signers.iter_mut().find(|s| s.name == proposal.name);
    match known {
        Some(signer) => {
            signer.groups.extend(groups);
            signer.purposes.extend(purposes);
            signer.keys.push(proposal.key);
        }
        None => next.signers.push(Signer {
            name: proposal.name,
            groups: groups.collect(),
            purposes: purposes.collect(),
            valid_from_ms: whole_second(now),
            valid_until_ms: None,
            keys: vec![proposal.key],
        }),
    }
    finish(desk, &trust, next, &args.next).await
}

/// Leaves somebody, or a key, out of the next version.
pub(super) async fn remove(desk: &Desk, args: &RemoveArgs) -> Result<Exit, Failure> {
    let trust = desk.trust().await?;
    let mut next = following(&trust, desk.now().unix_ms(), &args.next);
    let before = (next.signers.len(), keys_of(&next));
    if let Some(fingerprint) = &args.only_key {
        for signer in next.signers.iter_mut().filter(|s| s.name == args.name) {
            let other = |key: &_| !is_key(key, fingerprint);
            signer.keys.retain(other);
        }
    } else {
        next.signers.retain(|signer| signer.name != args.name);
    }
    if before == (next.signers.len(), keys_of(&next)) {
        return Err(Failure::Refused(
            Refusal::new(
                Code::TrustRefused,
                "the trust file has no such signer or key",
            )
            .hint("`secondkey trust show` lists them"),
        ));
    }
    finish(desk, &trust, next, &args.next).await
}

/// Adds one's signature to a next version that somebody else made.
pub(super) async fn sign(desk: &Desk, args: &SignArgs) -> Result<Exit, Failure> {
    let trust = desk.trust().await?;
    let mut signed = read(&args.file)?;
    if signed.trust.previous != Some(trust.digest()) {
        return Err(Failure::Refused(TrustError::Previous.into()));
    }
    sound(&signed.trust)?;
    output::complain(&print::changes(&trust, &signed.trust));
    let digest = signed.trust.digest().to_string();
    agree(
        args.digest.as_deref().map(|given| given == digest),
        "Is this what you want? Type `sign` to sign it:",
        "sign",
        "the version has another digest, or nobody is here to ask",
    )?;
    let (key, _) = OwnKey::find(args.with.key.as_deref(), &trust, &desk.around)?;
    signed
        .signatures
        .push(key.sign(TRUST, &signed.trust.canonical())?);
    std::fs::write(&args.file, signed.to_text()).map_err(|error| about(&args.file, &error))?;
    output::say(&format!(
        "Signed version {}; the file has {} of {} signatures.",
        signed.trust.version,
        signed.signatures.len(),
        trust.admin_quorum
    ))?;
    Ok(Exit::Done)
}

fn proposed(file: &Path) -> Result<Proposal, Failure> {
    let malformed = |why: &str| {
        Refusal::new(
            Code::TrustRefused,
            format!("`{}` is not a proposal: {why}", file.display()),
        )
        .hint("take a file that `secondkey trust propose` has written")
    };
    let text = read_text(file, LONGEST).map_err(|error| about(file, &error))?;
    let signed: SignedProposal =
        serde_json::from_str(&text).map_err(|error| malformed(&error.to_string()))?;
    Ok(signed.verify().map_err(Refusal::from)?)
}

/// Whether the key is its owner's is for people to find out, by a channel of their own.
fn compare(proposal: &Proposal, code: Option<&str>) -> Result<(), Failure> {
    let short = proposal.short_code();
    output::complain(&format!(
        "{} proposes the key {} ({}).\nThe code of the proposal is {short}.",
        proposal.name,
        proposal.key.public.fingerprint(),
        print::presence(proposal.key.presence),
    ));
    agree(
        code.map(|code| code.trim() == short),
        "Have its owner read you the code, not in the channel that the proposal came by. Type `same` if it is the same:",
        "same",
        "the codes differ, or nobody is here to compare them",
    )
}

/// What somebody said beforehand counts; else they are asked.
fn agree(
    said: Option<bool>,
    question: &str,
    word: &'static str,
    otherwise: &str,
) -> Result<(), Failure> {
    let agreed = match said {
        Some(said) => said,
        None => can_ask() && agrees(question, word)?,
    };
    if agreed {
        return Ok(());
    }
    Err(Failure::Refused(
        Refusal::new(
            Code::TrustRefused,
            format!("nothing was signed: {otherwise}"),
        )
        .hint("look at what was proposed once more, in a terminal"),
    ))
}

/// The pages that a passkey is used on have to be in the file. Which are of one's own machine can be
/// seen; which are a relay's, the admin says.
fn allow_pages(next: &mut TrustFile, proposal: &Proposal, relay: Option<&String>) {
    let KeyKind::Passkey { origins, .. } = &proposal.key.kind else {
        return;
    };
    for origin in origins {
        let known = next.origins.own.contains(origin) || next.origins.relay.contains(origin);
        if !known && origin.starts_with("http://localhost") {
            next.origins.own.insert(origin.clone());
        } else if !known && relay == Some(origin) {
            next.origins.relay.insert(origin.clone());
        }
    }
}

fn following(trust: &TrustFile, now: i64, args: &NextArgs) -> TrustFile {
    TrustFile {
        version: trust.version.saturating_add(1),
        previous: Some(trust.digest()),
        created_ms: now.max(trust.created_ms),
        admin_quorum: args.admin_quorum.unwrap_or(trust.admin_quorum),
        ..trust.clone()
    }
}

/// Signs the next version, and pins it where one signature is enough.
async fn finish(
    desk: &Desk,
    trust: &TrustFile,
    next: TrustFile,
    args: &NextArgs,
) -> Result<Exit, Failure> {
    sound(&next)?;
    output::complain(&print::changes(trust, &next));
    let (key, _) = OwnKey::find(args.with.key.as_deref(), trust, &desk.around)?;
    let signature = key.sign(TRUST, &next.canonical())?;
    let signed = SignedTrust {
        trust: next,
        signatures: vec![signature],
    };
    if let Some(file) = &args.to {
        write_new(file, &signed.to_text())?;
        output::say(&format!(
            "Version {} is in `{}`, with 1 of {} signatures. Others add theirs with `secondkey trust sign`; `secondkey trust install` pins it.",
            signed.trust.version,
            file.display(),
            trust.admin_quorum
        ))?;
        return Ok(Exit::Done);
    }
    pin(desk, signed).await
}

/// Says what is wrong before anybody signs.
fn sound(next: &TrustFile) -> Result<(), Failure> {
    let faults = next.faults();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(TrustError::Faults(faults).into()))
}

fn is_key(key: &crate::core::trust::SignerKey, fingerprint: &str) -> bool {
    key.public.fingerprint() == fingerprint
}

fn keys_of(trust: &TrustFile) -> BTreeSet<String> {
    let keys = trust.signers.iter().flat_map(|signer| &signer.keys);
    keys.map(|key| key.public.fingerprint()).collect()
}
