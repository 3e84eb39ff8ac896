//! The trust file as OpenSSH's `allowed_signers` (ssh-keygen(1), ALLOWED SIGNERS), so that stock
//! `ssh-keygen -Y verify` can check approvals.
//!
//! It says less than the trust file: nothing of groups, presence, surfaces or single origins.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Utc};

use crate::core::approval::{APPROVAL, CAPABILITY, REVIEW, TRUST};
use crate::core::trust::{Purpose, Signer, TrustFile};

/// One line for each key: principal, options, type, key.
pub fn allowed_signers(trust: &TrustFile) -> String {
    let mut text = String::new();
    for signer in &trust.signers {
        let namespaces = namespaces(signer);
        if namespaces.is_empty() {
            continue;
        }
        for key in &signer.keys {
            let options = options(signer, &namespaces);
            // Writing to a string has no way to fail.
            let _: fmt::Result = writeln!(text, "{} {options} {}", signer.name, key.public);
        }
    }
    text
}

fn namespaces(signer: &Signer) -> String {
    let approves = signer.purposes.contains(&Purpose::Approve)
        || signer.purposes.contains(&Purpose::BreakGlass);
    let approval = approves.then_some(APPROVAL);
    let trust = signer.purposes.contains(&Purpose::Trust).then_some(TRUST);
    let reads = signer.purposes.contains(&Purpose::Approve);
    let all = [
        approval,
        reads.then_some(REVIEW),
        reads.then_some(CAPABILITY),
        trust,
    ];
    let all: Vec<&str> = all.into_iter().flatten().collect();
    all.join(",")
}

fn options(signer: &Signer, namespaces: &str) -> String {
    let mut options = format!("namespaces=\"{namespaces}\"");
    // Whole seconds, rounded so that OpenSSH trusts no longer than we do. It knows no time before
    // the year 1970 and takes 0 for none.
    let from = signer.valid_from_ms.saturating_add(999).div_euclid(1000);
    if let Some(from) = stamp(from).filter(|_| from > 0) {
        options.extend([",valid-after=\"", &from, "\""]);
    }
    let until = signer
        .valid_until_ms
        .map(|ms| ms.saturating_sub(1).div_euclid(1000));
    if let Some(until) = until.and_then(stamp) {
        options.extend([",valid-before=\"", &until, "\""]);
    }
    options
}

/// `YYYYMMDDHHMMSSZ`, as far as four digits hold the year.
fn stamp(seconds: i64) -> Option<String> {
    let time = DateTime::<Utc>::from_timestamp(seconds, 0)?;
    let text = time.format("%Y%m%d%H%M%SZ").to_string();
    (text.len() == 15).then_some(text)
}
