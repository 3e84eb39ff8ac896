//! Rows that are put in, or changed where their key is there.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{ColumnDescription, IndexDescription, TableDescription};
use crate::core::vector::dialect::{Dialect, Values};
use crate::core::vector::{Vectors, Written, column, invalid, table_name, with_vectors};

/// The most rows of one call.
pub const MOST: usize = 100;

/// What is put in.
#[derive(Clone, Debug)]
pub struct Upsert {
    /// The table, as `name` or `schema.name`.
    pub table: String,
    /// Rows by column, 1 to [`MOST`], all with the same columns.
    pub rows: Vec<Map<String, Value>>,
    /// The columns whose values say which row it is; the primary key where none are named.
    pub on: Vec<String>,
}

impl Upsert {
    /// The rows as a statement.
    pub fn write(self, table: &TableDescription, dialect: Dialect) -> Result<Written, Refusal> {
        if !(1..=MOST).contains(&self.rows.len()) {
            return Err(invalid(format!("1 to {MOST} rows can be given at once")));
        }
        if table.kind != "table" {
            return Err(invalid(format!("`{}` is a {}", table.name, table.kind)));
        }
        with_vectors(table)?;
        let name = table_name(dialect, &self.table, table)?;
        let columns = columns(table, &self.rows)?;
        let key = key(table, &self.on, dialect)?;
        let given = |name: &str| columns.iter().any(|column| column.name == name);
        if !key.iter().all(|name| given(name)) {
            return Err(
                invalid("a row leaves out a column that says which row it is")
                    .hint(format!("each row needs {}", key.join(", "))),
            );
        }
        let mut values = Values::new(dialect);
        let rows = self.rows.into_iter().enumerate();
        let rows = rows.map(|(at, row)| places(at + 1, row, &columns, &mut values));
        let rows: Vec<String> = rows.collect::<Result<_, _>>()?;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let list: Vec<String> = names.iter().map(|name| dialect.quoted(name)).collect();
        let text = format!(
            "INSERT INTO {name} ({})\nVALUES {}\n{}",
            list.join(", "),
            rows.join(",\n  "),
            dialect.change(&names, &key)
        );
        Ok((text, values.all))
    }
}

/// The columns that every row gives.
fn columns<'t>(
    table: &'t TableDescription,
    rows: &[Map<String, Value>],
) -> Result<Vec<&'t ColumnDescription>, Refusal> {
    let names: BTreeSet<&String> = rows.iter().flat_map(Map::keys).collect();
    if let Some(at) = rows.iter().position(|row| row.len() != names.len()) {
        let sentence = format!("row {} has other columns than the others", at + 1);
        return Err(invalid(sentence).hint("give every row the same columns; null is a value"));
    }
    names.into_iter().map(|name| column(table, name)).collect()
}

/// The columns that say which row it is: those of the primary key or of a unique index.
fn key<'t>(
    table: &'t TableDescription,
    on: &[String],
    dialect: Dialect,
) -> Result<Vec<&'t str>, Refusal> {
    let primary: BTreeSet<String> = table.primary_key.iter().map(|it| plain(it)).collect();
    let wanted: BTreeSet<String> = if on.is_empty() {
        primary.clone()
    } else {
        on.iter().cloned().collect()
    };
    let unique = table.indexes.iter().filter(|index| index.unique);
    let whole = unique.clone().filter(|index| index.condition.is_none());
    let is_key = wanted == primary || whole.clone().any(|index| over(index) == wanted);
    if wanted.is_empty() || !is_key {
        let sentence = if on.is_empty() {
            format!("`{}` has no primary key", table.name)
        } else {
            format!(
                "`on` is neither the primary key of `{}` nor a unique index",
                table.name
            )
        };
        return Err(invalid(sentence)
            .hint("name the columns of a unique index in `on`; describe_table shows them"));
    }
    let has_other = (!primary.is_empty() && primary != wanted)
        || unique.clone().any(|index| over(index) != wanted);
    if has_other && !dialect.names_its_key() {
        let sentence = format!(
            "`{}` has another unique index, and this database would change the row of either",
            table.name
        );
        return Err(invalid(sentence).hint("write the INSERT or the UPDATE for sql_execute"));
    }
    let named = wanted.iter().map(|name| column(table, name));
    named
        .map(|found| found.map(|it| it.name.as_str()))
        .collect()
}

/// The columns that an index is over.
fn over(index: &IndexDescription) -> BTreeSet<String> {
    index.columns.iter().map(|it| plain(it)).collect()
}

/// A column as an index names it, without its quotes.
fn plain(written: &str) -> String {
    let inside = written
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inside.map_or_else(|| written.to_owned(), |inside| inside.replace("\"\"", "\""))
}

/// The placeholders of one row.
fn places(
    number: usize,
    mut row: Map<String, Value>,
    columns: &[&ColumnDescription],
    values: &mut Values,
) -> Result<String, Refusal> {
    let mut places = Vec::with_capacity(columns.len());
    for column in columns {
        let value = row.remove(&column.name).unwrap_or_default();
        if let (Some(vectors), false) = (Vectors::of(column), value.is_null()) {
            let numbers = value
                .as_array()
                .filter(|all| all.iter().all(Value::is_number));
            let Some(numbers) = numbers else {
                let sentence = format!("`{}` of row {number} is no array of numbers", column.name);
                return Err(Refusal::new(Code::InvalidParameter, sentence));
            };
            vectors.fits(numbers.len(), &format!("that of row {number}"))?;
            places.push(values.place_vector(value));
        } else {
            places.push(values.place(value));
        }
    }
    Ok(format!("({})", places.join(", ")))
}
