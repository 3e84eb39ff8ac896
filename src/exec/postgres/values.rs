//! The server's text of a value as JSON, by its type. The rules are in `docs/values.md`.

use serde_json::Value;
use tokio_postgres::types::Type;

use crate::core::answer::{EXACT_INTEGER, float, integer};

/// A value as JSON. Text that does not read as its type says stays text.
pub(super) fn value(kind: &Type, text: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    typed(kind, text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn typed(kind: &Type, text: &str) -> Option<Value> {
    match *kind {
        Type::BOOL => match text {
            "t" => Some(Value::Bool(true)),
            "f" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => text.parse().ok().map(integer),
        Type::FLOAT4 | Type::FLOAT8 => text.parse().ok().map(float),
        Type::JSON | Type::JSONB => document(text),
        _ => None,
    }
}

/// A document, unless writing it again would change it: a number too large or too fine for
/// JSON's readers, a key that is there twice, an escape.
fn document(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    let again = serde_json::to_string(&value).ok()?;
    (is_exact(&value) && letters(&again) == letters(text)).then_some(value)
}

fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => match (number.as_i64(), number.is_u64()) {
            (Some(small), _) => (-EXACT_INTEGER..=EXACT_INTEGER).contains(&small),
            (None, large) => !large,
        },
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// How often each byte occurs, blanks left out: the same for two texts that differ only in the
/// order of keys and in white space.
fn letters(text: &str) -> [usize; 256] {
    let mut counts = [0; 256];
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_value_changes_on_its_way() {
        for (kind, text, want) in [
            (Type::BOOL, "t", json!(true)),
            (
                Type::INT8,
                "9007199254740991",
                json!(9_007_199_254_740_991_i64),
            ),
            (Type::INT8, "9007199254740992", json!("9007199254740992")),
            (Type::FLOAT4, "0.1", json!(0.1)),
            (Type::FLOAT8, "NaN", json!("NaN")),
            (Type::FLOAT8, "-Infinity", json!("-Infinity")),
            (Type::NUMERIC, "1.10", json!("1.10")),
            (
                Type::JSONB,
                r#"{"b": [1, 2.5, null], "a": "x"}"#,
                json!({"a": "x", "b": [1, 2.5, null]}),
            ),
            (
                Type::JSON,
                r#"{"a":12345678901234567890}"#,
                json!(r#"{"a":12345678901234567890}"#),
            ),
            (
                Type::JSON,
                r#"{"a":9007199254740993}"#,
                json!(r#"{"a":9007199254740993}"#),
            ),
            (Type::JSON, "[1.10]", json!("[1.10]")),
            (Type::JSON, r#"{"a":1,"a":2}"#, json!(r#"{"a":1,"a":2}"#)),
            (
                Type::JSON,
                "[0.1234567890123456789]",
                json!("[0.1234567890123456789]"),
            ),
            (Type::DATE, "infinity", json!("infinity")),
            (Type::TEXT, "5", json!("5")),
        ] {
            assert_eq!(value(&kind, Some(text)), want, "{text}");
        }
        assert_eq!(value(&Type::TEXT, None), Value::Null);
    }
}
