//! The ledger: a table in a target in which a change made under an idempotency key is noted by the same
//! transaction that makes it. Whoever asks later what came of the call reads it there.
//!
//! Everything that is written is made here and is hexadecimal, a number or a word, so that it stands in the
//! statements as it is, and the same statements are understood by every engine.

use std::fmt;

use crate::core::engine::Engine;
use crate::core::principal::Principal;
use crate::core::statement::Statement;
use crate::core::token::Claims;
use crate::core::work::{Digest, canonical_json};

/// How many days a row has to be kept at least: longer than its key is told of.
pub const KEPT_DAYS: u32 = 2;

/// The name of a ledger's table, with its schema if it has one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LedgerName(String);

/// Why a text is no name of a ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "it is no name of small letters, digits and `_`, with a schema before it or none, each at most 63 long"
)]
pub struct MalformedLedgerName;

impl TryFrom<String> for LedgerName {
    type Error = MalformedLedgerName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |part: &str| {
            let mut bytes = part.bytes();
            let begins = bytes
                .next()
                .is_some_and(|it| it.is_ascii_lowercase() || it == b'_');
            begins
                && part.len() <= 63
                && bytes.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
        };
        if text.split('.').count() <= 2 && text.split('.').all(plain) {
            Ok(Self(text))
        } else {
            Err(MalformedLedgerName)
        }
    }
}

impl fmt::Display for LedgerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LedgerName {
    /// Whether somebody's statement names the table: anywhere in its text, or by what the guard and the
    /// database's catalogue have found in it.
    pub fn is_touched<'t>(
        &self,
        statement: &Statement,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> bool {
        let table = self.0.rsplit('.').next().unwrap_or(&self.0);
        let names = |text: &str| text.to_ascii_lowercase().contains(table);
        let mut found = statement.reads.iter().chain(&statement.writes);
        found.any(|name| names(&name.to_string())) || texts.into_iter().any(names)
    }

    /// A query that fails where the table cannot be used, and gives no row.
    pub fn probe(&self) -> String {
        let columns = "request, principal, work, state, statements, changed, at_ms";
        format!("SELECT {columns} FROM {} WHERE request = ''", self.0)
    }

    /// The statement that makes the table.
    pub fn definition(&self, engine: Engine) -> String {
        let (name, suffix) = (
            &self.0,
            match engine {
                // Only a table that knows transactions can be a ledger.
                Engine::MySql => " ENGINE=InnoDB",
                Engine::Postgres | Engine::Sqlite => "",
            },
        );
        format!(
            "CREATE TABLE {name} (request VARCHAR(64) NOT NULL PRIMARY KEY, principal CHAR(64) NOT NULL, \
             work CHAR(64) NOT NULL, state VARCHAR(8) NOT NULL, statements INTEGER NOT NULL, \
             changed BIGINT, at_ms BIGINT NOT NULL){suffix}"
        )
    }
}

/// What is noted of one change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    table: LedgerName,
    request: String,
    principal: String,
    /// The digest of the work.
    pub work: String,
    at_ms: i64,
}

impl Note {
    /// Of the order that is to be run.
    pub fn of(table: &LedgerName, claims: &Claims, at_ms: i64) -> Self {
        Self {
            table: table.clone(),
            // Made from the key, its principal and its target, and tells none of them.
            request: claims.request.as_str().to_owned(),
            principal: hashed(&claims.sub),
            work: claims.work.to_string(),
            at_ms,
        }
    }

    /// Notes a change, inside its transaction, with how many rows it has changed and, of a batch, how many
    /// statements it had. Fails where there is a row under the same key.
    pub fn done(&self, changed: Option<u64>, statements: usize) -> String {
        let changed = changed.map_or_else(|| "NULL".to_owned(), |changed| changed.to_string());
        self.insert("INSERT INTO", ("done", &changed, statements), "")
    }

    /// Takes the key's place, unless somebody has it: a transaction that is still under way can be committed no
    /// more then, and one that was is there.
    pub fn void(&self, engine: Engine) -> String {
        let (verb, end) = match engine {
            Engine::MySql => ("INSERT IGNORE INTO", ""),
            Engine::Postgres => ("INSERT INTO", " ON CONFLICT DO NOTHING"),
            Engine::Sqlite => ("INSERT OR IGNORE INTO", ""),
        };
        self.insert(verb, ("void", "NULL", 0), end)
    }

    fn insert(
        &self,
        verb: &str,
        (state, changed, statements): (&str, &str, usize),
        end: &str,
    ) -> String {
        let Self {
            table,
            request,
            principal,
            work,
            at_ms,
        } = self;
        format!(
            "{verb} {table} (request, principal, work, state, statements, changed, at_ms) \
             VALUES ('{request}', '{principal}', '{work}', '{state}', {statements}, {changed}, {at_ms}){end}"
        )
    }

    /// Asks for the row under the key: the fields of an [`Entry`] in their order.
    pub fn query(&self) -> String {
        let Self { table, request, .. } = self;
        format!("SELECT work, state, statements, changed FROM {table} WHERE request = '{request}'")
    }
}

fn hashed(principal: &Principal) -> String {
    Digest::of(&[&canonical_json(principal)]).to_string()
}

/// What stands under a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The digest of the work that was done.
    pub work: String,
    /// Whether it was done; else nothing of it stands, and nothing will.
    pub is_done: bool,
    /// Statements of a batch; none of one statement alone.
    pub statements: u64,
    /// Rows changed, where they were counted.
    pub changed: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain() {
        for good in ["secondkey_ledger", "ops.ledger2", "_l"] {
            assert!(LedgerName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "", "a.b.c", "A", "a b", "a;drop", "1a", ".a", "a.", "a'", &long,
        ] {
            assert!(LedgerName::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
