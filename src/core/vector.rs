//! Search by nearness, and the writing of rows that hold vectors, on PostgreSQL with pgvector and on MariaDB: each is
//! made into one statement whose values stand apart from its text.
//!
//! Every name comes out of the table's description and is quoted; nothing that a caller wrote gets into the text.

mod dialect;
pub mod search;
pub mod upsert;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{ColumnDescription, TableDescription};

pub use dialect::Dialect;

/// A statement and the values for its placeholders.
pub type Written = (String, Vec<Value>);

/// What pgvector takes for the dimensions of a `vector`, at most (its README, "Vector Type"). MariaDB takes 16,383.
const MOST_DIMENSIONS: usize = 16_000;

/// A column that holds vectors whose elements are all written down.
struct Vectors<'t> {
    column: &'t str,
    /// The type as it stands in SQL, without its dimensions: `vector`, or `extensions.halfvec`.
    kind: &'t str,
    /// How many numbers one has, where the column says.
    dimensions: Option<usize>,
}

impl<'t> Vectors<'t> {
    /// None where the column is of another type.
    fn of(column: &'t ColumnDescription) -> Option<Self> {
        let (kind, dimensions) = match column.type_name.split_once('(') {
            Some((kind, rest)) => (kind, rest.strip_suffix(')')?.parse().ok()),
            None => (column.type_name.as_str(), None),
        };
        let bare = kind.rsplit('.').next()?;
        matches!(bare, "vector" | "halfvec").then_some(Self {
            column: &column.name,
            kind,
            dimensions,
        })
    }

    /// Refuses a vector with too many or too few numbers. `whose` says which it is.
    fn fits(&self, numbers: usize, whose: &str) -> Result<(), Refusal> {
        if numbers == 0 || numbers > MOST_DIMENSIONS {
            let sentence =
                format!("{whose} has {numbers} numbers; a vector has 1 to {MOST_DIMENSIONS}");
            return Err(Refusal::new(Code::InvalidParameter, sentence));
        }
        match self.dimensions {
            Some(wanted) if wanted != numbers => {
                let sentence = format!(
                    "`{}` has {wanted} dimensions, and {whose} has {numbers}",
                    self.column
                );
                Err(Refusal::new(Code::InvalidParameter, sentence)
                    .hint("send a vector of the model that the column was filled with"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The table's name in SQL. `asked` is how the caller wrote it.
fn table_name(dialect: Dialect, asked: &str, table: &TableDescription) -> Result<String, Refusal> {
    let name = table.name.as_str();
    match name.split_once('.') {
        None => Ok(dialect.quoted(name)),
        // A dot in the description parts a schema from a name only if the caller's own dot does.
        Some((schema, bare)) if asked.replace(['"', '`'], "").eq_ignore_ascii_case(name) => Ok(
            format!("{}.{}", dialect.quoted(schema), dialect.quoted(bare)),
        ),
        Some(_) => Err(
            invalid("a table with a dot in its name cannot be used here")
                .hint("write the statement for sql_execute"),
        ),
    }
}

/// A column of the table by its exact name.
fn column<'t>(table: &'t TableDescription, name: &str) -> Result<&'t ColumnDescription, Refusal> {
    let found = table.columns.iter().find(|column| column.name == name);
    found.ok_or_else(|| {
        let there: Vec<&str> = table.columns.iter().map(|one| one.name.as_str()).collect();
        Refusal::new(
            Code::UnknownColumn,
            format!("`{}` has no such column as is named", table.name),
        )
        .hint(format!("its columns are {}", there.join(", ")))
    })
}

/// Refuses a table without any vectors.
fn with_vectors(table: &TableDescription) -> Result<(), Refusal> {
    if table.columns.iter().any(|one| Vectors::of(one).is_some()) {
        return Ok(());
    }
    let sentence = format!("`{}` has no column of type vector or halfvec", table.name);
    Err(invalid(sentence).hint("describe_table shows the columns; sql_execute takes any table"))
}

fn invalid(sentence: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidArgument, sentence)
}
