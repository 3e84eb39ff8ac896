//! Who may hold an API key, as whoever makes one writes it.

use crate::broker::{ADMIN, DEVELOPER, READONLY};
use crate::core::policy::principals::is_name;
use crate::core::principal::Principal;
use crate::core::quota::Allowance;

/// The most that a semaphore has to count.
pub const MOST: u32 = 1_000_000;
/// The most bytes in a minute.
pub const MOST_BYTES: u64 = 1 << 50;

/// Whoever acts by a key: `ai:NAME`, `human:NAME` or `service:NAME`.
pub fn principal(text: &str) -> Result<Principal, String> {
    let principal = Principal::try_from(text.to_owned()).map_err(|error| error.to_string())?;
    // A model's client adds its own name after a `/`.
    if principal.to_string() != text || principal.name().is_empty() || text.contains('/') {
        return Err("expected `ai:NAME`, `human:NAME` or `service:NAME`, without a `/`".to_owned());
    }
    Ok(principal)
}

/// Whoever a key can be made for: their name is shown to people and in logs, and nothing in it looks like
/// anything else.
pub fn holder(text: &str) -> Result<Principal, String> {
    let holder = principal(text)?;
    let name = holder.name();
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@' | b'+');
    let starts = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if starts && name.len() <= 64 && name.bytes().all(good) {
        Ok(holder)
    } else {
        Err("expected a name of 1 to 64 of a-z A-Z 0-9 _ - . @ + that starts with a letter or digit".to_owned())
    }
}

/// A role: one that the program knows, or a name for the policies.
pub fn role(text: &str) -> Result<String, String> {
    let known = [DEVELOPER, READONLY, ADMIN];
    let meant = known.iter().find(|role| role.eq_ignore_ascii_case(text));
    if let Some(meant) = meant.filter(|role| **role != text) {
        Err(format!("did you mean `{meant}`?"))
    } else if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "expected `{DEVELOPER}`, `{READONLY}`, `{ADMIN}`, or a name of a-z A-Z 0-9 _ -"
        ))
    }
}

/// Whether what a key may use leaves something to do, and can be counted.
pub fn is_allowance(allowance: &Allowance) -> bool {
    let counts = [allowance.per_minute, allowance.at_once, allowance.waiting];
    counts.iter().all(|count| (1..=MOST).contains(count))
        && (1..=MOST_BYTES).contains(&allowance.bytes_per_minute)
}
