//! From the tree to a bundle.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::capability::fields::{Fields, Report};
use crate::config::capability::keys::{
    ANNOTATIONS, CAPABILITY, EXAMPLE, FILE, POLICY, REVIEWED, SERVICE,
};
use crate::config::capability::node::Node;
use crate::config::capability::params;
use crate::config::capability::policy::{hints, policy};
use crate::core::capability::{
    BUILT_IN_TOOLS, Bundle, Capability, CapabilityName, Example, Policy, Reviewed, Service,
    tool_name, unfit,
};
use crate::core::engine::Engine;

/// The whole file; nothing where it has no capability.
pub(super) fn bundle(node: &Node, engine: Engine, report: &mut Report) -> Option<Bundle> {
    let file = Fields::of(node, String::new(), FILE, report)?;
    let service = service(&file, report);
    let defaults = match file.section("defaults", POLICY, report) {
        Some(fields) => policy(&fields, Policy::default(), report),
        None => Policy::default(),
    };
    let Some(all) = file.node("capabilities") else {
        report.problem(
            file.spot,
            "`capabilities` is missing",
            "declare at least one",
        );
        return None;
    };
    let all = Fields::free(all, "capabilities".to_owned(), report)?;
    if all.entries().is_empty() {
        report.problem(all.spot, "there is no capability", "declare at least one");
    }
    let mut tools: BTreeMap<String, &str> = BTreeMap::new();
    let mut capabilities = Vec::new();
    for (name, spot, node) in all.entries() {
        let tool = tool_name(name);
        let taken = tools.insert(tool.clone(), name);
        let built_in = BUILT_IN_TOOLS
            .contains(&tool.as_str())
            .then_some("a tool of SecondKey's own");
        if let Some(other) = taken.filter(|other| other != name).or(built_in) {
            report.problem(
                *spot,
                format!(
                    "to clients `{}` is the tool `{tool}`, and so is {other}",
                    name.escape_debug()
                ),
                "choose another name; case, `.`, `-` and `_` are alike in a tool's name",
            );
        }
        let Some(fields) = Fields::of(node, all.name(name), CAPABILITY, report) else {
            continue;
        };
        match CapabilityName::try_from(name.clone()) {
            Ok(name) => capabilities.extend(capability(name, &fields, (defaults, engine), report)),
            Err(error) => {
                report.problem(*spot, format!("`{}` is {error}", name.escape_debug()), "");
            }
        }
    }
    Some(Bundle::new(service, capabilities))
}

fn service(file: &Fields<'_>, report: &mut Report) -> Service {
    let mut service = Service::default();
    if let Some(fields) = file.section("service", SERVICE, report) {
        let said = |key, usual: String| fields.text(key).map_or(usual, str::to_owned);
        service = Service {
            title: said("title", service.title),
            version: said("version", service.version),
            description: said("description", service.description),
        };
    }
    service
}

fn capability(
    name: CapabilityName,
    fields: &Fields<'_>,
    (defaults, engine): (Policy, Engine),
    report: &mut Report,
) -> Option<Capability> {
    let policy = match fields.section("policy", POLICY, report) {
        Some(own) => policy(&own, defaults, report),
        None => defaults,
    };
    let annotations = fields.section("annotations", ANNOTATIONS, report);
    let params = params::parameters(fields, report);
    let whole = fields
        .node("params")
        .is_none_or(|_| all_read(fields, &params));
    let hints = hints(annotations.as_ref(), &policy, report);
    let result = params::columns(fields, report);
    let Some(sql) = fields.text("sql") else {
        if fields.node("sql").is_none() {
            report.problem(
                fields.spot,
                format!("`{}` is missing", fields.name("sql")),
                "",
            );
        }
        return None;
    };
    let mut capability = Capability {
        name,
        description: fields
            .text("description")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        sql: sql.trim().trim_end_matches(';').trim_end().to_owned(),
        params,
        policy,
        counts: false,
        result,
        hints,
        examples: Vec::new(),
        reviewed: reviewed(fields, report),
    };
    // A parameter that could not be read would only look undeclared.
    if whole {
        for (message, hint) in capability.lint(engine) {
            report.problem(fields.spot_of("sql"), message, hint);
        }
        capability.examples = examples(&capability, fields, report);
    }
    Some(capability)
}

fn all_read(fields: &Fields<'_>, params: &[crate::core::capability::Parameter]) -> bool {
    match fields.node("params").map(Node::json) {
        Some(Value::Object(written)) => written.len() == params.len(),
        _ => false,
    }
}

fn reviewed(fields: &Fields<'_>, report: &mut Report) -> Option<Reviewed> {
    let reviewed = fields.section("reviewed", REVIEWED, report)?;
    let said = |key: &str, report: &mut Report| {
        if reviewed.node(key).is_none() {
            report.problem(
                reviewed.spot,
                format!("`{}` is missing", reviewed.name(key)),
                "",
            );
        }
        reviewed.text(key).map(str::to_owned)
    };
    let (by, on) = (said("by", report), said("on", report));
    Some(Reviewed { by: by?, on: on? })
}

fn examples(capability: &Capability, fields: &Fields<'_>, report: &mut Report) -> Vec<Example> {
    let mut examples = Vec::new();
    for (number, node) in fields
        .list("examples")
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let path = format!("{}[{number}]", fields.name("examples"));
        let Some(example) = Fields::of(node, path, EXAMPLE, report) else {
            continue;
        };
        let params = match example.any("params") {
            None => serde_json::Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => {
                let name = example.name("params");
                report.problem(
                    example.spot_of("params"),
                    format!("`{name}` must be a mapping"),
                    "",
                );
                continue;
            }
        };
        match capability.called(params.clone()) {
            Ok(_) => examples.push(Example { params }),
            Err(list) => report.problem(node.spot, unfit(&list).message, ""),
        }
    }
    examples
}
