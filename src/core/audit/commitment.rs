//! Commitments: a parameter list that can be proven later and cannot be read now.

use serde_json::Value;

use crate::core::work::{Digest, canonical_params};

/// Commits to parameter values: SHA-256(salt || their canonical encoding). Whoever knows the salt
/// can prove which values were sent, or guess short ones; so the salt never stands in the log.
pub fn commitment(salt: [u8; 16], params: &[Value]) -> Digest {
    Digest::of(&[&salt, &canonical_params(params)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_salt_type_or_order_is_another_commitment() {
        let seen: std::collections::BTreeSet<_> = [
            commitment([0; 16], &[json!(1), json!("a")]),
            commitment([1; 16], &[json!(1), json!("a")]),
            commitment([0; 16], &[json!("1"), json!("a")]),
            commitment([0; 16], &[json!("a"), json!(1)]),
            commitment([0; 16], &[json!([1, "a"])]),
            commitment([0; 16], &[]),
        ]
        .into();
        assert_eq!(seen.len(), 6);
    }
}
