//! What a database holds, as a model or a person reads it. The same shape for every engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One table, view or similar in a listing.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct TableSummary {
    /// The name to write in SQL, with its schema unless that is the default one.
    pub name: String,
    /// `table`, `view`, `materialized view`, `foreign table`, `sequence`, `virtual table`.
    pub kind: String,
    /// The engine's own estimate of its rows, where it keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub rows_estimate: Option<u64>,
    /// The comment its owner left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub comment: Option<String>,
}

/// Everything about one table or view that helps to write a query.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct TableDescription {
    /// The name to write in SQL.
    pub name: String,
    /// As in [`TableSummary::kind`].
    pub kind: String,
    /// The engine's own estimate of its rows, where it keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub rows_estimate: Option<u64>,
    /// The comment its owner left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub comment: Option<String>,
    /// The columns in order.
    pub columns: Vec<ColumnDescription>,
    /// The columns of the primary key, in key order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    /// The indexes, the primary key's left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub indexes: Vec<IndexDescription>,
    /// Foreign keys from this table to others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub foreign_keys: Vec<ForeignKey>,
    /// Foreign keys from other tables to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub referenced_by: Vec<ForeignKey>,
}

/// One column of a table.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ColumnDescription {
    /// Its name.
    pub name: String,
    /// The engine's own name of its type, with its modifiers.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// Its default or generation expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub default: Option<String>,
    /// The comment its owner left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub comment: Option<String>,
}

/// What an engine says of a statement without running it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Described {
    /// The types that it gives the placeholders, in order; empty where it gives none.
    pub params: Vec<String>,
    /// The columns of its answer.
    pub columns: Vec<crate::core::answer::Column>,
    /// Of each column whether it can be null, as far as the engine says; empty where it says nothing.
    pub nullable: Vec<Option<bool>>,
}

/// One index.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct IndexDescription {
    /// Its name.
    pub name: String,
    /// Its columns or expressions, in order.
    pub columns: Vec<String>,
    /// Whether it forbids equal keys.
    pub unique: bool,
    /// The condition of a partial index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub condition: Option<String>,
}

/// One foreign key, seen from the table that is described.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ForeignKey {
    /// The columns on this table's side.
    pub columns: Vec<String>,
    /// The table on the other side.
    pub table: String,
    /// The columns on the other side.
    pub other_columns: Vec<String>,
    /// What happens to the referencing rows on delete, unless that is "no action".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub on_delete: Option<String>,
}
