//! Review rules: statements that are allowed and still look like a mistake, each with what to
//! write instead. What one finds is told to the caller at once, before it troubles a person.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares [`Rule`] with its written form, what it says and what to do instead.
macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $message:literal, $hint:literal;)*) => {
        /// One thing that a review looks for. The written form never changes its meaning.
        #[derive(
            Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// Every rule there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The written form.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// A sentence's end whose subject is the statement.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message,)*
                }
            }

            /// What to write instead.
            pub const fn hint(self) -> &'static str {
                match self {
                    $(Self::$name => $hint,)*
                }
            }
        }
    };
}

rules! {
    /// A column's type is set anew.
    ColumnTypeChange = "column_type_change",
        "sets the type of a column anew, which can rewrite the table and break what reads it",
        "add a column of the new type, copy the values in portions, then switch over";
    /// Something is dropped.
    Drop = "drop",
        "drops something, with everything in it",
        "rename it first and drop it once nothing has missed it";
    /// An index is built while nobody can write (PostgreSQL).
    IndexLocksTable = "index_locks_table",
        "builds an index while nobody can write to the table",
        "write CREATE INDEX CONCURRENTLY";
    /// `IN` with more than [`LONGEST_LIST`] members.
    LongInList = "long_in_list",
        "has an IN list of more than 1000 values",
        "join against a table of the values, or send them as one array parameter";
    /// Tables are made or changed, and rows too, in one piece of work.
    MixedDdlDml = "mixed_ddl_dml",
        "changes tables and rows at once",
        "make the table in one call and fill it in another";
    /// A new column that must not be null and has nothing to be filled with.
    NotNullWithoutDefault = "not_null_without_default",
        "adds a NOT NULL column without a default, for which the rows that are there have no value",
        "give the column a DEFAULT, or add it without NOT NULL, fill it, and then set NOT NULL";
    /// `UPDATE` or `DELETE` without a `WHERE`.
    NoWhere = "no_where",
        "has no WHERE and so changes every row of its table",
        "add a WHERE that names the rows";
    /// A table is emptied.
    Truncate = "truncate",
        "empties the whole table",
        "delete the rows that are meant, with a WHERE";
    /// `UPDATE` or `DELETE` with a `WHERE` that every row fits.
    WhereAlwaysTrue = "where_always_true",
        "has a WHERE that is always true and so changes every row of its table",
        "add a WHERE that names the rows";
}

/// Members that an `IN` list can have without a finding.
pub const LONGEST_LIST: usize = 1_000;

/// What becomes of a finding.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nobody is told.
    Off,
    /// Caller and approver are told.
    #[default]
    Warn,
    /// It is refused, whatever the policy says.
    Block,
}

impl Level {
    /// The level that this text writes.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "off" => Some(Self::Off),
            "warn" => Some(Self::Warn),
            "block" => Some(Self::Block),
            _ => None,
        }
    }
}

/// What a rule found, and what becomes of it. Never [`Level::Off`] when it comes from
/// [`Settings::apply`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What becomes of it.
    pub level: Level,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it {}: {}", self.rule.message(), self.rule.hint())
    }
}

/// The levels of each environment; what is not named warns, but for [`Rule::MixedDdlDml`], which
/// is off.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings(BTreeMap<String, BTreeMap<Rule, Level>>);

impl Settings {
    /// What a user meets without configuring anything.
    pub const DEFAULT: Self = Self(BTreeMap::new());

    /// Sets one level.
    pub fn set(&mut self, environment: &str, rule: Rule, level: Level) {
        let of_environment = self.0.entry(environment.to_owned()).or_default();
        of_environment.insert(rule, level);
    }

    /// The level of a rule in an environment.
    pub fn level(&self, environment: &str, rule: Rule) -> Level {
        let written = self.0.get(environment).and_then(|levels| levels.get(&rule));
        written.copied().unwrap_or(match rule {
            Rule::MixedDdlDml => Level::Off,
            Rule::ColumnTypeChange
            | Rule::Drop
            | Rule::IndexLocksTable
            | Rule::LongInList
            | Rule::NoWhere
            | Rule::NotNullWithoutDefault
            | Rule::Truncate
            | Rule::WhereAlwaysTrue => Level::Warn,
        })
    }

    /// What is to be told of what was found, in an environment.
    pub fn apply(&self, environment: &str, found: impl IntoIterator<Item = Rule>) -> Vec<Finding> {
        let judged = |rule| Finding {
            rule,
            level: self.level(environment, rule),
        };
        let told = found.into_iter().map(judged);
        told.filter(|finding| finding.level > Level::Off).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_holds_in_its_own_environment_alone() {
        let mut settings = Settings::default();
        settings.set("production", Rule::Truncate, Level::Block);
        settings.set("production", Rule::Drop, Level::Off);
        let found = [Rule::Truncate, Rule::Drop, Rule::MixedDdlDml];
        let levels = |environment: &str| -> Vec<_> {
            let told = settings.apply(environment, found);
            told.iter().map(|f| (f.rule, f.level)).collect()
        };
        assert_eq!(levels("production"), [(Rule::Truncate, Level::Block)]);
        assert_eq!(
            levels("test"),
            [(Rule::Truncate, Level::Warn), (Rule::Drop, Level::Warn)]
        );
    }

    #[test]
    fn the_written_forms_are_those_of_serde() {
        for rule in Rule::ALL {
            let written = serde_json::to_string(rule).unwrap();
            assert_eq!(written, format!("\"{}\"", rule.as_str()));
        }
    }
}
