//! The trust file as text for a person.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::table::table;
use crate::core::signer::Presence;
use crate::core::time::Timestamp;
use crate::core::trust::{Purpose, Signer, SignerKey, TrustFile};
use crate::core::visible::on_one_line;

/// What the presence of a key means, in a few words.
pub(super) fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Hardware => "hardware",
        Presence::Passphrase => "passphrase",
        Presence::Unattended => "unattended",
    }
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Approve => "approve",
        Purpose::BreakGlass => "break_glass",
        Purpose::Trust => "trust",
    }
}

/// One line for each key.
pub(super) fn text(trust: &TrustFile) -> String {
    let rows = trust.signers.iter().flat_map(|signer| {
        let row = |key: &SignerKey| {
            [
                signer.name.to_string(),
                list(signer.groups.iter().map(String::as_str)),
                list(signer.purposes.iter().map(|&one| purpose(one))),
                presence(key.presence).to_owned(),
                key.public.fingerprint(),
                key.label.clone(),
                validity(signer),
            ]
        };
        signer.keys.iter().map(row).collect::<Vec<_>>()
    });
    let header = [
        "signer", "groups", "may", "presence", "key", "label", "valid",
    ];
    let table = table(header, rows.collect());
    format!(
        "Trust file version {}, digest {}\nTrust admins who have to sign the next version: {}\n\n{table}",
        trust.version,
        trust.digest(),
        trust.admin_quorum
    )
}

/// The same for programs.
pub(super) fn json(trust: &TrustFile) -> String {
    let shown = json!({ "digest": trust.digest(), "trust": trust });
    // A value has no way to fail.
    serde_json::to_string(&shown).unwrap_or_default()
}

/// What the next version changes, signer by signer.
pub(super) fn changes(old: &TrustFile, new: &TrustFile) -> String {
    let mut text = format!(
        "Version {} of the trust file, digest {}:\n",
        new.version,
        new.digest()
    );
    let before = lines(old);
    let after = lines(new);
    let gone = before.iter().filter(|line| !after.contains(line));
    let come = after.iter().filter(|line| !before.contains(line));
    let marked = gone.map(|line| ('-', line)).chain(come.map(|l| ('+', l)));
    for (mark, line) in marked {
        // Writing to a string has no way to fail.
        let _: std::fmt::Result = writeln!(text, "  {mark} {}", on_one_line(line));
    }
    text
}

/// Everything that the file says, a line for each thing, so that no change of it goes unseen.
fn lines(trust: &TrustFile) -> Vec<String> {
    let mut lines = vec![format!("{} trust admins sign", trust.admin_quorum)];
    let own = trust.origins.own.iter().map(|o| format!("own page {o}"));
    let relay = trust
        .origins
        .relay
        .iter()
        .map(|o| format!("relay page {o}"));
    lines.extend(own.chain(relay));
    for signer in &trust.signers {
        lines.push(format!(
            "{} in {}, may {}, valid from {}{}",
            signer.name,
            list(signer.groups.iter().map(String::as_str)),
            list(signer.purposes.iter().map(|&one| purpose(one))),
            Timestamp::from_unix_ms(signer.valid_from_ms),
            signer.valid_until_ms.map_or_else(String::new, |until| {
                format!(" until {}", Timestamp::from_unix_ms(until))
            })
        ));
        for key in &signer.keys {
            let told = json!(key).to_string();
            let print = key.public.fingerprint();
            lines.push(format!("{}: {print} {told}", signer.name));
        }
    }
    lines
}

/// What somebody with only weak keys should know.
pub(super) fn advice(trust: &TrustFile) -> Option<&'static str> {
    let keys = trust.signers.iter().flat_map(|s| &s.keys);
    match keys.map(|key| key.presence).min()? {
        Presence::Hardware => None,
        Presence::Passphrase => Some(
            "This key is good for everything but production, where a key has to prove that somebody touched it.",
        ),
        Presence::Unattended => Some(
            "Anybody who can read this key's file can sign with it: it is marked so, and counts only where a policy takes that. Give it a passphrase, or take a key of hardware.",
        ),
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(",")
    }
}

fn validity(signer: &Signer) -> String {
    let day = |ms| {
        let text = Timestamp::from_unix_ms(ms).to_string();
        text.split('T').next().unwrap_or_default().to_owned()
    };
    let from = day(signer.valid_from_ms);
    match signer.valid_until_ms {
        None => format!("from {from}"),
        Some(until) => format!("{from} to {}", day(until)),
    }
}
