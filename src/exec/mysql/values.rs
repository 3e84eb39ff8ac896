//! Values of the binary protocol as JSON, by the rules of `docs/values.md`.
//!
//! The bytes are read here and not by the driver, which has no form for `TIME` beyond a day, takes
//! zero dates for NULL and a `tinyint(1)` above 127 for a negative number.

use std::fmt::Write as _;

use serde_json::Value;
use sqlx::mysql::{MySql, MySqlColumn, MySqlRow, MySqlTypeInfo};
use sqlx::{Column as _, Decode as _, Row as _, Type, TypeInfo as _};

use crate::core::answer::{self, Column, Row};
use crate::core::refusal::{Code, Refusal};

/// The largest single value that is handed on, in bytes.
const LARGEST: usize = 16 * 1024 * 1024;

/// How the bytes of a column are to be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Signed,
    Unsigned,
    Float,
    Double,
    Bit,
    Date,
    DateTime,
    Time,
    Text,
    Json,
    Bytes,
}

/// The columns of a result.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    /// As they are shown.
    pub(super) shown: Vec<Column>,
    forms: Vec<Form>,
}

impl Columns {
    pub(super) fn new(columns: &[MySqlColumn]) -> Self {
        let shown = |column: &MySqlColumn| Column {
            name: column.name().to_owned(),
            type_name: type_name(column.type_info()),
        };
        Self {
            shown: columns.iter().map(shown).collect(),
            forms: columns.iter().map(|c| form(c.type_info())).collect(),
        }
    }

    /// One row as JSON.
    pub(super) fn row(&self, row: &MySqlRow) -> Result<Row, Refusal> {
        let cell = |(at, form): (usize, &Form)| {
            let raw = row.try_get_raw(at).ok();
            // The driver calls a zero date NULL; only the absence of bytes is.
            match raw.and_then(|raw| <&[u8]>::decode(raw).ok()) {
                Some(bytes) if bytes.len() > LARGEST => Err(too_large(&self.shown, at)),
                Some(bytes) => Ok(value(*form, bytes)),
                None => Ok(Value::Null),
            }
        };
        self.forms.iter().enumerate().map(cell).collect()
    }
}

fn too_large(columns: &[Column], at: usize) -> Refusal {
    let name = columns.get(at).map_or("", |column| column.name.as_str());
    Refusal::new(
        Code::DatabaseError,
        format!("a value of the column `{name}` has more than 16 MiB"),
    )
    .hint("select part of it with SUBSTRING, or only its LENGTH")
}

fn is_text(info: &MySqlTypeInfo) -> bool {
    <str as Type<MySql>>::compatible(info)
}

fn is_unsigned(info: &MySqlTypeInfo) -> bool {
    <u64 as Type<MySql>>::compatible(info)
}

/// The engine's name of a type, as far as a result's header tells.
fn type_name(info: &MySqlTypeInfo) -> String {
    let name = info.name().to_ascii_lowercase();
    let name = match name.as_str() {
        "boolean" if is_unsigned(info) => "tinyint unsigned",
        "boolean" => "tinyint",
        // The header calls text with a binary collation binary.
        "binary" if is_text(info) => "char",
        "varbinary" if is_text(info) => "varchar",
        "tinyblob" | "blob" | "mediumblob" | "longblob" if is_text(info) => "text",
        "tinytext" | "mediumtext" | "longtext" => "text",
        "tinyblob" | "mediumblob" | "longblob" => "blob",
        "char" if !is_text(info) => "binary",
        "varchar" if !is_text(info) => "varbinary",
        "text" if !is_text(info) => "blob",
        other => other,
    };
    name.to_owned()
}

fn form(info: &MySqlTypeInfo) -> Form {
    let unsigned = is_unsigned(info);
    match info.name() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" if !unsigned => {
            Form::Signed
        }
        "BOOLEAN" | "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED"
        | "INT UNSIGNED" | "BIGINT UNSIGNED" | "YEAR" => Form::Unsigned,
        "FLOAT" => Form::Float,
        "DOUBLE" => Form::Double,
        "BIT" => Form::Bit,
        "DATE" => Form::Date,
        "DATETIME" | "TIMESTAMP" => Form::DateTime,
        "TIME" => Form::Time,
        "JSON" => Form::Json,
        "DECIMAL" | "ENUM" | "SET" => Form::Text,
        "GEOMETRY" => Form::Bytes,
        _ if is_text(info) => Form::Text,
        _ => Form::Bytes,
    }
}

fn value(form: Form, bytes: &[u8]) -> Value {
    let read = match form {
        Form::Signed => signed(bytes).map(|n| answer::integer(n.into())),
        Form::Unsigned => unsigned(bytes).map(|n| answer::integer(n.into())),
        Form::Float => bytes.try_into().ok().map(|b| float(f32::from_le_bytes(b))),
        Form::Double => bytes
            .try_into()
            .ok()
            .map(|b| answer::float(f64::from_le_bytes(b))),
        Form::Bit => bit(bytes),
        Form::Date => date(bytes, false).map(Value::String),
        Form::DateTime => date(bytes, true).map(Value::String),
        Form::Time => time(bytes).map(Value::String),
        Form::Text => std::str::from_utf8(bytes).ok().map(Value::from),
        Form::Json => std::str::from_utf8(bytes).ok().map(json),
        Form::Bytes => None,
    };
    // What does not have the form its header promises is shown as it came.
    read.unwrap_or_else(|| Value::String(format!("0x{}", hex::encode(bytes))))
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}

