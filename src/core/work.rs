//! Work: what a request wants run, its one canonical encoding, and its digest.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, written as 64 hex digits.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Text that is not 64 hex digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a SHA-256 digest; expected 64 hex digits")]
pub struct MalformedDigest;

impl Digest {
    /// The digest of the parts, one after the other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The digest that is these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = MalformedDigest;

    fn try_from(text: String) -> Result<Self, MalformedDigest> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| MalformedDigest)?;
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        hex::encode(digest.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Bytes nobody can guess, which make a commitment to short values worthless to guess at.
pub type Salt = [u8; 16];

/// What a request wants run.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// One SQL statement and the values for its placeholders, in order.
    Sql {
        /// The statement as the client sent it.
        text: String,
        /// The values, as JSON.
        params: Vec<Value>,
        /// What hides the values behind their commitment. It travels with them, and nowhere else.
        salt: Salt,
    },
}

/// What stands for work in documents, tokens and the audit log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint {
    /// The work digest.
    pub digest: Digest,
    /// The commitment to the values, where there are any.
    pub commitment: Option<Digest>,
}

impl Work {
    /// The statement's text.
    pub fn text(&self) -> &str {
        match self {
            Self::Sql { text, .. } => text,
        }
    }

    /// The values for the placeholders.
    pub fn params(&self) -> &[Value] {
        match self {
            Self::Sql { params, .. } => params,
        }
    }

    /// The commitment to the values, where there are any.
    pub fn commitment(&self) -> Option<Digest> {
        let Self::Sql { params, salt, .. } = self;
        (!params.is_empty()).then(|| commitment(*salt, params))
    }

    /// The canonical encoding: RFC 8785 JSON with the text, the commitment to the values in their
    /// place, and the salt, so that nobody can guess a value or a literal from the digest.
    pub fn canonical(&self) -> Vec<u8> {
        self.encoded(self.commitment())
    }

    /// The work digest: SHA-256 over [`Work::canonical`].
    pub fn digest(&self) -> Digest {
        self.fingerprint().digest
    }

    /// Digest and commitment together, for those who need both or either more than once.
    pub fn fingerprint(&self) -> Fingerprint {
        let commitment = self.commitment();
        Fingerprint {
            digest: Digest::of(&[&self.encoded(commitment)]),
            commitment,
        }
    }

    fn encoded(&self, commitment: Option<Digest>) -> Vec<u8> {
        let Self::Sql { text, salt, .. } = self;
        canonical_json(&json!({
            "kind": "sql",
            "params": commitment,
            "salt": hex::encode(salt),
            "text": text,
            "version": 1,
        }))
    }
}

/// Commits to parameter values: SHA-256(salt || their canonical encoding). Whoever knows the salt
/// can prove which values were sent, or guess short ones; so the salt never stands in a log.
pub fn commitment(salt: Salt, params: &[Value]) -> Digest {
    Digest::of(&[&salt, &canonical_params(params)])
}

/// RFC 8785 bytes of a value. Numbers must be within ±2^53, which RFC 8785 §3.2.2.3 rounds to.
pub fn canonical_json(value: &impl Serialize) -> Vec<u8> {
    // Writing plain maps with string keys into memory has no way to fail.
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
}

/// RFC 8785 bytes of parameter values, in which each carries its JSON type and every number is
/// text, so that no two different values share an encoding.
fn canonical_params(params: &[Value]) -> Vec<u8> {
    canonical_json(&tagged_all(params))
}

fn tagged_all(values: &[Value]) -> Value {
    Value::Array(values.iter().map(tagged).collect())
}

fn tagged(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "null": true }),
        Value::Bool(b) => json!({ "bool": b }),
        Value::Number(n) => json!({ "number": n.to_string() }),
        Value::String(s) => json!({ "string": s }),
        Value::Array(items) => json!({ "array": tagged_all(items) }),
        Value::Object(map) => {
            let fields: Map<_, _> = map.iter().map(|(k, v)| (k.clone(), tagged(v))).collect();
            json!({ "object": fields })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sql(params: Vec<Value>) -> Work {
        Work::Sql {
            text: "select $1".into(),
            params,
            salt: [7; 16],
        }
    }

    #[test]
    fn values_that_differ_only_in_type_or_beyond_2_to_the_53_have_different_digests() {
        let values = [
            json!(1),
            json!("1"),
            json!(1.5),
            json!(true),
            json!(null),
            json!([1]),
            json!({"number": "1"}),
            json!(9_007_199_254_740_993_i64),
            json!(9_007_199_254_740_992_i64),
            json!({"a": 9_007_199_254_740_993_i64}),
            json!({"a": 9_007_199_254_740_992_i64}),
        ];
        let digests: std::collections::BTreeSet<_> = values
            .iter()
            .map(|v| sql(vec![v.clone()]).digest())
            .collect();
        assert_eq!(digests.len(), values.len());
    }

    #[test]
    fn the_encodings_are_fixed() {
        let work = sql(vec![json!(7), json!("é")]);
        assert_eq!(
            String::from_utf8(canonical_params(work.params())).unwrap(),
            r#"[{"number":"7"},{"string":"é"}]"#
        );
        let commitment = work.commitment().unwrap();
        assert_eq!(
            String::from_utf8(work.canonical()).unwrap(),
            format!(
                r#"{{"kind":"sql","params":"{commitment}","salt":"{}","text":"select $1","version":1}}"#,
                "07".repeat(16)
            )
        );
        assert_eq!(
            String::from_utf8(sql(vec![]).canonical()).unwrap(),
            format!(
                r#"{{"kind":"sql","params":null,"salt":"{}","text":"select $1","version":1}}"#,
                "07".repeat(16)
            )
        );
    }

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

    proptest! {
        #[test]
        fn another_text_is_another_digest(a in ".{0,40}", b in ".{0,40}") {
            let digest = |text: &str| Work::Sql { text: text.into(), params: vec![], salt: [0; 16] }.digest();
            prop_assert_eq!(a == b, digest(&a) == digest(&b));
        }
    }
}
