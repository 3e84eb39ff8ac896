//! The first version, and proposals for a next one.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cli::desk::Desk;
use crate::cli::place::person;
use crate::cli::signing::OwnKey;
use crate::cli::trust::{InitArgs, KeyArgs, ProposeArgs, about, print};
use crate::cli::{Exit, Failure, output};
use crate::clock::SystemClock;
use crate::config::Surroundings;
use crate::core::approval::{ENROL, TRUST};
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::time::{Clock as _, Timestamp};
use crate::core::trust::{
    Proposal, ProposalError, Purpose, SignedProposal, SignedTrust, Signer, TrustFile,
};

/// The group of whoever makes the first version.
const OWNER: &str = "owner";

/// Makes, signs and pins version 1.
pub(super) async fn init(desk: &Desk, args: &InitArgs) -> Result<Exit, Failure> {
    let place = desk.place()?;
    if place.state.trust().map_err(Refusal::from)?.is_some() {
        return Err(Failure::Refused(
            Refusal::new(Code::TrustRefused, "a trust file is pinned here already").hint(
                "propose a key with `secondkey trust propose`, and have a trust admin add it",
            ),
        ));
    }
    let (signed, key) = version_one(&place.around, args, place.state.now())?;
    let (text, advice) = (print::text(&signed.trust), print::advice(&signed.trust));
    let installed = place.state.install_trust(signed).await;
    installed.map_err(Refusal::from)?;
    output::say(&text)?;
    output::say(&format!("Signed with the key `{}`.", key.path().display()))?;
    if let Some(advice) = advice {
        output::say(advice)?;
    }
    Ok(Exit::Done)
}

/// Makes and signs version 1, for another's state folder.
pub(super) fn init_into_file(args: &InitArgs) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let (signed, _) = version_one(&around, args, SystemClock.now())?;
    let Some(file) = &args.to else {
        return Ok(Exit::Misused);
    };
    write_new(file, &signed.to_text())?;
    output::say(&print::text(&signed.trust))?;
    if let Some(advice) = print::advice(&signed.trust) {
        output::say(advice)?;
    }
    output::say(&format!(
        "It is in `{0}`. Whoever runs the agent pins it: secondkey trust install '{0}' --state DIR",
        file.display()
    ))?;
    Ok(Exit::Done)
}

/// Version 1, with one signer, and the key that it is signed with.
fn version_one(
    around: &Surroundings,
    args: &InitArgs,
    now: Timestamp,
) -> Result<(SignedTrust, OwnKey), Failure> {
    let name = args.name.clone().unwrap_or_else(|| person(around));
    let key = chosen(around, &args.key, &name)?;
    let now = now.unix_ms();
    let glass = args.break_glass.then_some(Purpose::BreakGlass);
    let trust = TrustFile::first(
        now,
        vec![Signer {
            name,
            groups: BTreeSet::from([OWNER.to_owned()]),
            purposes: [Purpose::Approve, Purpose::Trust]
                .into_iter()
                .chain(glass)
                .collect(),
            valid_from_ms: whole_second(now),
            valid_until_ms: None,
            keys: vec![key.described()?],
        }],
    );
    let signatures = vec![key.sign(TRUST, &trust.canonical())?];
    Ok((SignedTrust { trust, signatures }, key))
}

/// Makes a proposal for a key of one's own.
pub(super) fn propose(args: &ProposeArgs) -> Result<Exit, Failure> {
    let around = Surroundings::of_process();
    let name = args.name.clone().unwrap_or_else(|| person(&around));
    let key = chosen(&around, &args.key, &name)?;
    let proposal = Proposal {
        version: 1,
        name,
        key: key.described()?,
        nonce: hex::encode(crate::ids::random::<16>()?),
        created_ms: SystemClock.now().unix_ms(),
    };
    let text = proposal.to_text();
    let signed = SignedProposal {
        proof: key.sign(ENROL, text.as_bytes())?,
        proposal: text,
    };
    signed
        .verify()
        .map_err(|error: ProposalError| Refusal::from(error))?;
    // Two strings have no way to fail.
    let text = serde_json::to_string_pretty(&signed).unwrap_or_default();
    match &args.to {
        None => output::say(&text)?,
        Some(path) => write_new(path, &text)?,
    }
    output::complain(&format!(
        "Give the proposal to a trust admin, and read them this code by another channel:\n  {}",
        proposal.short_code()
    ));
    Ok(Exit::Done)
}

/// The second that a time lies in: OpenSSH knows no shorter ones, and a signer should count at once.
pub(super) fn whole_second(ms: i64) -> i64 {
    ms.saturating_sub(ms.rem_euclid(1_000))
}

/// Writes a file that is not there yet.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;

    let made = std::fs::File::create_new(path);
    let written = made.and_then(|mut file| writeln!(file, "{}", text.trim_end()));
    written.map_err(|error| about(path, &error))?;
    Ok(())
}

fn chosen(around: &Surroundings, args: &KeyArgs, name: &Principal) -> Result<OwnKey, Failure> {
    Ok(match &args.key {
        Some(path) => OwnKey::open(path)?,
        None => OwnKey::create(around, name.name())?,
    })
}