fn signed(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        1 => bytes.try_into().ok().map(|b| i8::from_le_bytes(b).into()),
        2 => bytes.try_into().ok().map(|b| i16::from_le_bytes(b).into()),
        4 => bytes.try_into().ok().map(|b| i32::from_le_bytes(b).into()),
        8 => bytes.try_into().ok().map(i64::from_le_bytes),
        _ => None,
    }
}

/// The shortest digits that are this `FLOAT`, rather than those of the nearest double.
fn float(value: f32) -> Value {
    answer::float(value.to_string().parse().unwrap_or_else(|_| value.into()))
}

fn bit(bytes: &[u8]) -> Option<Value> {
    let mut wide = [0; 8];
    let start = wide.len().checked_sub(bytes.len())?;
    wide.get_mut(start..)?.copy_from_slice(bytes);
    Some(answer::integer(u64::from_be_bytes(wide).into()))
}

/// `DATE`, `DATETIME` and `TIMESTAMP`: a length and then that many bytes; what is zero is left off.
fn date(bytes: &[u8], with_time: bool) -> Option<String> {
    let (_, rest) = bytes.split_first()?;
    let at = |i: usize| rest.get(i).copied().unwrap_or_default();
    let year = u16::from_le_bytes([at(0), at(1)]);
    let mut out = format!("{year:04}-{:02}-{:02}", at(2), at(3));
    if with_time {
        write!(out, " {:02}:{:02}:{:02}", at(4), at(5), at(6)).ok()?;
        fraction(&mut out, [at(7), at(8), at(9), at(10)])?;
    }
    Some(out)
}

fn time(bytes: &[u8]) -> Option<String> {
    let (_, rest) = bytes.split_first()?;
    let at = |i: usize| rest.get(i).copied().unwrap_or_default();
    let days = u32::from_le_bytes([at(1), at(2), at(3), at(4)]);
    let hours = u64::from(days) * 24 + u64::from(at(5));
    let sign = if at(0) == 0 { "" } else { "-" };
    let mut out = format!("{sign}{hours:02}:{:02}:{:02}", at(6), at(7));
    fraction(&mut out, [at(8), at(9), at(10), at(11)])?;
    Some(out)
}

fn fraction(out: &mut String, micros: [u8; 4]) -> Option<()> {
    let micros = u32::from_le_bytes(micros);
    if micros > 0 {
        let digits = format!("{micros:06}");
        write!(out, ".{}", digits.trim_end_matches('0')).ok()?;
    }
    Some(())
}

/// A JSON document, or its text where a JSON reader would lose digits of a number in it.
fn json(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(document) if is_exact(text) => document,
        _ => Value::String(text.to_owned()),
    }
}

/// Whether every number in a JSON text survives being read as a double.
fn is_exact(text: &str) -> bool {
    let mut inside = false;
    let mut escaped = false;
    let outside: String = text
        .chars()
        .map(|c| {
            let quote = c == '"' && !escaped;
            escaped = inside && c == '\\' && !escaped;
            if quote {
                inside = !inside;
            }
            if inside { ' ' } else { c }
        })
        .collect();
    outside
        .split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E')))
        .filter(|number| number.contains(|c: char| c.is_ascii_digit()))
        .all(is_exact_number)
}

fn is_exact_number(number: &str) -> bool {
    if let Ok(integer) = number.parse::<i64>() {
        return integer.unsigned_abs() <= answer::EXACT_INTEGER.unsigned_abs();
    }
    // A double holds any fifteen digits.
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    let plain = number
        .parse::<f64>()
        .is_ok_and(|n| n.is_finite() && (n == 0.0 || n.is_normal()));
    plain && digits.count() <= 15
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_and_times_are_read_whole() {
        assert_eq!(date(&[0], false).unwrap(), "0000-00-00");
        assert_eq!(date(&[0], true).unwrap(), "0000-00-00 00:00:00");
        assert_eq!(date(&[4, 0xe8, 7, 2, 29], false).unwrap(), "2024-02-29");
        let micros = 120_000_u32.to_le_bytes();
        let whole = [&[11, 0xe8, 7, 2, 29, 23, 59, 58], micros.as_slice()].concat();
        assert_eq!(date(&whole, true).unwrap(), "2024-02-29 23:59:58.12");
        assert_eq!(time(&[0]).unwrap(), "00:00:00");
        assert_eq!(
            time(&[8, 1, 34, 0, 0, 0, 22, 59, 59]).unwrap(),
            "-838:59:59"
        );
    }

    #[test]
    fn json_keeps_its_digits() {
        assert_eq!(
            json(r#"{"a": [1, 2.5, "9007199254740993"]}"#),
            json!({"a": [1, 2.5, "9007199254740993"]})
        );
        for text in [
            "9007199254740993",
            "[0.12345678901234567]",
            "1e400",
            r#"{"\"": 9007199254740993}"#,
        ] {
            assert_eq!(json(text), json!(text));
        }
    }

    #[test]
    fn numbers_have_their_own_width() {
        assert_eq!(value(Form::Signed, &[0xff]), json!(-1));
        assert_eq!(value(Form::Unsigned, &[0xff]), json!(255));
        assert_eq!(
            value(Form::Unsigned, &[0xff; 8]),
            json!("18446744073709551615")
        );
        assert_eq!(value(Form::Bit, &[1, 0]), json!(256));
        assert_eq!(value(Form::Float, &1.1_f32.to_le_bytes()), json!(1.1));
        assert_eq!(value(Form::Bytes, &[0, 0xab]), json!("0x00ab"));
    }
}
