//! What differs between pgvector and MariaDB in how a statement about vectors is written.

use serde_json::Value;

use crate::core::engine::Engine;
use crate::core::refusal::Refusal;
use crate::core::vector::search::Metric;
use crate::core::vector::{Vectors, invalid};

/// Whose SQL is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// PostgreSQL's, with the operators of pgvector.
    PgVector,
    /// MariaDB's, from 11.7, with its functions (MariaDB's knowledge base, "Vector Functions").
    MariaDb,
}

impl Dialect {
    /// None where the engine has no vectors.
    pub fn of(engine: Engine) -> Option<Self> {
        match engine {
            Engine::Postgres => Some(Self::PgVector),
            Engine::MySql => Some(Self::MariaDb),
            Engine::Sqlite => None,
        }
    }

    /// A name that stands for itself, whatever is in it.
    pub(super) fn quoted(self, name: &str) -> String {
        match self {
            Self::PgVector => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MariaDb => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// How far the vectors of a column are from one in a placeholder.
    pub(super) fn distance(
        self,
        vectors: &Vectors<'_>,
        metric: Metric,
        place: &str,
    ) -> Result<String, Refusal> {
        let column = self.quoted(vectors.column);
        match self {
            Self::PgVector => {
                let sign = metric.sign();
                let operator = match vectors.kind.rsplit_once('.') {
                    Some((schema, _)) => format!("OPERATOR({schema}.{sign})"),
                    None => sign.to_owned(),
                };
                Ok(format!("{column} {operator} {place}::{}", vectors.kind))
            }
            Self::MariaDb => {
                let function = match metric {
                    Metric::Cosine => "VEC_DISTANCE_COSINE",
                    Metric::L2 => "VEC_DISTANCE_EUCLIDEAN",
                    Metric::InnerProduct | Metric::L1 => {
                        return Err(invalid("MariaDB measures by cosine and l2 alone")
                            .hint("leave out `metric`, or say l2"));
                    }
                };
                Ok(format!("{function}({column}, {place})"))
            }
        }
    }

    /// A column of an answer. Those that hold vectors are text.
    pub(super) fn shown(self, name: &str, holds_vectors: bool) -> String {
        let name = self.quoted(name);
        match self {
            Self::MariaDb if holds_vectors => format!("VEC_ToText({name}) AS {name}"),
            Self::MariaDb | Self::PgVector => name,
        }
    }

    /// What becomes of a row whose key is there: the columns that are given and are not of the key change.
    pub(super) fn change(self, names: &[&str], key: &[&str]) -> String {
        let others = names.iter().filter(|name| !key.contains(name));
        let set = |new: fn(&str) -> String| -> Vec<String> {
            let one = |name: &&str| self.quoted(name);
            let one = others.clone().map(one);
            one.map(|name| format!("{name} = {}", new(&name))).collect()
        };
        match self {
            Self::PgVector => {
                let key: Vec<String> = key.iter().map(|name| self.quoted(name)).collect();
                let key = key.join(", ");
                let set = set(|name| format!("EXCLUDED.{name}"));
                if set.is_empty() {
                    return format!("ON CONFLICT ({key}) DO NOTHING");
                }
                format!("ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", "))
            }
            Self::MariaDb => {
                let mut set = set(|name| format!("VALUES({name})"));
                if set.is_empty() {
                    // It has no way to say that nothing is to change.
                    let first = key.first().map(|name| self.quoted(name));
                    set.extend(first.map(|name| format!("{name} = {name}")));
                }
                format!("ON DUPLICATE KEY UPDATE {}", set.join(", "))
            }
        }
    }

    /// Whether an insert says which unique index it means.
    pub(super) fn names_its_key(self) -> bool {
        match self {
            Self::PgVector => true,
            Self::MariaDb => false,
        }
    }
}

/// The values of a statement, in the order of their placeholders.
pub(super) struct Values {
    dialect: Dialect,
    pub(super) all: Vec<Value>,
}

impl Values {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            all: Vec::new(),
        }
    }

    /// Takes one in, and gives its placeholder.
    pub(super) fn place(&mut self, value: Value) -> String {
        self.all.push(value);
        match self.dialect {
            Dialect::PgVector => format!("${}", self.all.len()),
            Dialect::MariaDb => "?".to_owned(),
        }
    }

    /// Takes in a vector, and gives what stands for it.
    pub(super) fn place_vector(&mut self, vector: Value) -> String {
        match self.dialect {
            Dialect::MariaDb if !vector.is_null() => {
                let place = self.place(Value::String(vector.to_string()));
                format!("VEC_FromText({place})")
            }
            Dialect::MariaDb | Dialect::PgVector => self.place(vector),
        }
    }
}
