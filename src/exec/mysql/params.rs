//! Binding a call's values on the wire.

use serde_json::Value;
use sqlx::Arguments as _;
use sqlx::mysql::MySqlArguments;

use crate::core::refusal::{Code, Refusal};

/// The values as the driver sends them.
pub(super) fn arguments(values: &[Value]) -> Result<MySqlArguments, Refusal> {
    let mut arguments = MySqlArguments::default();
    for (at, value) in values.iter().enumerate() {
        let number = at + 1;
        let added = match value {
            Value::Null => arguments.add(None::<String>),
            Value::Bool(b) => arguments.add(*b),
            Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
                (Some(signed), _, _) => arguments.add(signed),
                (None, Some(unsigned), _) => arguments.add(unsigned),
                (None, None, Some(float)) => arguments.add(float),
                (None, None, None) => return Err(unfit(number, "is a number beyond all types")),
            },
            Value::String(text) => arguments.add(text.as_str()),
            Value::Object(fields) => match fields.get("blob") {
                Some(Value::String(digits)) if fields.len() == 1 => {
                    let bytes = hex::decode(digits)
                        .map_err(|_| unfit(number, "is a blob that is not pairs of hex digits"))?;
                    arguments.add(bytes)
                }
                _ => return Err(composite(number)),
            },
            Value::Array(_) => return Err(composite(number)),
        };
        added.map_err(|_| unfit(number, "cannot be sent"))?;
    }
    Ok(arguments)
}

fn composite(number: usize) -> Refusal {
    unfit(number, "is an array or object, which is no SQL value").hint(
        "send JSON as text, bytes as {\"blob\": \"<hex>\"}, and write a ? for each value of a list",
    )
}

/// The refusal of a parameter, counted from 1.
pub(super) fn unfit(number: usize, what: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, format!("parameter {number} {what}"))
}
