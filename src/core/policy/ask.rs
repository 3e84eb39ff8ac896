//! The grammar of `@ask` and `@limit`.
//!
//! ```text
//! ask    = step *( "," "then" step ) *( ";" option )
//! step   = number "of" group
//! option = "self" | "surface=" ( "any" | "own" | "terminal" )
//!        | "presence=" ( "hardware" | "passphrase" | "unattended" ) | "deny=" number
//! limit  = bound *( "," bound )
//! bound  = "rows=" number | "time=" time | "bytes=" size
//! ```

use std::collections::BTreeSet;

use crate::core::limits::Limits;
use crate::core::policy::requirement::{ANYONE, Requirement, Step, Surfaces};
use crate::core::quantity;
use crate::core::signer::Presence;

/// The most persons that one quorum can name, all steps together.
pub const MOST_PERSONS: u32 = 32;
/// The longest name of a group.
const GROUP_CHARS: usize = 64;

/// What is wrong with an annotation, and what to write instead.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

const STEPS: &str = "write steps like `1 of dba` or `2 of dba, then 1 of owner`";
const OPTIONS: &str = "the options after `;` are `self`, `surface=own`, `surface=terminal`, \
    `presence=hardware`, `presence=passphrase`, `presence=unattended` and `deny=2`";
const BOUNDS: &str = "write bounds like `rows=100, time=5s, bytes=64KiB`";

/// Reads `@ask`. `known` are the groups that somebody is in, where that is known.
pub(super) fn ask(
    rule: &str,
    text: &str,
    known: Option<&BTreeSet<String>>,
) -> Result<Requirement, Vec<Fault>> {
    let mut parts = text.split(';');
    let mut faults = Vec::new();
    let mut requirement = Requirement {
        rule: rule.to_owned(),
        steps: Vec::new(),
        presence: Presence::Passphrase,
        surfaces: Surfaces::Any,
        own_requests: false,
        deny: 1,
    };
    for (number, text) in parts.next().unwrap_or_default().split(',').enumerate() {
        match step(text, number > 0) {
            Ok(step) => {
                if let Some(fault) = unknown_group(&step.group, known) {
                    faults.push(fault);
                }
                requirement.steps.push(step);
            }
            Err(fault) => faults.push(fault),
        }
    }
    let persons = requirement.steps.iter().map(|step| u64::from(step.count));
    if persons.sum::<u64>() > u64::from(MOST_PERSONS) {
        let message = format!("a quorum has at most {MOST_PERSONS} persons");
        faults.push(fault(message, STEPS));
    }
    let mut seen = BTreeSet::new();
    for text in parts {
        let name = text.split('=').next().unwrap_or_default().trim();
        if !seen.insert(name) {
            faults.push(fault(format!("`{name}` stands here twice"), OPTIONS));
        } else if let Err(fault) = option(text, &mut requirement) {
            faults.push(fault);
        }
    }
    if faults.is_empty() {
        Ok(requirement)
    } else {
        Err(faults)
    }
}

fn step(text: &str, follows: bool) -> Result<Step, Fault> {
    let malformed = || fault(format!("`{}` is not a step", text.trim()), STEPS);
    let mut words = text.split_whitespace();
    if follows && words.next() != Some("then") {
        return Err(malformed());
    }
    let (count, of, group) = (words.next(), words.next(), words.next());
    let (Some(count), Some("of"), Some(group), None) = (count, of, group, words.next()) else {
        return Err(malformed());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !group.chars().all(plain) || group.len() > GROUP_CHARS {
        let message = format!("`{group}` is not the name of a group");
        return Err(fault(
            message,
            "a group's name has letters, digits, `_` and `-`",
        ));
    }
    match whole(count) {
        Some(count) if (1..=MOST_PERSONS).contains(&count) => Ok(Step {
            count,
            group: group.to_owned(),
        }),
        Some(_) | None => Err(fault(
            format!("`{count}` is not a number of persons from 1 to {MOST_PERSONS}"),
            STEPS,
        )),
    }
}

fn unknown_group(group: &str, known: Option<&BTreeSet<String>>) -> Option<Fault> {
    let known = known?;
    if group == ANYONE || known.contains(group) {
        return None;
    }
    let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    let there = match names.as_slice() {
        [] => "it names no group".to_owned(),
        names => format!("its groups are {}", names.join(", ")),
    };
    Some(fault(
        format!("nobody in the trust file is in `{group}`; {there}"),
        "put somebody into the group, or ask `anyone`",
    ))
}

fn option(text: &str, requirement: &mut Requirement) -> Result<(), Fault> {
    let unknown = || fault(format!("`{}` is not an option", text.trim()), OPTIONS);
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (text.trim(), None),
    };
    match (name, value) {
        ("self", None) => requirement.own_requests = true,
        ("surface", Some("any")) => requirement.surfaces = Surfaces::Any,
        ("surface", Some("own")) => requirement.surfaces = Surfaces::Own,
        ("surface", Some("terminal")) => requirement.surfaces = Surfaces::Terminal,
        ("presence", Some("hardware")) => requirement.presence = Presence::Hardware,
        ("presence", Some("passphrase")) => requirement.presence = Presence::Passphrase,
        ("presence", Some("unattended")) => requirement.presence = Presence::Unattended,
        ("deny", Some(count)) => match whole(count) {
            Some(count) if (1..=MOST_PERSONS).contains(&count) => requirement.deny = count,
            Some(_) | None => return Err(unknown()),
        },
        _ => return Err(unknown()),
    }
    Ok(())
}

/// Reads `@limit`. What it does not name stays at [`Limits::MAX`].
pub(super) fn limit(text: &str) -> Result<Limits, Vec<Fault>> {
    let mut limits = Limits::MAX;
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for bound in text.split(',') {
        let (name, value) = bound.split_once('=').unwrap_or((bound, ""));
        let (name, value) = (name.trim(), value.trim());
        let (place, read) = match name {
            "rows" => (&mut limits.rows, whole(value).map(u64::from)),
            "time" => (&mut limits.time_ms, quantity::milliseconds(value)),
            "bytes" => (&mut limits.bytes, quantity::bytes(value)),
            _ => {
                faults.push(fault(format!("`{}` is not a limit", bound.trim()), BOUNDS));
                continue;
            }
        };
        let most = *place;
        match read.and_then(|value| u32::try_from(value).ok()) {
            _ if !seen.insert(name) => {
                faults.push(fault(format!("`{name}` stands here twice"), BOUNDS));
            }
            Some(value) if (1..=most).contains(&value) => *place = value,
            Some(_) => {
                let message = format!("`{}` is out of range: from 1 to {most}", bound.trim());
                faults.push(fault(message, BOUNDS));
            }
            None => faults.push(fault(format!("`{}` is not a limit", bound.trim()), BOUNDS)),
        }
    }
    if faults.is_empty() {
        Ok(limits)
    } else {
        Err(faults)
    }
}

/// A whole number in plain digits; `+1` is none.
fn whole(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn fault(message: String, hint: &'static str) -> Fault {
    Fault { message, hint }
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
