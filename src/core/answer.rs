//! Answers: columns once, rows as arrays of JSON values, and what was cut off.
//!
//! No value is silently changed. What JSON cannot hold exactly is text, by the rules of
//! `docs/values.md`; the column's type says how to read it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// One row: a JSON value for each column.
pub type Row = Vec<Value>;

/// One column of an answer.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Column {
    /// Its name in the result.
    pub name: String,
    /// The engine's own name of its type, such as `numeric` or `bigint unsigned`.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// The largest integer that every JSON reader holds exactly: 2^53 - 1.
pub const EXACT_INTEGER: i64 = 9_007_199_254_740_991;

/// An integer as JSON: a number up to 2^53 - 1 in size, text beyond it.
pub fn integer(value: i128) -> Value {
    match i64::try_from(value) {
        Ok(small) if (-EXACT_INTEGER..=EXACT_INTEGER).contains(&small) => Value::from(small),
        _ => Value::String(value.to_string()),
    }
}

/// A float as JSON: a number, or the text `NaN`, `Infinity` or `-Infinity`.
pub fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::String("NaN".into()),
        None if value > 0.0 => Value::String("Infinity".into()),
        None => Value::String("-Infinity".into()),
    }
}

/// How many bytes a row takes as compact JSON.
pub fn json_bytes(row: &[Value]) -> usize {
    2 + row.len().saturating_sub(1) + row.iter().map(value_bytes).sum::<usize>()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(b) => {
            if *b {
                4
            } else {
                5
            }
        }
        Value::Number(n) => number_bytes(n),
        Value::String(s) => string_bytes(s),
        Value::Array(items) => json_bytes(items),
        Value::Object(map) => {
            let fields = map
                .iter()
                .map(|(k, v)| string_bytes(k) + 1 + value_bytes(v));
            2 + map.len().saturating_sub(1) + fields.sum::<usize>()
        }
    }
}

/// Every cell of every row comes through here, and most numbers are integers.
fn number_bytes(number: &Number) -> usize {
    let digits = |n: u64| n.checked_ilog10().map_or(1, |log| log as usize + 1);
    match (number.as_u64(), number.as_i64()) {
        (Some(n), _) => digits(n),
        (None, Some(n)) => 1 + digits(n.unsigned_abs()),
        (None, None) => number.to_string().len(),
    }
}

fn string_bytes(text: &str) -> usize {
    let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
    // A loop without branches, which the compiler makes a fast one; hardly any text needs the other.
    let specials = text.bytes().filter(special).count();
    let long = |b: &u8| *b < 0x20 && !matches!(b, b'\n' | b'\r' | b'\t' | 0x08 | 0x0c);
    let longer = match specials {
        0 => 0,
        _ => 4 * text.bytes().filter(long).count(),
    };
    2 + text.len() + specials + longer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_counted_as_the_encoder_writes_them() {
        let row = vec![
            json!(null),
            json!(-1.5e300),
            json!("a\"\\\n\u{1}é"),
            json!({"k": [1, true, false]}),
            json!([]),
        ];
        assert_eq!(json_bytes(&row), serde_json::to_string(&row).unwrap().len());
        assert_eq!(json_bytes(&[]), 2);
    }

    proptest! {
        #[test]
        fn so_are_those_of_any_cell(
            whole: i64, natural: u64, float: f64, text: String, low in "[\\x00-\\x2f\\x5b-\\x5e]*",
        ) {
            for cell in [json!(whole), json!(natural), json!(float), json!(text), json!(low)] {
                prop_assert_eq!(value_bytes(&cell), serde_json::to_string(&cell).unwrap().len());
            }
        }
    }

    #[test]
    fn integers_beyond_2_to_the_53_and_odd_floats_are_text() {
        assert_eq!(
            integer(9_007_199_254_740_991),
            json!(9_007_199_254_740_991_i64)
        );
        assert_eq!(integer(9_007_199_254_740_992), json!("9007199254740992"));
        assert_eq!(integer(u64::MAX.into()), json!("18446744073709551615"));
        assert_eq!(float(f64::NAN), json!("NaN"));
        assert_eq!(float(f64::NEG_INFINITY), json!("-Infinity"));
    }
}
