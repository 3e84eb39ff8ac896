//! Listing capabilities and showing one.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::capabilities::{Capabilities, unknown};
use crate::cli::table::table;
use crate::cli::{Exit, Failure, output};
use crate::core::capability::{input, output as answer};

/// One line for each.
pub(super) fn list(targets: &[(String, Arc<Capabilities>)]) -> Result<Exit, Failure> {
    let mut lines = Vec::new();
    for (target, all) in targets {
        for offer in all.offers().iter() {
            let contract = &offer.said.contract;
            let yes = |truth: bool| if truth { "yes" } else { "no" }.to_owned();
            let state = match (&offer.withdrawn, contract.visible) {
                (Some(why), _) => format!("withdrawn: {why}"),
                (None, false) => marked("hidden", offer.changed),
                (None, true) => marked("offered", offer.changed),
            };
            lines.push([
                target.clone(),
                contract.name.as_str().to_owned(),
                contract.effect.as_str().to_owned(),
                yes(contract.approval),
                contract.tool(),
                state,
            ]);
        }
    }
    let header = ["TARGET", "NAME", "EFFECT", "APPROVAL", "TOOL", "STATE"];
    output::say(&table(header, lines))?;
    Ok(Exit::Done)
}

fn marked(state: &str, changed: bool) -> String {
    let mark = if changed { ", changed" } else { "" };
    format!("{state}{mark}")
}

/// Everything about one.
pub(super) fn show(targets: &[(String, Arc<Capabilities>)], name: &str) -> Result<Exit, Failure> {
    let mut found = false;
    for (target, all) in targets {
        let bundle = all.bundle();
        let Some(capability) = bundle.get(name) else {
            continue;
        };
        found = true;
        let contract = capability.contract();
        let schemas = json!({
            "inputSchema": Value::Object(input(&contract, Map::new())),
            "outputSchema": Value::Object(answer(&contract)),
        });
        let reviewed = capability.reviewed.as_ref();
        let reviewed = reviewed.map(|it| format!("by {} on {}", it.by, it.on));
        output::say(&format!(
            "{name} on {target}, of {} {}\n{}\nbundle    {}\nitself    {}\nreviewed  {}\n\n{}\n\n{}\n",
            bundle.service().title,
            bundle.service().version,
            capability.description,
            bundle.digest(),
            contract.digest,
            reviewed.unwrap_or_else(|| "nobody says so".to_owned()),
            capability.sql,
            serde_json::to_string_pretty(&schemas).unwrap_or_default(),
        ))?;
    }
    if found {
        Ok(Exit::Done)
    } else {
        Err(unknown(name).into())
    }
}
