//! The targets of all agents as one list: what everybody is shown before it is known who runs their work.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::target::Target;

/// One target for each name, by name. Of several agents that serve one, only what holds at all of them is
/// said: the labels that they share, the smallest limits, what runs unasked at each.
pub(super) fn together<'a>(all: impl Iterator<Item = &'a Arc<Target>>) -> Arc<[Arc<Target>]> {
    let mut by_name: BTreeMap<_, Arc<Target>> = BTreeMap::new();
    for target in all {
        by_name
            .entry(target.name.clone())
            .and_modify(|known| *known = Arc::new(common(known, target)))
            .or_insert_with(|| Arc::clone(target));
    }
    by_name.into_values().collect()
}

fn common(one: &Target, other: &Target) -> Target {
    let labels = one.labels.iter();
    let labels = labels.filter(|(name, value)| other.labels.get(*name) == Some(value));
    let labels = labels.map(|(name, value)| (name.clone(), value.clone()));
    Target {
        labels: labels.collect(),
        allow: one.allow.intersection(&other.allow).copied().collect(),
        limits: one.limits.intersect(other.limits),
        ..one.clone()
    }
}
