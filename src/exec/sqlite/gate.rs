//! The authorizer: SQLite asks it about every access while it compiles a statement, those of views
//! and triggers included. It lets through what its ceiling allows and nothing that it does not know.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::core::statement::sqlite::functions::{Standing, standing};
use crate::core::statement::sqlite::pragma;
use crate::core::statement::{Effect, Name};

/// The authorizer of one connection.
#[derive(Debug)]
pub(super) struct Gate {
    /// Functions and relations that the owner of the target vouches for, lower case.
    trusted: BTreeSet<String>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// A fixed statement of ours is being prepared or runs.
    Own,
    /// A statement of a client is being prepared or runs.
    Enforce(Ceiling),
    /// A statement is compiled to learn what it would do, and not run.
    Record(Record),
}

/// What a statement may do at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ceiling {
    pub(super) effect: Effect,
    /// It is an EXPLAIN, which compiles a statement and does not run it.
    pub(super) explain: bool,
    /// It is a VACUUM, which works through a nameless attached database.
    pub(super) vacuum: bool,
}

impl Ceiling {
    pub(super) const READ: Self = Self {
        effect: Effect::Read,
        explain: false,
        vacuum: false,
    };
}

/// What a statement was seen to do.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) reads: BTreeSet<Name>,
    pub(super) writes: BTreeSet<Name>,
    /// Functions that nothing is known of, or too much.
    pub(super) functions: BTreeSet<String>,
    /// What else it does, as verb phrases.
    pub(super) findings: Vec<(Effect, String)>,
}

