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
    /// A capability, whose statement the agent alone knows.
    Capability {
        /// Its name.
        name: String,
        /// The bundle that says what the name means.
        bundle: Digest,
        /// The values by their names: one JSON object.
        params: Vec<Value>,
        /// What hides the values behind their commitment. It travels with them, and nowhere else.
        salt: Salt,
        /// [`capability_line`] of name and bundle.
        line: String,
    },
    /// Several statements that all stand or all do not, one after the other.
    Batch {
        /// Each statement as the client sent it.
        statements: Vec<String>,
        /// One array of values for each statement, in the same order.
        params: Vec<Value>,
        /// What hides the values behind their commitment. It travels with them, and nowhere else.
        salt: Salt,
        /// [`together`] of the statements.
        text: String,
    },
}

/// What stands where a statement's text would, for a capability.
pub fn capability_line(name: &str, bundle: &Digest) -> String {
    format!("capability {name} of the bundle {bundle}")
}

/// The most statements in one batch.
pub const BATCH: usize = 50;

/// The statements of a batch as one text for people, each under a heading. It is never parsed or run.
pub fn together<'a>(statements: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = statements.len();
    let headed = (1..)
        .zip(statements)
        .map(|(number, text)| format!("-- statement {number} of {count}\n{text}"));
    headed.collect::<Vec<_>>().join("\n")
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
    /// A call of a capability. `params` are one JSON object, in a list of its own.
    pub fn capability(name: &str, bundle: Digest, params: Vec<Value>, salt: Salt) -> Self {
        Self::Capability {
            line: capability_line(name, &bundle),
            name: name.to_owned(),
            bundle,
            params,
            salt,
        }
    }

    /// The values of a capability's parameters, by name.
    pub fn named(&self) -> Map<String, Value> {
        match self.params() {
            [Value::Object(named)] => named.clone(),
            _ => Map::new(),
        }
    }

    /// Several statements, each with its values, as one piece of work.
    pub fn batch(statements: Vec<(String, Vec<Value>)>, salt: Salt) -> Self {
        let (statements, params): (Vec<_>, Vec<_>) = statements.into_iter().unzip();
        let text = together(statements.iter().map(String::as_str));
        Self::Batch {
            statements,
            params: params.into_iter().map(Value::Array).collect(),
            salt,
            text,
        }
    }

    /// The statement's text; of a batch all of them, for people; of a capability what stands in its place.
    pub fn text(&self) -> &str {
        match self {
            Self::Sql { text, .. } | Self::Batch { text, .. } => text,
            Self::Capability { line, .. } => line,
        }
    }

    /// The values for the placeholders; of a batch one array for each statement, of a capability one
    /// object that holds them by name.
    pub fn params(&self) -> &[Value] {
        match self {
            Self::Sql { params, .. }
            | Self::Batch { params, .. }
            | Self::Capability { params, .. } => params,
        }
    }

    /// Each statement with its values, as work of its own.
    pub fn statements(&self) -> Vec<Self> {
        match self {
            Self::Sql { .. } | Self::Capability { .. } => vec![self.clone()],
            Self::Batch {
                statements,
                params,
                salt,
                ..
            } => {
                let alone = |(text, params): (&String, &Value)| Self::Sql {
                    text: text.clone(),
                    params: params.as_array().cloned().unwrap_or_default(),
                    salt: *salt,
                };
                statements.iter().zip(params).map(alone).collect()
            }
        }
    }

    /// Whether it is several statements.
    pub fn is_batch(&self) -> bool {
        matches!(self, Self::Batch { .. })
    }

    /// How many values there are in all.
    pub fn count(&self) -> usize {
        match self {
            Self::Sql { params, .. } | Self::Capability { params, .. } => params.len(),
            Self::Batch { params, .. } => params.iter().map(values_in).sum(),
        }
    }

    /// What hides the values behind their commitment.
    pub fn salt(&self) -> Salt {
        match self {
            Self::Sql { salt, .. } | Self::Batch { salt, .. } | Self::Capability { salt, .. } => {
                *salt
            }
        }
    }

    /// The commitment to the values, where there are any.
    pub fn commitment(&self) -> Option<Digest> {
        (self.count() > 0).then(|| commitment(self.salt(), self.params()))
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
        let salt = hex::encode(self.salt());
        match self {
            Self::Sql { text, .. } => canonical_json(&json!({
                "kind": "sql",
                "params": commitment,
                "salt": salt,
                "text": text,
                "version": 1,
            })),
            Self::Capability { name, bundle, .. } => canonical_json(&json!({
                "bundle": bundle,
                "kind": "capability",
                "name": name,
                "params": commitment,
                "salt": salt,
                "version": 1,
            })),
            Self::Batch { statements, .. } => canonical_json(&json!({
                "kind": "batch",
                "params": commitment,
                "salt": salt,
                "statements": statements,
                "version": 1,
            })),
        }
    }
}

/// How many values one statement of a batch has.
fn values_in(params: &Value) -> usize {
    params.as_array().map_or(0, Vec::len)
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

/// The value with each JSON type written out and every number as text.
pub(in crate::core) fn tagged(value: &Value) -> Value {
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
    fn a_capability_of_another_name_or_bundle_or_with_other_values_is_other_work() {
        let bundle = |n: u8| Digest::from_bytes([n; 32]);
        let values = |n: i64| vec![json!({ "id": n })];
        let call =
            |name: &str, n: u8, id: i64| Work::capability(name, bundle(n), values(id), [7; 16]);
        let first = call("a", 1, 1);
        for other in [call("b", 1, 1), call("a", 2, 1), call("a", 1, 2)] {
            assert_ne!(first.digest(), other.digest());
        }
        let text = sql(first.params().to_vec());
        assert_ne!(first.digest(), text.digest());
        assert_eq!(
            String::from_utf8(first.canonical()).unwrap(),
            format!(
                r#"{{"bundle":"{}","kind":"capability","name":"a","params":"{}","salt":"{}","version":1}}"#,
                bundle(1),
                first.commitment().unwrap(),
                "07".repeat(16)
            )
        );
    }

    #[test]
    fn a_batch_is_other_work_for_any_other_cut_order_or_place_of_a_value() {
        let batch = |statements: &[(&str, Vec<Value>)]| {
            let owned = statements
                .iter()
                .map(|(text, params)| ((*text).to_owned(), params.clone()));
            Work::batch(owned.collect(), [7; 16]).digest()
        };
        let seen: std::collections::BTreeSet<_> = [
            sql(vec![]).digest(),
            batch(&[("select $1", vec![])]),
            batch(&[("a", vec![json!(1)]), ("b", vec![])]),
            batch(&[("a", vec![]), ("b", vec![json!(1)])]),
            batch(&[("b", vec![]), ("a", vec![json!(1)])]),
            batch(&[("a", vec![json!([1])]), ("b", vec![])]),
            batch(&[("a\n-- statement 2 of 2\nb", vec![json!(1)])]),
        ]
        .into();
        assert_eq!(seen.len(), 7);
        let work = Work::batch(
            vec![("a".into(), vec![json!(7)]), ("b".into(), vec![])],
            [7; 16],
        );
        assert_eq!(
            (work.count(), work.text()),
            (1, "-- statement 1 of 2\na\n-- statement 2 of 2\nb")
        );
        let (commitment, salt) = (work.commitment().unwrap(), "07".repeat(16));
        assert_eq!(
            String::from_utf8(work.canonical()).unwrap(),
            format!(
                r#"{{"kind":"batch","params":"{commitment}","salt":"{salt}","statements":["a","b"],"version":1}}"#
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
