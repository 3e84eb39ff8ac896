//! The database engines a target can be, and the few facts that differ between them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A database engine. `MySql` covers MariaDB too; what differs is found on the connection.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// MySQL 8 and MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Engine {
    /// The engine a database URL's scheme names, without its `:`.
    pub fn from_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "mysql" | "mariadb" => Some(Self::MySql),
            "postgres" | "postgresql" => Some(Self::Postgres),
            "sqlite" => Some(Self::Sqlite),
            _ => None,
        }
    }

    /// The name in configuration, answers and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// How the first parameter is written in this engine's SQL.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::MySql => "?",
            Self::Postgres | Self::Sqlite => "$1",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
