//! Parameter values: from JSON to the text that the server reads as the type it asked for.

use std::error::Error;

use serde_json::{Number, Value};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

use crate::core::engine::Engine;
use crate::core::refusal::{Code, Refusal};
use crate::exec::admission;

/// One value in the server's own text form. Its Debug form does not show it.
#[derive(Clone, PartialEq)]
pub(super) struct Parameter(Option<String>);

impl std::fmt::Debug for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parameter(..)")
    }
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = &self.0 else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// The values for a statement whose parameters have these types.
pub(super) fn parameters(types: &[Type], values: &[Value]) -> Result<Vec<Parameter>, Refusal> {
    admission::counted(Engine::Postgres, types.len(), values.len())?;
    let numbered = types.iter().zip(values).enumerate();
    numbered
        .map(|(at, (kind, value))| match text(kind, value) {
            Ok(text) => Ok(Parameter(text)),
            Err(hint) => Err(mismatch(at + 1, kind).hint(hint)),
        })
        .collect()
}

/// The refusal for a value that does not fit its type. Never holds the value.
pub(super) fn mismatch(number: usize, kind: &Type) -> Refusal {
    Refusal::new(
        Code::InvalidParameter,
        format!(
            "the value for ${number} does not fit its type, {}",
            kind.name()
        ),
    )
}

type Text = Result<Option<String>, &'static str>;

const INTEGER: &str = "send a whole number in the type's range, or its digits as text";
const EXACT: &str = "a number this large is not exact in JSON; send its digits as text";

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other kind of JSON value is refused"
)]
fn text(kind: &Type, value: &Value) -> Text {
    if value.is_null() {
        return Ok(None);
    }
    match *kind {
        Type::BOOL => match value {
            Value::Bool(b) => Ok(Some(b.to_string())),
            _ => Err("send true or false"),
        },
        Type::INT2 => whole(value, i16::MIN.into(), i16::MAX.into()),
        Type::INT4 => whole(value, i32::MIN.into(), i32::MAX.into()),
        Type::INT8 => whole(value, i64::MIN.into(), i64::MAX.into()),
        Type::OID | Type::XID => whole(value, 0, u32::MAX.into()),
        Type::NUMERIC => match value {
            Value::Number(number) if is_exact(number) => Ok(Some(number.to_string())),
            Value::Number(_) => Err(EXACT),
            _ => string(value, "send a number, or its digits as text"),
        },
        Type::FLOAT4 | Type::FLOAT8 => match value {
            Value::Number(number) => Ok(Some(number.to_string())),
            _ => string(
                value,
                "send a number, or NaN, Infinity or -Infinity as text",
            ),
        },
        Type::JSON | Type::JSONB => Ok(Some(value.to_string())),
        Type::BYTEA => match value.as_str() {
            Some(text) if is_hex(text) => Ok(Some(text.to_owned())),
            _ => Err("send bytes as text: \\x and two hex digits for each"),
        },
        _ => match (kind.kind(), value) {
            (Kind::Domain(base), _) => text(base, value),
            (Kind::Array(element), Value::Array(items)) => array(element, items).map(Some),
            (Kind::Array(_), _) => string(value, "send a JSON array"),
            // pgvector's text form of a vector is a JSON array of numbers.
            (_, Value::Array(items)) if is_vector(kind) && items.iter().all(Value::is_number) => {
                Ok(Some(value.to_string()))
            }
            _ if is_vector(kind) => string(value, "send an array of numbers, or its text"),
            _ => string(value, "send it as text"),
        },
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other kind of JSON value is refused"
)]
fn string(value: &Value, hint: &'static str) -> Text {
    match value {
        Value::String(text) if !text.contains('\0') => Ok(Some(text.clone())),
        _ => Err(hint),
    }
}

/// A whole number, from a number without a fraction or from digits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "only floats without a fraction and below 2^53 are cast; other JSON is refused"
)]
fn whole(value: &Value, least: i128, most: i128) -> Text {
    let number: i128 = match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(small), ..) => small.into(),
            (_, Some(large), _) => large.into(),
            (.., Some(float)) if !is_exact(number) || float.fract() != 0.0 => {
                return Err(if float.fract() == 0.0 { EXACT } else { INTEGER });
            }
            (.., Some(float)) => (float as i64).into(),
            _ => return Err(INTEGER),
        },
        Value::String(digits) => digits.trim().parse().map_err(|_| INTEGER)?,
        _ => return Err(INTEGER),
    };
    if (least..=most).contains(&number) {
        Ok(Some(number.to_string()))
    } else {
        Err(INTEGER)
    }
}

