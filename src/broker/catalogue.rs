//! What a caller may learn of a target's schema: read by the agent with statements of its own,
//! recorded like everything else.

use std::sync::Arc;

use crate::broker::capability::takes_free_sql;
use crate::broker::{Broker, Caller, Lane};
use crate::core::audit::EventKind;
use crate::core::refusal::Refusal;
use crate::core::schema::{TableDescription, TableSummary};
use crate::core::statement::Effect;
use crate::core::target::Target;

/// The tables and views of a target.
pub async fn list_tables(
    broker: &Broker,
    caller: &Caller,
    target: Option<&str>,
    schema: Option<&str>,
    search: Option<&str>,
) -> Result<Vec<TableSummary>, Refusal> {
    let (target, lane) = open(broker, caller, target).await?;
    let tables = lane.list_tables(&target, schema, search).await;
    record(broker, caller, &target, "*", tables.as_ref().err()).await?;
    tables
}

/// One table or view of a target.
pub async fn describe_table(
    broker: &Broker,
    caller: &Caller,
    target: Option<&str>,
    table: &str,
) -> Result<TableDescription, Refusal> {
    let (target, lane) = open(broker, caller, target).await?;
    let description = lane.describe_table(&target, table).await;
    let recorded = description.as_ref().map_or("?", |d| d.name.as_str());
    record(
        broker,
        caller,
        &target,
        recorded,
        description.as_ref().err(),
    )
    .await?;
    description
}

async fn open(
    broker: &Broker,
    caller: &Caller,
    target: Option<&str>,
) -> Result<(Arc<Target>, Lane), Refusal> {
    let target = caller
        .may(Effect::Read)
        .and_then(|()| broker.target(target))
        .and_then(|target| takes_free_sql(&target).map(|()| target));
    let found = match target {
        Ok(target) => {
            let lane = broker.link.lane(&target, None).await;
            lane.map(|lane| (target, lane))
        }
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &found {
        broker
            .record_refusal(broker.draft(EventKind::RequestRefused, caller), refusal)
            .await?;
    }
    found
}

async fn record(
    broker: &Broker,
    caller: &Caller,
    target: &Target,
    what: &str,
    error: Option<&Refusal>,
) -> Result<(), Refusal> {
    let draft = broker
        .draft(EventKind::CatalogueRead, caller)
        .target(target.name.as_str())
        .text("table", what);
    let draft = match error {
        Some(refusal) => draft.refusal(refusal),
        None => draft,
    };
    broker.state.log().append(draft).await?;
    Ok(())
}
