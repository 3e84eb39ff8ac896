//! Binding a call's values to a statement's placeholders.

use rusqlite::Statement;
use rusqlite::types::Value as Stored;
use serde_json::Value;

use crate::core::engine::Engine;
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::sqlite::placeholders;
use crate::exec::admission;
use crate::exec::sqlite::errors;

/// Binds every value.
pub(super) fn bind(statement: &mut Statement<'_>, params: &[Value]) -> Result<(), Refusal> {
    for index in 1..=statement.parameter_count() {
        // To SQLite `$2` is a name like any other; here it is the second value.
        let number = statement
            .parameter_name(index)
            .and_then(placeholders::number)
            .unwrap_or(index);
        let Some(value) = number.checked_sub(1).and_then(|i| params.get(i)) else {
            return admission::counted(Engine::Sqlite, number, params.len());
        };
        statement
            .raw_bind_parameter(index, stored(value, number)?)
            .map_err(|error| errors::refusal(&error))?;
    }
    Ok(())
}

fn stored(value: &Value, number: usize) -> Result<Stored, Refusal> {
    match value {
        Value::Null => Ok(Stored::Null),
        Value::Bool(b) => Ok(Stored::Integer(i64::from(*b))),
        Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(integer), _, _) => Ok(Stored::Integer(integer)),
            (None, None, Some(real)) => Ok(Stored::Real(real)),
            _ => {
                Err(unfit(number, "is an integer beyond SQLite's 64 bits").hint("send it as text"))
            }
        },
        Value::String(text) => Ok(Stored::Text(text.clone())),
        Value::Object(fields) => match fields.get("blob") {
            Some(Value::String(digits)) if fields.len() == 1 => hex::decode(digits)
                .map(Stored::Blob)
                .map_err(|_| unfit(number, "is a blob that is not pairs of hex digits")),
            _ => Err(composite(number)),
        },
        Value::Array(_) => Err(composite(number)),
    }
}

fn composite(number: usize) -> Refusal {
    unfit(number, "is an array or object, and SQLite has no such type").hint(
        "send JSON as text, bytes as {\"blob\": \"<hex>\"}, and a list as JSON text for json_each($1)",
    )
}

fn unfit(number: usize, what: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, format!("parameter {number} {what}"))
}
