//! SQLite's values as JSON, by the rules of `docs/values.md`. A column can hold values of any
//! type, so a value that its column's type would have a reader mistake says what it is.

use rusqlite::Row as StoredRow;
use rusqlite::types::{Type, ValueRef};
use serde_json::{Value, json};

use crate::core::answer::{Column, EXACT_INTEGER, Row, float};

/// The columns of an answer and how to write what stands in them.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) shown: Vec<Column>,
    numbers: Vec<Numbers>,
}

/// Which numbers a column's type leads one to expect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Numbers {
    Integers,
    Reals,
    None,
}

impl Columns {
    /// From the names and declared types; where none is declared, from the first row.
    pub(super) fn new(
        declared: Vec<(String, Option<String>)>,
        first: Option<&StoredRow<'_>>,
    ) -> Self {
        let mut columns = Self::default();
        for (i, (name, declared)) in declared.into_iter().enumerate() {
            let type_name = declared
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| stored_type(first, i).to_owned());
            columns.numbers.push(Numbers::of(&type_name));
            columns.shown.push(Column { name, type_name });
        }
        columns
    }

    /// One row as JSON.
    pub(super) fn row(&self, row: &StoredRow<'_>) -> rusqlite::Result<Row> {
        let value = |(i, numbers): (usize, &Numbers)| Ok(value(row.get_ref(i)?, *numbers));
        self.numbers.iter().enumerate().map(value).collect()
    }
}

impl Numbers {
    /// By the rules of SQLite's type affinity.
    fn of(type_name: &str) -> Self {
        let upper = type_name.to_ascii_uppercase();
        if upper.contains("INT") {
            Self::Integers
        } else if ["REAL", "FLOA", "DOUB"]
            .iter()
            .any(|part| upper.contains(part))
        {
            Self::Reals
        } else {
            Self::None
        }
    }
}

fn stored_type(row: Option<&StoredRow<'_>>, column: usize) -> &'static str {
    match row
        .and_then(|row| row.get_ref(column).ok())
        .map(|value| value.data_type())
    {
        Some(Type::Integer) => "integer",
        Some(Type::Real) => "real",
        Some(Type::Text) => "text",
        Some(Type::Blob) => "blob",
        Some(Type::Null) | None => "any",
    }
}

fn value(value: ValueRef<'_>, expected: Numbers) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) if is_exact(integer) => Value::from(integer),
        ValueRef::Integer(integer) if expected == Numbers::Integers => integer.to_string().into(),
        ValueRef::Integer(integer) => json!({ "integer": integer.to_string() }),
        ValueRef::Real(real) if real.is_finite() || expected == Numbers::Reals => float(real),
        ValueRef::Real(real) => json!({ "real": float(real) }),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if looks_like_number(text, expected) => json!({ "text": text }),
            Ok(text) => text.into(),
            Err(_) => json!({ "text_bytes": hex::encode(bytes) }),
        },
        ValueRef::Blob(bytes) => json!({ "blob": hex::encode(bytes) }),
    }
}

fn is_exact(integer: i64) -> bool {
    (-EXACT_INTEGER..=EXACT_INTEGER).contains(&integer)
}

/// Whether a text is just what a number of this column would be written as.
fn looks_like_number(text: &str, expected: Numbers) -> bool {
    match expected {
        Numbers::Integers => text.parse().is_ok_and(|integer| !is_exact(integer)),
        Numbers::Reals => matches!(text, "Infinity" | "-Infinity" | "NaN"),
        Numbers::None => false,
    }
}