impl Gate {
    /// Puts an authorizer on a connection. It starts with our own statements let through.
    pub(super) fn install(
        connection: &Connection,
        trusted: &BTreeSet<String>,
    ) -> rusqlite::Result<Arc<Self>> {
        let gate = Arc::new(Self {
            trusted: trusted
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            state: Mutex::new(State::Own),
        });
        let asked = Arc::clone(&gate);
        connection.authorizer(Some(move |context: AuthContext<'_>| asked.decide(&context)))?;
        Ok(gate)
    }

    /// From now on a fixed statement of ours is run.
    pub(super) fn own(&self) {
        *self.lock() = State::Own;
    }

    /// From now on nothing goes beyond `ceiling`.
    pub(super) fn enforce(&self, ceiling: Ceiling) {
        *self.lock() = State::Enforce(ceiling);
    }

    /// From now on accesses are recorded. Nothing may be run until [`Self::recorded`].
    pub(super) fn record(&self) {
        *self.lock() = State::Record(Record::default());
    }

    /// Ends recording; nothing but reads gets through afterwards.
    pub(super) fn recorded(&self) -> Record {
        match std::mem::replace(&mut *self.lock(), State::Enforce(Ceiling::READ)) {
            State::Record(record) => record,
            State::Own | State::Enforce(_) => Record::default(),
        }
    }

    /// Whether the owner vouches for this name.
    pub(super) fn trusts(&self, name: &str) -> bool {
        self.trusted.contains(name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, context: &AuthContext<'_>) -> Authorization {
        let effect = self.effect(context);
        let allowed = match &mut *self.lock() {
            State::Own => true,
            State::Enforce(ceiling) => {
                let explained = ceiling.explain && effect <= Effect::Schema;
                (effect <= ceiling.effect || explained) && !is_beyond(&context.action, *ceiling)
            }
            State::Record(record) => {
                record.add(context, effect);
                // Some pragmas take effect when they are compiled.
                effect <= Effect::Schema || matches!(context.action, AuthAction::Function { .. })
            }
        };
        if allowed {
            Authorization::Allow
        } else {
            Authorization::Deny
        }
    }

    fn effect(&self, context: &AuthContext<'_>) -> Effect {
        let effect = effect(&context.action);
        let AuthAction::Function { function_name } = context.action else {
            return effect;
        };
        let vouched = effect == Effect::Admin
            && (self.trusts(&function_name.to_ascii_lowercase())
                || context
                    .accessor
                    .is_some_and(|by| self.trusts(&by.to_ascii_lowercase())));
        if vouched { Effect::Read } else { effect }
    }
}

impl Record {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else there is counts by its effect alone"
    )]
    fn add(&mut self, context: &AuthContext<'_>, effect: Effect) {
        let schema = context.database_name.filter(|name| *name != "main");
        let name = |table: &str| Name {
            schema: schema.map(str::to_ascii_lowercase),
            name: table.to_ascii_lowercase(),
        };
        match context.action {
            AuthAction::Read { table_name, .. } => {
                self.reads.insert(name(table_name));
            }
            AuthAction::Function { function_name } if effect > Effect::Read => {
                self.functions.insert(function_name.to_ascii_lowercase());
            }
            AuthAction::Insert { table_name } => {
                self.change(context, effect, "inserts into", name(table_name));
            }
            AuthAction::Update { table_name, .. } => {
                self.change(context, effect, "updates", name(table_name));
            }
            AuthAction::Delete { table_name } => {
                self.change(context, effect, "deletes from", name(table_name));
            }
            _ if effect > Effect::Read => {
                self.find(effect, "changes more than rows".to_owned());
            }
            _ => {}
        }
    }

    fn change(&mut self, context: &AuthContext<'_>, effect: Effect, verb: &str, table: Name) {
        let because = match context.accessor {
            Some(trigger) => format!("fires {trigger}, which {verb} {table}"),
            None => format!("{verb} {table}"),
        };
        self.find(effect, because);
        if effect == Effect::Write {
            self.writes.insert(table);
        }
    }

    fn find(&mut self, effect: Effect, because: String) {
        if !self
            .findings
            .iter()
            .any(|(e, b)| *e == effect && *b == because)
        {
            self.findings.push((effect, because));
        }
    }
}

/// The least effect that permits an action.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an action that is not named here is the worst"
)]
fn effect(action: &AuthAction<'_>) -> Effect {
    match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Effect::Read,
        AuthAction::Function { function_name } => function(&function_name.to_ascii_lowercase()),
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => {
            if pragma::reads(&pragma_name.to_ascii_lowercase(), pragma_value.is_some()) {
                Effect::Read
            } else {
                Effect::Admin
            }
        }
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => {
            if SCHEMA_TABLES.contains(&table_name.to_ascii_lowercase().as_str()) {
                Effect::Schema
            } else {
                Effect::Write
            }
        }
        AuthAction::CreateVtable { module_name, .. } | AuthAction::DropVtable { module_name, .. } => {
            if MODULES.contains(&module_name.to_ascii_lowercase().as_str()) {
                Effect::Schema
            } else {
                Effect::Admin
            }
        }
        AuthAction::AlterTable { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTable { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTable { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropView { .. }
        // CREATE INDEX asks for this too; the verb REINDEX is judged by its text.
        | AuthAction::Reindex { .. } => Effect::Schema,
        _ => Effect::Admin,
    }
}

fn function(name: &str) -> Effect {
    match standing(name) {
        Standing::Harmless => Effect::Read,
        // Internal to ALTER TABLE, and out of reach of a statement's own text.
        Standing::Unknown if ALTER_FUNCTIONS.contains(&name) => Effect::Schema,
        Standing::Harmful(_) | Standing::Unknown => Effect::Admin,
    }
}

/// Whether an action is out of bounds whatever the ceiling: other files, code, and transactions,
/// which are ours to begin and end.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the ceiling alone decides about all other actions"
)]
fn is_beyond(action: &AuthAction<'_>, ceiling: Ceiling) -> bool {
    match action {
        AuthAction::Attach { filename } => !(ceiling.vacuum && filename.is_empty()),
        AuthAction::Detach { .. }
        | AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. }
        | AuthAction::Unknown { .. } => !ceiling.vacuum,
        AuthAction::Function { function_name } => {
            function_name.eq_ignore_ascii_case("load_extension")
        }
        _ => false,
    }
}

const SCHEMA_TABLES: &[&str] = &[
    "sqlite_master",
    "sqlite_schema",
    "sqlite_temp_master",
    "sqlite_temp_schema",
];

/// Virtual table modules that keep to the database itself.
const MODULES: &[&str] = &[
    "fts3",
    "fts4",
    "fts4aux",
    "fts5",
    "fts5vocab",
    "rtree",
    "rtree_i32",
];

const ALTER_FUNCTIONS: &[&str] = &[
    "sqlite_add_constraint",
    "sqlite_drop_column",
    "sqlite_drop_constraint",
    "sqlite_fail",
    "sqlite_find_constraint",
    "sqlite_rename_column",
    "sqlite_rename_quotefix",
    "sqlite_rename_table",
    "sqlite_rename_test",
];
