//! The catalogue facts that the guard relies on, read again at least every minute.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::core::engine::Engine;
use crate::core::refusal::Refusal;
use crate::core::statement::mysql::{Catalogue, ColumnKind, View};
use crate::core::statement::{self, Name};
use crate::exec::ParsePool;
use crate::exec::mysql::errors;
use crate::exec::mysql::session::Session;

/// How long facts are taken to be true.
const FRESH: Duration = Duration::from_mins(1);

/// The facts of one target, as they were read last.
#[derive(Debug, Default)]
pub(super) struct Facts {
    last: Mutex<Option<(Instant, Arc<Catalogue>)>>,
    columns: Mutex<HashMap<Name, (Instant, Kinds)>>,
}

/// The columns of a relation, by what sort of value they hold.
pub(super) type Kinds = Arc<Vec<(String, ColumnKind)>>;

/// Relations whose columns are remembered at most.
const RELATIONS: usize = 1024;

impl Facts {
    /// The facts, while they are fresh.
    pub(super) fn fresh(&self) -> Option<Arc<Catalogue>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, catalogue) = last.as_ref()?;
        (since.elapsed() < FRESH).then(|| Arc::clone(catalogue))
    }

    /// The columns of a relation, while they are fresh.
    pub(super) fn kinds(&self, relation: &Name) -> Option<Kinds> {
        let columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, kinds) = columns.get(relation)?;
        (since.elapsed() < FRESH).then(|| Arc::clone(kinds))
    }

    /// Remembers the columns of a relation.
    pub(super) fn remember(&self, relation: &Name, kinds: Vec<(String, ColumnKind)>) -> Kinds {
        let kinds = Arc::new(kinds);
        let mut columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        if columns.len() >= RELATIONS {
            columns.clear();
        }
        columns.insert(relation.clone(), (Instant::now(), Arc::clone(&kinds)));
        kinds
    }

    /// Reads them anew.
    pub(super) async fn read(
        &self,
        session: &mut Session,
        trusted: &BTreeSet<String>,
        parser: &ParsePool,
    ) -> Result<Arc<Catalogue>, Refusal> {
        // Before the reading, so that nothing older is taken for fresh.
        let now = Instant::now();
        let raw = rows(session)
            .await
            .map_err(|error| errors::refusal(&error))?;
        let trusted = trusted
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        let catalogue = Arc::new(parser.run(move || catalogue(raw, trusted)).await?);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((now, Arc::clone(&catalogue)));
        Ok(catalogue)
    }
}

type Rows = Vec<Vec<Option<String>>>;

struct Raw {
    database: Rows,
    functions: Rows,
    loaded: Rows,
    views: Rows,
}

async fn rows(session: &mut Session) -> Result<Raw, sqlx::Error> {
    Ok(Raw {
        database: session.texts("SELECT DATABASE()", &[]).await?,
        functions: session.texts(FUNCTIONS, &[]).await?,
        // Most logins may not see these; the functions in it are unknown to the guard anyway.
        loaded: session.texts(LOADED, &[]).await.unwrap_or_default(),
        views: session.texts(VIEWS, &[]).await?,
    })
}

const FUNCTIONS: &str = "SELECT routine_schema, routine_name FROM information_schema.routines \
     WHERE routine_type = 'FUNCTION'";
const LOADED: &str = "SELECT '', name FROM mysql.func";
const VIEWS: &str = "SELECT table_schema, table_name, view_definition FROM information_schema.views \
     WHERE table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";

fn catalogue(raw: Raw, trusted: BTreeSet<String>) -> Catalogue {
    let lower = |text: Option<String>| text.unwrap_or_default().to_ascii_lowercase();
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        (lower(row.next().flatten()), lower(row.next().flatten()))
    };
    let view = |row: Vec<Option<String>>| {
        let definition = row.get(2).cloned().flatten().unwrap_or_default();
        let statement = statement::parse(Engine::MySql, &definition).ok();
        (pair(row), View { statement })
    };
    Catalogue {
        database: raw.database.into_iter().flatten().flatten().next(),
        functions: raw
            .functions
            .into_iter()
            .chain(raw.loaded)
            .map(pair)
            .collect(),
        views: raw.views.into_iter().map(view).collect::<BTreeMap<_, _>>(),
        trusted,
    }
}
