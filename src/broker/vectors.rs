//! A search by nearness, or rows with vectors, as the statement that it stands for. That goes on like any other
//! statement: to the guard, the policies, the people and the log.

use serde_json::Value;

use crate::broker::submit::Wanted;
use crate::broker::{Broker, Caller, catalogue};
use crate::core::audit::EventKind;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::TableDescription;
use crate::core::statement::Effect;
use crate::core::vector::Dialect;
use crate::core::vector::search::Search;
use crate::core::vector::upsert::Upsert;

/// What is asked for.
#[derive(Debug)]
pub enum Wish {
    /// The nearest rows.
    Search(Search),
    /// Rows to put in or to change.
    Upsert(Upsert),
}

impl Wish {
    fn table(&self) -> &str {
        match self {
            Self::Search(search) => &search.table,
            Self::Upsert(upsert) => &upsert.table,
        }
    }

    fn write(
        self,
        table: &TableDescription,
        dialect: Dialect,
    ) -> Result<(String, Vec<Value>), Refusal> {
        match self {
            Self::Search(search) => search.write(table, dialect),
            Self::Upsert(upsert) => upsert.write(table, dialect),
        }
    }
}

/// The statement for a wish, its names checked against the catalogue as it is now. A wish that is refused is on
/// record; nothing is run.
pub async fn wanted(
    broker: &Broker,
    caller: &Caller,
    target: Option<&str>,
    wish: Wish,
) -> Result<Wanted, Refusal> {
    let found = broker.target(target);
    // An unknown target is refused and recorded where it is looked for.
    let dialect = found
        .as_ref()
        .map_or(Some(Dialect::PgVector), |it| Dialect::of(it.engine));
    let written = match dialect {
        None => Err(Refusal::new(
            Code::InvalidArgument,
            "vectors are searched and put in on PostgreSQL with pgvector and on MariaDB",
        )
        .hint("write the statement for sql_execute, with what this database has")),
        Some(dialect) => {
            let table = catalogue::describe_table(broker, caller, target, wish.table()).await?;
            wish.write(&table, dialect)
        }
    };
    match written {
        Ok((text, params)) => Ok(Wanted::Sql { text, params }),
        Err(refusal) => {
            let draft = broker.draft(EventKind::RequestRefused, caller);
            let draft = match &found {
                Ok(target) => draft.target(target.name.as_str()),
                Err(_) => draft,
            };
            broker.record_refusal(draft, &refusal).await?;
            Err(refusal)
        }
    }
}

/// Whether a caller has a use for the search, and for rows to put in: where some target has columns for vectors.
pub fn are_of_use(broker: &Broker, caller: &Caller) -> (bool, bool) {
    let targets = broker.link.targets();
    let with = || {
        targets
            .iter()
            .filter(|target| broker.link.has_vectors(target))
    };
    let may = |effect| caller.may(effect).is_ok();
    (
        may(Effect::Read) && with().next().is_some(),
        may(Effect::Write) && with().next().is_some(),
    )
}
