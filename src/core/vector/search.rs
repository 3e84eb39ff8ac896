//! The rows whose vectors are nearest.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

use crate::core::refusal::Refusal;
use crate::core::schema::{ColumnDescription, TableDescription};
use crate::core::vector::dialect::{Dialect, Values};
use crate::core::vector::{Vectors, Written, column, invalid, table_name};

/// The most rows of one search.
pub const MOST: u32 = 1_000;

/// How nearness is measured: pgvector's operators `<=>`, `<->`, `<#>` and `<+>`. MariaDB has the first two.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// One less the cosine of the angle between them.
    #[default]
    Cosine,
    /// The length of their difference.
    L2,
    /// The negative inner product.
    InnerProduct,
    /// The sum of the differences.
    L1,
}

/// The names alone: what they are is known, and each byte of a listing is paid for by every model.
impl JsonSchema for Metric {
    fn schema_name() -> Cow<'static, str> {
        "Metric".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["cosine", "l2", "inner_product", "l1"] })
    }
}

impl Metric {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Cosine => "<=>",
            Self::L2 => "<->",
            Self::InnerProduct => "<#>",
            Self::L1 => "<+>",
        }
    }
}

/// What is searched for.
#[derive(Clone, Debug)]
pub struct Search {
    /// The table or view, as `name` or `schema.name`.
    pub table: String,
    /// The column that holds the vectors.
    pub column: String,
    /// What the rows are to be near to.
    pub embedding: Vec<Number>,
    /// How many rows, 1 to [`MOST`].
    pub k: u32,
    /// How nearness is measured.
    pub metric: Metric,
    /// What else has to hold of a row: a column's value, one of several, or NULL.
    pub conditions: Map<String, Value>,
    /// The columns of the answer; all but those that hold vectors where none are named.
    pub columns: Vec<String>,
}

impl Search {
    /// The search as a statement: the rows in order, with how far each is away.
    pub fn write(self, table: &TableDescription, dialect: Dialect) -> Result<Written, Refusal> {
        if !(1..=MOST).contains(&self.k) {
            return Err(invalid(format!("k is 1 to {MOST}")));
        }
        let name = table_name(dialect, &self.table, table)?;
        let Some(vectors) = Vectors::of(column(table, &self.column)?) else {
            let sentence = format!(
                "the column to search in is of another type than vector or halfvec in `{}`",
                table.name
            );
            return Err(invalid(sentence).hint("describe_table shows the types"));
        };
        vectors.fits(self.embedding.len(), "the embedding")?;
        let shown = shown(table, &self.columns)?;
        let mut values = Values::new(dialect);
        let embedding = self.embedding.into_iter().map(Value::Number).collect();
        let place = values.place_vector(embedding);
        let distance = dialect.distance(&vectors, self.metric, &place)?;
        let mut conditions = vec![format!("{} IS NOT NULL", dialect.quoted(vectors.column))];
        for (name, value) in self.conditions {
            let name = dialect.quoted(&column(table, &name)?.name);
            conditions.push(condition(&name, value, &mut values)?);
        }
        let called = distance_name(&shown);
        let mut answer: Vec<String> = shown
            .iter()
            .map(|it| dialect.shown(&it.name, Vectors::of(it).is_some()))
            .collect();
        answer.push(format!("{distance} AS {called}"));
        let text = format!(
            "SELECT {}\nFROM {name}\nWHERE {}\nORDER BY {called}\nLIMIT {}",
            answer.join(", "),
            conditions.join(" AND "),
            self.k
        );
        Ok((text, values.all))
    }
}

/// The columns of the answer.
fn shown<'t>(
    table: &'t TableDescription,
    named: &[String],
) -> Result<Vec<&'t ColumnDescription>, Refusal> {
    if !named.is_empty() {
        return named.iter().map(|name| column(table, name)).collect();
    }
    let others = table.columns.iter().filter(|it| Vectors::of(it).is_none());
    Ok(others.collect())
}

/// What the distance is called: something that no column beside it is.
fn distance_name(shown: &[&ColumnDescription]) -> &'static str {
    if shown.iter().any(|it| it.name == "distance") {
        "_distance"
    } else {
        "distance"
    }
}

/// What has to hold of a column.
fn condition(name: &str, value: Value, values: &mut Values) -> Result<String, Refusal> {
    let plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    match value {
        Value::Null => Ok(format!("{name} IS NULL")),
        Value::Array(any) if !any.is_empty() && any.iter().all(plain) => {
            let places: Vec<String> = any.into_iter().map(|one| values.place(one)).collect();
            Ok(format!("{name} IN ({})", places.join(", ")))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Ok(format!("{name} = {}", values.place(value)))
        }
        Value::Array(_) | Value::Object(_) => Err(invalid(
            "a condition in `where` is a value, an array of values, or null",
        )
        .hint("write other conditions in a statement for sql_execute")),
    }
}
