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

/// What a request wants run.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// One SQL statement and the values for its placeholders, in order.
    Sql {
        /// The statement as the client sent it.
        text: String,
        /// The values, as JSON.
        params: Vec<Value>,
    },
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

    /// The canonical encoding: RFC 8785 JSON, in which every parameter carries its JSON type and
    /// every number is text, so that no two different values share an encoding.
    pub fn canonical(&self) -> Vec<u8> {
        let Self::Sql { text, params } = self;
        let params = tagged_all(params);
        canonical_json(&json!({ "kind": "sql", "params": params, "text": text, "version": 1 }))
    }

    /// The work digest: SHA-256 over [`Work::canonical`].
    pub fn digest(&self) -> Digest {
        Digest::of(&[&self.canonical()])
    }
}

/// RFC 8785 bytes of a value. Numbers must be within ±2^53, which RFC 8785 §3.2.2.3 rounds to.
pub fn canonical_json(value: &impl Serialize) -> Vec<u8> {
    // Writing plain maps with string keys into memory has no way to fail.
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
}

/// The canonical encoding of parameter values, in which each carries its JSON type as in
/// [`Work::canonical`].
pub fn canonical_params(params: &[Value]) -> Vec<u8> {
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
    fn the_encoding_is_fixed() {
        let work = Work::Sql {
            text: "select $1".into(),
            params: vec![json!(7), json!("é")],
        };
        assert_eq!(
            String::from_utf8(work.canonical()).unwrap(),
            r#"{"kind":"sql","params":[{"number":"7"},{"string":"é"}],"text":"select $1","version":1}"#
        );
    }

    proptest! {
        #[test]
        fn another_text_is_another_digest(a in ".{0,40}", b in ".{0,40}") {
            let digest = |text: &str| Work::Sql { text: text.into(), params: vec![] }.digest();
            prop_assert_eq!(a == b, digest(&a) == digest(&b));
        }
    }
}
