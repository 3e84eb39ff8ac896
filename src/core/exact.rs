//! JSON that is read exactly: no unknown field, no field twice, nothing that writing the value
//! again would not give.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::core::work::canonical_json;

/// Times and counts in signed JSON lie within ±2^53: beyond, RFC 8785 rounds.
pub const GREATEST: i64 = 1 << 53;

/// Why bytes were not read.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum ExactError {
    /// Longer than anything of this kind may be.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// Not JSON, or not of this shape.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// JSON of the right shape, but not in its one canonical form (RFC 8785).
    #[error("it is not in canonical form (RFC 8785)")]
    NotCanonical,
    /// A field that nothing here knows, or one that is left out.
    #[error("it has a field too many or too few")]
    Fields,
}

/// Reads canonical JSON (RFC 8785) of at most `longest` bytes: the bytes must be those that
/// writing the value gives.
pub fn read_canonical<T>(bytes: &[u8], longest: usize) -> Result<T, ExactError>
where
    T: DeserializeOwned + Serialize,
{
    let value: T = serde_json::from_slice(within(bytes, longest)?).map_err(malformed)?;
    if canonical_json(&value) == bytes {
        Ok(value)
    } else {
        Err(ExactError::NotCanonical)
    }
}

/// Reads JSON in any layout, of at most `longest` bytes, with exactly the fields that writing the
/// value gives.
pub fn read_exact<T>(bytes: &[u8], longest: usize) -> Result<T, ExactError>
where
    T: DeserializeOwned + Serialize,
{
    let value = read_value(bytes, longest)?;
    let read: T = serde_json::from_value(value.clone()).map_err(malformed)?;
    match serde_json::to_value(&read) {
        Ok(written) if written == value => Ok(read),
        Ok(_) | Err(_) => Err(ExactError::Fields),
    }
}

/// Reads any JSON of at most `longest` bytes in which no object has a key twice.
pub fn read_value(bytes: &[u8], longest: usize) -> Result<Value, ExactError> {
    let mut reader = serde_json::Deserializer::from_slice(within(bytes, longest)?);
    let value = Unique.deserialize(&mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    Ok(value)
}

fn within(bytes: &[u8], longest: usize) -> Result<&[u8], ExactError> {
    if bytes.len() > longest {
        return Err(ExactError::TooLong(longest));
    }
    Ok(bytes)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `map_err` takes"
)]
fn malformed(error: serde_json::Error) -> ExactError {
    ExactError::Malformed(error.to_string())
}

/// A value whose objects have no key twice, at any depth.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            let value = from.next_value_seed(Self)?;
            if fields.insert(key, value).is_some() {
                return Err(A::Error::custom("a field is there twice"));
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Pair {
        a: i64,
        b: Option<String>,
    }

    #[test]
    fn canonical_json_is_read_and_nothing_else() {
        let good = br#"{"a":1,"b":null}"#;
        let pair = Pair { a: 1, b: None };
        assert_eq!(read_canonical::<Pair>(good, 100), Ok(pair));
        for bad in [
            r#"{"a":1,"b":null} "#,
            r#"{"b":null,"a":1}"#,
            r#"{"a":1}"#,
            r#"{"a":1,"b":null,"c":2}"#,
            r#"{"a":1,"a":1,"b":null}"#,
            r#"{"a":1.0,"b":null}"#,
            r#"{"a":9007199254740993,"b":null}"#,
            r#"{"a":1,"b":"\u0061"}"#,
            "{",
            "",
        ] {
            let read = read_canonical::<Pair>(bad.as_bytes(), 100);
            assert!(read.is_err(), "{bad}");
        }
        let long = read_canonical::<Pair>(good, good.len() - 1);
        assert_eq!(long, Err(ExactError::TooLong(good.len() - 1)));
    }

    #[test]
    fn any_layout_is_read_but_no_other_fields() {
        let read = |text: &str| read_exact::<Pair>(text.as_bytes(), 100);
        let pair = Pair { a: 1, b: None };
        assert_eq!(read("{ \"b\": null,\n \"a\": 1 }\n"), Ok(pair));
        assert_eq!(read(r#"{"a":1}"#), Err(ExactError::Fields));
        assert_eq!(read(r#"{"a":1,"b":null,"c":2}"#), Err(ExactError::Fields));
        assert!(read(r#"{"a":1,"a":1,"b":null}"#).is_err());
        assert!(read(r#"{"a":1,"b":null} x"#).is_err());
    }

    #[test]
    fn a_key_twice_is_refused_at_any_depth() {
        let read = |text: &str| read_value(text.as_bytes(), 100);
        let value = json!([{"a": [1, -2, 3.5, true, null, "é"]}, {"a": {}}]);
        assert_eq!(read(&value.to_string()), Ok(value));
        assert!(read(r#"[{"x":{"a":1,"b":2,"a":1}}]"#).is_err());
    }
}