/// Whether a JSON number certainly is the number that was meant.
fn is_exact(number: &Number) -> bool {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|f| f.abs() < LIMIT)
}

fn is_hex(text: &str) -> bool {
    text.strip_prefix("\\x")
        .is_some_and(|hex| hex.len() % 2 == 0 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether this is one of pgvector's types whose elements all stand in the text.
fn is_vector(kind: &Type) -> bool {
    matches!(kind.name(), "vector" | "halfvec")
}

/// An array in the server's text form, every element quoted.
fn array(element: &Type, items: &[Value]) -> Result<String, &'static str> {
    let mut out = String::from("{");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if let (Value::Array(inner), false) = (item, matches!(*element, Type::JSON | Type::JSONB)) {
            out.push_str(&array(element, inner)?);
            continue;
        }
        match text(element, item)? {
            None => out.push_str("NULL"),
            Some(text) => {
                out.push('"');
                out.push_str(&text.replace('\\', "\\\\").replace('"', "\\\""));
                out.push('"');
            }
        }
    }
    out.push('}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_the_text_of_their_type() {
        for (kind, value, want) in [
            (Type::INT4, json!(5), "5"),
            (Type::INT4, json!(5.0), "5"),
            (
                Type::INT8,
                json!("9223372036854775807"),
                "9223372036854775807",
            ),
            (Type::NUMERIC, json!(99.5), "99.5"),
            (Type::NUMERIC, json!("1.10"), "1.10"),
            (Type::TEXT, json!("a'b"), "a'b"),
            (Type::BOOL, json!(true), "true"),
            (Type::JSONB, json!({"a": [1]}), r#"{"a":[1]}"#),
            (
                Type::INT4_ARRAY,
                json!([1, null, [2]]),
                r#"{"1",NULL,{"2"}}"#,
            ),
            (Type::TEXT_ARRAY, json!(["a\"\\,{}"]), r#"{"a\"\\,{}"}"#),
            (Type::JSONB_ARRAY, json!([[1]]), r#"{"[1]"}"#),
            (Type::BYTEA, json!("\\x00ff"), "\\x00ff"),
            (Type::UUID, json!("x"), "x"),
        ] {
            let made = parameters(std::slice::from_ref(&kind), std::slice::from_ref(&value));
            assert_eq!(
                made.unwrap(),
                [Parameter(Some(want.into()))],
                "{value} as {kind}"
            );
        }
        assert_eq!(
            parameters(&[Type::INT4], &[Value::Null]).unwrap(),
            [Parameter(None)]
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_without_being_shown() {
        for (kind, value) in [
            (Type::INT4, json!(3_000_000_001_i64)),
            (Type::INT4, json!(1.5)),
            (Type::INT8, json!(1e300)),
            (Type::INT4, json!("4711 OR 1=1")),
            (Type::INT4, json!(true)),
            (Type::NUMERIC, json!(1e300)),
            (Type::TEXT, json!({"$ne": null})),
            (Type::TEXT, json!(4711)),
            (Type::TEXT, json!("4711\0")),
            (Type::BOOL, json!("true")),
            (Type::BYTEA, json!("4711")),
            (Type::UUID, json!(4711)),
            (Type::INT4_ARRAY, json!(["4711x"])),
        ] {
            let refusal = parameters(&[Type::TEXT, kind], &[json!("a"), value]).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidParameter);
            assert!(refusal.message.contains("$2"), "{}", refusal.message);
            assert!(!format!("{refusal:?}").contains("4711"));
        }
    }

    #[test]
    fn a_wrong_count_names_both() {
        let refusal = parameters(&[Type::TEXT], &[json!("a"), json!("b")]).unwrap_err();
        assert_eq!(refusal.code, Code::ParameterCount);
        assert_eq!(
            refusal.message,
            "the statement has 1 placeholder and 2 values were given"
        );
    }
}
