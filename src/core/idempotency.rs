//! Idempotency keys: a caller's own name for one call, under which it runs once however often it is made.
//!
//! A key belongs to one principal and one target. It is nowhere kept: the request's id is made from it,
//! and a request runs once.

use crate::core::ids::RequestId;
use crate::core::principal::Principal;
use crate::core::refusal::{Code, Refusal};
use crate::core::work::{Digest, canonical_json};

/// How long after a run its outcome is told under the key, in milliseconds: a day. Never again after that
/// does anything run under it.
pub const LIFE_MS: i64 = 24 * 60 * 60 * 1000;
/// The longest key, in bytes of visible ASCII.
pub const LONGEST: usize = 200;

/// The request that a call under a key is.
pub fn request(
    (workspace, principal): (&str, &Principal),
    target: &str,
    key: &str,
) -> Result<RequestId, Refusal> {
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > LONGEST || !visible {
        let message = format!("an idempotency key is 1 to {LONGEST} visible ASCII characters");
        return Err(Refusal::new(Code::InvalidArgument, message).hint("a UUID is a good one"));
    }
    let named = (
        "secondkey idempotency key 1",
        workspace,
        principal,
        target,
        key,
    );
    Ok(RequestId::keyed(&Digest::of(&[&canonical_json(&named)])))
}

/// The refusal of a key that names another call.
pub fn conflict() -> Refusal {
    Refusal::new(
        Code::IdempotencyConflict,
        "this idempotency key was used for another statement or other values",
    )
    .hint("take a new key for each thing to be done; the same key only to repeat a call as it was")
}

/// The refusal of a key whose outcome is told no more.
pub fn too_old() -> Refusal {
    Refusal::new(
        Code::IdempotencyConflict,
        "this idempotency key was used more than a day ago",
    )
    .hint("look at the data; take a new key if it is to be done again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::principal::PrincipalKind;

    #[test]
    fn a_key_is_its_principals_on_one_target() {
        let who = |name| Principal::new(PrincipalKind::Ai, name);
        let id =
            |workspace, name, target, key| request((workspace, &who(name)), target, key).unwrap();
        let first = id("local", "a", "shop", "k");
        assert!(first.is_keyed());
        assert_eq!(first, id("local", "a", "shop", "k"));
        for other in [
            id("other", "a", "shop", "k"),
            id("local", "b", "shop", "k"),
            id("local", "a", "bank", "k"),
            id("local", "a", "shop", "l"),
            id("local", "a", "shopk", "k"),
        ] {
            assert_ne!(first, other);
        }
        for key in ["", " ", "a b", "\u{e9}", &"k".repeat(LONGEST + 1)] {
            assert!(
                request(("local", &who("a")), "shop", key).is_err(),
                "{key:?}"
            );
        }
    }
}
