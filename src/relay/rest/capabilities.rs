//! `/v1/capabilities`: named operations, called on the same way as over MCP.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::broker::capability::{self, Listed};
use crate::broker::submit::{Ask, Wanted};
use crate::broker::{Broker, Caller};
use crate::core::capability::{input, output};
use crate::mcp::tools::capability::Output;
use crate::relay::rest::answer::Done;
use crate::relay::rest::body::{Json, NoBody};
use crate::relay::rest::executed::{Executed, executed};
use crate::relay::rest::operation::{Call, May, Operation};
use crate::relay::rest::problem::Problem;

/// Where one is called.
pub(super) const PATH: &str = "/v1/capabilities/{name}";

/// Those that the caller can be shown.
#[derive(Debug, JsonSchema, Serialize)]
struct Capabilities {
    capabilities: Vec<Capability>,
}

/// One capability.
#[derive(Debug, JsonSchema, Serialize)]
struct Capability {
    /// It is called at `/v1/capabilities/NAME`.
    name: String,
    target: String,
    /// The first line of the description.
    title: String,
    description: String,
    /// The worst that it can do.
    effect: &'static str,
    /// Whether a person has to agree to each call, whatever the policies say.
    approval: bool,
    /// The JSON Schema of the body.
    #[schemars(with = "Map<String, Value>")]
    input: Map<String, Value>,
    /// The JSON Schema of the answer.
    #[schemars(with = "Map<String, Value>")]
    output: Map<String, Value>,
    /// Why it cannot be called now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    withdrawn: Option<String>,
    /// Whether it is another than the one that was accepted at its agent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    changed: bool,
}

/// Which capabilities.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Only those of this target.
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    /// Only those whose name or description holds this.
    #[serde(default)]
    #[schemars(with = "String")]
    search: Option<String>,
}

/// Where and why one is called.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct How {
    /// The target, where several offer it.
    #[serde(default)]
    #[schemars(with = "String")]
    target: Option<String>,
    /// Why, for people and the audit log.
    #[serde(default)]
    #[schemars(with = "String")]
    reason: Option<String>,
}

/// The values of the parameters, by name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Parameters(Map<String, Value>);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, "/v1/capabilities"),
            ("capabilities", "The named operations that can be called"),
            May::Read,
            list,
        ),
        Operation::new(
            (Method::POST, PATH),
            (
                "capabilityCall",
                "Call a named operation, or have people asked",
            ),
            May::CallByName,
            call,
        )
        .keyed(),
    ]
}

async fn list(call: Call, which: Which, _: NoBody) -> Result<Done<Capabilities>, Problem> {
    let (target, search) = (which.target.as_deref(), which.search.as_deref());
    let all = capability::shown(call.broker(), &call.caller, (target, search));
    Ok(Done(Capabilities {
        capabilities: all.iter().map(described).collect(),
    }))
}

fn described(one: &Listed) -> Capability {
    let contract = &one.offer.said.contract;
    Capability {
        name: contract.name.as_str().to_owned(),
        target: one.target.name.as_str().to_owned(),
        title: title(one).to_owned(),
        description: contract.description.clone(),
        effect: contract.effect.as_str(),
        approval: contract.approval,
        input: input(contract, Map::new()),
        output: output(contract),
        withdrawn: one.offer.withdrawn.clone(),
        changed: one.offer.changed,
    }
}

fn title(one: &Listed) -> &str {
    let contract = &one.offer.said.contract;
    let first = contract.description.lines().next();
    first.unwrap_or_else(|| contract.name.as_str())
}

async fn call(
    call: Call,
    how: How,
    Json(Parameters(params)): Json<Parameters>,
) -> Result<Executed<Output>, Problem> {
    let name = call.named("name").to_owned();
    let found = capability::named(call.broker(), &call.caller, &name, how.target);
    let ask = Ask {
        what: Wanted::Capability { name, params },
        target: found.target,
        reason: how.reason,
        max_rows: None,
        timeout_ms: None,
        key: None,
    };
    let contract = found.offer;
    let contract = contract.as_deref().map(|offer| &offer.said.contract);
    let written = |answer| Output::of(answer, contract);
    executed(&call, ask, written).await
}

/// Everything that can be called by a path of its own, as a description has it: by path, each with what the
/// generic operation has for itself.
pub(super) fn paths(broker: &Broker, caller: &Caller) -> BTreeMap<String, Vec<Listed>> {
    let shown = capability::shown(broker, caller, (None, None)).into_iter();
    let mut paths = BTreeMap::<String, Vec<Listed>>::new();
    for one in shown.filter(|one| one.offer.withdrawn.is_none()) {
        // Names are letters, digits and `_ . -` alone, which mean themselves in a path.
        let path = PATH.replace("{name}", one.offer.said.contract.name.as_str());
        paths.entry(path).or_default().push(one);
    }
    paths
}

/// Turns the description of the generic operation into that of one path.
pub(super) fn typed(generic: &Value, offering: &[Listed]) -> Value {
    let mut typed = generic.clone();
    let Some(first) = offering.first() else {
        return typed;
    };
    let name = first.offer.said.contract.name.as_str();
    let schemas = |of: &dyn Fn(&Listed) -> Map<String, Value>| {
        let mut all: Vec<Value> = Vec::new();
        for schema in offering.iter().map(|one| Value::Object(of(one))) {
            if !all.contains(&schema) {
                all.push(schema);
            }
        }
        match all.len() {
            1 => all.remove(0),
            _ => json!({ "anyOf": all }),
        }
    };
    let body = schemas(&|one| input(&one.offer.said.contract, Map::new()));
    let answer = schemas(&|one| output(&one.offer.said.contract));
    let targets: Vec<&str> = offering
        .iter()
        .map(|one| one.target.name.as_str())
        .collect();
    for (place, value) in [
        ("/operationId", json!(format!("call-{name}"))),
        ("/summary", json!(title(first))),
        ("/requestBody/content/application~1json/schema", body),
        (
            &format!(
                "/responses/{}/content/application~1json/schema",
                StatusCode::OK.as_u16()
            ),
            answer,
        ),
    ] {
        if let Some(there) = typed.pointer_mut(place) {
            *there = value;
        }
    }
    if let Some(Value::Array(parameters)) = typed.get_mut("parameters") {
        parameters.retain(|one| one.get("in") != Some(&json!("path")));
        let target = parameters
            .iter_mut()
            .find(|one| one.get("name") == Some(&json!("target")));
        if let Some(Value::Object(target)) = target {
            target.insert(
                "schema".to_owned(),
                json!({"type": "string", "enum": targets}),
            );
            target.insert("required".to_owned(), json!(targets.len() > 1));
        }
    }
    typed
}
