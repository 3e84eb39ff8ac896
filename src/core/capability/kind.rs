//! The types of parameters and columns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One value's type.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scalar {
    /// Text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A finite number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `2026-01-31`.
    Date,
    /// A date, time and offset (RFC 3339).
    DateTime,
    /// A UUID.
    Uuid,
    /// An exact number, as text in a call.
    Decimal,
    /// Any JSON.
    Json,
}

impl Scalar {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::String,
        Self::Integer,
        Self::Number,
        Self::Boolean,
        Self::Date,
        Self::DateTime,
        Self::Uuid,
        Self::Decimal,
        Self::Json,
    ];

    /// The written form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::DateTime => "date-time",
            Self::Uuid => "uuid",
            Self::Decimal => "decimal",
            Self::Json => "json",
        }
    }

    /// The type of this written form.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// `value` in the one form that stands for it, or what it has to be.
    pub fn fit(self, value: Value) -> Result<Value, &'static str> {
        let text = value.as_str();
        let good = match self {
            Self::String => text.is_some_and(|text| !text.contains('\0')),
            Self::Integer => {
                return whole(&value)
                    .map(Value::from)
                    .ok_or("must be a whole number of 64 bits");
            }
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Date => text.is_some_and(is_date),
            Self::DateTime => text.is_some_and(is_date_time),
            Self::Uuid => text.is_some_and(is_uuid),
            Self::Decimal => {
                return decimal(&value)
                    .map(Value::String)
                    .ok_or("must be a number, or its digits as text");
            }
            Self::Json => true,
        };
        if good { Ok(value) } else { Err(self.wanted()) }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::String => "must be text without NUL characters",
            Self::Integer => "must be a whole number of 64 bits",
            Self::Number => "must be a number",
            Self::Boolean => "must be true or false",
            Self::Date => "must be a date such as 2026-01-31",
            Self::DateTime => "must be a time with its offset, such as 2026-01-31T09:30:00Z",
            Self::Uuid => "must be a UUID",
            Self::Decimal => "must be a number, or its digits as text",
            Self::Json => "must be JSON",
        }
    }

    /// The JSON Schema of a value in a call.
    pub fn schema(self) -> Value {
        match self {
            Self::String => json!({"type": "string"}),
            Self::Integer => json!({"type": "integer"}),
            Self::Number => json!({"type": "number"}),
            Self::Boolean => json!({"type": "boolean"}),
            Self::Date => json!({"type": "string", "format": "date"}),
            Self::DateTime => json!({"type": "string", "format": "date-time"}),
            Self::Uuid => json!({"type": "string", "format": "uuid"}),
            Self::Decimal => json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$"}),
            Self::Json => json!({}),
        }
    }

    /// The JSON Schema of a column's value, which may be null. Numbers that JSON readers do not hold
    /// exactly are text.
    pub fn column_schema(self) -> Value {
        match self {
            Self::String | Self::Date | Self::DateTime | Self::Uuid => {
                json!({"type": ["string", "null"]})
            }
            Self::Integer => json!({"type": ["integer", "string", "null"]}),
            Self::Number | Self::Decimal => json!({"type": ["number", "string", "null"]}),
            Self::Boolean => json!({"type": ["boolean", "null"]}),
            Self::Json => json!({}),
        }
    }

    /// A column's value by its declared type; nothing where it is of another. SQLite and MySQL have 0 and 1
    /// for booleans.
    pub fn column(self, value: Value) -> Option<Value> {
        let text = value.as_str();
        if value.is_null() {
            return Some(value);
        }
        let good = match self {
            Self::String | Self::Date | Self::DateTime | Self::Uuid => text.is_some(),
            Self::Integer => {
                value.is_i64()
                    || value.is_u64()
                    || text.is_some_and(|text| text.parse::<i128>().is_ok())
            }
            Self::Number | Self::Decimal => value.is_number() || text.is_some_and(is_numeric),
            Self::Boolean => match value.as_i64() {
                Some(0) => return Some(Value::Bool(false)),
                Some(1) => return Some(Value::Bool(true)),
                _ => value.is_boolean(),
            },
            Self::Json => true,
        };
        good.then_some(value)
    }
}

/// The type of a parameter or column.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Kind {
    /// Of one value.
    #[serde(rename = "type")]
    pub scalar: Scalar,
    /// Whether it is an array of these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub array: bool,
}

impl Kind {
    /// One value.
    pub fn one(scalar: Scalar) -> Self {
        Self {
            scalar,
            array: false,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only floats without a fraction and below 2^53 are cast"
)]
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let float = value.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 && !value.is_u64())
            .then_some(float as i64)
    })
}

fn decimal(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    is_decimal(&text).then_some(text)
}

fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    text.len() <= 1_000 && digits(whole) && digits(fraction)
}

/// Text that stands for a number in an answer.
fn is_numeric(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity") || text.parse::<f64>().is_ok()
}

/// A date of the calendar, `YYYY-MM-DD`.
pub(super) fn is_date(text: &str) -> bool {
    text.len() == 10 && chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// RFC 3339.
pub(super) fn is_date_time(text: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

/// A UUID in its form with hyphens.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_its_type_or_not() {
        use Scalar::{Boolean, Date, DateTime, Decimal, Integer, Number, String, Uuid};
        let good = [
            (String, json!("x"), json!("x")),
            (Integer, json!(i64::MIN), json!(i64::MIN)),
            (Integer, json!(5.0), json!(5)),
            (Number, json!(1.5), json!(1.5)),
            (Boolean, json!(true), json!(true)),
            (Date, json!("2024-02-29"), json!("2024-02-29")),
            (
                DateTime,
                json!("2024-02-29T01:02:03+01:00"),
                json!("2024-02-29T01:02:03+01:00"),
            ),
            (
                Uuid,
                json!("6f2a9f0e-0d5c-4b62-8f3a-1d2f3b4c5d6e"),
                json!("6f2a9f0e-0d5c-4b62-8f3a-1d2f3b4c5d6e"),
            ),
            (Decimal, json!(12.5), json!("12.5")),
            (Decimal, json!("-0.10"), json!("-0.10")),
        ];
        for (kind, value, form) in good {
            assert_eq!(kind.fit(value.clone()), Ok(form), "{kind:?} {value}");
        }
        let bad = [
            (String, json!(1)),
            (String, json!("a\0")),
            (Integer, json!(1.5)),
            (Integer, json!("1")),
            (Integer, json!(u64::MAX)),
            (Integer, json!(1e300)),
            (Number, json!("1")),
            (Boolean, json!(1)),
            (Date, json!("2023-02-29")),
            (Date, json!("2023-2-9")),
            (DateTime, json!("2024-02-29T01:02:03")),
            (Uuid, json!("6f2a9f0e0d5c4b628f3a1d2f3b4c5d6e")),
            (Decimal, json!("1e5")),
            (Decimal, json!("")),
            (Integer, json!(null)),
        ];
        for (kind, value) in bad {
            assert!(kind.fit(value.clone()).is_err(), "{kind:?} {value}");
        }
    }
}
