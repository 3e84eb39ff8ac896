//! Capabilities as a broker knows them: what their agents offer.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::broker::{Broker, Caller};
use crate::capabilities::withdrawn;
use crate::core::capability::{Offer, masked, unfit};
use crate::core::engine::Engine;
use crate::core::refusal::Refusal;
use crate::core::statement::Statement;
use crate::core::target::Target;
use crate::core::work::{Salt, Work};

/// A capability and the target that it works on.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The target.
    pub target: Arc<Target>,
    /// What its agent offers.
    pub offer: Arc<Offer>,
}

/// What a caller can be shown, sorted by target and name; what is hidden or withdrawn is among it.
pub fn list(broker: &Broker, caller: &Caller) -> Vec<Listed> {
    let targets = broker.link.targets();
    let of = |target: &Arc<Target>| {
        let offers = broker.link.offers(target);
        let may = offers
            .iter()
            .filter(|offer| caller.may(offer.said.contract.effect).is_ok());
        let listed = may.map(|offer| Listed {
            target: Arc::clone(target),
            offer: Arc::clone(offer),
        });
        listed.collect::<Vec<_>>()
    };
    targets.iter().flat_map(of).collect()
}

/// Those that are listed for a caller: of one target, and with this in their name or description, where that
/// is said. What is withdrawn is among it.
pub fn shown(
    broker: &Broker,
    caller: &Caller,
    (target, search): (Option<&str>, Option<&str>),
) -> Vec<Listed> {
    let search = search.unwrap_or_default().to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&search);
    let mut all = list(broker, caller);
    all.retain(|one| {
        let contract = &one.offer.said.contract;
        contract.visible
            && target.is_none_or(|target| target == one.target.name.as_str())
            && (has(contract.name.as_str()) || has(&contract.description))
    });
    all
}

/// Where a name leads.
#[derive(Debug)]
pub struct Named {
    /// The target that was named, or the only one that offers it.
    pub target: Option<String>,
    /// What is offered there, if it is known already.
    pub offer: Option<Arc<Offer>>,
}

/// What a caller means by a name, on a target or on the only one that offers it.
pub fn named(broker: &Broker, caller: &Caller, name: &str, target: Option<String>) -> Named {
    let mut all = list(broker, caller);
    all.retain(|one| {
        let on = target.as_deref();
        one.offer.said.contract.name.as_str() == name
            && on.is_none_or(|on| on == one.target.name.as_str())
    });
    match all.as_slice() {
        [only] => Named {
            target: Some(only.target.name.as_str().to_owned()),
            offer: Some(Arc::clone(&only.offer)),
        },
        _ => Named {
            target,
            offer: None,
        },
    }
}

/// Whether there is a target that takes free SQL, or none at all yet.
pub fn takes_free_sql_somewhere(broker: &Broker) -> bool {
    let targets = broker.link.targets();
    targets.is_empty() || targets.iter().any(|target| !target.only_capabilities)
}

/// A call as work, and what stands for its statement here.
pub(super) fn call(
    offer: &Offer,
    engine: Engine,
    params: Map<String, Value>,
    salt: Salt,
) -> Result<(Work, Statement), Refusal> {
    let name = offer.said.contract.name.as_str();
    if let Some(why) = &offer.withdrawn {
        return Err(withdrawn(name, why));
    }
    let values = offer
        .said
        .contract
        .called(params)
        .map_err(|list| unfit(&list))?;
    let values = Value::Object(values.into_iter().collect());
    let work = Work::capability(name, offer.said.bundle, vec![values], salt);
    let statement = masked(engine, work.text(), offer.said.contract.effect);
    Ok((work, statement))
}

/// Refuses free SQL, and a look at the catalogue, where nothing but capabilities runs.
pub(super) use crate::agent::takes_free_sql;
