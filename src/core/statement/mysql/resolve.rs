//! What only the catalogue knows: which functions a database defines, and what its views do.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::statement::{Effect, Name, Statement};

/// What the guard knows of one database server.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// The database that names without one belong to.
    pub database: Option<String>,
    /// Stored and loaded functions, as (schema, name) in lower case. Loaded ones have no schema.
    pub functions: BTreeSet<(String, String)>,
    /// Views by (schema, name) in lower case.
    pub views: BTreeMap<(String, String), View>,
    /// What the owner vouches for, as `name` or `schema.name` in lower case.
    pub trusted: BTreeSet<String>,
}

/// One view.
#[derive(Debug, Default)]
pub struct View {
    /// Its definition. `None` when the login may not see it or it cannot be understood.
    pub statement: Option<Statement>,
}

/// What sort of value a column holds, as far as parameters are concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ColumnKind {
    /// Characters, which the server compares with numbers by guessing.
    Text,
    /// JSON documents.
    Json,
    /// Everything else.
    Other,
}

impl ColumnKind {
    /// The kind of a column by its `DATA_TYPE`.
    pub fn of(data_type: &str) -> Self {
        match data_type {
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum"
            | "set" => Self::Text,
            "json" => Self::Json,
            _ => Self::Other,
        }
    }
}

/// Adds to a statement what the catalogue says of the functions and relations that it names.
pub fn resolve(statement: &Statement, catalogue: &Catalogue) -> Statement {
    let mut out = statement.clone();
    let mut seen = BTreeSet::new();
    for (effect, because) in findings(statement, catalogue, &mut seen) {
        out.worsen(effect, because);
    }
    out
}

fn findings(
    statement: &Statement,
    catalogue: &Catalogue,
    seen: &mut BTreeSet<(String, String)>,
) -> Vec<(Effect, String)> {
    let mut found = Vec::new();
    for function in &statement.names.functions {
        if !catalogue.trusts(function) {
            found.push((
                Effect::Admin,
                format!("calls {function}, which is {}", catalogue.what(function)),
            ));
        }
    }
    for call in &statement.names.overloads {
        let name = Name::bare(call.name.as_str());
        if catalogue.defines(&name) && !catalogue.trusts(&name) {
            found.push((
                Effect::Admin,
                format!("calls {name}, which this database defines itself"),
            ));
        }
    }
    // `SHOW CREATE VIEW` and `DESCRIBE` look at a view and do not run it.
    let looks = statement.kind.starts_with("show ") || statement.kind == "describe";
    for relation in statement.reads.union(&statement.writes) {
        found.extend(catalogue.guarded(relation));
        if !looks {
            found.extend(catalogue.relation(relation, seen));
        }
    }
    found
}

impl Catalogue {
    /// Whether the owner vouches for a function or relation.
    fn trusts(&self, name: &Name) -> bool {
        let bare = name.name.to_ascii_lowercase();
        let schema = name.schema.as_ref().or(self.database.as_ref());
        let whole = schema.map(|schema| format!("{}.{bare}", schema.to_ascii_lowercase()));
        self.trusted.contains(&bare) || whole.is_some_and(|whole| self.trusted.contains(&whole))
    }

    fn key(&self, name: &Name) -> (String, String) {
        let schema = name.schema.as_ref().or(self.database.as_ref());
        let schema = schema.map(|s| s.to_ascii_lowercase()).unwrap_or_default();
        (schema, name.name.to_ascii_lowercase())
    }

    fn defines(&self, function: &Name) -> bool {
        let (schema, name) = self.key(function);
        self.functions.contains(&(String::new(), name.clone()))
            || self.functions.contains(&(schema, name))
    }

    fn what(&self, function: &Name) -> &'static str {
        if self.defines(function) {
            "a function of this database that cannot be seen into"
        } else {
            "not a known function"
        }
    }

    /// Whether a name without a schema is one of the server's own secrets.
    fn guarded(&self, name: &Name) -> Option<(Effect, String)> {
        let key = self.key(name);
        super::is_guarded(&key.0, &key.1).then(|| {
            (
                Effect::Admin,
                format!("touches the system schema {}", key.0),
            )
        })
    }

    /// What reading or writing a relation brings with it.
    fn relation(
        &self,
        name: &Name,
        seen: &mut BTreeSet<(String, String)>,
    ) -> Vec<(Effect, String)> {
        let key = self.key(name);
        let Some(view) = self.views.get(&key) else {
            return Vec::new();
        };
        if self.trusts(name) || !seen.insert(key) {
            return Vec::new();
        }
        let Some(statement) = &view.statement else {
            let because = format!(
                "reads the view {name}, whose definition this login cannot see or nobody can understand"
            );
            return vec![(Effect::Admin, because)];
        };
        let own = statement
            .reasons
            .iter()
            .map(|r| (r.effect, r.because.clone()));
        let inner = findings(statement, self, seen);
        own.chain(inner)
            .map(|(effect, because)| (effect, format!("reads the view {name}, which {because}")))
            .collect()
    }
}
