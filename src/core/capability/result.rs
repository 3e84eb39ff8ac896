//! The columns that leave, and nothing else.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::answer::{Column, Row};
use crate::core::capability::{Kind, Scalar};

/// One column of an answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ResultColumn {
    /// Its name in the statement's result.
    pub name: String,
    /// Its type.
    #[serde(flatten)]
    pub kind: Kind,
    /// Whether it can be null; the database need not say.
    #[serde(default = "can_be_null", skip_serializing_if = "is_so")]
    pub nullable: bool,
    /// What it is, for callers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

fn can_be_null() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_so(truth: &bool) -> bool {
    *truth
}

/// How an answer breaks its contract. Never holds a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    /// A listed column is not in the result.
    #[error("the result has no column `{0}`")]
    Missing(String),
    /// A value is null, and the column was declared to have none.
    #[error("a value of the column `{0}` is null, and the contract says that none is")]
    Null(String),
    /// Two columns have one name, so nobody can tell which is meant.
    #[error("the result has the column `{0}` more than once")]
    Twice(String),
    /// A value is not of the declared type.
    #[error("a value of the column `{column}` is not of the declared type {declared}")]
    Mistyped {
        /// The column.
        column: String,
        /// Its type.
        declared: &'static str,
    },
}

impl ResultColumn {
    fn value(&self, value: Value) -> Result<Value, Broken> {
        if value.is_null() && !self.nullable {
            return Err(Broken::Null(self.name.clone()));
        }
        let fit = |value| self.kind.scalar.column(value);
        let fitting = if !self.kind.array || value.is_null() {
            fit(value)
        } else if let Value::Array(items) = value {
            let items: Option<Vec<Value>> = items.into_iter().map(fit).collect();
            items.map(Value::Array)
        } else {
            None
        };
        fitting.ok_or_else(|| Broken::Mistyped {
            column: self.name.clone(),
            declared: self.kind.scalar.as_str(),
        })
    }

    /// The JSON Schema of its values.
    pub(super) fn schema(&self) -> Value {
        let one = self.kind.scalar.column_schema();
        let mut schema = if self.kind.array {
            serde_json::json!({"type": ["array", "null"], "items": one})
        } else {
            one
        };
        let types = schema.get_mut("type").and_then(Value::as_array_mut);
        if let Some(types) = types.filter(|_| !self.nullable) {
            types.retain(|one| one != "null");
        }
        schema
    }

    /// Whether text stands for its values in an answer.
    pub fn is_text(&self) -> bool {
        self.kind.scalar == Scalar::String
    }
}

/// Where each listed column stands in the result.
pub(super) fn places(listed: &[ResultColumn], columns: &[Column]) -> Result<Vec<usize>, Broken> {
    let place = |listed: &ResultColumn| {
        let same = |(_, column): &(usize, &Column)| column.name == listed.name;
        let mut found = columns.iter().enumerate().filter(same);
        let (at, _) = found
            .next()
            .ok_or_else(|| Broken::Missing(listed.name.clone()))?;
        match found.next() {
            Some(_) => Err(Broken::Twice(listed.name.clone())),
            None => Ok(at),
        }
    };
    listed.iter().map(place).collect()
}

/// The listed columns by their declared types, and the rows cut down to them.
pub(super) fn shaped(
    listed: &[ResultColumn],
    columns: &[Column],
    rows: Vec<Row>,
) -> Result<(Vec<Column>, Vec<Row>), Broken> {
    let places = places(listed, columns)?;
    let cut = |mut row: Row| {
        let cells = listed.iter().zip(&places).map(|(column, at)| {
            let value = row.get_mut(*at).map(Value::take);
            column.value(value.ok_or_else(|| Broken::Missing(column.name.clone()))?)
        });
        cells.collect::<Result<Row, Broken>>()
    };
    let rows: Result<Vec<Row>, Broken> = rows.into_iter().map(cut).collect();
    let columns = listed.iter().map(|column| Column {
        name: column.name.clone(),
        type_name: column.kind.scalar.as_str().to_owned(),
    });
    Ok((columns.collect(), rows?))
}
